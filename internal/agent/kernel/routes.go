// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// vxlanDevice is Felix's device for pools with encapsulation VXLAN.
const vxlanDevice = "vxlan.calico"

// observeRoutes finds the blocks of other nodes' pods, and asks the kernel where a packet to each goes: Felix routes into its device by a
// rule and a table of its own, so that reading tables would not tell. Of what else is routed to other nodes it tells when it is in clear.
func observeRoutes(e encryption.Expectation, o encryption.Observation, links map[int]netlink.Link) ([]encryption.Route, error) {
	blocks := map[netip.Prefix]bool{}
	var ordered []netip.Prefix
	add := func(block netip.Prefix) {
		if !blocks[block] {
			blocks[block] = true
			ordered = append(ordered, block)
		}
	}
	for _, peer := range o.Peers {
		for _, allowed := range peer.AllowedIPs {
			if e.IsPods(allowed) {
				add(allowed)
			}
		}
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("listing routes: %w", err)
	}
	for _, route := range routes {
		if block, ok := toPrefix(route.Dst); ok && leavesNode(route, links) && (e.IsPods(block) || leadsToPeer(route, block, links, e)) {
			add(block)
		}
	}
	var found []encryption.Route
	for _, block := range ordered {
		route, err := lookUp(block, links)
		if err != nil {
			return nil, err
		}
		if e.IsPods(block) || !route.Encrypted {
			found = append(found, route)
		}
	}
	return found, nil
}

// leadsToPeer tells whether a route to a range outside the pods' leads to another node: by its address, or by Felix's tunnel to it.
func leadsToPeer(route netlink.Route, block netip.Prefix, links map[int]netlink.Link, e encryption.Expectation) bool {
	link := links[route.LinkIndex]
	if link != nil && link.Attrs().Name == vxlanDevice && route.Gw != nil {
		return e.MayBePods(block)
	}
	gateways := []net.IP{route.Gw}
	for _, hop := range route.MultiPath {
		gateways = append(gateways, hop.Gw)
	}
	return slices.ContainsFunc(gateways, func(gateway net.IP) bool {
		via, ok := netip.AddrFromSlice(gateway)
		return ok && e.LeadsToPeer(block, via.Unmap())
	})
}

// leavesNode tells whether a route leads off the node: through another host or into a tunnel. A pod's route leads to its device.
func leavesNode(route netlink.Route, links map[int]netlink.Link) bool {
	if route.Type != unix.RTN_UNICAST || route.Table == unix.RT_TABLE_LOCAL {
		return false
	}
	if route.Gw != nil || route.Via != nil || len(route.MultiPath) > 0 {
		return true
	}
	link := links[route.LinkIndex]
	if link == nil {
		return false
	}
	return link.Attrs().Name == encryption.KernelDevice || link.Type() == "ipip" || link.Type() == "vxlan"
}

// lookUp asks the kernel where a packet to the block goes.
func lookUp(block netip.Prefix, links map[int]netlink.Link) (encryption.Route, error) {
	found := encryption.Route{Block: block}
	routes, err := netlink.RouteGet(block.Addr().AsSlice())
	switch {
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EACCES):
		// What blackhole, unreachable and prohibit routes answer, and a missing one.
		found.Encrypted = true
		return found, nil
	case err != nil:
		return found, fmt.Errorf("looking up the route to %s: %w", block, err)
	}
	found.Encrypted = true
	for _, route := range routes {
		link := links[route.LinkIndex]
		if link == nil {
			continue
		}
		found.Interface = link.Attrs().Name
		found.Encrypted = found.Encrypted && (found.Interface == encryption.KernelDevice || !leavesNode(route, links))
	}
	return found, nil
}
