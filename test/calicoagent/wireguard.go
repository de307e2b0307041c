// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package calicoagent

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"

	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/ip_types"
	"go.fd.io/govpp/binapi/wireguard"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/calicoagent/vppapi"
)

// persistentKeepalive in seconds, as the agent asks for.
const persistentKeepalive = 1

// tunnel is the WireGuard interface that the agent uses.
type tunnel struct {
	index  interface_types.InterfaceIndex
	public string
}

// peer is another node that traffic is encrypted to.
type peer struct {
	index   uint32
	public  string
	allowed []netip.Prefix
}

// wireguardProvider encrypts.
type wireguardProvider struct {
	vpp     *vppapi.VPP
	uplink  interface_types.InterfaceIndex
	address netip.Addr
	port    uint16
	tunnel  *tunnel
	// peers by address of the node.
	peers map[netip.Addr]peer
}

// rescan finds what there is in VPP already. Of several tunnels with the node's address as their source the last one is taken.
func (p *wireguardProvider) rescan(ctx context.Context) error {
	p.peers = map[netip.Addr]peer{}
	client := wireguard.NewServiceClient(p.vpp.API())
	stream, err := client.WireguardInterfaceDump(ctx, &wireguard.WireguardInterfaceDump{SwIfIndex: interface_types.InterfaceIndex(vppapi.None)})
	if err != nil {
		return err
	}
	found, err := vppapi.Collect(stream.Recv, nil)
	if err != nil {
		return fmt.Errorf("list tunnels: %w", err)
	}
	for _, details := range found {
		if source, _ := netip.AddrFromSlice(details.Interface.SrcIP.ToIP()); source.Unmap() == p.address {
			p.tunnel = &tunnel{index: details.Interface.SwIfIndex, public: base64.StdEncoding.EncodeToString(details.Interface.PublicKey)}
		}
	}
	peers, err := client.WireguardPeersDump(ctx, &wireguard.WireguardPeersDump{PeerIndex: vppapi.None})
	if err != nil {
		return err
	}
	known, err := vppapi.Collect(peers.Recv, nil)
	if err != nil {
		return fmt.Errorf("list peers: %w", err)
	}
	for _, details := range known {
		endpoint, _ := netip.AddrFromSlice(details.Peer.Endpoint.ToIP())
		adopted := peer{index: details.Peer.PeerIndex, public: base64.StdEncoding.EncodeToString(details.Peer.PublicKey)}
		for _, prefix := range details.Peer.AllowedIps {
			ones, _ := prefix.ToIPNet().Mask.Size()
			address, _ := netip.AddrFromSlice(prefix.ToIPNet().IP)
			adopted.allowed = append(adopted.allowed, netip.PrefixFrom(address.Unmap(), ones))
		}
		p.peers[endpoint.Unmap()] = adopted
	}
	return nil
}

// create makes a tunnel with a key of its own, and completes it.
func (p *wireguardProvider) create(ctx context.Context) error {
	reply, err := wireguard.NewServiceClient(p.vpp.API()).WireguardInterfaceCreate(ctx, &wireguard.WireguardInterfaceCreate{
		Interface: wireguard.WireguardInterface{
			UserInstance: vppapi.None, Port: p.port, SrcIP: vppapi.Address(p.address), PrivateKey: make([]byte, 32), PublicKey: make([]byte, 32),
		},
		GenerateKey: true,
	})
	if err != nil {
		return fmt.Errorf("make a tunnel: %w", err)
	}
	if err := complete(ctx, p.vpp, reply.SwIfIndex, p.uplink); err != nil {
		return err
	}
	return p.rescan(ctx)
}

// complete does to a tunnel's interface what it needs to carry pods' packets.
func complete(ctx context.Context, vpp *vppapi.VPP, index, uplink interface_types.InterfaceIndex) error {
	if err := prepare(ctx, vpp, index, uplink); err != nil {
		return err
	}
	return bringUp(ctx, vpp, index)
}

func bringUp(ctx context.Context, vpp *vppapi.VPP, index interface_types.InterfaceIndex) error {
	if err := vpp.SetUp(ctx, index); err != nil {
		return fmt.Errorf("bring the tunnel up: %w", err)
	}
	return nil
}

// prepare does all but bring the interface up.
func prepare(ctx context.Context, vpp *vppapi.VPP, index, uplink interface_types.InterfaceIndex) error {
	if err := vpp.Borrow(ctx, index, uplink); err != nil {
		return fmt.Errorf("give the tunnel an address: %w", err)
	}
	if err := vpp.EnableGSO(ctx, index); err != nil {
		return fmt.Errorf("enable GSO on the tunnel: %w", err)
	}
	name, err := interfaceName(ctx, vpp, index)
	if err != nil {
		return err
	}
	_, err = vpp.CLI(ctx, "set cnat feature "+name+" enable")
	return err
}

// add encrypts what goes to the block of a node.
func (p *wireguardProvider) add(ctx context.Context, n node) error {
	if p.tunnel == nil {
		return fmt.Errorf("no tunnel to reach %s by", n.name)
	}
	wanted := peer{public: n.key, allowed: []netip.Prefix{n.block, vppapi.Host(n.address)}}
	existing, found := p.peers[n.address]
	if found {
		wanted.allowed = slices.Clone(existing.allowed)
		if !slices.Contains(wanted.allowed, n.block) {
			wanted.allowed = append(wanted.allowed, n.block)
		}
	}
	// The agent compares with a peer that has no index yet, so that it takes all but the first for changed.
	if found && existing.index == 0 && existing.public == wanted.public && slices.Equal(existing.allowed, wanted.allowed) {
		return p.route(ctx, n, true)
	}
	if found {
		if err := p.deletePeer(ctx, existing); err != nil {
			return err
		}
		delete(p.peers, n.address)
	}
	index, err := p.addPeer(ctx, n.address, wanted)
	if err != nil {
		return fmt.Errorf("add %s as a peer: %w", n.name, err)
	}
	wanted.index = index
	p.peers[n.address] = wanted
	if !found {
		route := vppapi.Route{Table: podTable, Prefix: vppapi.Host(n.address), Link: uint32(p.tunnel.index)}
		if err := p.vpp.SetRoute(ctx, route, true); err != nil {
			return err
		}
	}
	return p.route(ctx, n, true)
}

// remove ends what add did for the block.
func (p *wireguardProvider) remove(ctx context.Context, n node) error {
	existing, found := p.peers[n.address]
	if !found {
		return fmt.Errorf("%s is no peer", n.name)
	}
	if err := p.route(ctx, n, false); err != nil {
		return err
	}
	existing.allowed = slices.DeleteFunc(slices.Clone(existing.allowed), func(prefix netip.Prefix) bool { return prefix == n.block })
	p.peers[n.address] = existing
	if len(existing.allowed) > 1 {
		return nil
	}
	delete(p.peers, n.address)
	if err := p.deletePeer(ctx, existing); err != nil {
		return err
	}
	return p.vpp.SetRoute(ctx, vppapi.Route{Table: podTable, Prefix: vppapi.Host(n.address), Link: uint32(p.tunnel.index)}, false)
}

func (p *wireguardProvider) route(ctx context.Context, n node, add bool) error {
	return p.vpp.SetRoute(ctx, vppapi.Route{Prefix: n.block, Link: uint32(p.tunnel.index), Gateway: n.block.Addr()}, add)
}

func (p *wireguardProvider) addPeer(ctx context.Context, address netip.Addr, wanted peer) (uint32, error) {
	key, err := base64.StdEncoding.DecodeString(wanted.public)
	if err != nil {
		return 0, fmt.Errorf("its public key is not base64: %w", err)
	}
	var allowed []ip_types.Prefix
	for _, prefix := range wanted.allowed {
		allowed = append(allowed, vppapi.Prefix(prefix))
	}
	reply, err := wireguard.NewServiceClient(p.vpp.API()).WireguardPeerAdd(ctx, &wireguard.WireguardPeerAdd{Peer: wireguard.WireguardPeer{
		PublicKey: key, Port: p.port, PersistentKeepalive: persistentKeepalive, Endpoint: vppapi.Address(address), SwIfIndex: p.tunnel.index,
		AllowedIps: allowed,
	}})
	if err != nil {
		return 0, err
	}
	return reply.PeerIndex, nil
}

func (p *wireguardProvider) deletePeer(ctx context.Context, existing peer) error {
	if _, err := wireguard.NewServiceClient(p.vpp.API()).WireguardPeerRemove(ctx, &wireguard.WireguardPeerRemove{PeerIndex: existing.index}); err != nil {
		return fmt.Errorf("remove peer %d: %w", existing.index, err)
	}
	return nil
}
