// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package encryption

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	keyA = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA0="
	keyB = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBs="
	keyC = "CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCc="
)

var (
	addressA = netip.MustParseAddr("192.0.2.11")
	addressB = netip.MustParseAddr("192.0.2.12")
	pods     = netip.MustParsePrefix("10.244.0.0/16")
	blockB   = netip.MustParsePrefix("10.244.2.0/26")
)

// site is a node a that is encrypted with its only peer b; cases change it.
type site struct {
	e Expectation
	o Observation
}

func newSite() *site {
	return &site{
		e: Expectation{
			Node: "a", Address: addressA, Mode: ModeRequired, Protocol: WireGuard, Port: DefaultPort, FileKey: keyA, PublishedKey: keyA,
			PodCIDRs: []netip.Prefix{pods}, RxMode: RxInterrupt, HugepagesForbidden: true,
			Peers: []ExpectedPeer{{Node: "b", Ready: true, Address: addressB, PublicKey: keyB}},
		},
		o: Observation{
			Backend: VPP, Uplink: Interface{Name: "host-uplink0", Index: 1},
			Tunnels: []Tunnel{{
				Interface: Interface{Name: "wg0", Index: 4}, Source: addressA, Port: DefaultPort, PublicKey: keyA,
				Up: true, Addressed: true, GSO: true, CNAT: true,
			}},
			Peers: []Peer{{
				Tunnel: "wg0", PublicKey: keyB, Endpoint: netip.AddrPortFrom(addressB, DefaultPort), AllowedIPs: []netip.Prefix{blockB},
				Established: true, HandshakeAge: HandshakeUnknown,
			}},
			Routes:    []Route{{Block: blockB, Interface: "wg0", Encrypted: true}},
			Guard:     Guard{Present: true, InForce: true, Early: true},
			Hugepages: Hugepages{Known: true, VPPPageSize: 4096},
			RxQueues:  []RxQueue{{Interface: "host-uplink0", Mode: RxInterrupt}},
		},
	}
}

// onKernel turns the site into one whose packets Linux carries.
func (s *site) onKernel() {
	s.o.Backend, s.o.Uplink.Name = Kernel, "uplink0"
	s.o.Tunnels[0] = Tunnel{Interface: Interface{Name: KernelDevice, Index: 4}, Port: DefaultPort, PublicKey: keyA, Up: true, Addressed: true}
	s.o.Peers[0].Tunnel, s.o.Peers[0].HandshakeAge = KernelDevice, 17
	s.o.Routes[0].Interface = KernelDevice
	s.o.RxQueues = nil
}

// onIPsec turns the site into one with IPsec.
func (s *site) onIPsec() {
	s.e.Protocol, s.e.FileKey, s.e.PublishedKey = IPsec, "", ""
	s.e.Peers[0].PublicKey = ""
	s.o.Tunnels, s.o.Peers = nil, nil
	s.o.Associations = []Association{{Interface: Interface{Name: "ipip0", Index: 5}, Remote: addressB, Up: true}}
	s.o.Routes[0].Interface = "ipip0"
}

// verdictCase changes a site; the message must have these parts.
type verdictCase struct {
	name    string
	change  func(s *site)
	reason  string
	message []string
	state   PeerState
}

func verdictCases() []verdictCase {
	return slices.Concat(soundCases(), tunnelCases(), peerCases(), graceCases(), hygieneCases())
}

func soundCases() []verdictCase {
	return []verdictCase{
		{"VPP", func(*site) {}, ReasonEncrypted, []string{"1 other node "}, PeerEncrypted},
		{"kernel", (*site).onKernel, ReasonEncrypted, []string{"1 other node "}, PeerEncrypted},
		{"IPsec", (*site).onIPsec, ReasonEncrypted, []string{"1 other node "}, PeerEncrypted},
		{"single node", func(s *site) { s.e.Peers, s.o.Peers, s.o.Routes = nil, nil, nil }, ReasonEncrypted, []string{"no other node"}, ""},
		{"single node without a guard", func(s *site) { s.e.Peers, s.o.Guard = nil, Guard{} }, ReasonGuardMissing, []string{" a ", "host-uplink0"}, ""},
		{"Preferred needs no guard", func(s *site) { s.e.Mode, s.o.Guard = ModePreferred, Guard{} }, ReasonEncrypted, nil, PeerEncrypted},
		{"Preferred, single node", func(s *site) { s.e.Mode, s.o.Guard, s.e.Peers = ModePreferred, Guard{}, nil }, ReasonEncrypted, []string{"tunnel is ready"}, ""},
		{"a peer that is not Ready", func(s *site) { s.e.Peers[0].Ready, s.o.Peers = false, nil }, ReasonEncrypted, nil, PeerNotExpected},
		{"a peer that is deleted", func(s *site) { s.e.Peers[0].Deleting, s.o.Peers = true, nil }, ReasonEncrypted, nil, PeerNotExpected},
		{"a peer whose machine is taken away", func(s *site) { s.e.Peers[0].Cordoned, s.e.Peers[0].PublicKey = true, "" }, ReasonEncrypted, nil, PeerNotExpected},
		{"a cordoned peer with a key is expected", func(s *site) { s.e.Peers[0].Cordoned, s.o.Peers = true, nil }, ReasonPeerMissing, []string{"b"}, PeerFailed},
		{"a stranger's tunnel", func(s *site) {
			s.o.Tunnels = append(s.o.Tunnels, Tunnel{Interface: Interface{Name: "wg7", Index: 9}, Source: netip.MustParseAddr("198.51.100.1")})
		}, ReasonEncrypted, nil, PeerEncrypted},
		{"tunl0 without routes", func(s *site) {
			s.onKernel()
			s.o.PlainTunnels = []PlainTunnel{{Interface: Interface{Name: "tunl0"}, Kind: "ipip"}}
		}, ReasonEncrypted, nil, PeerEncrypted},
		{"any mode of receiving", func(s *site) { s.e.RxMode, s.o.RxQueues[0].Mode = "", "polling" }, ReasonEncrypted, nil, PeerEncrypted},
		{"hugepages allowed", func(s *site) { s.e.HugepagesForbidden, s.o.Hugepages.Now = false, 149 }, ReasonEncrypted, nil, PeerEncrypted},
		{"hugepages of others", func(s *site) { s.o.Hugepages.Before, s.o.Hugepages.Now = 16, 16 }, ReasonEncrypted, nil, PeerEncrypted},
	}
}

func tunnelCases() []verdictCase {
	return []verdictCase{
		{"unreachable", func(s *site) {
			s.o = Observation{Backend: VPP, Unreachable: "VPP is not running; see the pod calico-vpp-node"}
		}, ReasonDataplaneUnreachable, []string{"calico-vpp-node"}, PeerFailed},
		{"no tunnel", func(s *site) { s.o.Tunnels, s.o.Peers = nil, nil }, ReasonTunnelMissing, []string{" a ", VPPExecFile, "restart"}, PeerFailed},
		{"no device", func(s *site) { s.onKernel(); s.o.Tunnels = nil }, ReasonTunnelMissing, []string{"a has no device", KernelKeyFile}, PeerFailed},
		{"two tunnels", func(s *site) {
			second := s.o.Tunnels[0]
			second.Name, second.Index = "wg1", 5
			s.o.Tunnels = append(s.o.Tunnels, second)
		}, ReasonTunnelDuplicate, []string{" a ", "wg0, wg1", "restart"}, PeerEncrypted},
		{"down", func(s *site) { s.o.Tunnels[0].Up = false }, ReasonTunnelDown, []string{"wg0 on a is down"}, PeerEncrypted},
		{"bare", func(s *site) {
			s.o.Tunnels[0].Addressed, s.o.Tunnels[0].GSO, s.o.Tunnels[0].CNAT = false, false, false
		}, ReasonTunnelDown, []string{"no address", "no GSO", "cnat"}, PeerEncrypted},
		{"down without an uplink", func(s *site) { s.o.Tunnels[0].Up, s.o.Uplink = false, Interface{} }, ReasonTunnelDown, []string{"192.0.2.11", "calico-vpp-node"}, PeerEncrypted},
		{"device down", func(s *site) { s.onKernel(); s.o.Tunnels[0].Up = false }, ReasonTunnelDown, []string{"FelixConfiguration"}, PeerEncrypted},
		{"another key", func(s *site) { s.o.Tunnels[0].PublicKey, s.e.PublishedKey = keyC, keyC }, ReasonKeyMismatch, []string{keyA, keyC, "restart"}, PeerEncrypted},
		{"another key of a device", func(s *site) { s.onKernel(); s.o.Tunnels[0].PublicKey, s.e.PublishedKey = keyC, keyC }, ReasonKeyMismatch, []string{"delete the device"}, PeerEncrypted},
		{"no key in the file", func(s *site) { s.e.FileKey = "" }, ReasonKeyMismatch, []string{VPPExecFile, "replace the Machine"}, PeerEncrypted},
		{"nothing published", func(s *site) { s.e.PublishedKey = "" }, ReasonKeyNotPublished, []string{"Node a publishes no key", PublicKeyAnnotation}, PeerEncrypted},
		{"another key published", func(s *site) { s.e.PublishedKey = keyC }, ReasonKeyNotPublished, []string{keyA, keyC}, PeerEncrypted},
		{"another port", func(s *site) { s.o.Tunnels[0].Port = 51821 }, ReasonPortMismatch, []string{"51821", "51820", "wireguardListeningPort"}, PeerEncrypted},
		{"no guard", func(s *site) { s.o.Guard.InForce = false }, ReasonGuardMissing, []string{" a ", "host-uplink0"}, PeerEncrypted},
		{"no guard, for a reason", func(s *site) { s.o.Guard = Guard{Problem: "no acl plugin"} }, ReasonGuardMissing, []string{"no acl plugin"}, PeerEncrypted},
		{"no guard without an uplink", func(s *site) { s.o.Guard, s.o.Uplink = Guard{}, Interface{} }, ReasonGuardMissing, []string{"192.0.2.11"}, PeerEncrypted},
		{"IPIP", func(s *site) {
			s.o.PlainTunnels = []PlainTunnel{{Interface: Interface{Name: "ipip0"}, Kind: "ipip", Remote: addressB, Routes: 1}}
			s.o.Routes[0] = Route{Block: blockB, Interface: "ipip0"}
			s.o.Peers = nil
		}, ReasonPlaintextTunnel, []string{"ipip0 on a", " to b ", "the guard drops it", ReasonPeerMissing}, PeerFailed},
		{"VXLAN", func(s *site) {
			s.e.Mode = ModePreferred
			s.o.PlainTunnels = []PlainTunnel{{Interface: Interface{Name: "vxlan_tunnel0"}, Kind: "vxlan"}}
		}, ReasonPlaintextTunnel, []string{"VXLAN interface vxlan_tunnel0"}, PeerEncrypted},
		{"tunl0 with routes", func(s *site) {
			s.onKernel()
			s.o.PlainTunnels = []PlainTunnel{{Interface: Interface{Name: "tunl0"}, Kind: "ipip", Routes: 1}}
			s.o.Routes[0] = Route{Block: blockB, Interface: "tunl0"}
		}, ReasonPlaintextTunnel, []string{"tunl0"}, PeerEncrypted},
		{"IPIP that IPsec does not protect", func(s *site) {
			s.onIPsec()
			s.o.PlainTunnels, s.o.Associations = []PlainTunnel{{Interface: Interface{Name: "ipip0"}, Kind: "ipip", Remote: addressB}}, nil
		}, ReasonPlaintextTunnel, []string{"ipip0", " to b ", "security associations", "restart"}, PeerFailed},
	}
}

func peerCases() []verdictCase {
	return []verdictCase{
		{"a peer without a key", func(s *site) { s.e.Peers[0].PublicKey = "" }, ReasonPeerKeyUnknown, []string{"Node b", PublicKeyAnnotation, "a cannot"}, PeerFailed},
		{"a peer that is none", func(s *site) { s.o.Peers = nil }, ReasonPeerMissing, []string{"a has no WireGuard peer for b", "BGP"}, PeerFailed},
		{"a peer of another tunnel", func(s *site) { s.o.Peers[0].Tunnel = "wg7" }, ReasonPeerMissing, []string{"b"}, PeerFailed},
		{"a peer with another key", func(s *site) { s.o.Peers[0].PublicKey = keyC }, ReasonPeerKeyMismatch, []string{keyB, keyC, "restart"}, PeerFailed},
		{"two peers with one key", func(s *site) {
			s.e.Peers = append(s.e.Peers, ExpectedPeer{Node: "c", Address: netip.MustParseAddr("192.0.2.13"), PublicKey: keyB})
		}, ReasonPeerKeyDuplicate, []string{"Nodes b and c", keyB, PublicKeyAnnotation}, ""},
		{"a peer with the node's own key", func(s *site) { s.e.Peers[0].PublicKey = keyA }, ReasonPeerKeyDuplicate, []string{"Nodes b and a", keyA}, PeerFailed},
		{"a peer without a session", func(s *site) { s.o.Peers[0].Established = false }, ReasonPeerNotEstablished, []string{"a has no WireGuard session with b", "51820"}, PeerFailed},
		{"no IPsec association", func(s *site) { s.onIPsec(); s.o.Associations = nil }, ReasonIPsecNotEstablished, []string{"a ", "b:", "4500"}, PeerFailed},
		{"a cordoned peer without an IPsec association", func(s *site) {
			s.onIPsec()
			s.e.Peers[0].Cordoned, s.o.Associations = true, nil
		}, ReasonIPsecNotEstablished, []string{"a ", "b:"}, PeerFailed},
		{"an IPsec tunnel that is down", func(s *site) { s.onIPsec(); s.o.Associations[0].Up = false }, ReasonIPsecNotEstablished, []string{"b"}, PeerFailed},
		{"a route in clear", func(s *site) { s.o.Routes[0] = Route{Block: blockB, Interface: "next hop 192.0.2.1"} }, ReasonRouteInClear, []string{"10.244.2.0/26", "192.0.2.1", "Always"}, PeerEncrypted},
		{"a route in clear to a range that is not the pods'", func(s *site) {
			s.o.Routes = append(s.o.Routes, Route{Block: netip.MustParsePrefix("10.250.2.0/26"), Interface: "next hop 192.0.2.12"})
		}, ReasonRouteInClear, []string{"10.250.2.0/26", "10.244.0.0/16", "IPPool", "bgp.advertise"}, PeerEncrypted},
	}
}

func graceCases() []verdictCase {
	lost := func(change func(s *site)) func(*site) {
		return func(s *site) {
			s.e.Proved = true
			s.o.Peers[0].Established = false
			change(s)
		}
	}
	return []verdictCase{
		{"a new peer", lost(func(s *site) { s.e.Peers[0].New, s.o.Peers = true, nil }), ReasonEncrypted, []string{"dropped", "with b"}, PeerPending},
		{"a new peer without a key", lost(func(s *site) { s.e.Peers[0].New, s.e.Peers[0].PublicKey = true, "" }), ReasonEncrypted, []string{"with b"}, PeerPending},
		{"a peer that restarts", lost(func(s *site) { s.e.Peers[0].Lapsed = true }), ReasonEncrypted, []string{"with b"}, PeerPending},
		{"IPsec that restarts", lost(func(s *site) { s.onIPsec(); s.e.Peers[0].Lapsed, s.o.Associations[0].Up = true, false }), ReasonEncrypted, []string{"with b"}, PeerPending},
		{"a session is lost, and the peer with it", lost(func(s *site) { s.e.Peers[0].Lapsed, s.o.Peers = true, nil }), ReasonPeerMissing, []string{"b"}, PeerFailed},
		{"a key is withheld", lost(func(s *site) { s.e.Peers[0].Lapsed, s.e.Peers[0].PublicKey = true, "" }), ReasonPeerKeyUnknown, []string{"b"}, PeerFailed},
		{"no grace for a key of two", lost(func(s *site) {
			s.e.Peers[0].New = true
			s.e.Peers = append(s.e.Peers, ExpectedPeer{Node: "c", PublicKey: keyB})
		}), ReasonPeerKeyDuplicate, []string{"Nodes b and c"}, ""},
		{"no grace for a node that is not proved", lost(func(s *site) { s.e.Peers[0].New, s.e.Proved = true, false }), ReasonPeerNotEstablished, []string{"b"}, PeerFailed},
		{"no grace without a guard", lost(func(s *site) { s.e.Peers[0].New, s.o.Guard.InForce = true, false }), ReasonGuardMissing, []string{"b"}, PeerFailed},
		{"no grace in mode Preferred", lost(func(s *site) { s.e.Peers[0].New, s.e.Mode = true, ModePreferred }), ReasonPeerNotEstablished, []string{"b"}, PeerFailed},
	}
}

func hygieneCases() []verdictCase {
	return []verdictCase{
		{"large pages", func(s *site) { s.o.Hugepages.VPPPageSize = 2 << 20 }, ReasonHugepagesInUse, []string{"2048 KiB", "page-size 4K"}, PeerEncrypted},
		{"hugepages reserved", func(s *site) { s.o.Hugepages.Now = 149 }, ReasonHugepagesInUse, []string{"149", "0 before", "vm.nr_hugepages=0"}, PeerEncrypted},
		{"hugepages of unknown origin", func(s *site) { s.o.Hugepages.Known, s.o.Hugepages.Now = false, 149 }, ReasonHugepagesInUse, []string{"149", "restart the host"}, PeerEncrypted},
		{"polling", func(s *site) { s.o.RxQueues[0].Mode = "polling" }, ReasonRxModeWrong, []string{"host-uplink0 on a", "polling", "CALICOVPP_INTERFACES"}, PeerEncrypted},
	}
}

func TestJudge(t *testing.T) {
	reached := map[string]bool{}
	for _, c := range verdictCases() {
		t.Run(c.name, func(t *testing.T) {
			s := newSite()
			c.change(s)
			v := Judge(s.e, s.o)
			reached[v.Reason] = true
			if v.Reason != c.reason || v.Encrypted != (c.reason == ReasonEncrypted) {
				t.Fatalf("%s: %s; want %s", v.Reason, v.Message, c.reason)
			}
			for _, part := range c.message {
				if !strings.Contains(v.Message, part) {
					t.Errorf("message %q lacks %q", v.Message, part)
				}
			}
			if c.state != "" && (len(v.Peers) != 1 || v.Peers[0].State != c.state) {
				t.Errorf("peers: %+v; want one that is %s", v.Peers, c.state)
			}
			for _, f := range v.Missing {
				if f.Node == "" || f.Message == "" {
					t.Errorf("finding without node or message: %+v", f)
				}
			}
		})
	}
	for _, reason := range append(reasonOrder(), ReasonEncrypted) {
		if !reached[reason] {
			t.Errorf("no case reaches %s", reason)
		}
	}
}

// TestJudgeOrder breaks everything at once: the findings come in the order of the reasons.
func TestJudgeOrder(t *testing.T) {
	s := newSite()
	s.e.Peers = []ExpectedPeer{
		{Node: "e", Ready: true, Address: netip.MustParseAddr("192.0.2.15"), PublicKey: keyB},
		{Node: "d", Ready: true, Address: addressB, PublicKey: keyC},
		{Node: "c", Ready: true, Address: netip.MustParseAddr("192.0.2.13"), PublicKey: "unknown"},
		{Node: "b", Ready: true, Address: netip.MustParseAddr("192.0.2.14")},
	}
	s.e.PublishedKey, s.e.FileKey = "", keyC
	s.o.Tunnels[0].Up, s.o.Tunnels[0].Port = false, 1
	s.o.Guard = Guard{}
	s.o.PlainTunnels = []PlainTunnel{{Interface: Interface{Name: "ipip0"}, Kind: "ipip"}}
	s.o.Peers[0].Established = false
	s.o.Routes[0] = Route{Block: blockB, Interface: "host-uplink0"}
	s.o.Hugepages.Now = 1
	s.o.RxQueues[0].Mode = "adaptive"
	v := Judge(s.e, s.o)
	var reasons []string
	for _, f := range v.Missing {
		reasons = append(reasons, f.Reason)
	}
	want := []string{
		ReasonTunnelDown, ReasonKeyMismatch, ReasonKeyNotPublished, ReasonPortMismatch, ReasonGuardMissing, ReasonPlaintextTunnel,
		ReasonPeerKeyUnknown, ReasonPeerMissing, ReasonPeerKeyMismatch, ReasonPeerNotEstablished, ReasonRouteInClear,
		ReasonHugepagesInUse, ReasonRxModeWrong,
	}
	if diff := cmp.Diff(want, reasons); diff != "" {
		t.Error("findings (-want +got):\n" + diff)
	}
	if !strings.HasSuffix(v.Message, "; and 9 more") {
		t.Errorf("message: %s", v.Message)
	}
	var names []string
	for _, p := range v.Peers {
		names = append(names, p.Node)
	}
	if diff := cmp.Diff([]string{"b", "c", "d", "e"}, names); diff != "" {
		t.Error("peers (-want +got):\n" + diff)
	}
}

func TestLeadsToPeer(t *testing.T) {
	e := newSite().e
	e.ServiceCIDRs, e.AnnouncedCIDRs = []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")}, []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	e.Peers = append(e.Peers, ExpectedPeer{Node: "without an address"})
	for _, c := range []struct {
		block, via string
		want       bool
	}{
		{"10.250.2.0/26", "192.0.2.12", true},
		{"10.250.2.5/32", "192.0.2.12", true},
		{"10.0.0.0/8", "192.0.2.12", true},
		{"10.250.2.0/26", "192.0.2.1", false},
		{"10.244.2.0/26", "192.0.2.12", false},
		{"0.0.0.0/0", "192.0.2.12", false},
		{"192.0.2.12/32", "192.0.2.12", false},
		{"10.96.0.10/32", "192.0.2.12", false},
		{"10.96.0.0/12", "192.0.2.12", false},
		{"203.0.113.7/32", "192.0.2.12", false},
	} {
		if got := e.LeadsToPeer(netip.MustParsePrefix(c.block), netip.MustParseAddr(c.via)); got != c.want {
			t.Errorf("%s by %s: %t", c.block, c.via, got)
		}
	}
	if e.LeadsToPeer(netip.MustParsePrefix("10.250.2.0/26"), netip.Addr{}) {
		t.Error("a route without a next hop leads to a peer")
	}
}
