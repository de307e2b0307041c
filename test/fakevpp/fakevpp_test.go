// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package fakevpp_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/fib_types"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/ip_types"
	"go.fd.io/govpp/binapi/ipip"
	"go.fd.io/govpp/binapi/vlib"
	"go.fd.io/govpp/binapi/vpe"
	"go.fd.io/govpp/binapi/wireguard"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/fakevpp"
)

const (
	port      = 51820
	execDelay = 200 * time.Millisecond
	all       = ^uint32(0)
)

func TestVersionAndUnknownRequests(t *testing.T) {
	n := newNode(t, 1)
	n.start()
	version, err := vpe.NewServiceClient(n.conn).ShowVersion(t.Context(), &vpe.ShowVersion{})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(version.Version, "26.06") {
		t.Errorf("version %q, want one of 26.06", version.Version)
	}
	_, err = interfaces.NewServiceClient(n.conn).CreateLoopback(t.Context(), &interfaces.CreateLoopback{})
	if !errors.Is(err, api.UNIMPLEMENTED) {
		t.Errorf("a request that the fake does not know: %v, want UNIMPLEMENTED", err)
	}
	if diff := cmp.Diff([]string{"create_loopback x1"}, n.Unhandled()); diff != "" {
		t.Error(diff)
	}
	out, err := vlib.NewServiceClient(n.conn).CliInband(t.Context(), &vlib.CliInband{Cmd: "make coffee"})
	if err == nil || out != nil && out.Retval == 0 {
		t.Errorf("unknown command: %+v, %v, want an error", out, err)
	}
}

func TestStartUpScriptRunsLate(t *testing.T) {
	n := newNode(t, 1)
	started := time.Now()
	n.start()
	got := n.tunnels(1)[0]
	if waited := time.Since(started); waited < execDelay {
		t.Errorf("the tunnel was there after %s, want %s or more", waited, execDelay)
	}
	if base64.StdEncoding.EncodeToString(got.PublicKey) != n.public {
		t.Error("the tunnel's public key is not that of the script's private key")
	}
	if strings.Trim(string(got.PrivateKey), "\x00") != "" {
		t.Error("a dump that does not ask for the private key has it")
	}
	details := link(t, n, "wg0")
	if details.Flags != 0 {
		t.Errorf("wg0 has flags %v at first, want none: it starts down", details.Flags)
	}
	if err := n.ExecError(); err != nil {
		t.Error(err)
	}
}

func TestInstances(t *testing.T) {
	n := newNode(t, 1)
	n.start()
	n.tunnels(1)
	client := wireguard.NewServiceClient(n.conn)
	same := wireguard.WireguardInterface{UserInstance: 0, PrivateKey: n.private, Port: port, SrcIP: ip_types.NewAddress(n.address.AsSlice())}
	if _, err := client.WireguardInterfaceCreate(t.Context(), &wireguard.WireguardInterfaceCreate{Interface: same}); !errors.Is(err, api.INVALID_REGISTRATION) {
		t.Errorf("an instance that is taken: %v, want INVALID_REGISTRATION", err)
	}
	same.UserInstance = all
	reply, err := client.WireguardInterfaceCreate(t.Context(), &wireguard.WireguardInterfaceCreate{Interface: same, GenerateKey: true})
	if err != nil {
		t.Fatal(err)
	}
	if second := link(t, n, "wg1"); second.SwIfIndex != reply.SwIfIndex {
		t.Errorf("wg1 has index %d, want %d", second.SwIfIndex, reply.SwIfIndex)
	}
	n.tunnels(2)
}

// link finds an interface by name.
func link(t *testing.T, n *node, name string) *interfaces.SwInterfaceDetails {
	t.Helper()
	stream, err := interfaces.NewServiceClient(n.conn).SwInterfaceDump(t.Context(), &interfaces.SwInterfaceDump{SwIfIndex: interface_types.InterfaceIndex(all)})
	if err != nil {
		t.Fatal(err)
	}
	for {
		details, err := stream.Recv()
		if err != nil {
			t.Fatalf("no interface %s: %v", name, err)
		}
		if details.InterfaceName == name {
			return details
		}
	}
}

func TestPeersShakeHands(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	wire := fakevpp.Link(a.VPP, b.VPP)
	a.start()
	b.start()
	tunnelA, tunnelB := a.tunnels(1)[0].SwIfIndex, b.tunnels(1)[0].SwIfIndex
	a.finish(tunnelA)
	b.finish(tunnelB)
	to := b.block.Addr().Next()
	a.route(b.block, uint32(tunnelA), fib_types.FIB_API_PATH_TYPE_NORMAL)
	if got := a.send(to); got.Outcome != fakevpp.Dropped {
		t.Errorf("without a peer: %+v, want Dropped", got)
	}
	indexAtA := a.addPeer(tunnelA, b)
	events := a.watch(t)
	time.Sleep(4 * 50 * time.Millisecond)
	if got := a.send(to); got.Outcome != fakevpp.Dropped || !strings.Contains(got.By, "no session") {
		t.Errorf("while only one side knows the other: %+v, want Dropped for want of a session", got)
	}
	b.addPeer(tunnelB, a)
	eventually(t, "an event that the peer is established", func() bool {
		select {
		case event := <-events:
			return event.PeerIndex == indexAtA && event.Flags == wireguard.WIREGUARD_PEER_ESTABLISHED
		default:
			return false
		}
	})
	if diff := cmp.Diff(fakevpp.Verdict{Outcome: fakevpp.Encrypted, Peer: b.public, Link: "host-uplink0", Protocol: 17}, a.send(to)); diff != "" {
		t.Error(diff)
	}
	wire.Cut(b.address, true)
	time.Sleep(4 * 50 * time.Millisecond)
	if got := a.send(to); got.Outcome != fakevpp.Encrypted {
		t.Errorf("just after the other side was lost: %+v, want Encrypted: the keys are good for 3 minutes", got)
	}
	if a.Sent(fakevpp.Encrypted) != 2 || a.Sent(fakevpp.Dropped) != 2 || a.Sent(fakevpp.Plain) != 0 {
		t.Errorf("counted %d encrypted, %d dropped, %d plain; want 2, 2, 0", a.Sent(fakevpp.Encrypted), a.Sent(fakevpp.Dropped), a.Sent(fakevpp.Plain))
	}
	if unhandled := a.Unhandled(); len(unhandled) > 0 {
		t.Error(unhandled)
	}
}

// watch subscribes to the events of the peers there are.
func (n *node) watch(t *testing.T) <-chan *wireguard.WireguardPeerEvent {
	t.Helper()
	watcher, err := n.conn.WatchEvent(t.Context(), &wireguard.WireguardPeerEvent{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(watcher.Close)
	if _, err := wireguard.NewServiceClient(n.conn).WantWireguardPeerEvents(t.Context(), &wireguard.WantWireguardPeerEvents{
		SwIfIndex: interface_types.InterfaceIndex(all), PeerIndex: all, EnableDisable: 1, PID: uint32(os.Getpid()),
	}); err != nil {
		t.Fatal(err)
	}
	events := make(chan *wireguard.WireguardPeerEvent, 10)
	go func() {
		for event := range watcher.Events() {
			if typed, is := event.(*wireguard.WireguardPeerEvent); is {
				events <- typed
			}
		}
	}()
	return events
}

func TestEventsOnlyForPeersThatThereWere(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	fakevpp.Link(a.VPP, b.VPP)
	a.start()
	b.start()
	tunnelA, tunnelB := a.tunnels(1)[0].SwIfIndex, b.tunnels(1)[0].SwIfIndex
	a.finish(tunnelA)
	b.finish(tunnelB)
	events := a.watch(t)
	a.addPeer(tunnelA, b)
	b.addPeer(tunnelB, a)
	a.route(b.block, uint32(tunnelA), fib_types.FIB_API_PATH_TYPE_NORMAL)
	eventually(t, "a session", func() bool { return a.send(b.block.Addr().Next()).Outcome == fakevpp.Encrypted })
	if len(events) > 0 {
		t.Errorf("an event of a peer that came after the subscription: %+v", <-events)
	}
}

func TestFallbackLeaksUnlessGuarded(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	fakevpp.Link(a.VPP, b.VPP)
	a.start()
	b.start()
	to := b.block.Addr().Next()
	reply, err := ipip.NewServiceClient(a.conn).IpipAddTunnel(t.Context(), &ipip.IpipAddTunnel{Tunnel: ipip.IpipTunnel{
		Instance: all, Src: ip_types.NewAddress(a.address.AsSlice()), Dst: ip_types.NewAddress(b.address.AsSlice()),
	}})
	if err != nil {
		t.Fatal(err)
	}
	a.finish(reply.SwIfIndex)
	a.route(b.block, uint32(reply.SwIfIndex), fib_types.FIB_API_PATH_TYPE_NORMAL)
	if got := a.send(to); got.Outcome != fakevpp.Plain || got.Protocol != 4 {
		t.Errorf("IPIP without a guard: %+v, want Plain with protocol 4", got)
	}
	a.guard()
	if got := a.send(to); got.Outcome != fakevpp.Dropped || got.By != "ACL guard" {
		t.Errorf("IPIP with a guard: %+v, want Dropped by it", got)
	}
	tables, err := a.CLI("show acl-plugin tables")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(tables, "acl 0 rule 0 action 0") || !strings.Contains(tables, "hitcount 1") {
		t.Errorf("the guard's first rule counts no hit:\n%s", tables)
	}
	if verdict, err := a.Send(fakevpp.Packet{Source: a.block.Addr().Next(), Destination: to, From: "tun1"}); err != nil || verdict.Outcome != fakevpp.Dropped {
		t.Errorf("from a pod that is not connected: %+v, %v; want Dropped", verdict, err)
	}
	// A block that nobody routes goes to the default gateway, unless there is a blackhole.
	elsewhere := netip.MustParseAddr("10.244.9.9")
	if err := a.RemoveGuards("host-uplink0"); err != nil {
		t.Fatal(err)
	}
	if got := a.send(elsewhere); got.Outcome != fakevpp.Plain {
		t.Errorf("to the default gateway: %+v, want Plain", got)
	}
	a.route(netip.MustParsePrefix("10.244.0.0/16"), all, fib_types.FIB_API_PATH_TYPE_DROP)
	if got := a.send(elsewhere); got.Outcome != fakevpp.Dropped {
		t.Errorf("into the blackhole: %+v, want Dropped", got)
	}
	if got := a.send(to); got.Outcome != fakevpp.Plain {
		t.Errorf("below the blackhole: %+v, want the block's own route", got)
	}
}

func TestRestartForgets(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	fakevpp.Link(a.VPP, b.VPP)
	a.start()
	b.start()
	tunnel := a.tunnels(1)[0].SwIfIndex
	a.finish(tunnel)
	a.addPeer(tunnel, b)
	a.SetExecDelay(time.Second)
	restarted := time.Now()
	if err := a.Restart(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	a.connect()
	if again := a.tunnels(1)[0]; base64.StdEncoding.EncodeToString(again.PublicKey) != a.public {
		t.Error("the tunnel came back with another key")
	}
	if waited := time.Since(restarted); waited < time.Second {
		t.Errorf("the tunnel was there after %s, before the start-up script: it outlived the restart", waited)
	}
	out, err := a.CLI("show wireguard peer")
	if err != nil || out != "" {
		t.Errorf("peers after the restart: %q, %v; want none", out, err)
	}
}

func TestSessionEnds(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	wire := fakevpp.Link(a.VPP, b.VPP)
	a.start()
	b.start()
	tunnelA, tunnelB := a.tunnels(1)[0].SwIfIndex, b.tunnels(1)[0].SwIfIndex
	a.finish(tunnelA)
	b.finish(tunnelB)
	a.addPeer(tunnelA, b)
	b.addPeer(tunnelB, a)
	a.route(b.block, uint32(tunnelA), fib_types.FIB_API_PATH_TYPE_NORMAL)
	to := b.block.Addr().Next()
	eventually(t, "a session", func() bool { return a.send(to).Outcome == fakevpp.Encrypted })
	wire.Cut(b.address, true)
	// A handshake that was under way when the cable was cut may still end well.
	eventually(t, "keys that are too old", func() bool { a.ExpireSessions(); return a.send(to).Outcome == fakevpp.Dropped })
	wire.Cut(b.address, false)
	eventually(t, "a session again", func() bool { return a.send(to).Outcome == fakevpp.Encrypted })
	if err := a.SetAdmin("wg0", false); err != nil {
		t.Fatal(err)
	}
	if got := a.send(to); got.Outcome != fakevpp.Dropped || got.By != "wg0 is down" {
		t.Errorf("while wg0 is down: %+v, want Dropped", got)
	}
}

func TestRefusalsAndOtherVersions(t *testing.T) {
	n := newNode(t, 1)
	n.AnnounceCRC("wireguard_peer_add", "00000000")
	n.start()
	n.Refuse("sw_interface_set_flags", api.INVALID_VALUE)
	if _, err := interfaces.NewServiceClient(n.conn).SwInterfaceSetFlags(t.Context(), &interfaces.SwInterfaceSetFlags{SwIfIndex: 1}); !errors.Is(err, api.INVALID_VALUE) {
		t.Errorf("a refused request: %v, want INVALID_VALUE", err)
	}
	n.Refuse("sw_interface_set_flags", 0)
	if _, err := interfaces.NewServiceClient(n.conn).SwInterfaceSetFlags(t.Context(), &interfaces.SwInterfaceSetFlags{SwIfIndex: 1, Flags: 1}); err != nil {
		t.Error(err)
	}
	channel, err := n.conn.NewAPIChannel()
	if err != nil {
		t.Fatal(err)
	}
	defer channel.Close()
	err = channel.CheckCompatiblity(wireguard.AllMessages()...)
	incompatible, is := errors.AsType[*api.CompatibilityError](err)
	if !is {
		t.Fatalf("compatibility with another version: %v", err)
	}
	if diff := cmp.Diff([]string{"wireguard_peer_add_9b8aad61"}, incompatible.IncompatibleMessages); diff != "" {
		t.Error(diff)
	}
}
