// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// minIPv6MTU is the smallest MTU of a link with IPv6 (RFC 8200, section 5).
const minIPv6MTU = 1280

// planInterfaces gives every interface its address, routes and nameservers.
func planInterfaces(joined []joinedInterface, in Input) ([]plannedInterface, error) {
	planned := make([]plannedInterface, 0, len(joined))
	var nameservers []netip.Addr
	for _, item := range joined {
		result, err := planInterface(item, planned, in)
		if err != nil {
			return nil, err
		}
		if result.nameservers, err = newNameservers(item.network, nameservers); err != nil {
			return nil, err
		}
		nameservers = append(nameservers, result.nameservers...)
		planned = append(planned, result)
	}
	return planned, nil
}

func planInterface(item joinedInterface, earlier []plannedInterface, in Input) (plannedInterface, error) {
	result := plannedInterface{link: item.link, network: item.network}
	var err error
	if item.network.Addresses.DHCP != nil {
		result.routes, err = planRoutes(item, dhcpGateway(item.network))
		return result, err
	}
	address, gateway, err := planAddress(item, in)
	if err != nil {
		return plannedInterface{}, err
	}
	result.address = address
	if len(earlier) == 0 || completesDefaultRoutes(earlier, result) {
		result.gateway = gateway
	}
	if result.routes, err = planRoutes(item, gateway); err != nil {
		return plannedInterface{}, err
	}
	return result, nil
}

// completesDefaultRoutes reports whether next is the first interface on the first interface's link in the other address family.
func completesDefaultRoutes(earlier []plannedInterface, next plannedInterface) bool {
	return next.link == earlier[0].link && !slices.ContainsFunc(earlier, func(e plannedInterface) bool {
		return e.link == next.link && familyIs4(e) == next.address.Addr().Is4()
	})
}

// dhcpGateway is the router of a network whose addresses come from DHCP, as far as its subnets tell. The default route is DHCP's.
func dhcpGateway(network infrav1.Network) netip.Addr {
	for _, subnet := range network.Subnets {
		if gateway, err := netip.ParseAddr(subnet.Gateway); err == nil && gateway.Is4() {
			return gateway
		}
	}
	return netip.Addr{}
}

// familyIs4 counts DHCP as IPv4, which is what it asks for.
func familyIs4(p plannedInterface) bool { return !p.address.IsValid() || p.address.Addr().Is4() }

// planAddress checks the machine's address in a network and returns it with its subnet's prefix length, and that subnet's
// gateway if it has one.
func planAddress(item joinedInterface, in Input) (netip.Prefix, netip.Addr, error) {
	name := item.network.Name
	address := in.Addresses[name].Unmap()
	if !address.IsValid() {
		return netip.Prefix{}, netip.Addr{}, &Error{Reason: infrav1.AddressMissingReason, Message: missingAddress(item)}
	}
	prefix, gateway, found := subnetOf(item.network, address)
	switch {
	case !found:
		return netip.Prefix{}, netip.Addr{}, addressInvalid("%s: address %s lies outside the subnets of network %q (%s); fix the address or the subnets", item.field, address, name, subnetList(item.network))
	case address == prefix.Masked().Addr() && prefix.Bits() < address.BitLen()-1:
		return netip.Prefix{}, netip.Addr{}, addressInvalid("%s: address %s is the network address of %s of network %q; use another one", item.field, address, prefix.Masked(), name)
	case address.Is4() && address == lastAddress(prefix) && prefix.Bits() < address.BitLen()-1:
		return netip.Prefix{}, netip.Addr{}, addressInvalid("%s: address %s is the broadcast address of %s of network %q; use another one", item.field, address, prefix.Masked(), name)
	case address.Is6() && item.network.MTU != 0 && item.network.MTU < minIPv6MTU:
		return netip.Prefix{}, netip.Addr{}, &Error{Reason: infrav1.MTUInvalidReason, Message: fmt.Sprintf(
			"network %q: mtu %d is too small for its IPv6 address %s; IPv6 needs %d", name, item.network.MTU, address, minIPv6MTU)}
	case address == in.VIP.Unmap():
		return netip.Prefix{}, netip.Addr{}, addressInvalid("%s: address %s of network %q is the control-plane endpoint; take it out of the pool or the host's annotation", item.field, address, name)
	}
	if err := checkNotInfrastructure(item, address, in.Networks); err != nil {
		return netip.Prefix{}, netip.Addr{}, err
	}
	return prefix, gateway, nil
}

func missingAddress(item joinedInterface) string {
	name := item.network.Name
	if item.network.Addresses.FromHost != nil {
		return fmt.Sprintf("%s: the host has no address for network %q; annotate the BareMetalHost with %s=%s=<IP>", item.field, name, infrav1.AddressesAnnotation, name)
	}
	return fmt.Sprintf("%s: no address is allocated for network %q", item.field, name)
}

// checkNotInfrastructure refuses the addresses of gateways and nameservers, of whichever network.
func checkNotInfrastructure(item joinedInterface, address netip.Addr, networks []infrav1.Network) error {
	for _, network := range networks {
		for _, subnet := range network.Subnets {
			if gateway, err := netip.ParseAddr(subnet.Gateway); err == nil && gateway.Unmap() == address {
				return addressInvalid("%s: address %s of network %q is the gateway of %s of network %q; use another one", item.field, address, item.network.Name, subnet.CIDR, network.Name)
			}
		}
		for _, server := range network.Nameservers {
			if nameserver, err := netip.ParseAddr(server); err == nil && nameserver.Unmap() == address {
				return addressInvalid("%s: address %s of network %q is a nameserver of network %q; use another one", item.field, address, item.network.Name, network.Name)
			}
		}
	}
	return nil
}

// planRoutes parses the routes of a network. Routes without next hop go through gateway, and are refused when it is not valid.
func planRoutes(item joinedInterface, gateway netip.Addr) ([]plannedRoute, error) {
	routes := make([]plannedRoute, 0, len(item.network.Routes))
	for i, route := range item.network.Routes {
		field := fmt.Sprintf("network %q: routes[%d]", item.network.Name, i)
		destination, err := netip.ParsePrefix(route.Destination)
		if err != nil {
			return nil, addressInvalid("%s.destination: %q is not a CIDR; write for example 198.51.100.0/24", field, route.Destination)
		}
		hop := gateway
		if route.Gateway != "" {
			if hop, err = netip.ParseAddr(route.Gateway); err != nil {
				return nil, addressInvalid("%s.gateway: %q is not an IP address", field, route.Gateway)
			}
		}
		if !hop.IsValid() {
			return nil, addressInvalid("%s.gateway: not set, and the subnet of the machine's address has no gateway; set routes[%d].gateway or the subnet's gateway", field, i)
		}
		if hop.Is4() != destination.Addr().Is4() {
			return nil, addressInvalid("%s: next hop %s and destination %s are of different address families; set routes[%d].gateway to a router of the destination's family", field, hop, destination, i)
		}
		routes = append(routes, plannedRoute{destination: destination.Masked(), gateway: hop})
	}
	return routes, nil
}

// newNameservers lists the nameservers of a network in order, without those that are known.
func newNameservers(network infrav1.Network, known []netip.Addr) ([]netip.Addr, error) {
	var servers []netip.Addr
	for i, text := range network.Nameservers {
		server, err := netip.ParseAddr(text)
		if err != nil {
			return nil, addressInvalid("network %q: nameservers[%d]: %q is not an IP address", network.Name, i, text)
		}
		if !slices.Contains(known, server) && !slices.Contains(servers, server) {
			servers = append(servers, server)
		}
	}
	return servers, nil
}

// subnetOf finds the subnet of a network that contains an address: the address with the subnet's prefix length, and the
// subnet's gateway, which is not valid when it has none.
func subnetOf(network infrav1.Network, address netip.Addr) (netip.Prefix, netip.Addr, bool) {
	for _, subnet := range network.Subnets {
		prefix, err := netip.ParsePrefix(subnet.CIDR)
		if err != nil || !prefix.Contains(address) {
			continue
		}
		gateway, _ := netip.ParseAddr(subnet.Gateway)
		return netip.PrefixFrom(address, prefix.Bits()), gateway, true
	}
	return netip.Prefix{}, netip.Addr{}, false
}

func subnetList(network infrav1.Network) string {
	cidrs := make([]string, 0, len(network.Subnets))
	for _, subnet := range network.Subnets {
		cidrs = append(cidrs, subnet.CIDR)
	}
	return strings.Join(cidrs, ", ")
}

// lastAddress of an IPv4 prefix.
func lastAddress(prefix netip.Prefix) netip.Addr {
	bytes := prefix.Masked().Addr().As4()
	for bit := prefix.Bits(); bit < 32; bit++ {
		bytes[bit/8] |= 1 << (7 - bit%8)
	}
	return netip.AddrFrom4(bytes)
}
