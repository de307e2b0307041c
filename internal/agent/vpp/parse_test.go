// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vpp

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.fd.io/govpp/adapter"
	"go.fd.io/govpp/binapi/fib_types"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/ip_types"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

func TestMaxPageSize(t *testing.T) {
	const physmem = ` used-pages 28 reserved-pages 8192 default-page-size 2M lookup-page-size 4K
  arena 'buffers-numa-0' pages 27 subpage-size %s numa-node 0 shared fd 8
  arena 'other' pages 1 subpage-size 4K numa-node 0`
	for _, c := range []struct {
		text, key string
		want      int64
	}{
		{"arena 'buffers-numa-0' pages 27 subpage-size 4K numa-node 0", "subpage-size", 4 << 10},
		{"default-page-size 2M lookup-page-size 4K arena 'a' subpage-size 2M arena 'b' subpage-size 4K", "subpage-size", 2 << 20},
		{"page stats: page-size 4K, total 262144, mapped 5000", "page-size", 4 << 10},
		{"subpage-size 1G", "subpage-size", 1 << 30},
		{physmem, "subpage-size", 4 << 10},
		{"", "subpage-size", 0},
	} {
		if got := maxPageSize(c.text, c.key); got != c.want {
			t.Errorf("%q: %d, want %d", c.text, got, c.want)
		}
	}
}

func TestHasFeature(t *testing.T) {
	const text = "Feature paths configured on wg0...\n\nip4-unicast:\n  cnat-input-ip4\n\nip4-output:\n  gso-ip4\n  wg4-output-tun\n"
	for prefix, want := range map[string]bool{"gso-ip4": true, "cnat-": true, "acl-": false} {
		if got := hasFeature(text, prefix); got != want {
			t.Errorf("%s: %v", prefix, got)
		}
	}
}

func TestDeniedPackets(t *testing.T) {
	const text = `   Count                  Node                              Reason               Severity
        12         acl-plugin-out-ip4-fa               ACL deny packets              error
       140         acl-plugin-out-ip4-fa               checked packets               error
         3         acl-plugin-out-ip6-fa               ACL deny packets              error
         9         acl-plugin-in-ip4-fa                ACL deny packets              error
`
	if got := deniedPackets(text); got != 15 {
		t.Errorf("%d, want 15", got)
	}
}

func TestAddThreads(t *testing.T) {
	got := addThreads(adapter.CombinedCounterStat{{{1, 100}, {2, 200}}, {{10, 1000}, {20, 2000}, {30, 3000}}})
	if diff := cmp.Diff([]adapter.CombinedCounter{{11, 1100}, {22, 2200}, {30, 3000}}, got); diff != "" {
		t.Error(diff)
	}
}

// TestGuardRules takes packets through the rules as VPP does: the first that matches decides.
func TestGuardRules(t *testing.T) {
	rules := guardRules(encryption.Expectation{
		PodCIDRs:     []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("10.245.0.0/16")},
		ServiceCIDRs: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")},
	})
	for _, c := range []struct {
		name, from, to string
		protocol       uint8
		port           uint16
		want           string
	}{
		{"WireGuard", "192.0.2.11", "192.0.2.12", 17, 51820, ""},
		{"ESP", "192.0.2.11", "192.0.2.12", 50, 0, ""},
		{"IKE behind NAT", "192.0.2.11", "192.0.2.12", 17, 4500, ""},
		{"BGP", "192.0.2.11", "192.0.2.12", 6, 179, ""},
		{"kube-apiserver", "192.0.2.11", "192.0.2.10", 6, 6443, ""},
		{"DHCP", "0.0.0.0", "255.255.255.255", 17, 67, ""},
		{"a pod to the outside", "10.244.1.1", "203.0.113.1", 6, 443, ""},
		{"a host to a service", "192.0.2.11", "10.96.0.1", 6, 443, ""},
		{"a pod to a host", "10.244.1.1", "192.0.2.12", 6, 10250, ""},
		{"IPv6 of the host", "2001:db8::1", "2001:db8::2", 6, 443, ""},
		{"IPIP", "192.0.2.11", "192.0.2.12", 4, 0, encryption.RuleIPIP},
		{"IPv6 in IP", "192.0.2.11", "192.0.2.12", 41, 0, encryption.RuleIPIP},
		{"IP in IPv6", "2001:db8::1", "2001:db8::2", 4, 0, encryption.RuleIPIP},
		{"VXLAN", "192.0.2.11", "192.0.2.12", 17, 4789, encryption.RuleVXLAN},
		{"VXLAN over IPv6", "2001:db8::1", "2001:db8::2", 17, 4789, encryption.RuleVXLAN},
		{"pod to pod", "10.244.1.1", "10.244.2.1", 6, 80, encryption.RulePods},
		{"pod to pod of another pool", "10.245.1.1", "10.244.2.1", 1, 0, encryption.RulePods},
		{"the outside to a pod of another node", "203.0.113.1", "10.245.2.1", 6, 443, encryption.RulePods},
		{"a host to a pod of another node", "192.0.2.11", "10.244.2.1", 6, 443, encryption.RulePods},
		{"pod to service", "10.244.1.1", "10.96.0.1", 6, 443, encryption.RulePods},
	} {
		if got := firstMatch(t, rules, netip.MustParseAddr(c.from), netip.MustParseAddr(c.to), c.protocol, c.port); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func firstMatch(t *testing.T, rules []rule, from, to netip.Addr, protocol uint8, port uint16) string {
	t.Helper()
	for _, r := range rules {
		if !toPrefix(r.SrcPrefix).Contains(from) || !toPrefix(r.DstPrefix).Contains(to) {
			continue
		}
		if r.Proto != 0 && (uint8(r.Proto) != protocol || port < r.DstportOrIcmpcodeFirst || port > r.DstportOrIcmpcodeLast) {
			continue
		}
		if (r.drops == "") != (r.IsPermit == 1) {
			t.Errorf("rule %+v says it drops %q", r.ACLRule, r.drops)
		}
		return r.drops
	}
	return "no rule"
}

func TestBlockRoutes(t *testing.T) {
	all := links{}
	for index, name := range map[uint32]string{1: "host-uplink0", 4: "wg0", 5: "ipip0", 6: "tun3", 7: "vxlan_tunnel0", 8: "loop2", 9: "host-pod0"} {
		all[index] = &interfaces.SwInterfaceDetails{InterfaceName: name}
	}
	nextHop := fib_types.FibPathNh{Address: ip_types.AddressUnionIP4([4]byte{192, 0, 2, 12})}
	route := func(prefix string, path fib_types.FibPath) ip.IPRoute {
		return ip.IPRoute{Prefix: fromPrefix(netip.MustParsePrefix(prefix)), Paths: []fib_types.FibPath{path}}
	}
	drop := fib_types.FibPath{Type: fib_types.FIB_API_PATH_TYPE_DROP, SwIfIndex: every}
	routes := []ip.IPRoute{
		route("10.244.0.0/16", drop),
		route("10.244.1.0/26", drop),
		route("10.244.1.5/32", fib_types.FibPath{SwIfIndex: 6}),
		route("10.244.1.6/32", fib_types.FibPath{SwIfIndex: 8, Nh: nextHop}),
		route("10.244.1.7/32", fib_types.FibPath{SwIfIndex: 9, Nh: fib_types.FibPathNh{Address: ip_types.AddressUnionIP4([4]byte{10, 244, 1, 7})}}),
		route("10.244.2.0/26", fib_types.FibPath{SwIfIndex: 4}),
		route("10.244.3.0/26", fib_types.FibPath{SwIfIndex: 5}),
		route("10.244.4.0/26", fib_types.FibPath{SwIfIndex: 7}),
		route("10.244.5.0/26", fib_types.FibPath{SwIfIndex: every, Nh: nextHop}),
		route("10.244.6.0/26", fib_types.FibPath{SwIfIndex: 1, Nh: nextHop}),
		route("10.244.7.0/26", fib_types.FibPath{Type: fib_types.FIB_API_PATH_TYPE_LOCAL}),
		route("192.0.2.0/24", fib_types.FibPath{SwIfIndex: 1}),
		route("0.0.0.0/0", fib_types.FibPath{SwIfIndex: 1, Nh: nextHop}),
		route("192.0.2.12/32", fib_types.FibPath{SwIfIndex: 1, Nh: nextHop}),
		route("198.51.100.0/24", fib_types.FibPath{SwIfIndex: 1, Nh: fib_types.FibPathNh{Address: ip_types.AddressUnionIP4([4]byte{192, 0, 2, 1})}}),
		route("10.96.0.10/32", fib_types.FibPath{SwIfIndex: every, Nh: nextHop}),
		route("203.0.113.7/32", fib_types.FibPath{SwIfIndex: every, Nh: nextHop}),
		route("10.250.1.0/26", drop),
		route("10.250.2.0/26", fib_types.FibPath{SwIfIndex: every, Nh: nextHop}),
		route("10.250.3.0/26", fib_types.FibPath{SwIfIndex: 1, Nh: nextHop}),
		route("10.250.4.0/26", fib_types.FibPath{SwIfIndex: 4, Nh: nextHop}),
		route("10.250.5.0/26", fib_types.FibPath{SwIfIndex: 5}),
		route("10.250.1.6/32", fib_types.FibPath{SwIfIndex: 6}),
	}
	block := netip.MustParsePrefix
	want := []encryption.Route{
		{Block: block("10.244.2.0/26"), Interface: "wg0", Encrypted: true},
		{Block: block("10.244.3.0/26"), Interface: "ipip0"},
		{Block: block("10.244.4.0/26"), Interface: "vxlan_tunnel0"},
		{Block: block("10.244.5.0/26"), Interface: "next hop 192.0.2.12"},
		{Block: block("10.244.6.0/26"), Interface: "host-uplink0"},
		{Block: block("10.250.2.0/26"), Interface: "next hop 192.0.2.12"},
		{Block: block("10.250.3.0/26"), Interface: "host-uplink0"},
		{Block: block("10.250.5.0/26"), Interface: "ipip0"},
	}
	got := blockRoutes(routes, all, map[uint32]bool{4: true}, encryption.Expectation{
		PodCIDRs: []netip.Prefix{block("10.244.0.0/16")}, ServiceCIDRs: []netip.Prefix{block("10.96.0.0/12")}, AnnouncedCIDRs: []netip.Prefix{block("203.0.113.0/24")},
		Peers: []encryption.ExpectedPeer{{Node: "b", Address: netip.MustParseAddr("192.0.2.12")}},
	})
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Error("routes (-want +got):\n" + diff)
	}
}
