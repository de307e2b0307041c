// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package hosts_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/hosts"
)

func newWriter(t *testing.T, objects ...client.Object) hosts.Writer {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{bmov1.AddToScheme, infrav1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return hosts.Writer{Client: fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&bmov1.BareMetalHost{}).WithObjects(objects...).Build()}
}

func read(t *testing.T, w hosts.Writer) *bmov1.BareMetalHost {
	t.Helper()
	host := &bmov1.BareMetalHost{}
	if err := w.Client.Get(t.Context(), client.ObjectKey{Namespace: "site", Name: "h"}, host); err != nil {
		t.Fatal(err)
	}
	return host
}

func machine(name string) *infrav1.EdgeMachine {
	return &infrav1.EdgeMachine{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "site"}}
}

func TestClaimProvisionRelease(t *testing.T) {
	given := available("h", func(h *bmov1.BareMetalHost) {
		h.Spec.BMC.Address = "redfish://192.0.2.1/1"
		h.Spec.AutomatedCleaningMode = bmov1.CleaningModeDisabled
		h.Annotations["theirs"] = "kept"
	})
	w := newWriter(t, &given)
	asGiven := read(t, w)

	claimed, err := w.Claim(t.Context(), read(t, w), machine("m"))
	if err != nil {
		t.Fatal(err)
	}
	if !hosts.IsClaimedBy(claimed, machine("m")) || hosts.IsClaimedBy(claimed, machine("other")) {
		t.Errorf("consumerRef %+v is not that of the machine", claimed.Spec.ConsumerRef)
	}
	provisioning, err := w.Provision(t.Context(), claimed, hosts.Order{
		Image: bmov1.Image{URL: "https://images/os.qcow2", Checksum: "c"}, ConfigSecret: "m-host-config", AutomatedCleaning: infrav1.CleaningMetadata,
	})
	if err != nil {
		t.Fatal(err)
	}
	secret := &corev1.SecretReference{Name: "m-host-config", Namespace: "site"}
	want := bmov1.BareMetalHostSpec{
		BMC: given.Spec.BMC, Online: true, AutomatedCleaningMode: bmov1.CleaningModeMetadata, ConsumerRef: hosts.ConsumerRef(machine("m")),
		Image: &bmov1.Image{URL: "https://images/os.qcow2", Checksum: "c"}, UserData: secret, NetworkData: secret, MetaData: secret,
	}
	if diff := cmp.Diff(want, provisioning.Spec); diff != "" {
		t.Errorf("spec of the provisioned host (-want +got):\n%s", diff)
	}

	cleaned, err := w.Deprovision(t.Context(), provisioning)
	if err != nil {
		t.Fatal(err)
	}
	if cleaned.Spec.ConsumerRef == nil {
		t.Error("a host that is being cleaned must stay claimed")
	}
	if err := w.Release(t.Context(), cleaned); err != nil {
		t.Fatal(err)
	}
	released := read(t, w)
	released.ResourceVersion, asGiven.ResourceVersion = "", ""
	if diff := cmp.Diff(asGiven, released); diff != "" {
		t.Errorf("the host does not go back as it came (-before +after):\n%s", diff)
	}
}

func TestSecondClaimConflicts(t *testing.T) {
	given := available("h")
	w := newWriter(t, &given)
	seenByBoth := read(t, w)
	if _, err := w.Claim(t.Context(), seenByBoth, machine("first")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Claim(t.Context(), seenByBoth, machine("second")); !apierrors.IsConflict(err) {
		t.Fatalf("the second claim returned %v, want a conflict", err)
	}
	if !hosts.IsClaimedBy(read(t, w), machine("first")) {
		t.Error("the host is not the first claimant's")
	}
}

func TestParkAndUnpark(t *testing.T) {
	given := available("h", func(h *bmov1.BareMetalHost) {
		h.Spec.ConsumerRef = hosts.ConsumerRef(machine("m"))
		h.Annotations[clusterctlv1.BlockMoveAnnotation] = ""
		h.Status.Provisioning = bmov1.ProvisionStatus{State: bmov1.StateProvisioned, ID: "42"}
	})
	w := newWriter(t, &given)
	park := func() *bmov1.BareMetalHost {
		if err := w.Park(t.Context(), read(t, w), true); err != nil {
			t.Fatal(err)
		}
		return read(t, w)
	}
	for range 2 {
		detaching := park()
		want := map[string]string{bmov1.DetachedAnnotation: infrav1.HostDetachedValue, clusterctlv1.BlockMoveAnnotation: ""}
		if diff := cmp.Diff(want, detaching.Annotations); diff != "" || hosts.IsParked(detaching) {
			t.Fatalf("annotations before baremetal-operator has detached the host (-want +got):\n%s", diff)
		}
	}
	detached := read(t, w)
	detached.Status.OperationalStatus = bmov1.OperationalStatusDetached
	if err := w.Client.Status().Update(t.Context(), detached); err != nil {
		t.Fatal(err)
	}
	parked := park()
	if !hosts.IsParked(parked) {
		t.Fatalf("not parked: %v", parked.Annotations)
	}
	var status bmov1.BareMetalHostStatus
	if err := json.Unmarshal([]byte(parked.Annotations[bmov1.StatusAnnotation]), &status); err != nil {
		t.Fatal(err)
	}
	if status.Provisioning.ID != "42" || status.HardwareDetails != nil || status.OperationalStatus != bmov1.OperationalStatusDetached {
		t.Errorf("the status written down is %+v, want the provisioning ID, detached, and no hardware (HardwareData holds it)", status)
	}

	unparked, err := w.Unpark(t.Context(), parked)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{clusterctlv1.BlockMoveAnnotation: ""}, unparked.Annotations); diff != "" {
		t.Errorf("annotations after the pause (-want +got):\n%s", diff)
	}
}

// A host in a state that baremetal-operator does not detach, or that somebody else has paused, is parked at once.
func TestParkWithoutDetaching(t *testing.T) {
	for name, change := range map[string]func(*bmov1.BareMetalHost){
		"inspecting":             func(h *bmov1.BareMetalHost) { h.Status.Provisioning.State = bmov1.StateInspecting },
		"paused by someone else": func(h *bmov1.BareMetalHost) { h.Annotations[bmov1.PausedAnnotation] = "by a person" },
	} {
		t.Run(name, func(t *testing.T) {
			given := available("h", change)
			w := newWriter(t, &given)
			if err := w.Park(t.Context(), read(t, w), true); err != nil {
				t.Fatal(err)
			}
			parked := read(t, w)
			if _, detached := parked.Annotations[bmov1.DetachedAnnotation]; detached || !hosts.IsParked(parked) {
				t.Errorf("annotations %v", parked.Annotations)
			}
		})
	}
}

// The Cluster is unpaused before the host is parked.
func TestUnparkHalfWay(t *testing.T) {
	given := available("h", func(*bmov1.BareMetalHost) {})
	w := newWriter(t, &given)
	if err := w.Park(t.Context(), read(t, w), true); err != nil {
		t.Fatal(err)
	}
	unparked, err := w.Unpark(t.Context(), read(t, w))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{clusterctlv1.BlockMoveAnnotation: ""}, unparked.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
}

func TestUnparkInAnotherClusterKeepsTheStatusToRestore(t *testing.T) {
	moved := available("h", func(h *bmov1.BareMetalHost) {
		h.Annotations = map[string]string{bmov1.PausedAnnotation: infrav1.HostPausedValue, bmov1.StatusAnnotation: "{}"}
		h.Status = bmov1.BareMetalHostStatus{}
	})
	w := newWriter(t, &moved)
	unparked, err := w.Unpark(t.Context(), read(t, w))
	if err != nil {
		t.Fatal(err)
	}
	if _, found := unparked.Annotations[bmov1.StatusAnnotation]; !found {
		t.Error("the status annotation is gone before baremetal-operator has read it")
	}
}

func TestPauseOfSomebodyElseStays(t *testing.T) {
	given := available("h", func(h *bmov1.BareMetalHost) { h.Annotations[bmov1.PausedAnnotation] = "by a person" })
	w := newWriter(t, &given)
	unparked, err := w.Unpark(t.Context(), read(t, w))
	if err != nil {
		t.Fatal(err)
	}
	if unparked.Annotations[bmov1.PausedAnnotation] != "by a person" {
		t.Error("a pause that is not ours was removed")
	}
}
