// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package hostnet_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap/hostnet"
)

func hardware() *bmov1.HardwareDetails {
	return &bmov1.HardwareDetails{NIC: []bmov1.NIC{
		{Name: "eno1", MAC: "52:54:00:AA:00:01", IP: "192.0.2.90", PXE: true, PCIAddress: "0000:3b:00.0"},
		{Name: "eno1", MAC: "52:54:00:aa:00:01", IP: "2001:db8::90", PXE: true, PCIAddress: "0000:3b:00.0"},
		{Name: "eno2", MAC: "52:54:00:aa:00:02", PCIAddress: "0000:3B:00.1"},
		{Name: "eno3", MAC: "52:54:00:aa:00:03", PCIAddress: "0000:af:00.0"},
	}}
}

func withoutPCI() *bmov1.HardwareDetails {
	found := hardware()
	for i := range found.NIC {
		found.NIC[i].PCIAddress = ""
	}
	return found
}

func ethernet(name string, match infrav1.NICMatch) infrav1.Link {
	return infrav1.Link{Name: name, Match: &match}
}

func TestResolveLinks(t *testing.T) {
	eno1 := hostnet.NIC{Name: "eno1", MAC: "52:54:00:aa:00:01", PCIAddress: "0000:3b:00.0", PXE: true}
	eno2 := hostnet.NIC{Name: "eno2", MAC: "52:54:00:aa:00:02", PCIAddress: "0000:3b:00.1"}
	bond := infrav1.Link{Name: "bond0", Bond: &infrav1.Bond{Mode: infrav1.BondModeActiveBackup, Members: []string{"a"}}}
	twice := hardware()
	twice.NIC[3].Name = "eno2"

	for name, tc := range map[string]struct {
		links    []infrav1.Link
		hardware *bmov1.HardwareDetails
		bootMAC  string
		want     map[string]hostnet.NIC
		err      string
	}{
		"boot NIC by the host's bootMACAddress, in any case": {
			links: []infrav1.Link{ethernet("a", infrav1.NICMatch{BootNIC: new(true)})}, bootMAC: "52:54:00:AA:00:02",
			want: map[string]hostnet.NIC{"a": eno2},
		},
		"boot NIC by PXE when the host has no bootMACAddress": {
			links: []infrav1.Link{ethernet("a", infrav1.NICMatch{BootNIC: new(true)})}, want: map[string]hostnet.NIC{"a": eno1},
		},
		"MAC address in any case":              {links: []infrav1.Link{ethernet("a", infrav1.NICMatch{MAC: "52:54:00:AA:00:02"})}, want: map[string]hostnet.NIC{"a": eno2}},
		"a NIC that is listed twice is one":    {links: []infrav1.Link{ethernet("a", infrav1.NICMatch{Name: "eno1"})}, want: map[string]hostnet.NIC{"a": eno1}},
		"PCI address in any case":              {links: []infrav1.Link{ethernet("a", infrav1.NICMatch{PCIAddress: "0000:3b:00.1"})}, want: map[string]hostnet.NIC{"a": eno2}},
		"bonds are not resolved":               {links: []infrav1.Link{ethernet("a", infrav1.NICMatch{Name: "eno2"}), bond}, want: map[string]hostnet.NIC{"a": eno2}},
		"no NIC lists what the inspection saw": {links: []infrav1.Link{ethernet("a", infrav1.NICMatch{Name: "eth9"})}, err: `links[0] "a": match.name eth9 selects no NIC of the host; the inspection found: eno1 (mac 52:54:00:aa:00:01, pci 0000:3b:00.0, pxe); eno2 (mac 52:54:00:aa:00:02, pci 0000:3b:00.1); eno3 (mac 52:54:00:aa:00:03, pci 0000:af:00.0)`},
		"no NIC has bootMACAddress": {
			links: []infrav1.Link{ethernet("a", infrav1.NICMatch{BootNIC: new(true)})}, bootMAC: "52:54:00:aa:00:99",
			err: `links[0] "a": match.bootNIC (the host's bootMACAddress 52:54:00:aa:00:99) selects no NIC of the host`,
		},
		"PCI address without any in the inspection": {
			links: []infrav1.Link{ethernet("a", infrav1.NICMatch{PCIAddress: "0000:3b:00.1"})}, hardware: withoutPCI(),
			err: "because the inspection of the host reports no PCI addresses; use match.mac or match.name; the inspection found: eno1 (mac 52:54:00:aa:00:01, pxe)",
		},
		"two NICs": {
			links: []infrav1.Link{ethernet("a", infrav1.NICMatch{Name: "eno2"})}, hardware: twice,
			err: `links[0] "a": match.name eno2 selects 2 NICs of the host: eno2 (mac 52:54:00:aa:00:02, pci 0000:3b:00.1); eno2 (mac 52:54:00:aa:00:03, pci 0000:af:00.0); select one by match.mac`,
		},
		"two links on one NIC": {
			links: []infrav1.Link{ethernet("a", infrav1.NICMatch{Name: "eno1"}), ethernet("b", infrav1.NICMatch{BootNIC: new(true)})},
			err:   `links[1].match: links "a" and "b" both select NIC eno1 (mac 52:54:00:aa:00:01, pci 0000:3b:00.0, pxe); change one of the matches`,
		},
		"a match of nothing": {links: []infrav1.Link{ethernet("a", infrav1.NICMatch{})}, err: "match without bootNIC, mac, name or pciAddress selects no NIC"},
		"hardware without NICs": {
			links: []infrav1.Link{ethernet("a", infrav1.NICMatch{Name: "eno1"})}, hardware: &bmov1.HardwareDetails{},
			err: "the inspection found: no NICs",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.hardware == nil {
				tc.hardware = hardware()
			}
			got, err := hostnet.ResolveLinks(tc.links, tc.hardware, tc.bootMAC)
			expectError(t, err, infrav1.LinkUnresolvedReason, tc.err)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestResolveLinksWithoutHardware(t *testing.T) {
	_, err := hostnet.ResolveLinks([]infrav1.Link{ethernet("a", infrav1.NICMatch{Name: "eno1"})}, nil, "")
	expectError(t, err, infrav1.LinkUnresolvedReason, "the inspection found: no NICs")
}

// expectError checks reason and message of a *hostnet.Error; an empty message means that there must be no error.
func expectError(t *testing.T, err error, reason, message string) {
	t.Helper()
	if message == "" {
		if err != nil {
			t.Fatalf("unexpected error: %v", err)
		}
		return
	}
	got, ok := err.(*hostnet.Error) //nolint:errorlint // the package promises this very type
	if !ok {
		t.Fatalf("got %v (%T), want a *hostnet.Error with %q", err, err, message)
	}
	if got.Reason != reason || !strings.Contains(got.Error(), message) {
		t.Errorf("got %s: %s\nwant %s: %s", got.Reason, got.Message, reason, message)
	}
}

// FuzzResolveLinks holds that whatever the match and the hardware are, an ethernet gets exactly one NIC or there is an error.
func FuzzResolveLinks(f *testing.F) {
	f.Add("52:54:00:aa:00:01", "eno1", "0000:3b:00.0", "52:54:00:aa:00:01", "eno1", "", "52:54:00:AA:00:01", true)
	f.Add("", "", "", "", "", "", "", false)
	f.Fuzz(func(t *testing.T, mac, name, pci, nicMAC, nicName, nicPCI, bootMAC string, boot bool) {
		match := infrav1.NICMatch{MAC: mac, Name: name, PCIAddress: pci}
		if boot {
			match.BootNIC = new(true)
		}
		details := &bmov1.HardwareDetails{NIC: []bmov1.NIC{
			{Name: nicName, MAC: nicMAC, PCIAddress: nicPCI, PXE: boot}, {Name: "eno2", MAC: "52:54:00:aa:00:02"},
		}}
		nics, err := hostnet.ResolveLinks([]infrav1.Link{ethernet("a", match)}, details, bootMAC)
		if err == nil && (len(nics) != 1 || nics["a"].MAC == "") {
			t.Errorf("no error and NICs %v", nics)
		}
		if err != nil && nics != nil {
			t.Errorf("error %v and NICs %v", err, nics)
		}
	})
}

func addresses(pairs ...string) map[string]netip.Addr {
	out := map[string]netip.Addr{}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i]] = netip.MustParseAddr(pairs[i+1])
	}
	return out
}
