// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/ipip"
	"go.fd.io/govpp/binapi/ipsec"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/agent/vpp"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/calicoagent/vppapi"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/fakevpp"
)

// ipsecNode is a VPP with an uplink, the agent's look at it, and a connection that plays Calico and IKE.
type ipsecNode struct {
	t       *testing.T
	fake    *fakevpp.VPP
	backend *vpp.Backend
	calico  *vppapi.VPP
	e       encryption.Expectation
}

func newIPsecNode(t *testing.T) *ipsecNode {
	t.Helper()
	own, other := netip.MustParseAddr("192.0.2.11"), netip.MustParseAddr("192.0.2.12")
	socket := filepath.Join(t.TempDir(), "api.sock")
	n := &ipsecNode{t: t, fake: fakevpp.New(fakevpp.Config{
		Socket: socket, Uplink: &fakevpp.Uplink{Name: "uplink0", Address: netip.PrefixFrom(own, 24), Gateway: netip.MustParseAddr("192.0.2.254")},
	})}
	n.e = encryption.Expectation{
		Node: "a", Address: own, Mode: encryption.ModePreferred, Protocol: encryption.IPsec, PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")},
		Peers: []encryption.ExpectedPeer{{Node: "b", Ready: true, Address: other}},
	}
	if err := n.fake.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.fake.Stop)
	n.backend = vpp.New(socket, "", func() encryption.Hugepages { return encryption.Hugepages{Known: true} }, slog.New(slog.NewTextHandler(t.Output(), nil)))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = n.backend.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	calico, err := vppapi.Connect(socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(calico.Close)
	n.calico = calico
	for start := time.Now(); n.backend.Observe(t.Context(), n.e).Unreachable != ""; time.Sleep(20 * time.Millisecond) {
		if time.Since(start) > shown {
			t.Fatal("VPP is not reached")
		}
	}
	return n
}

// add makes Calico's tunnel to the other node, and routes its pods into it.
func (n *ipsecNode) add() interface_types.InterfaceIndex {
	n.t.Helper()
	reply, err := ipip.NewServiceClient(n.calico.API()).IpipAddTunnel(n.t.Context(), &ipip.IpipAddTunnel{Tunnel: ipip.IpipTunnel{
		Instance: vppapi.None, Src: vppapi.Address(n.e.Address), Dst: vppapi.Address(n.e.Peers[0].Address),
	}})
	if err != nil {
		n.t.Fatal(err)
	}
	route := vppapi.Route{Prefix: netip.MustParsePrefix("10.244.12.0/26"), Link: uint32(reply.SwIfIndex)}
	if err := n.calico.SetRoute(n.t.Context(), route, true); err != nil {
		n.t.Fatal(err)
	}
	return reply.SwIfIndex
}

// protect gives the tunnel its security associations, or takes them.
func (n *ipsecNode) protect(index interface_types.InterfaceIndex, on bool) {
	n.t.Helper()
	client := ipsec.NewServiceClient(n.calico.API())
	var err error
	if on {
		_, err = client.IpsecTunnelProtectUpdate(n.t.Context(), &ipsec.IpsecTunnelProtectUpdate{Tunnel: ipsec.IpsecTunnelProtect{SwIfIndex: index, SaOut: 1, SaIn: []uint32{2}}})
	} else {
		_, err = client.IpsecTunnelProtectDel(n.t.Context(), &ipsec.IpsecTunnelProtectDel{SwIfIndex: index})
	}
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *ipsecNode) setUp(up bool) {
	n.t.Helper()
	if err := n.fake.SetAdmin("ipip0", up); err != nil {
		n.t.Fatal(err)
	}
}

// expect looks once.
func (n *ipsecNode) expect(when, reason string, associations []encryption.Association, plain []encryption.PlainTunnel, outcome fakevpp.Outcome) {
	n.t.Helper()
	o := n.backend.Observe(n.t.Context(), n.e)
	got := encryption.Observation{Associations: o.Associations, PlainTunnels: o.PlainTunnels}
	want := encryption.Observation{Associations: associations, PlainTunnels: plain}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		n.t.Errorf("%s (-want +got):\n%s", when, diff)
	}
	if v := encryption.Judge(n.e, o); v.Reason != reason {
		n.t.Errorf("%s: %s: %s; want %s", when, v.Reason, v.Message, reason)
	}
	verdict, err := n.fake.Send(fakevpp.Packet{Source: netip.MustParseAddr("10.244.11.1"), Destination: netip.MustParseAddr("10.244.12.1")})
	if err != nil || verdict.Outcome != outcome {
		n.t.Errorf("%s: a packet is %+v, %v; want %s", when, verdict, err, outcome)
	}
}

// TestIPsec follows a tunnel of Calico-VPP's IPsec: it is made down, and only IKE brings it up, so that a node that joins or restarts
// sends nothing in clear and is no plaintext tunnel.
func TestIPsec(t *testing.T) {
	n := newIPsecNode(t)
	index := n.add()
	at := encryption.Interface{Name: "ipip0", Index: uint32(index)}
	remote := n.e.Peers[0].Address
	down := []encryption.Association{{Interface: at, Remote: remote}}
	plain := []encryption.PlainTunnel{{Interface: at, Kind: "ipip", Remote: remote, Routes: 1}}

	n.expect("made", encryption.ReasonIPsecNotEstablished, down, nil, fakevpp.Dropped)
	n.protect(index, true)
	n.setUp(true)
	n.expect("established", encryption.ReasonEncrypted, []encryption.Association{{Interface: at, Remote: remote, Up: true}}, nil, fakevpp.Encrypted)
	n.setUp(false)
	n.expect("the other node restarts", encryption.ReasonIPsecNotEstablished, down, nil, fakevpp.Dropped)
	n.protect(index, false)
	n.expect("associations are gone", encryption.ReasonIPsecNotEstablished, down, nil, fakevpp.Dropped)
	n.setUp(true)
	n.expect("up without associations", encryption.ReasonPlaintextTunnel, nil, plain, fakevpp.Plain)

	// With WireGuard such a tunnel is Calico's fallback, which comes up by itself.
	n.setUp(false)
	n.e.Protocol = encryption.WireGuard
	if o := n.backend.Observe(t.Context(), n.e); len(o.PlainTunnels) != 1 || len(o.Associations) != 0 {
		t.Errorf("with WireGuard: %+v, %+v", o.PlainTunnels, o.Associations)
	}
}
