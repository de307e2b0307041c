// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package netdata

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/hardware"
)

func nics() []hardware.NIC {
	return []hardware.NIC{{Name: "enp1s0f0", MAC: "02:00:00:00:00:01"}, {Name: "enp1s0f1", MAC: "02:00:00:00:00:02"}}
}

func server(mac string) (Lease, error) {
	if mac != "02:00:00:00:00:01" {
		return Lease{}, errors.New("no DHCPOFFERS received")
	}
	return Lease{Address: netip.MustParsePrefix("192.0.2.200/24"), Gateway: netip.MustParseAddr("192.0.2.1")}, nil
}

const (
	nicA = `{"id": "a", "name": "uplink0", "type": "phy", "ethernet_mac_address": "02:00:00:00:00:01", "mtu": 9216}`
	nicB = `{"id": "b", "type": "phy", "ethernet_mac_address": "02:00:00:00:00:02"}`
	bond = `{"id": "bond", "name": "bond0", "type": "bond", "bond_links": ["a", "b"], "bond_mode": "802.3ad", "bond_miimon": 100}`
	vlan = `{"id": "v", "type": "vlan", "vlan_link": "bond", "vlan_id": 10, "vlan_mac_address": "02:00:00:00:00:01"}`
)

func document(links, networks string) string {
	return `{"links": [` + links + `], "networks": [` + networks + `], "services": [{"type": "dns", "address": "192.0.2.53"}]}`
}

func TestApply(t *testing.T) {
	dns := []netip.Addr{netip.MustParseAddr("192.0.2.53")}
	tests := map[string]struct {
		document string
		want     []Interface
	}{
		"no document is DHCP on the first NIC": {"", []Interface{
			{Name: "enp1s0f0", MAC: "02:00:00:00:00:01", Kind: "physical", MTU: 1500, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.200/24")}, DefaultGateway: netip.MustParseAddr("192.0.2.1")},
		}},
		"static address, default route, renamed": {
			document(nicA, `{"id": "n", "link": "a", "type": "ipv4", "ip_address": "192.0.2.20", "netmask": "255.255.255.0", "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1"}]}`),
			[]Interface{{Name: "uplink0", MAC: "02:00:00:00:00:01", Kind: "physical", MTU: 9216, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.20/24")}, DefaultGateway: netip.MustParseAddr("192.0.2.1"), Nameservers: dns}},
		},
		"IPv6 with a prefix, on a NIC that keeps its name": {
			document(nicB, `{"id": "n", "link": "b", "type": "ipv6", "ip_address": "2001:db8::20/64"}`),
			[]Interface{{Name: "enp1s0f1", MAC: "02:00:00:00:00:02", Kind: "physical", MTU: 1500, Addresses: []netip.Prefix{netip.MustParsePrefix("2001:db8::20/64")}, Nameservers: dns}},
		},
		"DHCP": {
			document(nicA, `{"id": "n", "link": "a", "type": "ipv4_dhcp"}`),
			[]Interface{{Name: "uplink0", MAC: "02:00:00:00:00:01", Kind: "physical", MTU: 9216, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.200/24")}, DefaultGateway: netip.MustParseAddr("192.0.2.1"), Nameservers: dns}},
		},
		"bond with a VLAN, which cloud-init names after its parent": {
			document(nicA+","+nicB+","+bond+","+vlan, `{"id": "n", "link": "v", "type": "ipv4", "ip_address": "198.51.100.20/24"}`),
			[]Interface{
				{Name: "uplink0", MAC: "02:00:00:00:00:01", Kind: "physical", MTU: 9216, Nameservers: dns},
				{Name: "enp1s0f1", MAC: "02:00:00:00:00:02", Kind: "physical", MTU: 1500, Nameservers: dns},
				{Name: "bond0", MAC: "02:00:00:00:00:01", Kind: "bond", MTU: 1500, Lower: []string{"uplink0", "enp1s0f1"}, Nameservers: dns},
				{Name: "bond0.10", MAC: "02:00:00:00:00:01", Kind: "vlan", MTU: 1500, Lower: []string{"bond0"}, Addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.20/24")}, Nameservers: dns},
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := apply(test.document)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
				t.Errorf("interfaces (-want +got):\n%s", diff)
			}
		})
	}
}

func apply(text string) ([]Interface, error) {
	if text == "" {
		return Apply(nil, nics(), server)
	}
	parsed, err := Parse([]byte(text))
	if err != nil {
		return nil, err
	}
	return Apply(parsed, nics(), server)
}

func TestRefusal(t *testing.T) {
	tests := map[string]struct{ document, want string }{
		"not JSON":                  {"links:", "network_data.json"},
		"NIC that is not there":     {document(`{"id": "x", "name": "uplink0", "type": "phy", "ethernet_mac_address": "02:00:00:00:00:99"}`, ""), "unable to find a system nic for mac_address 02:00:00:00:00:99"},
		"NIC without a MAC":         {document(`{"id": "x", "type": "phy"}`, ""), "no ethernet_mac_address"},
		"bond without members":      {document(`{"id": "x", "type": "bond", "bond_links": []}`, ""), "a bond needs bond_links"},
		"bond with unknown member":  {document(nicA+`,{"id": "x", "type": "bond", "bond_links": ["a", "z"]}`, ""), `"z" is no NIC`},
		"VLAN on an unknown parent": {document(nicA+`,{"id": "x", "type": "vlan", "vlan_link": "z", "vlan_id": 5, "vlan_mac_address": "02:00:00:00:00:01"}`, ""), `vlan_link "z" does not exist`},
		"VLAN without MAC":          {document(nicA+`,{"id": "x", "type": "vlan", "vlan_link": "a", "vlan_id": 5}`, ""), "vlan_mac_address"},
		"VLAN id out of range":      {document(nicA+`,{"id": "x", "type": "vlan", "vlan_link": "a", "vlan_id": 4095, "vlan_mac_address": "02:00:00:00:00:01"}`, ""), "want 1 to 4094"},
		"two links, one name":       {document(nicA+`,{"id": "x", "name": "uplink0", "type": "phy", "ethernet_mac_address": "02:00:00:00:00:02"}`, ""), "two links would be named uplink0"},
		"two links, one id":         {document(nicA+","+nicA, ""), "two links with the id a"},
		"long interface name":       {document(`{"id": "x", "name": "a-name-that-is-long", "type": "phy", "ethernet_mac_address": "02:00:00:00:00:01"}`, ""), "longer than the 15 characters"},
		"network on no link":        {document(nicA, `{"id": "n", "link": "z", "type": "ipv4"}`), `on link "z", which does not exist`},
		"malformed address":         {document(nicA, `{"id": "n", "link": "a", "type": "ipv4", "ip_address": "192.0.2.300", "netmask": "255.255.255.0"}`), `address "192.0.2.300"`},
		"netmask with holes":        {document(nicA, `{"id": "n", "link": "a", "type": "ipv4", "ip_address": "192.0.2.3", "netmask": "255.0.255.0"}`), "has holes"},
		"netmask of another family": {document(nicA, `{"id": "n", "link": "a", "type": "ipv4", "ip_address": "192.0.2.3", "netmask": "ffff::"}`), "want the form of"},
		"malformed gateway":         {document(nicA, `{"id": "n", "link": "a", "type": "ipv4", "ip_address": "192.0.2.3/24", "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "x"}]}`), `gateway "x"`},
		"unknown network type":      {document(nicA, `{"id": "n", "link": "a", "type": "ipx"}`), `unknown network type "ipx"`},
		"no DHCP server":            {document(nicB, `{"id": "n", "link": "b", "type": "ipv4_dhcp"}`), "no DHCPOFFERS received"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := apply(test.document)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(document(nicA+","+nicB+","+bond+","+vlan, `{"id": "n", "link": "v", "type": "ipv4", "ip_address": "198.51.100.20/24"}`)))
	f.Fuzz(func(t *testing.T, text []byte) {
		parsed, err := Parse(text)
		if err != nil {
			return
		}
		interfaces, err := Apply(parsed, nics(), server)
		if err == nil && len(interfaces) != len(parsed.Links) {
			t.Errorf("%d interfaces for %d links", len(interfaces), len(parsed.Links))
		}
	})
}
