// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

var (
	addressA = netip.MustParseAddr("192.0.2.11")
	addressB = netip.MustParseAddr("192.0.2.12")
	podA     = netip.MustParseAddr("10.244.1.1")
	podB     = netip.MustParseAddr("10.244.2.1")
	service  = netip.MustParseAddr("10.96.0.10")
)

func expectation(name string, address netip.Addr, key, peer wgtypes.Key, peerName string, peerAddress netip.Addr) encryption.Expectation {
	return encryption.Expectation{
		Node: name, Address: address, Mode: encryption.ModeRequired, Protocol: encryption.WireGuard, Port: encryption.DefaultPort,
		FileKey: key.PublicKey().String(), PublishedKey: key.PublicKey().String(),
		PodCIDRs:     []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")},
		ServiceCIDRs: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")},
		Peers: []encryption.ExpectedPeer{{
			Node: peerName, Ready: true, Address: peerAddress, PublicKey: peer.PublicKey().String(),
		}},
	}
}

func newKey(t *testing.T) wgtypes.Key {
	t.Helper()
	key, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// pair is two hosts on one wire.
type pair struct {
	a, b   *node
	ea, eb encryption.Expectation
}

func newPair(t *testing.T) pair {
	t.Helper()
	keyA, keyB := newKey(t), newKey(t)
	p := pair{
		a: newNode(t, writeKey(t, keyA.String()+"\n")), b: newNode(t, writeKey(t, keyB.String()+"\n")),
		ea: expectation("a", addressA, keyA, keyB, "b", addressB), eb: expectation("b", addressB, keyB, keyA, "a", addressA),
	}
	join(t, p.a, p.b, addressA.String()+"/24", addressB.String()+"/24")
	return p
}

// ipPacket is a packet with an IPv4 header and a payload.
func ipPacket(protocol byte, from, to netip.Addr, payload []byte) []byte {
	packet := make([]byte, 20, 20+len(payload))
	packet[0], packet[8], packet[9] = 0x45, 64, protocol
	binary.BigEndian.PutUint16(packet[2:], uint16(20+len(payload)))
	copy(packet[12:], from.AsSlice())
	copy(packet[16:], to.AsSlice())
	return append(packet, payload...)
}

func udp(to uint16, payload []byte) []byte {
	header := make([]byte, 8, 8+len(payload))
	binary.BigEndian.PutUint16(header, 40000)
	binary.BigEndian.PutUint16(header[2:], to)
	binary.BigEndian.PutUint16(header[4:], uint16(8+len(payload)))
	return append(header, payload...)
}

// kinds of packets that a sends to b.
func leaks() []packet {
	inner := ipPacket(unix.IPPROTO_UDP, podA, podB, udp(80, nil))
	return []packet{
		{To: addressB, Bytes: ipPacket(unix.IPPROTO_IPIP, addressA, addressB, inner)},
		{To: addressB, Bytes: ipPacket(unix.IPPROTO_UDP, addressA, addressB, udp(4789, inner))},
		{To: podB, Bytes: inner},
		{To: podB, Bytes: ipPacket(unix.IPPROTO_TCP, addressA, podB, make([]byte, 20))},
		{To: service, Bytes: ipPacket(unix.IPPROTO_UDP, podA, service, udp(53, nil))},
	}
}

func allowed() []packet {
	return []packet{
		{To: addressB, Bytes: ipPacket(unix.IPPROTO_UDP, addressA, addressB, udp(encryption.DefaultPort, []byte("outer")))},
		{To: addressB, Bytes: ipPacket(unix.IPPROTO_UDP, addressA, addressB, udp(67, []byte("DHCP")))},
		{To: addressB, Bytes: ipPacket(unix.IPPROTO_TCP, addressA, addressB, make([]byte, 20))},
		{To: addressB, Bytes: ipPacket(unix.IPPROTO_ESP, addressA, addressB, make([]byte, 20))},
		{To: addressB, Bytes: ipPacket(unix.IPPROTO_UDP, podA, addressB, udp(53, []byte("pod to host")))},
	}
}

func (p pair) seen(t *testing.T, total int64) wire {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		w := p.b.ask(request{Seen: true}).Seen
		if w.IPIP+w.VXLAN+w.Pods+w.WireGuard+w.Other >= total || time.Now().After(deadline) {
			return w
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestGuard sends what would leak with and without the guard, and counts on the wire what arrives.
func TestGuard(t *testing.T) {
	p := newPair(t)
	p.a.run("ip route add 10.244.2.0/24 via " + addressB.String())
	p.a.run("ip route add 10.96.0.0/12 via " + addressB.String())
	p.b.ask(request{Sniff: "uplink0"})

	p.a.ask(request{Send: append(leaks(), allowed()...)})
	if got, want := p.seen(t, 10), (wire{IPIP: 1, VXLAN: 1, Pods: 3, WireGuard: 1, Other: 4}); got != want {
		t.Fatalf("without the guard %+v arrives, want %+v", got, want)
	}
	if o := p.a.observe(p.ea); o.Guard.Present || o.Guard.InForce || o.Uplink.Name != "uplink0" {
		t.Fatalf("before the guard: %+v at %+v", o.Guard, o.Uplink)
	}

	install := []encryption.Action{{Kind: encryption.InstallGuard}}
	p.a.ask(request{Observe: &p.ea, Act: install})
	p.a.ask(request{Observe: &p.ea, Act: install}) // Changes nothing.
	p.b.ask(request{Sniff: "uplink0"})
	for range 3 {
		p.a.ask(request{Send: leaks()})
	}
	p.a.ask(request{Send: allowed()})
	if got, want := p.seen(t, 5), (wire{WireGuard: 1, Other: 4}); got != want {
		t.Fatalf("with the guard %+v arrives, want %+v", got, want)
	}
	o := p.a.observe(p.ea)
	if !o.Guard.InForce {
		t.Fatalf("guard: %+v", o.Guard)
	}
	drops := map[string]uint64{}
	for _, d := range o.Guard.Drops {
		drops[d.Rule] = d.Packets
		if d.Bytes == 0 {
			t.Errorf("rule %s counts no bytes", d.Rule)
		}
	}
	if diff := cmp.Diff(map[string]uint64{encryption.RuleIPIP: 3, encryption.RuleVXLAN: 3, encryption.RulePods: 9}, drops); diff != "" {
		t.Error("dropped (-want +got):\n" + diff)
	}

	other := p.ea
	other.PodCIDRs = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/9")}
	if o := p.a.observe(other); o.Guard.InForce || !o.Guard.Present {
		t.Errorf("the guard of other pods passes for this one's: %+v", o.Guard)
	}

	p.a.ask(request{Observe: &p.ea, Act: []encryption.Action{{Kind: encryption.RemoveGuard}}})
	p.b.ask(request{Sniff: "uplink0"})
	p.a.ask(request{Send: leaks()})
	if got, want := p.seen(t, 5), (wire{IPIP: 1, VXLAN: 1, Pods: 3}); got != want {
		t.Errorf("after the guard %+v arrives, want %+v", got, want)
	}
}

// TestGuardCoversRedirects: packets that an eBPF program redirects on their way in, as Calico's do, pass netfilter by. The guard sees them.
func TestGuardCoversRedirects(t *testing.T) {
	p := newPair(t)
	p.a.run("ip link add pod0 type veth peer name pod1")
	p.a.run("ip link set pod0 up")
	p.a.run("ip link set pod1 up")
	p.a.run("tc qdisc add dev pod0 clsact")
	p.a.run("tc filter add dev pod0 ingress protocol ip u32 match u32 0 0 action mirred egress redirect dev uplink0")
	p.a.run("ip link set uplink0 promisc on")
	p.b.ask(request{Sniff: "uplink0"})
	p.a.run("ip addr add " + podA.String() + "/24 dev pod1")
	p.a.run("ip route add " + podB.String() + " dev pod1")
	p.a.run("ip neigh add " + podB.String() + " lladdr ff:ff:ff:ff:ff:ff dev pod1")
	leak := []packet{{To: podB, Bytes: ipPacket(unix.IPPROTO_UDP, podA, podB, udp(80, nil))}}

	p.a.ask(request{Send: leak})
	if got := p.seen(t, 1); got.Pods != 1 {
		t.Fatalf("without the guard %+v arrives, want one packet between pods", got)
	}
	p.a.ask(request{Observe: &p.ea, Act: []encryption.Action{{Kind: encryption.InstallGuard}}})
	p.b.ask(request{Sniff: "uplink0"})
	p.a.ask(request{Send: leak})
	time.Sleep(200 * time.Millisecond)
	if got := p.seen(t, 0); got.Pods != 0 {
		t.Errorf("with the guard %+v arrives", got)
	}
}

// setUpWireGuard plays Felix on both hosts: peers, routes by a table of their own, and the device up.
func (p pair) setUpWireGuard() {
	for _, side := range []struct {
		n          *node
		e          encryption.Expectation
		peerBlock  string
		podAddress netip.Addr
	}{{p.a, p.ea, "10.244.2.0/24", podA}, {p.b, p.eb, "10.244.1.0/24", podB}} {
		side.n.run("ip link set " + encryption.KernelDevice + " up")
		side.n.run("ip addr add " + side.podAddress.String() + "/32 dev lo")
		side.n.run("ip route add " + side.peerBlock + " via " + side.e.Peers[0].Address.String())
		side.n.run("ip route add " + side.peerBlock + " dev " + encryption.KernelDevice + " table 1")
		side.n.run("ip rule add priority 99 not fwmark 0x100000/0x100000 table 1")
		side.n.peer(side.e.Peers[0].PublicKey, side.e.Peers[0].Address, side.peerBlock)
	}
}

// TestHandshake brings two hosts up from devices without keys to a verdict, with real handshakes.
func TestHandshake(t *testing.T) {
	p := newPair(t)
	for _, n := range []*node{p.a, p.b} {
		n.ask(request{Device: true})
	}
	if v := encryption.Judge(p.ea, p.a.observe(p.ea)); v.Encrypted || v.Reason != encryption.ReasonTunnelDown {
		t.Fatalf("a device that is down: %s: %s", v.Reason, v.Message)
	}
	for n, e := range map[*node]encryption.Expectation{p.a: p.ea, p.b: p.eb} {
		o := n.complete(e)
		if len(o.Tunnels) != 1 || o.Tunnels[0].PublicKey != e.FileKey || o.Tunnels[0].Port != e.Port {
			t.Fatalf("the device has not got the host's key and port: %+v", o.Tunnels)
		}
	}
	p.b.ask(request{Sniff: "uplink0"})
	p.setUpWireGuard()
	va := p.a.awaitEncrypted(p.ea)
	p.b.awaitEncrypted(p.eb) // Who answered a handshake has a session with the first packet.
	if len(va.Peers) != 1 || va.Peers[0].State != encryption.PeerEncrypted || va.Peers[0].HandshakeAge < 0 || va.Peers[0].TxBytes == 0 {
		t.Errorf("peers: %+v", va.Peers)
	}
	p.a.ask(request{Send: []packet{{To: podB, Bytes: ipPacket(unix.IPPROTO_UDP, podA, podB, udp(80, []byte("secret")))}}})
	time.Sleep(200 * time.Millisecond)
	if got := p.seen(t, 1); got.WireGuard == 0 || got.Pods+got.IPIP+got.VXLAN > 0 {
		t.Errorf("on the wire: %+v", got)
	}

	// Felix takes the peer away: the block is routed in clear, which the guard drops.
	p.a.peer(p.ea.Peers[0].PublicKey, netip.Addr{}, "")
	p.a.run("ip route del 10.244.2.0/24 dev " + encryption.KernelDevice + " table 1")
	v := encryption.Judge(p.ea, p.a.observe(p.ea))
	if v.Reason != encryption.ReasonPeerMissing || !strings.Contains(v.Message, "RouteInClear") {
		t.Errorf("a peer that was taken away: %s: %s", v.Reason, v.Message)
	}
	p.b.ask(request{Sniff: "uplink0"})
	p.a.ask(request{Send: []packet{{To: podB, Bytes: ipPacket(unix.IPPROTO_UDP, podA, podB, udp(80, []byte("secret")))}}})
	time.Sleep(200 * time.Millisecond)
	if got := p.seen(t, 0); got.Pods+got.IPIP+got.VXLAN > 0 {
		t.Errorf("in clear on the wire: %+v", got)
	}
}

// TestRouteOutside: a pool that the cluster does not know of, as a user makes one, is told as long as its blocks are routed in clear.
func TestRouteOutside(t *testing.T) {
	p := newPair(t)
	p.ea.AnnouncedCIDRs = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	p.a.ask(request{Device: true})
	p.a.run("ip link set " + encryption.KernelDevice + " up")
	for _, route := range []string{
		"default via " + addressB.String(), "203.0.113.7/32 via " + addressB.String(), "10.96.0.0/12 via " + addressB.String(),
		addressB.String() + "/32 via " + addressB.String() + " onlink dev uplink0", "198.51.100.0/24 via 192.0.2.1",
	} {
		p.a.run("ip route add " + route)
	}
	if routes := p.a.observe(p.ea).Routes; len(routes) > 0 {
		t.Fatalf("routes that are no pods': %+v", routes)
	}
	p.a.run("ip route add 10.250.2.0/26 via " + addressB.String() + " proto bird")
	want := []encryption.Route{{Block: netip.MustParsePrefix("10.250.2.0/26"), Interface: "uplink0"}}
	if diff := cmp.Diff(want, p.a.observe(p.ea).Routes, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Error("a block outside the pods' range (-want +got):\n" + diff)
	}
	findings := encryption.Judge(p.ea, p.a.observe(p.ea)).Missing
	if !slices.ContainsFunc(findings, func(f encryption.Finding) bool {
		return f.Reason == encryption.ReasonRouteInClear && strings.Contains(f.Message, "10.250.2.0/26")
	}) {
		t.Errorf("findings: %+v", findings)
	}
	// Felix sends it through WireGuard once it knows the other node's key.
	p.a.run("ip route add 10.250.2.0/26 dev " + encryption.KernelDevice + " table 1")
	p.a.run("ip rule add priority 99 not fwmark 0x100000/0x100000 table 1")
	if routes := p.a.observe(p.ea).Routes; len(routes) > 0 {
		t.Errorf("what is encrypted is told: %+v", routes)
	}
}

// awaitEncrypted waits until the host is judged encrypted.
func (n *node) awaitEncrypted(e encryption.Expectation) encryption.Verdict {
	n.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		v := encryption.Judge(e, n.observe(e))
		if v.Encrypted {
			return v
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("%s: %s: %s", e.Node, v.Reason, v.Message)
		}
	}
}

// peer adds a peer to the host's device, as Felix does; without an address it removes it.
func (n *node) peer(key string, address netip.Addr, block string) {
	n.t.Helper()
	n.ask(request{Peer: &peer{Key: key, Address: address, Block: block}})
}
