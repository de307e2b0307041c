// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package hardware

import (
	"strings"
	"testing"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func host(annotation string) *bmov1.BareMetalHost {
	host := &bmov1.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "host-1"}}
	host.Spec.BootMACAddress = "52:54:00:ED:9E:FF"
	if annotation != "" {
		host.Annotations = map[string]string{Annotation: annotation}
	}
	return host
}

func TestInspect(t *testing.T) {
	details, err := Inspect(host(""))
	if err != nil {
		t.Fatal(err)
	}
	if nic := details.NIC[0]; nic.MAC != "52:54:00:ed:9e:ff" || !nic.PXE || nic.PCIAddress == "" || nic.SpeedGbps == 0 {
		t.Errorf("the boot NIC %+v", nic)
	}
	if details.NIC[1].PXE || details.NIC[1].MAC == details.NIC[0].MAC {
		t.Errorf("the other NIC %+v", details.NIC[1])
	}
	given, err := Inspect(host(`{"cpu": {"count": 2}, "ramMebibytes": 1024, "systemVendor": {"manufacturer": "ACME"}, "nics": [{"name": "eth0", "mac": "02:00:00:00:00:AA"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if given.CPU.Count != 2 || given.CPU.Arch != details.CPU.Arch || given.RAMMebibytes != 1024 || given.SystemVendor.Manufacturer != "ACME" || len(given.NIC) != 1 || given.NIC[0].MAC != "02:00:00:00:00:aa" || len(given.Storage) != 1 {
		t.Errorf("the annotation over the defaults: %+v", given)
	}
	for _, bad := range []string{`{"cpus": 2}`, `{`, `[]`} {
		if _, err := Inspect(host(bad)); err == nil || !strings.Contains(err.Error(), Annotation) {
			t.Errorf("%s: error %v", bad, err)
		}
	}
}

func TestNICs(t *testing.T) {
	details := &bmov1.HardwareDetails{NIC: []bmov1.NIC{
		{Name: "a", MAC: "02:00:00:00:00:01", IP: "192.0.2.1"}, {Name: "a", MAC: "02:00:00:00:00:01", IP: "2001:db8::1"}, {Name: "b", MAC: "02:00:00:00:00:02"},
	}}
	right, wrong := NICs(details, false), NICs(details, true)
	if len(right) != 2 || right[0] != (NIC{Name: "a", MAC: "02:00:00:00:00:01"}) {
		t.Errorf("NICs %+v", right)
	}
	for i := range right {
		if wrong[i].MAC == right[i].MAC || wrong[i].Name != right[i].Name {
			t.Errorf("the fault leaves NIC %+v", wrong[i])
		}
	}
}
