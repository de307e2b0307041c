// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package netdata

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/hardware"
)

// Lease is what a DHCP server answers: an address, and a gateway and name servers if it has any.
type Lease struct {
	Address     netip.Prefix
	Gateway     netip.Addr
	Nameservers []netip.Addr
}

// DHCP leases an address to the interface with the MAC address.
type DHCP func(mac string) (Lease, error)

// defaultMTU is an interface's when nothing else is said.
const defaultMTU = 1500

// Apply configures the machine's NICs. A nil document means what it means to cloud-init: DHCP on the first
// NIC. NICs are matched by MAC address; a link without its NIC, a bond without its members, a VLAN without
// its parent and a malformed address are errors, since a real host would not come up with them.
func Apply(document *Document, nics []hardware.NIC, dhcp DHCP) ([]Interface, error) {
	if document == nil {
		return fallback(nics, dhcp)
	}
	names, err := linkNames(document, nics)
	if err != nil {
		return nil, err
	}
	interfaces := make([]Interface, 0, len(document.Links))
	for _, link := range document.Links {
		configured, err := configure(document, link, names)
		if err != nil {
			return nil, fmt.Errorf("link %s: %w", link.ID, err)
		}
		interfaces = append(interfaces, configured)
	}
	if err := checkNames(interfaces); err != nil {
		return nil, err
	}
	inheritMACs(interfaces)
	for i := range interfaces {
		if err := addNetworks(document, document.Links[i].ID, &interfaces[i], dhcp); err != nil {
			return nil, err
		}
	}
	return interfaces, nil
}

func fallback(nics []hardware.NIC, dhcp DHCP) ([]Interface, error) {
	if len(nics) == 0 {
		return nil, fmt.Errorf("the machine has no NIC")
	}
	first := Interface{Name: nics[0].Name, MAC: nics[0].MAC, Kind: "physical", MTU: defaultMTU}
	return []Interface{first}, lease(&first, dhcp)
}

// linkNames maps link ids to interface names. As in cloud-init, a NIC takes the link's name or keeps its
// own, a bond takes the link's name or bond0, bond1 ..., and a VLAN is always <parent>.<id>.
func linkNames(document *Document, nics []hardware.NIC) (map[string]string, error) {
	names := map[string]string{}
	bonds := 0
	for _, link := range document.Links {
		switch link.Type {
		case "vlan":
		case "bond":
			names[link.ID] = cmp.Or(link.Name, fmt.Sprintf("bond%d", bonds))
			bonds++
		default:
			kernelName, err := findNIC(link, nics)
			if err != nil {
				return nil, err
			}
			names[link.ID] = cmp.Or(link.Name, kernelName)
		}
	}
	return names, nameVLANs(document, names)
}

// findNIC is the kernel's name of the link's NIC.
func findNIC(link Link, nics []hardware.NIC) (string, error) {
	mac := strings.ToLower(link.MACAddress)
	if mac == "" {
		return "", fmt.Errorf("link %s: no ethernet_mac_address", link.ID)
	}
	for _, nic := range nics {
		if nic.MAC == mac {
			return nic.Name, nil
		}
	}
	return "", fmt.Errorf("link %s: unable to find a system nic for mac_address %s (the machine has %s)", link.ID, mac, listNICs(nics))
}

func nameVLANs(document *Document, names map[string]string) error {
	for _, link := range document.Links {
		if link.Type != "vlan" {
			continue
		}
		if kind := kindOf(document, link.VLANLink); kind == "" || kind == "vlan" {
			return fmt.Errorf("link %s: vlan_link %q does not exist or is a VLAN itself", link.ID, link.VLANLink)
		}
		names[link.ID] = names[link.VLANLink] + "." + link.VLANID.String()
	}
	return nil
}

func listNICs(nics []hardware.NIC) string {
	words := make([]string, len(nics))
	for i, nic := range nics {
		words[i] = nic.Name + " " + nic.MAC
	}
	return strings.Join(words, ", ")
}

// configure is a link as an interface, without addresses.
func configure(document *Document, link Link, names map[string]string) (Interface, error) {
	out := Interface{Name: names[link.ID], MAC: strings.ToLower(link.MACAddress), Kind: "physical", MTU: defaultMTU}
	if link.MTU != "" {
		mtu, err := link.MTU.Int64()
		if err != nil || mtu < 68 || mtu > 65535 {
			return out, fmt.Errorf("mtu %q: want a number of bytes", link.MTU)
		}
		out.MTU = int(mtu)
	}
	switch link.Type {
	case "bond":
		out.Kind = "bond"
		if len(link.BondLinks) == 0 {
			return out, fmt.Errorf("a bond needs bond_links")
		}
		for _, member := range link.BondLinks {
			if kind := kindOf(document, member); kind == "" || kind == "vlan" || kind == "bond" {
				return out, fmt.Errorf("bond_links: %q is no NIC of this document", member)
			}
			out.Lower = append(out.Lower, names[member])
		}
	case "vlan":
		out.Kind, out.MAC = "vlan", strings.ToLower(link.VLANMACAddress)
		id, err := link.VLANID.Int64()
		if err != nil || id < 1 || id > 4094 {
			return out, fmt.Errorf("vlan_id %q: want 1 to 4094", link.VLANID)
		}
		if out.MAC == "" {
			return out, fmt.Errorf("cloud-init needs vlan_mac_address")
		}
		out.Lower = []string{names[link.VLANLink]}
	}
	if len(out.Name) > 15 {
		return out, fmt.Errorf("interface name %q is longer than the 15 characters of Linux", out.Name)
	}
	return out, nil
}

func kindOf(document *Document, id string) string {
	for _, link := range document.Links {
		if link.ID == id {
			return link.Type
		}
	}
	return ""
}

func checkNames(interfaces []Interface) error {
	seen := map[string]bool{}
	for _, candidate := range interfaces {
		if seen[candidate.Name] {
			return fmt.Errorf("two links would be named %s", candidate.Name)
		}
		seen[candidate.Name] = true
	}
	return nil
}

// inheritMACs gives a bond without an address of its own that of its first member, as Linux does.
func inheritMACs(interfaces []Interface) {
	for i := range interfaces {
		if interfaces[i].Kind != "bond" || interfaces[i].MAC != "" {
			continue
		}
		for _, lower := range interfaces {
			if lower.Name == interfaces[i].Lower[0] {
				interfaces[i].MAC = lower.MAC
			}
		}
	}
}

func addNetworks(document *Document, id string, out *Interface, dhcp DHCP) error {
	for _, network := range document.Networks {
		if network.Link != id {
			continue
		}
		if err := addNetwork(network, out, dhcp); err != nil {
			return fmt.Errorf("network %s on %s: %w", network.ID, out.Name, err)
		}
	}
	for _, service := range document.Services {
		if err := addNameserver(service, out); err != nil {
			return err
		}
	}
	return nil
}

func addNetwork(network Network, out *Interface, dhcp DHCP) error {
	switch network.Type {
	case "ipv4_dhcp":
		if err := lease(out, dhcp); err != nil {
			return err
		}
	case "ipv6_dhcp", "ipv6_slaac", "ipv6_dhcpv6-stateless", "ipv6_dhcpv6-stateful":
		// The lab's network has no IPv6 router: the interface comes up without an address.
	case "ipv4", "static", "ipv6", "static6":
		prefix, err := parsePrefix(network.IPAddress, network.Netmask)
		if err != nil {
			return err
		}
		out.Addresses = append(out.Addresses, prefix)
	default:
		return fmt.Errorf("unknown network type %q", network.Type)
	}
	services := network.Services
	for _, route := range network.Routes {
		if err := addRoute(route, out); err != nil {
			return err
		}
		services = slices.Concat(services, route.Services)
	}
	if network.Gateway != "" {
		gateway, err := netip.ParseAddr(network.Gateway)
		if err != nil {
			return fmt.Errorf("gateway %q: %w", network.Gateway, err)
		}
		out.DefaultGateway = gateway
	}
	for _, service := range services {
		if err := addNameserver(service, out); err != nil {
			return err
		}
	}
	return nil
}

func addRoute(route Route, out *Interface) error {
	destination, err := parsePrefix(route.Network, route.Netmask)
	if err != nil {
		return fmt.Errorf("route: %w", err)
	}
	gateway, err := netip.ParseAddr(route.Gateway)
	if err != nil {
		return fmt.Errorf("route to %s: gateway %q: %w", destination, route.Gateway, err)
	}
	if destination.Bits() == 0 {
		out.DefaultGateway = gateway
	}
	return nil
}

func addNameserver(service Service, out *Interface) error {
	if service.Type != "dns" {
		return nil
	}
	address, err := netip.ParseAddr(service.Address)
	if err != nil {
		return fmt.Errorf("name server %q: %w", service.Address, err)
	}
	if !slices.Contains(out.Nameservers, address) {
		out.Nameservers = append(out.Nameservers, address)
	}
	return nil
}

func lease(out *Interface, dhcp DHCP) error {
	answer, err := dhcp(out.MAC)
	if err != nil {
		return fmt.Errorf("DHCP on %s: %w", out.Name, err)
	}
	out.Addresses = append(out.Addresses, answer.Address)
	out.DefaultGateway = answer.Gateway
	out.Nameservers = append(out.Nameservers, answer.Nameservers...)
	return nil
}
