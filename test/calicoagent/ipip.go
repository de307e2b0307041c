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
	p.tunnels = map[netip.Addr]interface_types.InterfaceIndex{}
	stream, err := ipip.NewServiceClient(p.vpp.API()).IpipTunnelDump(ctx, &ipip.IpipTunnelDump{SwIfIndex: interface_types.InterfaceIndex(vppapi.None)})
	if err != nil {
		return err
	}
	found, err := vppapi.Collect(stream.Recv, nil)
	if err != nil {
		return fmt.Errorf("list IPIP tunnels: %w", err)
	}
	for _, details := range found {
		remote, _ := netip.AddrFromSlice(details.Tunnel.Dst.ToIP())
		p.tunnels[remote.Unmap()] = details.Tunnel.SwIfIndex
	}
	return nil
}

func (p *ipipProvider) add(ctx context.Context, n node) error {
	index, found := p.tunnels[n.address]
	if !found {
		reply, err := ipip.NewServiceClient(p.vpp.API()).IpipAddTunnel(ctx, &ipip.IpipAddTunnel{Tunnel: ipip.IpipTunnel{
			Instance: vppapi.None, Src: vppapi.Address(p.address), Dst: vppapi.Address(n.address), SwIfIndex: interface_types.InterfaceIndex(vppapi.None),
		}})
		if err != nil {
			return fmt.Errorf("make an IPIP tunnel to %s: %w", n.name, err)
		}
		index = reply.SwIfIndex
		if err := complete(ctx, p.vpp, index, p.uplink); err != nil {
			return err
		}
		if err := p.vpp.SetRoute(ctx, vppapi.Route{Table: podTable, Prefix: vppapi.Host(n.address), Link: uint32(index)}, true); err != nil {
			return err
		}
		p.tunnels[n.address] = index
	}
	return p.vpp.SetRoute(ctx, vppapi.Route{Prefix: n.block, Link: uint32(index)}, true)
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
