// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The functions below tell what an object still lacks to be ready, "" when it is.

// AwaitDaemonSet tells what a DaemonSet lacks. With updateStrategy OnDelete pods of an older version count: who deletes them knows
// when they are due.
func AwaitDaemonSet(d *appsv1.DaemonSet) string {
	s := d.Status
	switch {
	case s.ObservedGeneration < d.Generation:
		return "its last change has not been taken up yet"
	case s.DesiredNumberScheduled == 0:
		return "no node is there to run it"
	case s.CurrentNumberScheduled < s.DesiredNumberScheduled:
		return fmt.Sprintf("%d of %d nodes have its pod", s.CurrentNumberScheduled, s.DesiredNumberScheduled)
	case d.Spec.UpdateStrategy.Type != appsv1.OnDeleteDaemonSetStrategyType && s.UpdatedNumberScheduled < s.DesiredNumberScheduled:
		return fmt.Sprintf("%d of %d pods are up to date", s.UpdatedNumberScheduled, s.DesiredNumberScheduled)
	case s.NumberReady < s.DesiredNumberScheduled:
		return fmt.Sprintf("%d of %d pods are ready", s.NumberReady, s.DesiredNumberScheduled)
	default:
		return ""
	}
}

// AwaitDeployment tells what a Deployment lacks.
func AwaitDeployment(d *appsv1.Deployment) string {
	s, wanted := d.Status, int32(1)
	if d.Spec.Replicas != nil {
		wanted = *d.Spec.Replicas
	}
	for _, condition := range s.Conditions {
		if condition.Type == appsv1.DeploymentReplicaFailure && condition.Status == corev1.ConditionTrue {
			return "its pods cannot be created: " + condition.Message
		}
	}
	switch {
	case s.ObservedGeneration < d.Generation:
		return "its last change has not been taken up yet"
	case s.UpdatedReplicas < wanted:
		return fmt.Sprintf("%d of %d pods are up to date", s.UpdatedReplicas, wanted)
	case s.AvailableReplicas < wanted:
		return fmt.Sprintf("%d of %d pods are available", s.AvailableReplicas, wanted)
	default:
		return ""
	}
}

// AwaitDefinition tells what a CustomResourceDefinition, named <plural>.<group>, lacks: the API server serves what is established.
func AwaitDefinition(mapper meta.RESTMapper, name string) (string, error) {
	plural, group, _ := strings.Cut(name, ".")
	_, err := mapper.KindsFor(schema.GroupVersionResource{Group: group, Resource: plural})
	if meta.IsNoMatchError(err) {
		return "it is not established yet", nil
	}
	return "", err
}

// AwaitStatus tells what a TigeraStatus lacks: condition Available must be True, and Degraded must not.
// https://github.com/tigera/operator/blob/v1.42.3/api/v1/tigerastatus_types.go
func AwaitStatus(status *unstructured.Unstructured) string {
	list, _, err := unstructured.NestedSlice(status.Object, "status", "conditions")
	if err != nil {
		return "its conditions cannot be read: " + err.Error()
	}
	found := map[string]map[string]any{}
	for _, item := range list {
		if condition, ok := item.(map[string]any); ok {
			found[fmt.Sprint(condition["type"])] = condition
		}
	}
	if found["Degraded"]["status"] == "True" {
		return "the operator reports it degraded: " + words(found["Degraded"])
	}
	if found["Available"]["status"] == "True" {
		return ""
	}
	if found["Progressing"]["status"] == "True" {
		return words(found["Progressing"])
	}
	return "the operator does not report it available yet"
}

// words of a condition.
func words(condition map[string]any) string {
	for _, key := range []string{"message", "reason"} {
		if text, ok := condition[key].(string); ok && text != "" {
			return strings.TrimSpace(strings.ReplaceAll(text, "\n", " "))
		}
	}
	return "it gives no reason"
}
