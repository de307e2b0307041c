// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package bmo

import (
	"fmt"
	"reflect"
	"strings"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
)

func (v *View) none() Outcome {
	if v.Host.HasBMCDetails() {
		v.next(bmov1.StateRegistering)
		return Outcome{}
	}
	v.Host.Status.OperationalStatus = bmov1.OperationalStatusDiscovered
	v.next(bmov1.StateUnmanaged)
	out := Outcome{}
	out.tell("Discovered", "Discovered host with no BMC details")
	return out
}

// registering has ended once registered() lets it pass.
func (v *View) registering() Outcome {
	switch {
	case v.Host.Spec.ExternallyProvisioned:
		v.next(bmov1.StateExternallyProvisioned)
	case v.Host.InspectionDisabled():
		v.next(bmov1.StatePreparing)
	default:
		v.next(bmov1.StateInspecting)
	}
	v.Host.Status.ErrorCount = 0
	return v.acceptCredentials()
}

func (v *View) inspecting() Outcome {
	if v.Host.InspectionDisabled() {
		v.next(bmov1.StatePreparing)
		v.Host.Status.ErrorCount = 0
		out := Outcome{}
		out.tell("InspectionSkipped", "disabled by user")
		return out
	}
	if inspectionRequested(v.Host) {
		delete(v.Host.Annotations, bmov1.InspectAnnotationPrefix)
		return v.wait(v.pending(v.Latencies.Inspect))
	}
	if rest := v.pending(v.Latencies.Inspect); rest > 0 {
		return v.wait(rest)
	}
	if v.InspectionProblem != "" {
		return v.fail(bmov1.InspectionError, v.InspectionProblem)
	}
	v.heal()
	v.Host.Status.HardwareDetails = v.Hardware
	v.Host.Status.ErrorCount = 0
	v.next(bmov1.StatePreparing)
	out := Outcome{}
	out.do(PublishHardware)
	out.tell("InspectionComplete", "Hardware inspection completed")
	return out
}

// inspectionRequested tells of the annotation that asks for a new inspection.
func inspectionRequested(host *bmov1.BareMetalHost) bool {
	value, ok := host.Annotations[bmov1.InspectAnnotationPrefix]
	return ok && value != bmov1.InspectAnnotationValueDisabled
}

func (v *View) preparing() Outcome {
	if rest := v.pending(v.Latencies.Prepare); rest > 0 {
		return v.wait(rest)
	}
	v.saveSettings()
	v.heal()
	v.Host.Status.ErrorCount = 0
	v.next(bmov1.StateAvailable)
	return Outcome{}
}

// rootDeviceHints are the user's, or those of the hardware profile.
func (v *View) rootDeviceHints() *bmov1.RootDeviceHints {
	if v.Host.Spec.RootDeviceHints != nil {
		return v.Host.Spec.RootDeviceHints.DeepCopy()
	}
	switch v.Host.Status.HardwareProfile {
	case "libvirt":
		return &bmov1.RootDeviceHints{DeviceName: "/dev/vda"}
	case "dell":
		return &bmov1.RootDeviceHints{HCTL: "0:0:0:0"}
	case "empty":
		return &bmov1.RootDeviceHints{}
	default:
		return &bmov1.RootDeviceHints{DeviceName: "/dev/sda"}
	}
}

func (v *View) saveSettings() {
	v.Host.Status.Provisioning.RootDeviceHints = v.rootDeviceHints()
	v.Host.Status.Provisioning.Firmware = v.Host.Spec.Firmware.DeepCopy()
}

func (v *View) settingsChanged() bool {
	settings := v.Host.Status.Provisioning
	return !reflect.DeepEqual(settings.RootDeviceHints, v.rootDeviceHints()) || !reflect.DeepEqual(settings.Firmware, v.Host.Spec.Firmware)
}

func (v *View) clearSettings() {
	v.Host.Status.Provisioning.RootDeviceHints = nil
	v.Host.Status.Provisioning.Firmware = nil
}

func (v *View) available() Outcome {
	switch {
	case v.Host.Spec.ExternallyProvisioned:
		v.next(bmov1.StateExternallyProvisioned)
		v.clearSettings()
	case inspectionRequested(v.Host):
		v.next(bmov1.StateInspecting)
	case v.settingsChanged():
		v.next(bmov1.StatePreparing)
	case v.Host.NeedsProvisioning():
		v.heal()
		v.next(bmov1.StateProvisioning)
	default:
		return v.power()
	}
	return Outcome{}
}

// cancelled tells that the image that is or was being written is not wanted any more.
func (v *View) cancelled() bool {
	wanted, current := v.Host.Spec.Image, v.Host.Status.Provisioning.Image.URL
	if wanted == nil || wanted.URL == "" {
		return true
	}
	return current != "" && wanted.URL != current
}

func (v *View) provisioning() Outcome {
	if v.Host.Status.ErrorType != "" || v.cancelled() {
		v.next(bmov1.StateDeprovisioning)
		return Outcome{}
	}
	image := v.Host.Spec.Image
	if _, _, err := image.GetChecksum(); err != nil {
		return v.fail(bmov1.ProvisioningError, "Validation failed: "+err.Error())
	}
	if v.DriveError != nil {
		// As in the operator: not the host's error, so nothing shows in its status.
		return Outcome{Err: fmt.Errorf("action \"provisioning\" failed: failed to provision: %w", v.DriveError)}
	}
	if rest := v.pending(v.Latencies.Provision); rest > 0 {
		return v.wait(rest)
	}
	if v.Faults.BMCUnreachable || v.FailedProvisions < v.Faults.FailProvision {
		out := v.fail(bmov1.ProvisioningError, fmt.Sprintf(
			"Image provisioning failed: Failed to prepare to deploy: Deploy step deploy.write_image failed on node %s.", v.nodeID()))
		out.do(CountFailure)
		return out
	}
	clearReboots(v.Host)
	v.heal()
	v.Host.Status.Provisioning.Image = *image.DeepCopy()
	v.Host.Status.ErrorCount = 0
	v.next(bmov1.StateProvisioned)
	out := Outcome{}
	if !v.Deployed {
		out.do(PowerOff, Deploy, PowerOn)
	}
	out.tell("ProvisioningComplete", "Image provisioning completed for "+image.URL)
	return out
}

func (v *View) externallyProvisioned() Outcome {
	switch {
	case v.Host.Spec.ExternallyProvisioned:
		return v.power()
	case v.Host.NeedsHardwareInspection():
		v.next(bmov1.StateInspecting)
	default:
		v.next(bmov1.StatePreparing)
	}
	return Outcome{}
}

func (v *View) deprovisioning() Outcome {
	out := Outcome{}
	if v.PoweredOn {
		out.do(PowerOff)
	}
	cleans := v.Host.Spec.AutomatedCleaningMode != bmov1.CleaningModeDisabled
	latency := v.Latencies.Deprovision
	if cleans {
		latency += v.Latencies.Clean
	}
	if rest := v.pending(latency); rest > 0 {
		v.heal()
		out.After = max(rest, soon)
		return out
	}
	if v.Faults.BMCUnreachable {
		failed := v.fail(bmov1.ProvisioningError, fmt.Sprintf("Cleaning failed: Failed to power off node %s before cleaning: the BMC does not answer.", v.nodeID()))
		if !v.Host.DeletionTimestamp.IsZero() && v.Host.Status.ErrorCount > maxAttempts {
			v.next(bmov1.StatePoweringOffBeforeDelete)
		}
		return failed
	}
	if cleans {
		out.do(Wipe)
	}
	clearReboots(v.Host)
	v.heal()
	v.Host.Status.Provisioning.Image = bmov1.Image{}
	v.Host.Status.Provisioning.CustomDeploy = nil
	v.clearSettings()
	v.Host.Status.ErrorCount = 0
	v.next(bmov1.StateAvailable)
	if !v.Host.DeletionTimestamp.IsZero() {
		v.next(bmov1.StatePoweringOffBeforeDelete)
	}
	out.tell("DeprovisioningComplete", "Image deprovisioning completed")
	return out
}

func (v *View) poweringOffBeforeDelete() Outcome {
	if v.Host.Spec.DisablePowerOff || !v.PoweredOn {
		v.Host.Status.PoweredOn = v.PoweredOn
		v.next(bmov1.StateDeleting)
		return Outcome{}
	}
	if v.Faults.BMCUnreachable {
		out := v.fail(bmov1.PowerManagementError, v.powerError("power off"))
		if v.Host.Status.ErrorCount > maxAttempts {
			v.next(bmov1.StateDeleting)
		}
		return out
	}
	return Outcome{Actions: []Action{PowerOff}, After: soon}
}

func (v *View) deleting() Outcome {
	kept := v.Host.Finalizers[:0]
	for _, finalizer := range v.Host.Finalizers {
		if finalizer != bmov1.BareMetalHostFinalizer {
			kept = append(kept, finalizer)
		}
	}
	v.Host.Finalizers = kept
	return Outcome{Actions: []Action{Forget}}
}

// isReboot tells whether an annotation asks for a reboot.
func isReboot(annotation string) bool {
	return annotation == bmov1.RebootAnnotationPrefix || strings.HasPrefix(annotation, bmov1.RebootAnnotationPrefix+"/")
}

func clearReboots(host *bmov1.BareMetalHost) {
	for annotation := range host.Annotations {
		if isReboot(annotation) {
			delete(host.Annotations, annotation)
		}
	}
}
