// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// machineConditions in the order in which they become true.
func machineConditions(s *machineScope) []string {
	ordered := []string{
		infrav1.HostClaimedCondition,
		infrav1.NetworkDataValidCondition,
		infrav1.ReleasedCondition,
		infrav1.BootstrapDataReadyCondition,
		infrav1.HostProvisionedCondition,
		infrav1.NodeLinkedCondition,
	}
	if s.isEncrypted() {
		ordered = append(ordered, infrav1.EncryptionReadyCondition)
	}
	return ordered
}

// readyConditions are those that a machine needs to be ready.
func readyConditions(s *machineScope) []string {
	return slices.DeleteFunc(machineConditions(s), func(c string) bool { return c == infrav1.EncryptionReadyCondition && !s.requiresEncryption() })
}

// updateMachineStatus computes the status of an EdgeMachine from what the reconciliation has found. It is pure.
func updateMachineStatus(s *machineScope) {
	m := s.edgeMachine
	if s.paused {
		return
	}
	if s.isProvisioned() {
		m.Status.Initialization.Provisioned = new(true)
	}
	if s.host != nil {
		m.Status.Host = s.host.Name
		m.Status.FailureDomain = s.host.Labels[infrav1.FailureDomainLabel]
	}
	if addresses := machineAddresses(s); len(addresses) > 0 {
		m.Status.Addresses = addresses
	}
	markUnreached(s)
	stampJudged(s)
	conditions.Set(m, summarize(m, readyConditions(s), !m.DeletionTimestamp.IsZero()))
}

// markUnreached sets the conditions that no step got to, unless they were true before.
func markUnreached(s *machineScope) {
	awaited := ""
	for _, condition := range machineConditions(s) {
		switch {
		case awaited == "" && !conditions.IsTrue(s.edgeMachine, condition):
			awaited = condition
			if !s.hasJudged(condition) && !conditions.Has(s.edgeMachine, condition) {
				setUnknown(s.edgeMachine, condition, "Not looked at yet")
			}
		case awaited != "" && !s.hasJudged(condition) && !conditions.IsTrue(s.edgeMachine, condition):
			setUnknown(s.edgeMachine, condition, "Waiting for "+awaited)
		}
	}
}

// stampJudged says which generation the conditions were judged for: the provider ID may have been set since.
func stampJudged(s *machineScope) {
	for i := range s.edgeMachine.Status.Conditions {
		condition := &s.edgeMachine.Status.Conditions[i]
		if condition.Type == clusterv1.PausedCondition || s.hasJudged(condition.Type) {
			condition.ObservedGeneration = s.edgeMachine.Generation
		}
	}
}

func setUnknown(m *infrav1.EdgeMachine, condition, message string) {
	conditions.Set(m, metav1.Condition{
		Type: condition, Status: metav1.ConditionUnknown, Reason: infrav1.WaitingForEarlierStepReason, Message: message, ObservedGeneration: m.Generation,
	})
}

// summarize makes the Ready condition: the first of the given conditions that is not true, with its reason and message.
func summarize(obj conditionsObject, types []string, deleting bool) metav1.Condition {
	ready := metav1.Condition{Type: infrav1.ReadyCondition, Status: metav1.ConditionTrue, Reason: clusterv1.ReadyReason, ObservedGeneration: obj.GetGeneration()}
	for _, conditionType := range types {
		condition := conditions.Get(obj, conditionType)
		if condition == nil {
			condition = &metav1.Condition{Status: metav1.ConditionUnknown, Reason: infrav1.WaitingForEarlierStepReason, Message: "Not looked at yet"}
		}
		if condition.Status == metav1.ConditionTrue {
			continue
		}
		ready.Status, ready.Reason = metav1.ConditionFalse, condition.Reason
		ready.Message = fmt.Sprintf("%s: %s", conditionType, condition.Message)
		break
	}
	if deleting {
		ready.Status, ready.Reason = metav1.ConditionFalse, infrav1.DeletingReason
	}
	return ready
}

type conditionsObject interface {
	conditions.Setter
	GetGeneration() int64
}

func setPaused(obj conditionsObject, paused bool) {
	condition := metav1.Condition{Type: clusterv1.PausedCondition, Status: metav1.ConditionFalse, Reason: clusterv1.NotPausedReason, ObservedGeneration: obj.GetGeneration()}
	if paused {
		condition.Status, condition.Reason = metav1.ConditionTrue, clusterv1.PausedReason
		condition.Message = "The Cluster has spec.paused, or this object the annotation " + clusterv1.PausedAnnotation
	}
	conditions.Set(obj, condition)
}

// machineAddresses are those that the Node will have: its hostname and static addresses; with DHCP those it reports.
func machineAddresses(s *machineScope) []clusterv1.MachineAddress {
	if s.host == nil {
		return nil
	}
	addresses := []clusterv1.MachineAddress{{Type: clusterv1.MachineHostName, Address: s.host.Name}}
	if s.plan != nil {
		for _, address := range s.plan.NodeAddresses() {
			addresses = append(addresses, clusterv1.MachineAddress{Type: clusterv1.MachineInternalIP, Address: address.String()})
		}
	}
	if s.node != nil && !hasInternalIP(addresses) {
		for _, reported := range s.node.Status.Addresses {
			address := clusterv1.MachineAddress{Type: clusterv1.MachineAddressType(reported.Type), Address: reported.Address}
			if !slices.Contains(addresses, address) {
				addresses = append(addresses, address)
			}
		}
	}
	if !hasInternalIP(addresses) && hasInternalIP(s.edgeMachine.Status.Addresses) {
		// Known before, not looked at this time.
		return nil
	}
	return addresses
}

func hasInternalIP(addresses []clusterv1.MachineAddress) bool {
	return slices.ContainsFunc(addresses, func(a clusterv1.MachineAddress) bool { return a.Type == clusterv1.MachineInternalIP })
}

// patchStatus writes the status in one request, or none when it has not changed.
func (r *EdgeMachineReconciler) patchStatus(ctx context.Context, before, after *infrav1.EdgeMachine) error {
	if equality.Semantic.DeepEqual(before.Status, after.Status) {
		return nil
	}
	// Only the status may differ: spec and metadata are written by patchMachine, and may be newer in after.
	base := after.DeepCopy()
	base.Status = before.Status
	written := after.DeepCopy()
	if err := r.Client.Status().Patch(ctx, written, client.MergeFrom(base)); err != nil {
		return fmt.Errorf("writing the status of EdgeMachine %s: %w", after.Name, err)
	}
	r.remember(written)
	return nil
}

// patchMachine changes spec or metadata of the EdgeMachine, with an optimistic lock: a reconciliation that works on
// outdated data must fail here before it does anything else.
func (r *EdgeMachineReconciler) patchMachine(ctx context.Context, s *machineScope, change func(*infrav1.EdgeMachine)) error {
	before := s.edgeMachine.DeepCopy()
	after := s.edgeMachine.DeepCopy()
	change(after)
	if equality.Semantic.DeepEqual(before, after) {
		return nil
	}
	if err := r.Client.Patch(ctx, after, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("patching EdgeMachine %s: %w", before.Name, err)
	}
	r.remember(after)
	// The answer carries the stored status; what this reconciliation has judged so far is newer.
	after.Status = s.edgeMachine.Status
	*s.edgeMachine = *after
	return nil
}

// afterConflict turns conflicts into another try after a moment: the cache is behind, and the event that brings it up to
// date may already have been handled. Other errors pass through.
func afterConflict(ctx context.Context, err error) (ctrl.Result, error) {
	if err == nil || !apierrors.IsConflict(err) {
		return ctrl.Result{}, err
	}
	ctrl.LoggerFrom(ctx).V(4).Info("Trying again after a conflict", "conflict", err.Error())
	return ctrl.Result{RequeueAfter: 20*time.Millisecond + rand.N(80*time.Millisecond)}, nil //nolint:gosec // G404: spreads load, protects nothing.
}
