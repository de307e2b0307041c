// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package support_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/support"
)

var update = flag.Bool("update", false, "write the tables into the documentation instead of comparing them")

// accepted breaks no rule.
func accepted() support.Values {
	return support.Values{
		Type: infrav1.DataplaneCalicoVPP, Mode: infrav1.EncryptionRequired, Protocol: infrav1.ProtocolWireGuard, Port: 51820,
		Pools:    []support.Pool{{Name: "pods", CIDR: netip.MustParsePrefix("10.244.0.0/16"), Encapsulation: infrav1.EncapsulationIPIP}},
		PodCIDRs: prefixes("10.244.0.0/16"), ServiceCIDRs: prefixes("10.96.0.0/12"), Subnets: prefixes("192.0.2.0/24"),
		NetworkMTU: 1500, PodMTU: 1400,
		VPP:       support.VPP{Driver: infrav1.UplinkAFPacket, RxMode: infrav1.RxModeInterrupt, PodRxMode: infrav1.RxModeInterrupt, HostTapMode: infrav1.RxModeInterrupt, Buffers: 65536},
		KubeProxy: infrav1.KubeProxyKeep, Endpoint: "192.0.2.10", FailureDomains: []string{"rack-1", "rack-2"},
		Peers:      []support.Peer{{Name: "tor-1", Address: netip.MustParseAddr("192.0.2.2"), FailureDomains: []string{"rack-1"}}},
		ClusterIPs: prefixes("10.96.0.0/16"), ExternalIPs: prefixes("198.51.100.0/25"), LoadBalancerIPs: prefixes("203.0.113.0/24"),
		CalicoVersion: "v3.32.1", VPPVersion: "v3.32.0", Architectures: []string{"x86_64"},
	}
}

func prefixes(texts ...string) []netip.Prefix {
	parsed := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		parsed[i] = netip.MustParsePrefix(text)
	}
	return parsed
}

func pools(texts ...string) []support.Pool {
	parsed := make([]support.Pool, len(texts))
	for i, text := range texts {
		name, rest, _ := strings.Cut(text, " ")
		cidr, encapsulation, _ := strings.Cut(rest, " ")
		parsed[i] = support.Pool{Name: name, CIDR: netip.MustParsePrefix(cidr), Encapsulation: infrav1.Encapsulation(encapsulation)}
	}
	return parsed
}

func TestCheckAccepts(t *testing.T) {
	tests := map[string]func(*support.Values){
		"the usual":                    func(*support.Values) {},
		"VXLAN with WireGuard":         func(v *support.Values) { v.Pools = pools("pods 10.244.0.0/16 VXLAN") },
		"IPsec":                        func(v *support.Values) { v.Protocol, v.Port = infrav1.ProtocolIPsec, 0 },
		"several pools":                func(v *support.Values) { v.Pools = pools("a 10.244.0.0/17 IPIP", "b 10.244.128.0/17 VXLAN") },
		"AF_XDP":                       func(v *support.Values) { v.VPP.Driver, v.VPP.RxMode = infrav1.UplinkAFXDP, infrav1.RxModeAdaptive },
		"a real-time scheduler":        func(v *support.Values) { v.VPP.RealTime = true },
		"a filter for the default":     func(v *support.Values) { v.Peers[0].Filters = filters("0.0.0.0/0 Equal", "198.51.100.0/24 In") },
		"one router for each rack":     func(v *support.Values) { v.Peers = append(v.Peers, peer("tor-2", "192.0.2.2", "rack-2")) },
		"eBPF without kube-proxy":      func(v *support.Values) { linux(v, infrav1.DataplaneCalicoEBPF); v.KubeProxy = infrav1.KubeProxyReplace },
		"hosts of another kind":        func(v *support.Values) { linux(v, infrav1.DataplaneCalicoEBPF); v.Architectures = []string{"aarch64"} },
		"DHCP with a kernel dataplane": func(v *support.Values) { linux(v, infrav1.DataplaneCalicoNftables); v.DHCP, v.Subnets = true, nil },
		"an IPv6 router of a kernel dataplane": func(v *support.Values) {
			linux(v, infrav1.DataplaneCalicoNftables)
			v.Peers = append(v.Peers, peer("six", "2001:db8::1"))
		},
		"equal filters of a kernel dataplane": func(v *support.Values) {
			linux(v, infrav1.DataplaneCalicoIptables)
			v.Peers[0].Filters = filters("198.51.100.0/24 Equal")
		},
		"nothing": func(v *support.Values) {
			*v = support.Values{Type: infrav1.DataplaneNone, Mode: infrav1.EncryptionDisabled, KubeProxy: infrav1.KubeProxyKeep}
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			v := accepted()
			change(&v)
			if problems := support.Check(v); len(problems) > 0 {
				t.Errorf("refused: %v", problems)
			}
		})
	}
}

func linux(v *support.Values, dataplane infrav1.DataplaneType) {
	v.Type, v.VPP, v.VPPVersion = dataplane, support.VPP{}, ""
}

func peer(name, address string, failureDomains ...string) support.Peer {
	return support.Peer{Name: name, Address: netip.MustParseAddr(address), FailureDomains: failureDomains}
}

func filters(texts ...string) []infrav1.RouteFilter {
	parsed := make([]infrav1.RouteFilter, len(texts))
	for i, text := range texts {
		cidr, match, _ := strings.Cut(text, " ")
		parsed[i] = infrav1.RouteFilter{CIDR: cidr, Match: infrav1.RouteMatch(match), Action: infrav1.RouteAccept}
	}
	return parsed
}

// refusals break one rule each; every rule must be among them.
func refusals() []refusal {
	return []refusal{
		{"type None with encryption", func(v *support.Values) { v.Type = infrav1.DataplaneNone }, "spec.dataplane.encryption.mode", "set encryption.mode Disabled"},
		{"IPsec without VPP", func(v *support.Values) {
			linux(v, infrav1.DataplaneCalicoEBPF)
			v.Protocol = infrav1.ProtocolIPsec
		}, "spec.dataplane.encryption.protocol", "only VPP has IPsec; use WireGuard"},
		{"IPv6 pool", func(v *support.Values) {
			linux(v, infrav1.DataplaneCalicoNftables)
			v.Pools = append(v.Pools, pools("six fd00:10:244::/56 VXLAN")...)
			v.PodCIDRs = append(v.PodCIDRs, prefixes("fd00:10:244::/56")...)
		}, "spec.dataplane.ipPools", "six: VPP encrypts IPv4 only"},
		{"dual-stack cluster", func(v *support.Values) { v.ServiceCIDRs = append(v.ServiceCIDRs, prefixes("fd00:10:96::/112")...) },
			"Cluster spec.clusterNetwork.pods.cidrBlocks", "use one IPv4 range for pods"},
		{"pool in clear", func(v *support.Values) {
			v.Pools = pools("a 10.244.0.0/17 None", "b 10.244.128.0/18 IPIPCrossSubnet", "c 10.244.192.0/18 IPIP")
		}, "spec.dataplane.ipPools", "a, b: VPP encrypts what it would encapsulate"},
		{"VXLAN with IPsec", func(v *support.Values) {
			v.Protocol, v.Pools = infrav1.ProtocolIPsec, pools("pods 10.244.0.0/16 VXLAN")
		}, "spec.dataplane.ipPools", "pods: VPP's IPsec protects IPIP tunnels"},
		{"IPv6 nodes with VPP", func(v *support.Values) { v.Subnets = append(v.Subnets, prefixes("2001:db8::/64")...) }, "spec.dataplane.network", "IPv4 subnets only"},
		{"IPv6 nodes only", func(v *support.Values) {
			linux(v, infrav1.DataplaneCalicoEBPF)
			v.Subnets = prefixes("2001:db8::/64")
		}, "spec.dataplane.network", "choose a network with an IPv4 subnet"},
		{"DHCP with VPP", func(v *support.Values) { v.DHCP = true }, "spec.dataplane.network", "use addresses fromPool or fromHost"},
		{"VXLAN's port", func(v *support.Values) { v.Port = 4789 }, "spec.dataplane.encryption.port", "for example 51820"},
		{"no pod range", func(v *support.Values) { v.PodCIDRs = nil }, "Cluster spec.clusterNetwork.pods.cidrBlocks", "for example to 10.244.0.0/16"},
		{"two pod ranges", func(v *support.Values) { v.PodCIDRs = append(v.PodCIDRs, prefixes("10.245.0.0/16")...) },
			"Cluster spec.clusterNetwork.pods.cidrBlocks", "divide pods with ipPools"},
		{"pool outside", func(v *support.Values) { v.Pools = pools("in 10.244.0.0/17 IPIP", "out 10.245.0.0/16 IPIP") }, "spec.dataplane.ipPools", "out: the Tigera operator refuses it"},
		{"pools that overlap", func(v *support.Values) { v.Pools = pools("a 10.244.0.0/17 IPIP", "b 10.244.64.0/18 IPIP") }, "spec.dataplane.ipPools", "a, b: packets would go to the wrong place"},
		{"services in the nodes' network", func(v *support.Values) {
			v.Subnets, v.ServiceCIDRs, v.ClusterIPs = prefixes("10.96.1.0/24"), prefixes("10.96.0.0/16"), nil
		}, "Cluster spec.clusterNetwork.services.cidrBlocks", "give each its own range"},
		{"IPIP for IPv6", func(v *support.Values) {
			linux(v, infrav1.DataplaneCalicoIptables)
			v.Mode, v.PodCIDRs, v.Pools = infrav1.EncryptionDisabled, prefixes("fd00:10:244::/56"), pools("six fd00:10:244::/56 IPIP")
		}, "spec.dataplane.ipPools", "six: IPIP carries IPv4 only"},
		{"MTU too large", func(v *support.Values) { v.PodMTU = 1441 }, "spec.dataplane.mtu", "1441 is more than 1440"},
		{"MTU too small", func(v *support.Values) { v.NetworkMTU, v.PodMTU = 600, 540 }, "spec.dataplane.mtu", "540 is less than 576"},
		{"no service range", func(v *support.Values) { v.ServiceCIDRs, v.ClusterIPs = nil, nil }, "Cluster spec.clusterNetwork.services.cidrBlocks", "SERVICE_PREFIX"},
		{"ARM", func(v *support.Values) { v.Architectures = []string{"x86_64", "aarch64", "aarch64"} }, "spec.dataplane.type", "aarch64: Calico-VPP has images for x86_64 only"},
		{"adaptive packet sockets", func(v *support.Values) { v.VPP.RxMode = infrav1.RxModeAdaptive }, "spec.dataplane.vpp.rxMode", "or the AFXDP driver"},
		{"jumbo frames with AF_XDP", func(v *support.Values) { v.VPP.Driver, v.NetworkMTU = infrav1.UplinkAFXDP, 9000 }, "spec.dataplane.vpp.uplinkDriver", "fit into one page"},
		{"many buffers with AF_XDP", func(v *support.Values) { v.VPP.Driver, v.VPP.Buffers = infrav1.UplinkAFXDP, 65537 }, "spec.dataplane.vpp.uplinkDriver", "one contiguous table"},
		{"polling in real time", func(v *support.Values) { v.VPP.RealTime, v.VPP.PodRxMode = true, infrav1.RxModePolling }, "spec.dataplane.vpp.scheduler", "use Interrupt"},
		{"no kube-proxy", func(v *support.Values) { v.KubeProxy = infrav1.KubeProxyReplace }, "spec.dataplane.kubeProxy", "use Keep"},
		{"eBPF without endpoint", func(v *support.Values) { linux(v, infrav1.DataplaneCalicoEBPF); v.Endpoint = "" }, "spec.controlPlaneEndpoint", "without kube-proxy; set it"},
		{"unknown failure domain", func(v *support.Values) { v.Peers[0].FailureDomains = []string{"rack-3"} }, "spec.dataplane.bgp.peers", "rack-3 of tor-1: no node would peer"},
		{"one router twice", func(v *support.Values) { v.Peers = append(v.Peers, peer("again", "192.0.2.2")) }, "spec.dataplane.bgp.peers", "tor-1 and again: a node has one session"},
		{"IPv6 router with VPP", func(v *support.Values) { v.Peers[0].Address = netip.MustParseAddr("2001:db8::1") }, "spec.dataplane.bgp.peers", "IPv4 only; use IPv4"},
		{"equal filter with VPP", func(v *support.Values) { v.Peers[0].Filters = filters("0.0.0.0/0 Equal", "198.51.100.0/24 Equal") }, "spec.dataplane.bgp.peers", "198.51.100.0/24 of tor-1: VPP's BGP speaker"},
		{"cluster IPs elsewhere", func(v *support.Values) { v.ClusterIPs = prefixes("10.80.0.0/12") }, "spec.dataplane.bgp.advertise.clusterIPs", "10.80.0.0/12: services have no other"},
		{"load balancers among pods", func(v *support.Values) { v.LoadBalancerIPs = prefixes("10.244.1.0/24") }, "spec.dataplane.bgp.advertise", "10.244.1.0/24: packets would go"},
		{"old Calico", func(v *support.Values) { v.CalicoVersion, v.VPPVersion = "v3.31.4", "v3.31.0" }, "spec.dataplane.calico.version", "v3.31.4: its CRDs are no chart"},
		{"versions apart", func(v *support.Values) { v.CalicoVersion = "v3.33.0" }, "spec.dataplane.calico.vppVersion", "Calico-VPP v3.32.0, Calico v3.33.0"},
	}
}

type refusal struct {
	name        string
	change      func(*support.Values)
	field, text string
}

func TestCheckRefuses(t *testing.T) {
	for _, tc := range refusals() {
		t.Run(tc.name, func(t *testing.T) {
			v := accepted()
			tc.change(&v)
			for _, problem := range support.Check(v) {
				if problem.Field == tc.field && strings.Contains(problem.Message, tc.text) {
					return
				}
			}
			t.Errorf("no problem of %s says %q: %v", tc.field, tc.text, support.Check(v))
		})
	}
}

func TestEveryRuleIsBroken(t *testing.T) {
	broken := map[string]bool{}
	for _, tc := range refusals() {
		v := accepted()
		tc.change(&v)
		for _, problem := range support.Check(v) {
			for _, rule := range support.Rules() {
				if rule.Field == problem.Field && strings.Contains(problem.Message, rule.Why+"; "+rule.Fix) {
					broken[rule.When] = true
				}
			}
		}
	}
	for _, rule := range support.Rules() {
		if !broken[rule.When] {
			t.Errorf("nothing breaks the rule %q", rule.When)
		}
	}
}

func TestErrorNamesEveryProblem(t *testing.T) {
	err := &support.Error{Problems: []support.Problem{{Field: "a", Message: "x"}, {Field: "b", Message: "y"}}}
	if got, want := err.Error(), "a: x; b: y"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestDocumentation keeps the tables of docs/dataplane.md what the code says.
func TestDocumentation(t *testing.T) {
	const page = "../../docs/dataplane.md"
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(content)
	for name, table := range map[string]string{"support matrix": support.Markdown(), "MTU table": mtuTable()} {
		begin, end := fmt.Sprintf("<!-- begin: %s, generated -->\n", name), fmt.Sprintf("<!-- end: %s -->\n", name)
		before, rest, found := strings.Cut(text, begin)
		_, after, closed := strings.Cut(rest, end)
		if !found || !closed {
			t.Fatalf("%s has no place for the %s between %q and %q", page, name, begin, end)
		}
		text = before + begin + table + end + after
	}
	if *update {
		if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(content), text); diff != "" {
		t.Errorf("%s differs; run go test with -update (-want +got):\n%s", page, diff)
	}
}

// mtuTable is what pods may send on usual networks.
func mtuTable() string {
	var b strings.Builder
	b.WriteString("| Encryption | Encapsulation | Overhead | Network 1500 | Network 9000 |\n|---|---|---|---|---|\n")
	rows := []struct {
		protocol   encryption.Protocol
		tunnel     encryption.PoolTunnel
		protection string
	}{
		{encryption.WireGuard, encryption.PoolTunnel{Encapsulation: "IPIP"}, "WireGuard"},
		{encryption.WireGuard, encryption.PoolTunnel{Encapsulation: "VXLAN"}, "WireGuard"},
		{encryption.WireGuard, encryption.PoolTunnel{Encapsulation: "None"}, "WireGuard"},
		{encryption.IPsec, encryption.PoolTunnel{Encapsulation: "IPIP"}, "IPsec"},
		{"", encryption.PoolTunnel{Encapsulation: "IPIP"}, "Disabled"},
		{"", encryption.PoolTunnel{Encapsulation: "VXLAN"}, "Disabled"},
		{"", encryption.PoolTunnel{Encapsulation: "VXLAN", IPv6: true}, "Disabled"},
		{"", encryption.PoolTunnel{Encapsulation: "None"}, "Disabled"},
	}
	for _, row := range rows {
		encapsulation := row.tunnel.Encapsulation
		if row.tunnel.IPv6 {
			encapsulation += ", IPv6"
		}
		small := encryption.PodMTU(1500, row.protocol, row.tunnel)
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %d |\n", row.protection, encapsulation, 1500-small, small, encryption.PodMTU(9000, row.protocol, row.tunnel))
	}
	return b.String()
}
