// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package hosts_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/hosts"
)

// available makes a free host with the usual hardware, changed as asked.
func available(name string, changes ...func(*bmov1.BareMetalHost)) bmov1.BareMetalHost {
	host := bmov1.BareMetalHost{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "site", Labels: map[string]string{"site": "edge-1"}, Annotations: map[string]string{}},
		Status: bmov1.BareMetalHostStatus{
			OperationalStatus: bmov1.OperationalStatusOK,
			Provisioning:      bmov1.ProvisionStatus{State: bmov1.StateAvailable},
			HardwareDetails: &bmov1.HardwareDetails{
				CPU:          bmov1.CPU{Arch: "x86_64", Count: 8},
				RAMMebibytes: 16384,
				SystemVendor: bmov1.HardwareSystemVendor{Manufacturer: "Dell Inc."},
				Storage:      []bmov1.Storage{{Name: "/dev/sda", SizeBytes: 240 * bmov1.GigaByte}, {Name: "/dev/nvme0n1", SizeBytes: 2 * bmov1.TeraByte}},
				NIC: []bmov1.NIC{
					{Name: "eno1", MAC: "52:54:00:00:00:01", SpeedGbps: 10, PXE: true},
					{Name: "eno1", MAC: "52:54:00:00:00:01", SpeedGbps: 10, IP: "fe80::1"},
					{Name: "eno2", MAC: "52:54:00:00:00:02", SpeedGbps: 25},
				},
			},
		},
	}
	for _, change := range changes {
		change(&host)
	}
	return host
}

func annotated(key string) func(*bmov1.BareMetalHost) {
	return func(h *bmov1.BareMetalHost) { h.Annotations[key] = "" }
}

func inDomain(domain string) func(*bmov1.BareMetalHost) {
	return func(h *bmov1.BareMetalHost) { h.Labels[infrav1.FailureDomainLabel] = domain }
}

func statusHardware(host *bmov1.BareMetalHost) *bmov1.HardwareDetails {
	return host.Status.HardwareDetails
}

func TestUnavailable(t *testing.T) {
	now := metav1.Now()
	for name, test := range map[string]struct {
		host bmov1.BareMetalHost
		want hosts.Obstacle
	}{
		"free":                         {available("h"), ""},
		"free, as old releases say it": {available("h", func(h *bmov1.BareMetalHost) { h.Status.Provisioning.State = bmov1.StateReady }), ""},
		"deleting":                     {available("h", func(h *bmov1.BareMetalHost) { h.DeletionTimestamp = &now }), hosts.ObstacleDeleting},
		"in use":                       {available("h", func(h *bmov1.BareMetalHost) { h.Spec.ConsumerRef = &corev1.ObjectReference{Name: "x"} }), hosts.ObstacleInUse},
		"paused":                       {available("h", annotated(bmov1.PausedAnnotation)), hosts.ObstaclePaused},
		"detached":                     {available("h", annotated(bmov1.DetachedAnnotation)), hosts.ObstacleDetached},
		"unhealthy":                    {available("h", annotated(infrav1.UnhealthyAnnotation)), hosts.ObstacleUnhealthy},
		"unhealthy, as CAPM3 says it":  {available("h", annotated("capm3.metal3.io/unhealthy")), hosts.ObstacleUnhealthy},
		"maintenance":                  {available("h", annotated(infrav1.MaintenanceAnnotation)), hosts.ObstacleMaintenance},
		"error":                        {available("h", func(h *bmov1.BareMetalHost) { h.Status.OperationalStatus = bmov1.OperationalStatusError }), hosts.ObstacleError},
		"error text":                   {available("h", func(h *bmov1.BareMetalHost) { h.Status.ErrorMessage = "no" }), hosts.ObstacleError},
		"by hand":                      {available("h", func(h *bmov1.BareMetalHost) { h.Spec.Image = &bmov1.Image{URL: "u"} }), hosts.ObstacleByHand},
		"external":                     {available("h", func(h *bmov1.BareMetalHost) { h.Spec.ExternallyProvisioned = true }), hosts.ObstacleByHand},
		"custom":                       {available("h", func(h *bmov1.BareMetalHost) { h.Spec.CustomDeploy = &bmov1.CustomDeploy{Method: "m"} }), hosts.ObstacleByHand},
		"inspecting":                   {available("h", func(h *bmov1.BareMetalHost) { h.Status.Provisioning.State = bmov1.StateInspecting }), hosts.ObstacleNotAvailable},
		"unregistered":                 {available("h", func(h *bmov1.BareMetalHost) { h.Status.Provisioning.State = bmov1.StateNone }), hosts.ObstacleNotAvailable},
	} {
		t.Run(name, func(t *testing.T) {
			if got := hosts.Unavailable(&test.host); got != test.want {
				t.Errorf("Unavailable() = %q, want %q", got, test.want)
			}
		})
	}
}

func TestFits(t *testing.T) {
	host := available("h")
	for name, test := range map[string]struct {
		need infrav1.HardwareRequirements
		want bool
	}{
		"nothing asked":           {infrav1.HardwareRequirements{}, true},
		"everything fits":         {infrav1.HardwareRequirements{MinCPUs: 8, MinMemory: new(resource.MustParse("16Gi")), MinRootDisk: new(resource.MustParse("240G")), MinNICs: 2, MinNICSpeedGbps: 10, Vendor: "dell inc.", Architecture: "amd64"}, true},
		"too few CPUs":            {infrav1.HardwareRequirements{MinCPUs: 9}, false},
		"too little memory":       {infrav1.HardwareRequirements{MinMemory: new(resource.MustParse("16385Mi"))}, false},
		"the smaller disk counts": {infrav1.HardwareRequirements{MinRootDisk: new(resource.MustParse("241G"))}, false},
		"one NIC listed twice":    {infrav1.HardwareRequirements{MinNICs: 3}, false},
		"one fast NIC":            {infrav1.HardwareRequirements{MinNICSpeedGbps: 25}, true},
		"no NIC as fast":          {infrav1.HardwareRequirements{MinNICSpeedGbps: 100}, false},
		"two fast NICs":           {infrav1.HardwareRequirements{MinNICs: 2, MinNICSpeedGbps: 25}, false},
		"another vendor":          {infrav1.HardwareRequirements{Vendor: "HPE"}, false},
		"another architecture":    {infrav1.HardwareRequirements{Architecture: "arm64"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := hosts.Fits(test.need, &host, host.Status.HardwareDetails); got != test.want {
				t.Errorf("Fits() = %v, want %v", got, test.want)
			}
		})
	}
	if hosts.Fits(infrav1.HardwareRequirements{MinCPUs: 1}, &host, nil) {
		t.Error("a host without inspection results must not fit")
	}
}

func TestRootDiskBytes(t *testing.T) {
	disks := []bmov1.Storage{
		{Name: "/dev/sda", SizeBytes: bmov1.GibiByte, Model: "USB stick"},
		{Name: "/dev/sdb", SizeBytes: 500 * bmov1.GigaByte, Rotational: true, Model: "ST500 HDD", Vendor: "Seagate"},
		{Name: "/dev/nvme0n1", AlternateNames: []string{"/dev/disk/by-id/x"}, SizeBytes: 900 * bmov1.GigaByte, SerialNumber: "s1"},
	}
	for name, test := range map[string]struct {
		hints *bmov1.RootDeviceHints
		want  bmov1.Capacity
	}{
		"no hints: the smallest that is large enough": {nil, 500 * bmov1.GigaByte},
		"by name":            {&bmov1.RootDeviceHints{DeviceName: "/dev/nvme0n1"}, 900 * bmov1.GigaByte},
		"by alternate name":  {&bmov1.RootDeviceHints{DeviceName: "/dev/disk/by-id/x"}, 900 * bmov1.GigaByte},
		"by size":            {&bmov1.RootDeviceHints{MinSizeGigabytes: 600}, 900 * bmov1.GigaByte},
		"by rotation":        {&bmov1.RootDeviceHints{Rotational: new(false), MinSizeGigabytes: 10}, 900 * bmov1.GigaByte},
		"by part of a model": {&bmov1.RootDeviceHints{Model: "HDD"}, 500 * bmov1.GigaByte},
		"none":               {&bmov1.RootDeviceHints{SerialNumber: "s2"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := hosts.RootDiskBytes(test.hints, disks); got != int64(test.want) {
				t.Errorf("RootDiskBytes() = %d, want %d", got, test.want)
			}
		})
	}
}

func TestChoose(t *testing.T) {
	edge1 := labels.SelectorFromSet(labels.Set{"site": "edge-1"})
	inUse := func(h *bmov1.BareMetalHost) { h.Spec.ConsumerRef = &corev1.ObjectReference{Name: "x"} }
	arm64 := func(h *bmov1.BareMetalHost) { h.Status.HardwareDetails.CPU.Arch = "aarch64" }
	onAMD64 := func(architecture string) bool { return architecture == "x86_64" }
	elsewhere := func(h *bmov1.BareMetalHost) { h.Labels["site"] = "edge-2" }
	for name, test := range map[string]struct {
		request hosts.Request
		all     []bmov1.BareMetalHost
		want    []string
		text    string
	}{
		"all equally good": {
			request: hosts.Request{Labels: edge1},
			all:     []bmov1.BareMetalHost{available("a"), available("b"), available("c", inUse)},
			want:    []string{"a", "b"},
		},
		"the failure domain asked for, and no other": {
			request: hosts.Request{Labels: edge1, FailureDomain: "rack-2"},
			all:     []bmov1.BareMetalHost{available("a", inDomain("rack-1")), available("b", inDomain("rack-2"))},
			want:    []string{"b"},
		},
		"no silent fallback to another failure domain": {
			request: hosts.Request{Labels: edge1, FailureDomain: "rack-3"},
			all:     []bmov1.BareMetalHost{available("a", inDomain("rack-1")), available("b")},
			text:    "no host matches: 2 seen, 2 in another failure domain",
		},
		"the emptiest failure domain": {
			request: hosts.Request{Labels: edge1, InFailureDomain: map[string]int{"rack-1": 2, "rack-2": 1}},
			all:     []bmov1.BareMetalHost{available("a", inDomain("rack-1")), available("b", inDomain("rack-2")), available("c", inDomain("rack-2"))},
			want:    []string{"b", "c"},
		},
		"hardware": {
			request: hosts.Request{Labels: edge1, Hardware: infrav1.HardwareRequirements{MinCPUs: 16}},
			all: []bmov1.BareMetalHost{
				available("a"), available("b", func(h *bmov1.BareMetalHost) { h.Status.HardwareDetails.CPU.Count = 32 }),
				available("c", func(h *bmov1.BareMetalHost) { h.Status.HardwareDetails = nil }),
			},
			want: []string{"b"},
		},
		"every obstacle is counted": {
			request: hosts.Request{Labels: edge1, Hardware: infrav1.HardwareRequirements{MinCPUs: 16}},
			all: []bmov1.BareMetalHost{
				available("a"), available("b", inUse), available("c", elsewhere), available("d", elsewhere, annotated(bmov1.PausedAnnotation)),
				available("e", annotated(infrav1.MaintenanceAnnotation)), available("f", func(h *bmov1.BareMetalHost) { h.Status.HardwareDetails = nil }),
			},
			text: "no host matches: 6 seen, 1 in use, 2 without the labels asked for, 1 in maintenance, 1 without inspection results, 1 with too little or other hardware",
		},
		"an architecture that the dataplane runs on, or an unknown one": {
			request: hosts.Request{Labels: edge1, RunsOn: onAMD64},
			all: []bmov1.BareMetalHost{
				available("a", arm64), available("b"), available("c", func(h *bmov1.BareMetalHost) { h.Status.HardwareDetails.CPU.Arch = "" }),
				available("d", func(h *bmov1.BareMetalHost) { h.Status.HardwareDetails = nil }),
				available("e", func(h *bmov1.BareMetalHost) { h.Spec.Architecture = "aarch64" }),
			},
			want: []string{"b", "c", "d"},
		},
		"no architecture that the dataplane runs on": {
			request: hosts.Request{Labels: edge1, RunsOn: onAMD64},
			all:     []bmov1.BareMetalHost{available("a", arm64), available("b", arm64, inUse)},
			text:    "no host matches: 2 seen, 1 in use, 1 of an architecture that the dataplane has no images for",
		},
		"no host at all": {
			request: hosts.Request{Labels: edge1},
			text:    "there is no BareMetalHost in the namespace; add one to the inventory",
		},
	} {
		t.Run(name, func(t *testing.T) {
			choice := hosts.Choose(test.request, pointers(test.all), statusHardware)
			var got []string
			for _, host := range choice.Hosts {
				got = append(got, host.Name)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("chosen hosts (-want +got):\n%s", diff)
			}
			if test.text != "" && choice.String() != test.text {
				t.Errorf("text %q, want %q", choice, test.text)
			}
		})
	}
}

func TestSelectorTakesSeveralExpressionsOnOneKey(t *testing.T) {
	selector, err := hosts.Selector(infrav1.HostSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
		{Key: "rack", Operator: metav1.LabelSelectorOpExists},
		{Key: "rack", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"r9"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for rack, want := range map[string]bool{"r1": true, "r9": false} {
		if got := selector.Matches(labels.Set{"rack": rack}); got != want {
			t.Errorf("rack %s matches: %v, want %v", rack, got, want)
		}
	}
	if _, err := hosts.Selector(infrav1.HostSelector{MatchLabels: map[string]string{"not a key": "x"}}); err == nil {
		t.Error("an invalid key must be refused")
	}
}

func pointers(all []bmov1.BareMetalHost) []*bmov1.BareMetalHost {
	found := make([]*bmov1.BareMetalHost, len(all))
	for i := range all {
		found[i] = &all[i]
	}
	return found
}

func BenchmarkChoose(b *testing.B) {
	for _, count := range []int{1_000, 10_000} {
		inventory := make([]bmov1.BareMetalHost, count)
		for i := range inventory {
			inventory[i] = available(fmt.Sprintf("host-%d", i), inDomain(fmt.Sprintf("rack-%d", i%20)))
			if i%3 != 0 {
				inventory[i].Spec.ConsumerRef = &corev1.ObjectReference{Name: "x"}
			}
		}
		all := pointers(inventory)
		request := hosts.Request{
			Labels:          labels.SelectorFromSet(labels.Set{"site": "edge-1"}),
			Hardware:        infrav1.HardwareRequirements{MinCPUs: 4, MinMemory: new(resource.MustParse("8Gi")), MinNICs: 2},
			InFailureDomain: map[string]int{"rack-1": 1},
		}
		b.Run(strconv.Itoa(count), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if choice := hosts.Choose(request, all, statusHardware); len(choice.Hosts) == 0 {
					b.Fatal("no host chosen")
				}
			}
		})
	}
}

func TestChooseKeepsTheListUntouched(t *testing.T) {
	all := []bmov1.BareMetalHost{available("a"), available("b", annotated(bmov1.PausedAnnotation))}
	before := []bmov1.BareMetalHost{*all[0].DeepCopy(), *all[1].DeepCopy()}
	hosts.Choose(hosts.Request{Labels: labels.Everything()}, pointers(all), statusHardware)
	if !slices.EqualFunc(before, all, func(a, b bmov1.BareMetalHost) bool { return cmp.Equal(a, b) }) {
		t.Error("the hosts of the cache were changed")
	}
}
