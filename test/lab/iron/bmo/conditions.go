// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package bmo

import (
	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// verdict is a condition's status and reason.
type verdict struct {
	is     bool
	reason string
}

// computeConditions sets the conditions of v0.13 from the host's state.
func computeConditions(v *View) {
	conditions := stateConditions(v.Host)
	status := &v.Host.Status
	switch status.OperationalStatus {
	case bmov1.OperationalStatusError:
		conditions[bmov1.ReadyCondition] = verdict{false, bmov1.ErrorReason}
	case bmov1.OperationalStatusDetached:
		conditions[bmov1.ReadyCondition] = verdict{false, bmov1.DetachedReason}
		conditions[bmov1.ProgressingCondition] = verdict{false, bmov1.DetachedReason}
	}
	switch status.Provisioning.State {
	case bmov1.StateNone, bmov1.StateUnmanaged, bmov1.StateRegistering, bmov1.StateDeleting:
	default:
		if v.Faults.BMCUnreachable && status.OperationalStatus != bmov1.OperationalStatusDetached {
			conditions[bmov1.ManageableCondition] = verdict{false, bmov1.PowerFailureReason}
		}
	}
	for kind, verdict := range conditions {
		value := metav1.ConditionFalse
		if verdict.is {
			value = metav1.ConditionTrue
		}
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{
			Type: kind, Status: value, Reason: verdict.reason, LastTransitionTime: metav1.NewTime(v.Now),
		})
	}
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{
		Type: bmov1.HealthyCondition, Status: metav1.ConditionUnknown, Reason: bmov1.UnknownHealthReason, LastTransitionTime: metav1.NewTime(v.Now),
	})
}

func stateConditions(host *bmov1.BareMetalHost) map[string]verdict {
	// What most states have in common.
	conditions := map[string]verdict{
		bmov1.ManageableCondition:               {true, bmov1.ManageableReason},
		bmov1.AvailableForProvisioningCondition: {false, bmov1.NotAvailableReason},
		bmov1.ProvisionedCondition:              {false, bmov1.NotProvisionedReason},
		bmov1.ReadyCondition:                    {false, bmov1.NotProvisionedReason},
	}
	progressing := map[bmov1.ProvisioningState]string{
		bmov1.StateRegistering: bmov1.RegisteringReason, bmov1.StateInspecting: bmov1.InspectingReason,
		bmov1.StateMatchProfile: bmov1.InspectingReason, bmov1.StatePreparing: bmov1.PreparingReason,
		bmov1.StateProvisioning: bmov1.ProvisioningReason, bmov1.StateDeprovisioning: bmov1.DeprovisioningReason,
		bmov1.StatePoweringOffBeforeDelete: bmov1.PoweringOffBeforeDeleteReason, bmov1.StateDeleting: bmov1.DeletingReason,
	}
	reason, moving := progressing[host.Status.Provisioning.State]
	if !moving {
		reason = bmov1.NotProgressingReason
	}
	conditions[bmov1.ProgressingCondition] = verdict{moving, reason}
	switch host.Status.Provisioning.State {
	case bmov1.StateNone, bmov1.StateUnmanaged:
		conditions[bmov1.ManageableCondition] = verdict{false, bmov1.NotManagedReason}
	case bmov1.StateRegistering:
		conditions[bmov1.ManageableCondition] = verdict{false, bmov1.RegisteringReason}
		if host.Status.OperationalStatus == bmov1.OperationalStatusError {
			conditions[bmov1.ManageableCondition] = verdict{false, bmov1.RegistrationFailedReason}
		}
	case bmov1.StateReady, bmov1.StateAvailable:
		conditions[bmov1.AvailableForProvisioningCondition] = verdict{true, bmov1.AvailableReason}
	case bmov1.StateProvisioned, bmov1.StateExternallyProvisioned:
		conditions[bmov1.ProvisionedCondition] = verdict{true, bmov1.ProvisionedReason}
		conditions[bmov1.ReadyCondition] = verdict{true, bmov1.ProvisionedReason}
	}
	return conditions
}
