// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package bmo

import (
	"encoding/json"
	"fmt"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
)

// softFailure comes before the error of a soft power off, which is followed by a hard one.
const softFailure = "Continuing with hard poweroff after soft poweroff fails. More details: "

// power brings the machine's power to what the host's spec and its reboot annotations want.
func (v *View) power() Outcome {
	status := &v.Host.Status
	dead := v.Faults.Disappear && status.Provisioning.State == bmov1.StateProvisioned
	if dead && v.PoweredOn {
		// The fault: the machine dies by itself.
		return Outcome{Actions: []Action{PowerOff}, After: soon}
	}
	if v.Rewired && v.PoweredOn && !dead {
		// Somebody changed cards, with the power off.
		return Outcome{Actions: []Action{PowerOff, PowerOn}, After: soon}
	}
	if !v.Faults.BMCUnreachable && status.PoweredOn != v.PoweredOn {
		status.PoweredOn = v.PoweredOn
		if status.ErrorType == bmov1.PowerManagementError {
			v.heal()
		}
		return Outcome{After: soon}
	}
	if _, ok := v.Host.Annotations[bmov1.RebootAnnotationPrefix]; ok && !status.PoweredOn {
		// Off: this half of the reboot is done.
		delete(v.Host.Annotations, bmov1.RebootAnnotationPrefix)
		return Outcome{After: soon}
	}
	wanted := v.Host.Spec.Online
	reboot, hard := v.rebootRequested()
	if reboot {
		wanted = false
	}
	if status.PoweredOn == wanted {
		if status.ErrorType == bmov1.PowerManagementError {
			v.heal()
		}
		status.ErrorCount = 0
		return Outcome{After: steady}
	}
	return v.switchPower(wanted, hard || status.ErrorCount > 0, dead)
}

// rebootRequested looks for reboot annotations. Only a provisioned host is rebooted; others need "force".
func (v *View) rebootRequested() (wanted, hard bool) {
	state := v.Host.Status.Provisioning.State
	provisioned := state == bmov1.StateProvisioned || state == bmov1.StateExternallyProvisioned
	for annotation, value := range v.Host.Annotations {
		if !isReboot(annotation) {
			continue
		}
		arguments := bmov1.RebootAnnotationArguments{Mode: bmov1.RebootModeSoft}
		if value != "" && json.Unmarshal([]byte(value), &arguments) != nil {
			arguments = bmov1.RebootAnnotationArguments{Mode: bmov1.RebootModeSoft}
		}
		if !provisioned && !arguments.Force {
			continue
		}
		wanted = true
		hard = hard || arguments.Mode == bmov1.RebootModeHard
	}
	return wanted, hard
}

func (v *View) switchPower(on, hard, dead bool) Outcome {
	if v.Faults.BMCUnreachable || (dead && on) {
		if on {
			return v.fail(bmov1.PowerManagementError, "PowerOn operation failed: "+v.powerError("power on"))
		}
		message := v.powerError("power off")
		if !hard {
			message = softFailure + message
		}
		return v.fail(bmov1.PowerManagementError, message)
	}
	if rest := v.pending(v.Latencies.Power); rest > 0 {
		return v.wait(rest)
	}
	action := Shutdown
	switch {
	case on:
		action = PowerOn
	case hard:
		action = PowerOff
	}
	return Outcome{Actions: []Action{action}, After: soon}
}

func (v *View) powerError(target string) string {
	return fmt.Sprintf("Failed to change power state to '%s' for node %s: Timed out waiting for the power state.", target, v.nodeID())
}
