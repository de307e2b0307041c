// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// subnetOf is the subnet of a network in which an address lies; the zero Subnet and Prefix when there is none.
func subnetOf(network infrav1.Network, address netip.Addr) (infrav1.Subnet, netip.Prefix) {
	for _, subnet := range network.Subnets {
		if prefix, err := netip.ParsePrefix(subnet.CIDR); err == nil && prefix.Contains(address) {
			return subnet, prefix
		}
	}
	return infrav1.Subnet{}, netip.Prefix{}
}

// compareAddresses wants each link to have the addresses of its networks and no other: the static ones as they are, and one that is
// leased in a network with DHCP.
func (a Asked) compareAddresses(d *differences, f Facts) {
	static, leased := map[string][]string{}, map[string]int{}
	for _, item := range a.Machine.Spec.Interfaces {
		address, found := a.Addresses[item.Network]
		if !found {
			leased[item.Link]++
			continue
		}
		_, prefix := subnetOf(a.network(item.Network), address)
		static[item.Link] = append(static[item.Link], netip.PrefixFrom(address, prefix.Bits()).String())
	}
	for _, link := range a.Machine.Spec.Links {
		var gotStatic []string
		gotLeased := 0
		for _, address := range f.Links[link.Name].Addresses {
			if address.Dynamic {
				gotLeased++
			} else {
				gotStatic = append(gotStatic, address.Prefix.String())
			}
		}
		d.compare("static addresses of "+link.Name, fmt.Sprint(gotStatic), fmt.Sprint(static[link.Name]))
		d.compare("number of leased addresses of "+link.Name, gotLeased, leased[link.Name])
	}
}

// compareRoutes wants the default route through the gateway of the first interface, the routes of all networks, and no other but what
// came with a lease.
func (a Asked) compareRoutes(d *differences, f Facts) {
	wanted := a.routes()
	for _, want := range wanted {
		if !slices.Contains(f.Routes, want) {
			d.add("route %v: there is none; there are %v", want, f.Routes)
		}
	}
	for _, got := range f.Routes {
		leased := got.Protocol == "dhcp" && a.isLeased(got.Link)
		if !leased && !slices.Contains(wanted, got) {
			d.add("route %v: nobody asked for it", got)
		}
	}
}

func (a Asked) routes() []Route {
	var wanted []Route
	anywhere := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	for i, item := range a.Machine.Spec.Interfaces {
		network := a.network(item.Network)
		address, static := a.Addresses[item.Network]
		subnet, _ := subnetOf(network, address)
		if gateway, err := netip.ParseAddr(subnet.Gateway); err == nil && i == 0 && static {
			wanted = append(wanted, Route{Destination: anywhere, Gateway: gateway, Link: item.Link, Protocol: "static"})
		}
		for _, route := range network.Routes {
			destination, _ := netip.ParsePrefix(route.Destination)
			gateway, _ := netip.ParseAddr(cmp.Or(route.Gateway, subnet.Gateway))
			wanted = append(wanted, Route{Destination: destination, Gateway: gateway, Link: item.Link, Protocol: "static"})
		}
	}
	return wanted
}

// isLeased tells whether a link has a network with DHCP.
func (a Asked) isLeased(link string) bool {
	return slices.ContainsFunc(a.Machine.Spec.Interfaces, func(i infrav1.Interface) bool {
		_, static := a.Addresses[i.Network]
		return i.Link == link && !static
	})
}

// compareResolver wants each link to ask the nameservers of its networks that no earlier interface has, and the whole host to ask all
// of them when VPP takes the uplink.
func (a Asked) compareResolver(d *differences, f Facts) {
	var all []netip.Addr
	byLink := map[string][]netip.Addr{}
	for _, item := range a.Machine.Spec.Interfaces {
		for _, text := range a.network(item.Network).Nameservers {
			server, err := netip.ParseAddr(text)
			if err == nil && !slices.Contains(all, server) {
				all = append(all, server)
				byLink[item.Link] = append(byLink[item.Link], server)
			}
		}
	}
	for _, link := range slices.Sorted(maps.Keys(byLink)) {
		got := f.Resolver.Links[link]
		if a.isLeased(link) { // a lease has nameservers, too
			got = slices.DeleteFunc(slices.Clone(got), func(s netip.Addr) bool { return !slices.Contains(byLink[link], s) })
		}
		d.compare("nameservers of "+link, fmt.Sprint(got), fmt.Sprint(byLink[link]))
	}
	for _, link := range slices.Sorted(maps.Keys(f.Resolver.Links)) {
		if len(byLink[link]) == 0 && !a.isLeased(link) {
			d.add("nameservers of %s: %v, want none", link, f.Resolver.Links[link])
		}
	}
	if a.Cluster.Spec.Dataplane.Type != infrav1.DataplaneCalicoVPP {
		all = nil
	}
	d.compare("nameservers of the host", fmt.Sprint(f.Resolver.Global), fmt.Sprint(all))
}
