// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package calicoagent

import (
	"context"
	"fmt"
	"net/netip"

	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/ipip"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/calicoagent/vppapi"
)

// ipipProvider sends in clear, inside IP.
type ipipProvider struct {
	vpp     *vppapi.VPP
	uplink  interface_types.InterfaceIndex
	address netip.Addr
	// tunnels by address of the node.
	tunnels map[netip.Addr]interface_types.InterfaceIndex
}

// rescan finds the tunnels that there are in VPP already.
func (p *ipipProvider) rescan(ctx context.Context) error {
	var err error
	p.tunnels, err = findTunnels(ctx, p.vpp)
	return err
}

func (p *ipipProvider) add(ctx context.Context, n node) error {
	index, found := p.tunnels[n.address]
	if !found {
		var err error
		if index, err = makeTunnel(ctx, p.vpp, p.uplink, p.address, n); err != nil {
			return err
		}
		if err := bringUp(ctx, p.vpp, index); err != nil {
			return err
		}
		p.tunnels[n.address] = index
	}
	return p.vpp.SetRoute(ctx, vppapi.Route{Prefix: n.block, Link: uint32(index)}, true)
}

// findTunnels are VPP's IPIP tunnels, by the address at their other end.
func findTunnels(ctx context.Context, vpp *vppapi.VPP) (map[netip.Addr]interface_types.InterfaceIndex, error) {
	stream, err := ipip.NewServiceClient(vpp.API()).IpipTunnelDump(ctx, &ipip.IpipTunnelDump{SwIfIndex: interface_types.InterfaceIndex(vppapi.None)})
	if err != nil {
		return nil, err
	}
	found, err := vppapi.Collect(stream.Recv, nil)
	if err != nil {
		return nil, fmt.Errorf("list IPIP tunnels: %w", err)
	}
	tunnels := map[netip.Addr]interface_types.InterfaceIndex{}
	for _, details := range found {
		remote, _ := netip.AddrFromSlice(details.Tunnel.Dst.ToIP())
		tunnels[remote.Unmap()] = details.Tunnel.SwIfIndex
	}
	return tunnels, nil
}

// makeTunnel makes an IPIP tunnel to a node that only needs to be brought up.
func makeTunnel(ctx context.Context, vpp *vppapi.VPP, uplink interface_types.InterfaceIndex, from netip.Addr, to node) (interface_types.InterfaceIndex, error) {
	reply, err := ipip.NewServiceClient(vpp.API()).IpipAddTunnel(ctx, &ipip.IpipAddTunnel{Tunnel: ipip.IpipTunnel{
		Instance: vppapi.None, Src: vppapi.Address(from), Dst: vppapi.Address(to.address), SwIfIndex: interface_types.InterfaceIndex(vppapi.None),
	}})
	if err != nil {
		return 0, fmt.Errorf("make an IPIP tunnel to %s: %w", to.name, err)
	}
	if err := prepare(ctx, vpp, reply.SwIfIndex, uplink); err != nil {
		return 0, err
	}
	return reply.SwIfIndex, vpp.SetRoute(ctx, vppapi.Route{Table: podTable, Prefix: vppapi.Host(to.address), Link: uint32(reply.SwIfIndex)}, true)
}

func (p *ipipProvider) remove(ctx context.Context, n node) error {
	index, found := p.tunnels[n.address]
	if !found {
		return fmt.Errorf("no IPIP tunnel to %s", n.name)
	}
	if err := p.vpp.SetRoute(ctx, vppapi.Route{Prefix: n.block, Link: uint32(index)}, false); err != nil {
		return err
	}
	if err := p.vpp.SetRoute(ctx, vppapi.Route{Table: podTable, Prefix: vppapi.Host(n.address), Link: uint32(index)}, false); err != nil {
		return err
	}
	delete(p.tunnels, n.address)
	if _, err := ipip.NewServiceClient(p.vpp.API()).IpipDelTunnel(ctx, &ipip.IpipDelTunnel{SwIfIndex: index}); err != nil {
		return fmt.Errorf("delete the IPIP tunnel to %s: %w", n.name, err)
	}
	return nil
}

func interfaceName(ctx context.Context, vpp *vppapi.VPP, index interface_types.InterfaceIndex) (string, error) {
	details, err := vpp.Find(ctx, func(d *interfaces.SwInterfaceDetails) bool { return d.SwIfIndex == index })
	if err != nil {
		return "", err
	}
	if details == nil {
		return "", fmt.Errorf("VPP has no interface %d", index)
	}
	return details.InterfaceName, nil
}
