// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cluster-api/util/conditions"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// warnings are the reasons that a person has to do something about.
func warnings() []string {
	return []string{
		infrav1.NoHostMatchesReason, infrav1.HostLostReason, infrav1.InvalidHostSelectorReason,
		infrav1.LinkUnresolvedReason, infrav1.NetworkUnknownReason, infrav1.AddressPoolReason, infrav1.AddressMissingReason,
		infrav1.AddressInvalidReason, infrav1.AddressTakenReason, infrav1.MTUInvalidReason,
		infrav1.BootstrapFormatUnsupportedReason, infrav1.BootstrapDataInvalidReason,
		infrav1.HostErrorReason, infrav1.NodeStartupTimeoutReason, infrav1.NodeProviderIDConflictReason, infrav1.UplinkInvalidReason,
		infrav1.KeyUnavailableReason, infrav1.KeyLostReason,
	}
}

// newWarnings are the conditions that have turned to a reason which calls for a person.
func newWarnings(before, after *infrav1.EdgeMachine) []metav1.Condition {
	var turned []metav1.Condition
	for _, condition := range after.Status.Conditions {
		if condition.Type == infrav1.ReadyCondition || condition.Status == metav1.ConditionTrue || !slices.Contains(warnings(), condition.Reason) {
			continue
		}
		if conditions.GetReason(before, condition.Type) != condition.Reason {
			turned = append(turned, condition)
		}
	}
	return turned
}

// maxNote is how long the text of an event may be (noteLengthLimit of events.k8s.io/v1), in bytes, with room for the dots.
const maxNote = 1000

// encryptionTurned tells of a machine whose traffic has become encrypted, or is no longer proved to be.
func encryptionTurned(before, after *infrav1.EdgeMachine) (kind string, turned *metav1.Condition) {
	was, is := conditions.IsTrue(before, infrav1.EncryptionReadyCondition), conditions.IsTrue(after, infrav1.EncryptionReadyCondition)
	switch {
	case was == is:
		return "", nil
	case is:
		kind = corev1.EventTypeNormal
	case after.DeletionTimestamp.IsZero():
		kind = corev1.EventTypeWarning
	default:
		return "", nil
	}
	return kind, conditions.Get(after, infrav1.EncryptionReadyCondition)
}

// warn writes an event for each new warning. Unlike the condition it stays to be read when the trouble is over.
func (r *EdgeMachineReconciler) warn(before, after *infrav1.EdgeMachine) {
	for _, condition := range newWarnings(before, after) {
		r.Recorder.Eventf(after, nil, corev1.EventTypeWarning, condition.Reason, condition.Type, "%s", shorten(condition.Message, maxNote))
	}
	if kind, condition := encryptionTurned(before, after); condition != nil {
		r.Recorder.Eventf(after, nil, kind, condition.Reason, condition.Type, "%s", shorten(condition.Message, maxNote))
	}
}
