// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package fakevpp_test

import (
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.fd.io/govpp"
	aclapi "go.fd.io/govpp/binapi/acl"
	"go.fd.io/govpp/binapi/acl_types"
	"go.fd.io/govpp/binapi/fib_types"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/ip_types"
	"go.fd.io/govpp/binapi/wireguard"
	"go.fd.io/govpp/core"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/fakevpp"
)

// node is a fake VPP with an uplink and, as soon as its start-up script ran, a tunnel.
type node struct {
	*fakevpp.VPP
	t       *testing.T
	address netip.Addr
	block   netip.Prefix
	private []byte
	public  string
	conn    *core.Connection
}

func newNode(t *testing.T, number byte) *node {
	t.Helper()
	n := &node{t: t, address: netip.AddrFrom4([4]byte{192, 0, 2, number}), block: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 244, number, 0}), 26)}
	n.private, n.public = testKey(t, number)
	dir := t.TempDir()
	exec := filepath.Join(dir, "wireguard.exec")
	n.writeExec(exec)
	n.VPP = fakevpp.New(fakevpp.Config{
		Socket: filepath.Join(dir, "api.sock"), Exec: exec, ExecDelay: execDelay,
		Uplink: &fakevpp.Uplink{Name: "uplink0", Address: netip.PrefixFrom(n.address, 24), Gateway: netip.MustParseAddr("192.0.2.254")},
	})
	return n
}

func (n *node) writeExec(path string) {
	n.t.Helper()
	line := fmt.Sprintf("wireguard create listen-port %d private-key %s src %s instance 0\n", port, base64.StdEncoding.EncodeToString(n.private), n.address)
	if err := os.WriteFile(path, []byte(line), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// testKey is the same at every run, and obviously nobody's secret.
func testKey(t *testing.T, number byte) (private []byte, public string) {
	t.Helper()
	seed := sha256.Sum256([]byte{number})
	seed[0] &= 248
	seed[31] = seed[31]&127 | 64
	key, err := ecdh.X25519().NewPrivateKey(seed[:])
	if err != nil {
		t.Fatal(err)
	}
	return seed[:], base64.StdEncoding.EncodeToString(key.PublicKey().Bytes())
}

func (n *node) start() {
	n.t.Helper()
	if err := n.Start(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(n.Stop)
	n.connect()
}

func (n *node) connect() {
	n.t.Helper()
	conn, err := govpp.Connect(n.Socket())
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(conn.Disconnect)
	n.conn = conn
}

// tunnels waits until there are as many as wanted, and lists them.
func (n *node) tunnels(want int) []wireguard.WireguardInterface {
	n.t.Helper()
	var found []wireguard.WireguardInterface
	eventually(n.t, fmt.Sprintf("%d tunnels", want), func() bool {
		found = nil
		stream, err := wireguard.NewServiceClient(n.conn).WireguardInterfaceDump(n.t.Context(), &wireguard.WireguardInterfaceDump{SwIfIndex: interface_types.InterfaceIndex(all)})
		if err != nil {
			n.t.Fatal(err)
		}
		for {
			details, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return len(found) == want
			}
			if err != nil {
				n.t.Fatal(err)
			}
			found = append(found, details.Interface)
		}
	})
	return found
}

// finish does to the tunnel what the Calico agent leaves undone on one that it adopts.
func (n *node) finish(tunnel interface_types.InterfaceIndex) {
	n.t.Helper()
	client := interfaces.NewServiceClient(n.conn)
	if _, err := client.SwInterfaceSetUnnumbered(n.t.Context(), &interfaces.SwInterfaceSetUnnumbered{SwIfIndex: 1, UnnumberedSwIfIndex: tunnel, IsAdd: true}); err != nil {
		n.t.Fatal(err)
	}
	if _, err := client.SwInterfaceSetFlags(n.t.Context(), &interfaces.SwInterfaceSetFlags{SwIfIndex: tunnel, Flags: interface_types.IF_STATUS_API_FLAG_ADMIN_UP}); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) addPeer(tunnel interface_types.InterfaceIndex, other *node) uint32 {
	n.t.Helper()
	key, err := base64.StdEncoding.DecodeString(other.public)
	if err != nil {
		n.t.Fatal(err)
	}
	reply, err := wireguard.NewServiceClient(n.conn).WireguardPeerAdd(n.t.Context(), &wireguard.WireguardPeerAdd{Peer: wireguard.WireguardPeer{
		PublicKey: key, Port: port, PersistentKeepalive: 1, Endpoint: ip_types.NewAddress(other.address.AsSlice()), SwIfIndex: tunnel,
		AllowedIps: []ip_types.Prefix{prefix(other.block), prefix(netip.PrefixFrom(other.address, 32))},
	}})
	if err != nil {
		n.t.Fatal(err)
	}
	return reply.PeerIndex
}

// route leads a prefix to an interface, by way of an address behind it.
func (n *node) route(destination netip.Prefix, link uint32, kind fib_types.FibPathType) {
	n.t.Helper()
	via := fib_types.FibPath{SwIfIndex: link, Weight: 1, Type: kind}
	if link != all {
		via.Nh.Address = ip_types.AddressUnionIP4(destination.Addr().As4())
	}
	if _, err := ip.NewServiceClient(n.conn).IPRouteAddDel(n.t.Context(), &ip.IPRouteAddDel{
		IsAdd: true, Route: ip.IPRoute{Prefix: prefix(destination), Paths: []fib_types.FibPath{via}},
	}); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) guard() uint32 {
	n.t.Helper()
	client := aclapi.NewServiceClient(n.conn)
	anywhere := prefix(netip.MustParsePrefix("0.0.0.0/0"))
	pods := prefix(netip.MustParsePrefix("10.244.0.0/16"))
	reply, err := client.ACLAddReplace(n.t.Context(), &aclapi.ACLAddReplace{ACLIndex: all, Tag: "guard", R: []acl_types.ACLRule{
		{SrcPrefix: anywhere, DstPrefix: anywhere, Proto: 4, SrcportOrIcmptypeLast: 65535, DstportOrIcmpcodeLast: 65535},
		{SrcPrefix: pods, DstPrefix: pods, SrcportOrIcmptypeLast: 65535, DstportOrIcmpcodeLast: 65535},
		{IsPermit: acl_types.ACL_ACTION_API_PERMIT, SrcPrefix: anywhere, DstPrefix: anywhere, SrcportOrIcmptypeLast: 65535, DstportOrIcmpcodeLast: 65535},
	}})
	if err != nil {
		n.t.Fatal(err)
	}
	if _, err := client.ACLInterfaceSetACLList(n.t.Context(), &aclapi.ACLInterfaceSetACLList{SwIfIndex: 1, Acls: []uint32{reply.ACLIndex}}); err != nil {
		n.t.Fatal(err)
	}
	return reply.ACLIndex
}

func (n *node) send(to netip.Addr) fakevpp.Verdict {
	n.t.Helper()
	verdict, err := n.Send(fakevpp.Packet{Source: n.block.Addr().Next(), Destination: to})
	if err != nil {
		n.t.Fatal(err)
	}
	return verdict
}

func prefix(p netip.Prefix) ip_types.Prefix {
	return ip_types.NewPrefix(net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)})
}

func eventually(t *testing.T, what string, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if met() {
			return
		}
	}
	t.Fatal("never: " + what)
}
