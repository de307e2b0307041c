// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package bmo

import (
	"cmp"
	"encoding/json"
	"fmt"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// maxAttempts is after how many failures a host that is being deleted is given up on.
const maxAttempts = 3

// Step takes a host one step on. It is pure: all it changes is the view's host.
func Step(v *View) Outcome {
	before := v.Host.Status.Provisioning.State
	out := v.step()
	if out.Err != nil {
		return out
	}
	if after := v.Host.Status.Provisioning.State; after != before {
		recordTimes(v.Host, before, after, metav1.NewTime(v.Now))
		v.Host.Status.Provisioning.BootMode = v.Host.BootMode()
		out.After = soon
	}
	computeConditions(v)
	return out
}

func (v *View) step() Outcome {
	if v.initiateDelete() {
		return Outcome{After: soon}
	}
	if out, decided := v.detached(); decided {
		return out
	}
	// Ironic has to be told of the host anew before anything can be done to it.
	settle := v.Latencies.Register
	if !v.Host.DeletionTimestamp.IsZero() {
		settle = max(settle, moved)
	}
	if v.Attached != nil && *v.Attached < settle {
		return v.wait(settle - *v.Attached)
	}
	if out, decided := v.registered(); decided {
		return out
	}
	switch v.Host.Status.Provisioning.State {
	case bmov1.StateNone:
		return v.none()
	case bmov1.StateUnmanaged:
		if v.Host.HasBMCDetails() {
			v.next(bmov1.StateRegistering)
		}
		return Outcome{}
	case bmov1.StateRegistering:
		return v.registering()
	case bmov1.StateInspecting:
		return v.inspecting()
	case bmov1.StateMatchProfile:
		v.next(bmov1.StatePreparing)
		return Outcome{}
	case bmov1.StatePreparing:
		return v.preparing()
	case bmov1.StateReady, bmov1.StateAvailable:
		return v.available()
	case bmov1.StateProvisioning:
		return v.provisioning()
	case bmov1.StateProvisioned:
		if v.cancelled() {
			v.next(bmov1.StateDeprovisioning)
			return Outcome{}
		}
		return v.power()
	case bmov1.StateExternallyProvisioned:
		return v.externallyProvisioned()
	case bmov1.StateDeprovisioning:
		return v.deprovisioning()
	case bmov1.StatePoweringOffBeforeDelete:
		return v.poweringOffBeforeDelete()
	case bmov1.StateDeleting:
		return v.deleting()
	default:
		return Outcome{Err: fmt.Errorf("no handler found for state %q", v.Host.Status.Provisioning.State)}
	}
}

func (v *View) next(state bmov1.ProvisioningState) {
	v.Host.Status.Provisioning.State = state
}

// initiateDelete turns a host that is to go away to the state from which it can.
func (v *View) initiateDelete() bool {
	if v.Host.DeletionTimestamp.IsZero() {
		return false
	}
	state := v.Host.Status.Provisioning.State
	unreachable := v.Host.Status.ErrorType == bmov1.RegistrationError && v.Host.Status.ErrorCount > maxAttempts
	if state != bmov1.StateDeleting && v.Host.Status.OperationalStatus == bmov1.OperationalStatusDetached {
		if arguments, ok := detachedArguments(v.Host); ok && arguments.DeleteAction == bmov1.DetachedDeleteActionDelay {
			return false
		}
		v.next(bmov1.StateDeleting)
		return true
	}
	switch state {
	case bmov1.StateDeleting:
		return false
	case bmov1.StateDeprovisioning, bmov1.StatePoweringOffBeforeDelete:
		if unreachable {
			v.next(bmov1.StateDeleting)
		}
		return unreachable
	case bmov1.StateRegistering, bmov1.StateUnmanaged, bmov1.StateNone:
		v.next(bmov1.StateDeleting)
	case bmov1.StateProvisioning, bmov1.StateProvisioned:
		v.next(bmov1.StateDeprovisioning)
	default:
		v.next(bmov1.StatePoweringOffBeforeDelete)
	}
	return true
}

// detached handles the annotation that takes a host out of the operator's hands.
func (v *View) detached() (Outcome, bool) {
	arguments, wanted := detachedArguments(v.Host)
	status := &v.Host.Status
	if wanted {
		switch state := status.Provisioning.State; {
		case state == bmov1.StateProvisioned, state == bmov1.StateExternallyProvisioned, state == bmov1.StateReady,
			state == bmov1.StateAvailable, arguments.Force && state != bmov1.StateDeleting:
			status.OperationalStatus = bmov1.OperationalStatusDetached
			return Outcome{}, true
		}
	}
	if !wanted && status.OperationalStatus == bmov1.OperationalStatusDetached {
		status.OperationalStatus = bmov1.OperationalStatusOK
		if status.ErrorType != "" {
			status.OperationalStatus = bmov1.OperationalStatusError
		}
		return Outcome{Actions: []Action{Attach}, After: soon}, true
	}
	return Outcome{}, false
}

// detachedArguments reads the annotation; a value that is not its JSON counts as an empty one.
func detachedArguments(host *bmov1.BareMetalHost) (bmov1.DetachedAnnotationArguments, bool) {
	text, ok := host.Annotations[bmov1.DetachedAnnotation]
	arguments := bmov1.DetachedAnnotationArguments{}
	if !ok || json.Unmarshal([]byte(text), &arguments) != nil {
		return bmov1.DetachedAnnotationArguments{}, ok
	}
	return arguments, true
}

// registered makes sure that the BMC was reached with the current credentials. It decides the step when it
// was not, or when the status changed.
func (v *View) registered() (Outcome, bool) {
	status := &v.Host.Status
	switch status.Provisioning.State {
	case bmov1.StateNone, bmov1.StateUnmanaged, bmov1.StateMatchProfile, bmov1.StateDeleting:
		return Outcome{}, false
	}
	deleted := !v.Host.DeletionTimestamp.IsZero()
	if v.Credentials == nil {
		if deleted {
			return Outcome{}, false
		}
		return v.badCredentials(), true
	}
	trying := status.Provisioning.State == bmov1.StateRegistering || status.ErrorType == bmov1.RegistrationError || !status.GoodCredentials.Match(*v.Credentials)
	if !trying {
		return Outcome{}, false
	}
	if !status.TriedCredentials.Match(*v.Credentials) {
		v.Host.UpdateTriedCredentials(*v.Credentials)
	}
	if rest := v.pending(v.Latencies.Register); rest > 0 && status.Provisioning.State == bmov1.StateRegistering {
		return v.wait(rest), true
	}
	if v.Faults.BMCUnreachable {
		return v.fail(bmov1.RegistrationError, fmt.Sprintf(
			"Failed to get power state for node %s. Error: Redfish connection failed for node %s: Unable to connect to %s.",
			v.nodeID(), v.nodeID(), v.Host.Spec.BMC.Address)), true
	}
	if status.Provisioning.State == bmov1.StateRegistering {
		return Outcome{}, false
	}
	return v.acceptCredentials(), true
}

// badCredentials is a missing or incomplete BMC Secret. Like the operator it counts up with each look.
func (v *View) badCredentials() Outcome {
	if v.Host.Status.ErrorMessage == v.CredentialsProblem && v.Host.Status.ErrorCount >= maxAttempts {
		// Nothing new to write. A Secret without the operator's label is not watched.
		return Outcome{After: secretRetry}
	}
	out := v.fail(bmov1.RegistrationError, v.CredentialsProblem)
	out.Events = []Event{{Reason: "BMCCredentialError", Message: v.CredentialsProblem}}
	return out
}

func (v *View) acceptCredentials() Outcome {
	out := Outcome{After: soon}
	status := &v.Host.Status
	status.Provisioning.ID = v.nodeID()
	if status.HardwareProfile == "" {
		status.HardwareProfile = "unknown"
		if v.Host.Spec.HardwareProfile != "" {
			status.HardwareProfile = v.Host.Spec.HardwareProfile
		}
		out.tell("ProfileSet", "Hardware profile set: "+status.HardwareProfile)
	}
	if !status.GoodCredentials.Match(*v.Credentials) {
		v.Host.UpdateGoodCredentials(*v.Credentials)
		out.tell("BMCAccessValidated", "Verified access to BMC")
	}
	v.heal()
	return out
}

// nodeID is the host's id in Ironic. It stays when the host moves to another management cluster with the same Ironic.
func (v *View) nodeID() string { return cmp.Or(v.Host.Status.Provisioning.ID, string(v.Host.UID)) }

// recordTimes keeps the history of operations.
func recordTimes(host *bmov1.BareMetalHost, before, after bmov1.ProvisioningState, now metav1.Time) {
	if ended := host.OperationMetricForState(before); ended != nil && !ended.Start.IsZero() && ended.End.IsZero() {
		ended.End = now
	}
	if begun := host.OperationMetricForState(after); begun != nil && (begun.Start.IsZero() || !begun.End.IsZero()) {
		*begun = bmov1.OperationMetric{Start: now}
	}
}
