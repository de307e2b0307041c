// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// findUplinks finds the devices through which packets leave the host: the one that holds the node's address, first, and those of routes to
// other nodes and of default routes. None before the node has its address.
func findUplinks(e encryption.Expectation) ([]int, error) {
	addresses, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("listing addresses: %w", err)
	}
	i := slices.IndexFunc(addresses, func(a netlink.Addr) bool {
		found, ok := netip.AddrFromSlice(a.IP)
		return ok && found.Unmap() == e.Address
	})
	if i < 0 {
		return nil, nil
	}
	uplinks := []int{addresses[i].LinkIndex}
	routes, err := routesOut(e.Peers)
	if err != nil {
		return nil, err
	}
	for _, route := range routes {
		for _, index := range append(hopIndexes(route), route.LinkIndex) {
			if index <= 0 || slices.Contains(uplinks, index) {
				continue
			}
			// A device that went meanwhile lets nothing out.
			if device, err := netlink.LinkByIndex(index); err == nil && leavesHost(device) {
				uplinks = append(uplinks, index)
			}
		}
	}
	return uplinks, nil
}

// routesOut are the default routes and those to other nodes. The kernel is asked for the latter as well: it knows of rules and of tables
// beside the main one, but tells of one next hop only.
func routesOut(peers []encryption.ExpectedPeer) ([]netlink.Route, error) {
	all, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("listing routes: %w", err)
	}
	var out []netlink.Route
	for _, route := range all {
		destination, ok := toPrefix(route.Dst)
		if !ok || destination.Bits() == 0 || slices.ContainsFunc(peers, func(p encryption.ExpectedPeer) bool { return destination.Contains(p.Address) }) {
			out = append(out, route)
		}
	}
	for _, peer := range peers {
		if !peer.Address.IsValid() {
			continue
		}
		// Without a route there is no device either.
		if routes, err := netlink.RouteGet(peer.Address.AsSlice()); err == nil {
			out = append(out, routes...)
		}
	}
	return out, nil
}

// leavesHost tells whether a device is one that packets leave the host by: tunnels and the loopback device hand them on within it.
func leavesHost(device netlink.Link) bool {
	switch device.Type() {
	case "ipip", "vxlan", "wireguard":
		return false
	default:
		name := device.Attrs().Name
		return name != encryption.KernelDevice && name != "lo"
	}
}

func hopIndexes(route netlink.Route) []int {
	var indexes []int
	for _, hop := range route.MultiPath {
		indexes = append(indexes, hop.LinkIndex)
	}
	return indexes
}
