// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/apply"
)

const (
	// dataplaneOwner owns the condition DataplaneInstalled of EdgeClusters, and nothing else of them.
	dataplaneOwner = "edgemetal-dataplane"
	// patience with a condition that stays the same. Some minutes of crashing pods are normal while Calico-VPP comes up.
	patience = 15 * time.Minute
	// retrySecret is when a Secret is looked for again that may lack the label by which it is watched.
	retrySecret = 30 * time.Second
	// secretAge is when a Secret without that label is read again: it may have another content.
	secretAge = 10 * time.Minute
	// retryServed is when a kind is asked for again that the API server does not serve yet.
	retryServed = 5 * time.Second
	// retryConnection is when an API server is asked again that did not answer.
	retryConnection = 20 * time.Second
)

// judge records a judgement. The last one counts.
func (s *dataplaneScope) judge(status metav1.ConditionStatus, reason, message string) {
	s.condition = metav1.Condition{
		Type: infrav1.DataplaneInstalledCondition, Status: status, Reason: reason, Message: message, ObservedGeneration: s.edgeCluster.Generation,
	}
}

// wait records what is awaited and stops.
func (s *dataplaneScope) wait(reason, format string, args ...any) proceed {
	s.judge(metav1.ConditionFalse, reason, fmt.Sprintf(format, args...))
	return false
}

// missSecret waits for a Secret.
func (s *dataplaneScope) missSecret(format string, args ...any) proceed {
	s.requeueAfter = retrySecret
	return s.wait(infrav1.SecretMissingReason, format, args...)
}

// explain turns an error into a judgement. What only takes time, or the user, is no error any more.
func (s *dataplaneScope) explain(err error) error {
	if err == nil {
		return nil
	}
	where := ""
	if s.condition.Reason == infrav1.InstallingReason {
		where = s.condition.Message + ": "
	}
	contested, isContested := errors.AsType[*apply.ContestedError](err)
	_, isConflict := errors.AsType[*apply.ConflictError](err)
	_, isNotServed := errors.AsType[*apply.NotServedError](err)
	switch {
	case isContested:
		s.requeueAfter = contested.RetryAfter
		s.wait(infrav1.ObjectConflictReason, "%s%v", where, err)
	case isConflict:
		s.requeueAfter = retrySecret
		s.wait(infrav1.ObjectConflictReason, "%s%v", where, err)
	case isNotServed:
		s.requeueAfter = retryServed
		s.wait(infrav1.InstallingReason, "%s%v", where, err)
	case isUnreachable(err):
		s.requeueAfter = retryConnection
		s.loseCluster()
	default:
		s.wait(infrav1.InternalErrorReason, "%s%v; it is tried again", where, err)
		return err
	}
	return nil
}

// loseCluster: what was installed is most likely still there, but nobody knows.
func (s *dataplaneScope) loseCluster() {
	status := metav1.ConditionFalse
	if before := conditions.Get(s.edgeCluster, infrav1.DataplaneInstalledCondition); before != nil && before.Status != metav1.ConditionFalse {
		status = metav1.ConditionUnknown
	}
	s.judge(status, infrav1.WorkloadClusterUnreachableReason, fmt.Sprintf("The API server of Cluster %s cannot be reached; see condition RemoteConnectionProbe of the Cluster", s.cluster.Name))
}

// isUnreachable tells whether a workload cluster did not answer, or not now.
func isUnreachable(err error) bool {
	if errors.Is(err, clustercache.ErrClusterNotConnected) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	if apierrors.IsServiceUnavailable(err) || apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsTooManyRequests(err) {
		return true
	}
	_, isURL := errors.AsType[*url.Error](err)
	_, isNet := errors.AsType[net.Error](err)
	return isURL || isNet
}

// lose patience: a condition that has stayed the same for long says what to look at. Returns when to look again for that; 0 for never.
func (m *siteMemory) losePatience(condition *metav1.Condition, hint string, now time.Time) time.Duration {
	if condition.Status == metav1.ConditionTrue || condition.Message == "" {
		m.message = ""
		return 0
	}
	if m.message != condition.Message {
		m.message, m.since = condition.Message, now
	}
	if left := patience - now.Sub(m.since); left > 0 {
		return left
	}
	condition.Message += fmt.Sprintf(". Nothing has changed for %d minutes", int(patience.Minutes()))
	if hint != "" {
		condition.Message += ": " + hint
	}
	return 0
}

// writeCondition applies the condition, if it has changed. Server-side apply touches no other condition, which the EdgeCluster's own
// controller writes.
func (r *DataplaneReconciler) writeCondition(ctx context.Context, s *dataplaneScope) error {
	if s.condition.Type == "" {
		return nil
	}
	if left := s.memory.losePatience(&s.condition, s.hint, time.Now()); left > 0 && (s.requeueAfter == 0 || left < s.requeueAfter) {
		s.requeueAfter = left
	}
	s.condition.LastTransitionTime = metav1.NewTime(time.Now().Truncate(time.Second))
	if before := conditions.Get(s.edgeCluster, s.condition.Type); before != nil {
		if before.Status == s.condition.Status {
			s.condition.LastTransitionTime = before.LastTransitionTime
		}
		if *before == s.condition {
			return nil
		}
	}
	condition, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&s.condition)
	if err != nil {
		return fmt.Errorf("writing condition %s: %w", s.condition.Type, err)
	}
	applied := &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"conditions": []any{condition}}}}
	applied.SetGroupVersionKind(infrav1.GroupVersion.WithKind("EdgeCluster"))
	applied.SetNamespace(s.edgeCluster.Namespace)
	applied.SetName(s.edgeCluster.Name)
	// With the UID an EdgeCluster that is gone is not mistaken for another one.
	applied.SetUID(s.edgeCluster.UID)
	err = r.Client.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(applied), client.FieldOwner(dataplaneOwner), client.ForceOwnership)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("writing condition %s of EdgeCluster %s: %w", s.condition.Type, s.edgeCluster.Name, err)
	}
	return nil
}
