// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package bmo

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/faults"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func credentials() *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "bmc", ResourceVersion: "7"}}
}

// view is a registered host in a state, long after its operation began.
func view(state bmov1.ProvisioningState) *View {
	host := &bmov1.BareMetalHost{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: "host-1", UID: "uid-1", Finalizers: []string{bmov1.BareMetalHostFinalizer, "other"}, Annotations: map[string]string{},
		},
		Spec: bmov1.BareMetalHostSpec{Online: true, BMC: bmov1.BMCDetails{Address: "redfish://192.0.2.9", CredentialsName: "bmc"}},
	}
	host.Status.Provisioning.State = state
	host.Status.HardwareProfile = "unknown"
	host.Status.OperationalStatus = bmov1.OperationalStatusOK
	host.Status.Provisioning.RootDeviceHints = &bmov1.RootDeviceHints{DeviceName: "/dev/sda"}
	host.UpdateGoodCredentials(*credentials())
	host.UpdateTriedCredentials(*credentials())
	return &View{
		Host: host, Now: epoch, Elapsed: time.Hour, Credentials: credentials(), Hardware: &bmov1.HardwareDetails{Hostname: "host-1"},
		Latencies: Latencies{
			Register: time.Minute, Inspect: time.Minute, Prepare: time.Minute, Provision: time.Minute, Deprovision: time.Minute,
			Clean: time.Minute, Power: time.Second, Retry: time.Second,
		},
	}
}

func wantedImage() *bmov1.Image {
	return &bmov1.Image{URL: "https://example.org/a.qcow2", Checksum: "https://example.org/a.sha256"}
}

func TestTransitions(t *testing.T) {
	deleted := func(v *View) { v.Host.DeletionTimestamp = new(metav1.NewTime(epoch)) }
	provisioned := func(v *View) {
		v.Host.Spec.Image = wantedImage()
		v.Host.Status.Provisioning.Image = *wantedImage()
		v.PoweredOn, v.Host.Status.PoweredOn = true, true
	}
	tests := map[string]struct {
		from    bmov1.ProvisioningState
		change  func(*View)
		want    bmov1.ProvisioningState
		actions []Action
	}{
		"a new host is registered":                   {bmov1.StateNone, nil, bmov1.StateRegistering, nil},
		"a host without BMC is unmanaged":            {bmov1.StateNone, func(v *View) { v.Host.Spec.BMC = bmov1.BMCDetails{} }, bmov1.StateUnmanaged, nil},
		"an unmanaged host gets a BMC":               {bmov1.StateUnmanaged, nil, bmov1.StateRegistering, nil},
		"registering takes its time":                 {bmov1.StateRegistering, func(v *View) { v.Elapsed = 0 }, bmov1.StateRegistering, nil},
		"registered, now inspect":                    {bmov1.StateRegistering, nil, bmov1.StateInspecting, nil},
		"inspection can be disabled":                 {bmov1.StateRegistering, func(v *View) { v.Host.Spec.InspectionMode = bmov1.InspectionModeDisabled }, bmov1.StatePreparing, nil},
		"externally provisioned hosts stop here":     {bmov1.StateRegistering, func(v *View) { v.Host.Spec.ExternallyProvisioned = true }, bmov1.StateExternallyProvisioned, nil},
		"inspected":                                  {bmov1.StateInspecting, nil, bmov1.StatePreparing, []Action{PublishHardware}},
		"inspection takes its time, and the fault's": {bmov1.StateInspecting, func(v *View) { v.Faults.Slow = 2 * time.Hour }, bmov1.StateInspecting, nil},
		"prepared":                                    {bmov1.StatePreparing, nil, bmov1.StateAvailable, nil},
		"an available host is switched on":            {bmov1.StateAvailable, nil, bmov1.StateAvailable, []Action{PowerOn}},
		"an image is provisioned":                     {bmov1.StateAvailable, func(v *View) { v.Host.Spec.Image = wantedImage() }, bmov1.StateProvisioning, nil},
		"but not to a host that is to be off":         {bmov1.StateAvailable, func(v *View) { v.Host.Spec.Image, v.Host.Spec.Online = wantedImage(), false }, bmov1.StateAvailable, nil},
		"changed root device hints are prepared":      {bmov1.StateAvailable, func(v *View) { v.Host.Spec.RootDeviceHints = &bmov1.RootDeviceHints{DeviceName: "/dev/vda"} }, bmov1.StatePreparing, nil},
		"an inspection is asked for":                  {bmov1.StateAvailable, func(v *View) { v.Host.Annotations[bmov1.InspectAnnotationPrefix] = "" }, bmov1.StateInspecting, nil},
		"provisioned":                                 {bmov1.StateProvisioning, func(v *View) { v.Host.Spec.Image = wantedImage() }, bmov1.StateProvisioned, []Action{PowerOff, Deploy, PowerOn}},
		"the image goes while it is written":          {bmov1.StateProvisioning, nil, bmov1.StateDeprovisioning, nil},
		"a failed attempt is undone":                  {bmov1.StateProvisioning, func(v *View) { v.Host.Spec.Image, v.Host.Status.ErrorType = wantedImage(), bmov1.ProvisioningError }, bmov1.StateDeprovisioning, nil},
		"a provisioned host stays":                    {bmov1.StateProvisioned, provisioned, bmov1.StateProvisioned, nil},
		"another image":                               {bmov1.StateProvisioned, func(v *View) { provisioned(v); v.Host.Spec.Image.URL += "2" }, bmov1.StateDeprovisioning, nil},
		"deprovisioning switches off first":           {bmov1.StateDeprovisioning, func(v *View) { v.Elapsed, v.PoweredOn = 0, true }, bmov1.StateDeprovisioning, []Action{PowerOff}},
		"deprovisioned, cleaned":                      {bmov1.StateDeprovisioning, nil, bmov1.StateAvailable, []Action{Wipe}},
		"deprovisioned without cleaning":              {bmov1.StateDeprovisioning, func(v *View) { v.Host.Spec.AutomatedCleaningMode = bmov1.CleaningModeDisabled }, bmov1.StateAvailable, nil},
		"deleting a provisioned host cleans it first": {bmov1.StateProvisioned, func(v *View) { provisioned(v); deleted(v) }, bmov1.StateDeprovisioning, nil},
		"deleting an available host switches it off":  {bmov1.StateAvailable, deleted, bmov1.StatePoweringOffBeforeDelete, nil},
		"deleting a host that was never registered":   {bmov1.StateRegistering, deleted, bmov1.StateDeleting, nil},
		"after cleaning comes the power":              {bmov1.StateDeprovisioning, deleted, bmov1.StatePoweringOffBeforeDelete, []Action{Wipe}},
		"power off before delete":                     {bmov1.StatePoweringOffBeforeDelete, func(v *View) { deleted(v); v.PoweredOn = true }, bmov1.StatePoweringOffBeforeDelete, []Action{PowerOff}},
		"off, now forget":                             {bmov1.StatePoweringOffBeforeDelete, deleted, bmov1.StateDeleting, nil},
		"forgotten":                                   {bmov1.StateDeleting, deleted, bmov1.StateDeleting, []Action{Forget}},
		"a reboot starts with the power going off":    {bmov1.StateProvisioned, func(v *View) { provisioned(v); v.Host.Annotations[bmov1.RebootAnnotationPrefix] = "" }, bmov1.StateProvisioned, []Action{Shutdown}},
		"a hard reboot cuts the power": {bmov1.StateProvisioned, func(v *View) {
			provisioned(v)
			v.Host.Annotations[bmov1.RebootAnnotationPrefix] = `{"mode": "hard"}`
		}, bmov1.StateProvisioned, []Action{PowerOff}},
		"an available host is not rebooted": {bmov1.StateAvailable, func(v *View) {
			provisioned(v)
			v.Host.Spec.Image = nil
			v.Host.Annotations[bmov1.RebootAnnotationPrefix] = ""
		}, bmov1.StateAvailable, nil},
		"unless by force": {bmov1.StateAvailable, func(v *View) {
			provisioned(v)
			v.Host.Spec.Image = nil
			v.Host.Annotations[bmov1.RebootAnnotationPrefix] = `{"force": true}`
		}, bmov1.StateAvailable, []Action{Shutdown}},
		"nobody touches a detached host": {bmov1.StateProvisioned, func(v *View) {
			provisioned(v)
			v.Host.Annotations[bmov1.DetachedAnnotation] = ""
			v.Host.Spec.Online = false
		}, bmov1.StateProvisioned, nil},
		"deleting a detached host leaves its machine": {bmov1.StateProvisioned, func(v *View) {
			provisioned(v)
			deleted(v)
			v.Host.Status.OperationalStatus = bmov1.OperationalStatusDetached
		}, bmov1.StateDeleting, nil},
		"a host that is no longer detached is attached": {bmov1.StateProvisioned, func(v *View) {
			provisioned(v)
			v.Host.Status.OperationalStatus = bmov1.OperationalStatusDetached
		}, bmov1.StateProvisioned, []Action{Attach}},
		"a host that was just attached is not touched yet": {bmov1.StateDeprovisioning, func(v *View) {
			v.PoweredOn, v.Latencies.Register, v.Attached = true, time.Second, new(time.Millisecond)
		}, bmov1.StateDeprovisioning, nil},
		"a host that is taken away by a move is not touched": {bmov1.StateDeprovisioning, func(v *View) {
			deleted(v)
			v.PoweredOn, v.Latencies.Register, v.Attached = true, 0, new(time.Second)
		}, bmov1.StateDeprovisioning, nil},
		"the fault disappear kills a provisioned host": {bmov1.StateProvisioned, func(v *View) { provisioned(v); v.Faults.Disappear = true }, bmov1.StateProvisioned, []Action{PowerOff}},
		"NICs are changed with the power off":          {bmov1.StateProvisioned, func(v *View) { provisioned(v); v.Rewired = true }, bmov1.StateProvisioned, []Action{PowerOff, PowerOn}},
		"an unreachable BMC does not hold up deletion": {bmov1.StatePoweringOffBeforeDelete, func(v *View) {
			deleted(v)
			v.PoweredOn = true
			v.Faults.BMCUnreachable = true
			v.Host.Status.ErrorCount = 3
		}, bmov1.StateDeleting, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			v := view(test.from)
			if test.change != nil {
				test.change(v)
			}
			out := Step(v)
			if out.Err != nil {
				t.Fatal(out.Err)
			}
			if got := v.Host.Status.Provisioning.State; got != test.want {
				t.Errorf("state %q, want %q (%s)", got, test.want, v.Host.Status.ErrorMessage)
			}
			if !slices.Equal(out.Actions, test.actions) {
				t.Errorf("actions %v, want %v", out.Actions, test.actions)
			}
			if test.from != test.want && out.After <= 0 {
				t.Error("a host that moved on is not looked at again")
			}
		})
	}
}

func TestErrors(t *testing.T) {
	tests := map[string]struct {
		from    bmov1.ProvisioningState
		change  func(*View)
		kind    bmov1.ErrorType
		message string
	}{
		"no Secret":         {bmov1.StateRegistering, func(v *View) { v.Credentials, v.CredentialsProblem = nil, "BMC CredentialsName secret doesn't exist" }, bmov1.RegistrationError, "doesn't exist"},
		"BMC is deaf":       {bmov1.StateRegistering, func(v *View) { v.Faults.BMCUnreachable = true }, bmov1.RegistrationError, "Unable to connect to redfish://192.0.2.9"},
		"bad hardware":      {bmov1.StateInspecting, func(v *View) { v.InspectionProblem = "Inspection failed: x" }, bmov1.InspectionError, "Inspection failed: x"},
		"image without sum": {bmov1.StateProvisioning, func(v *View) { v.Host.Spec.Image = &bmov1.Image{URL: "http://x"} }, bmov1.ProvisioningError, "Validation failed: checksum is required"},
		"the fault fails":   {bmov1.StateProvisioning, func(v *View) { v.Host.Spec.Image = wantedImage(); v.Faults.FailProvision = 1 }, bmov1.ProvisioningError, "Image provisioning failed: "},
		"no power on":       {bmov1.StateAvailable, func(v *View) { v.Faults.BMCUnreachable = true }, bmov1.PowerManagementError, "PowerOn operation failed: "},
		"no soft power off": {bmov1.StateAvailable, func(v *View) {
			v.Host.Spec.Online = false
			v.Host.Status.PoweredOn = true
			v.Faults.BMCUnreachable = true
		}, bmov1.PowerManagementError, "Continuing with hard poweroff"},
		"no cleaning":         {bmov1.StateDeprovisioning, func(v *View) { v.Faults.BMCUnreachable = true }, bmov1.ProvisioningError, "Cleaning failed: "},
		"changed credentials": {bmov1.StateAvailable, func(v *View) { v.Credentials.ResourceVersion = "8"; v.Faults.BMCUnreachable = true }, bmov1.RegistrationError, "Unable to connect"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			v := view(test.from)
			test.change(v)
			first := Step(v)
			status := v.Host.Status
			if status.ErrorType != test.kind || !strings.Contains(status.ErrorMessage, test.message) || status.OperationalStatus != bmov1.OperationalStatusError || status.ErrorCount != 1 {
				t.Errorf("status %+v", status)
			}
			if len(first.Events) != 1 || first.After <= 0 {
				t.Errorf("outcome %+v", first)
			}
			if meta.IsStatusConditionTrue(status.Conditions, bmov1.ReadyCondition) {
				t.Error("condition Ready is true")
			}
		})
	}
}

func TestRetriesWaitLongerAndLonger(t *testing.T) {
	v := view(bmov1.StateRegistering)
	v.Faults = faults.Set{BMCUnreachable: true}
	var waits []time.Duration
	for range 9 {
		waits = append(waits, Step(v).After)
	}
	want := []time.Duration{
		time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second, time.Minute, time.Minute, time.Minute,
	}
	if !slices.Equal(waits, want) {
		t.Fatalf("waits %v, want %v", waits, want)
	}
	v.Faults = faults.Set{}
	Step(v)
	if v.Host.Status.ErrorType != "" || v.Host.Status.ErrorCount != 0 || v.Host.Status.Provisioning.State != bmov1.StateInspecting {
		t.Errorf("a healed host: %+v", v.Host.Status)
	}
}

func TestMissingSecretIsNotTheHostsError(t *testing.T) {
	v := view(bmov1.StateProvisioning)
	v.Host.Spec.Image = wantedImage()
	v.DriveError = errors.New("could not retrieve user data")
	before := v.Host.DeepCopy()
	out := Step(v)
	if !errors.Is(out.Err, v.DriveError) || v.Host.Status.ErrorType != before.Status.ErrorType || len(v.Host.Status.Conditions) != 0 {
		t.Errorf("outcome %+v, status %+v", out, v.Host.Status)
	}
}

func TestHistoryAndConditions(t *testing.T) {
	v := view(bmov1.StateProvisioning)
	v.Host.Spec.Image = wantedImage()
	v.Host.Status.OperationHistory.Provision.Start = metav1.NewTime(epoch.Add(-time.Minute))
	Step(v)
	if took := v.Host.Status.OperationHistory.Provision.Duration(); took != time.Minute {
		t.Errorf("provisioning took %s", took)
	}
	for kind, want := range map[string]bool{
		bmov1.ManageableCondition: true, bmov1.ProvisionedCondition: true, bmov1.ReadyCondition: true,
		bmov1.AvailableForProvisioningCondition: false, bmov1.ProgressingCondition: false,
	} {
		if meta.IsStatusConditionTrue(v.Host.Status.Conditions, kind) != want {
			t.Errorf("condition %s is not %t: %+v", kind, want, v.Host.Status.Conditions)
		}
	}
	v.PoweredOn = true
	Step(v)
	settled := v.Host.DeepCopy()
	v.Now = epoch.Add(time.Hour)
	if out := Step(v); len(out.Actions)+len(out.Events) != 0 || out.After != steady {
		t.Errorf("a host at rest: %+v", out)
	}
	if diff := settled.Status.Conditions; !slices.Equal(diff, v.Host.Status.Conditions) {
		t.Error("a host at rest changed its conditions")
	}
}

func TestErrorsOfTheHost(t *testing.T) {
	tests := map[string]struct {
		state   bmov1.ProvisioningState
		action  Action
		kind    bmov1.ErrorType
		message string
	}{
		"an image that is wrong":        {bmov1.StateProvisioning, Deploy, bmov1.ProvisioningError, "Image provisioning failed: broken"},
		"a machine that does not start": {bmov1.StateProvisioned, PowerOn, bmov1.PowerManagementError, "Failed to power on node uid-1. Error: broken"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			v := view(test.state)
			out := v.failAction(test.action, &HostError{Err: errors.New("broken")})
			status := v.Host.Status
			if status.ErrorType != test.kind || status.ErrorMessage != test.message || status.ErrorCount != 1 || status.Provisioning.State != test.state {
				t.Errorf("status %+v", status)
			}
			if out.After != v.Latencies.Retry || len(out.Events) != 1 || out.Events[0].Message != test.message {
				t.Errorf("outcome %+v", out)
			}
			if condition := meta.FindStatusCondition(status.Conditions, bmov1.ReadyCondition); condition == nil || condition.Reason != bmov1.ErrorReason {
				t.Errorf("condition %+v", condition)
			}
		})
	}
}
