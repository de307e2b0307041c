// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package netdata applies an OpenStack network_data.json to a machine's NICs by cloud-init's rules, and says
// which interfaces with which addresses come of it. It is pure: DHCP is a function of the caller's.
package netdata

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
)

// Document is an OpenStack network_data.json.
type Document struct {
	Links    []Link    `json:"links"`
	Networks []Network `json:"networks"`
	Services []Service `json:"services"`
}

// Link is a network device: a NIC (any type but bond and vlan), a bond or a VLAN.
type Link struct {
	ID         string      `json:"id"`
	Type       string      `json:"type"`
	Name       string      `json:"name"`
	MACAddress string      `json:"ethernet_mac_address"`
	MTU        json.Number `json:"mtu"`

	BondLinks []string `json:"bond_links"`
	BondMode  string   `json:"bond_mode"`

	VLANLink       string      `json:"vlan_link"`
	VLANID         json.Number `json:"vlan_id"`
	VLANMACAddress string      `json:"vlan_mac_address"`
}

// Network is an address family's configuration of a link.
type Network struct {
	ID        string    `json:"id"`
	Type      string    `json:"type"`
	Link      string    `json:"link"`
	IPAddress string    `json:"ip_address"`
	Netmask   string    `json:"netmask"`
	Gateway   string    `json:"gateway"`
	Routes    []Route   `json:"routes"`
	Services  []Service `json:"services"`
}

// Route leads to a network through a gateway.
type Route struct {
	Network  string    `json:"network"`
	Netmask  string    `json:"netmask"`
	Gateway  string    `json:"gateway"`
	Services []Service `json:"services"`
}

// Service is a network-wide service; type "dns" is a name server.
type Service struct {
	Type    string `json:"type"`
	Address string `json:"address"`
}

// Interface is a network interface of the running host.
type Interface struct {
	Name string
	// MAC is lower case with colons.
	MAC string
	// Kind is "physical", "bond" or "vlan".
	Kind string
	// MTU is 1500 when the data say nothing.
	MTU       int
	Addresses []netip.Prefix
	// DefaultGateway is the next hop of the interface's default route, the zero Addr if it has none.
	DefaultGateway netip.Addr
	Nameservers    []netip.Addr
	// Lower are the names of a bond's members, or a VLAN's parent.
	Lower []string
}

// Parse reads a network_data.json. Unknown fields are ignored, as cloud-init does.
func Parse(document []byte) (*Document, error) {
	var parsed Document
	if err := json.Unmarshal(document, &parsed); err != nil {
		return nil, fmt.Errorf("network_data.json: %w", err)
	}
	seen := map[string]bool{}
	for i, link := range parsed.Links {
		switch {
		case link.ID == "":
			return nil, fmt.Errorf("network_data.json: links[%d].id is required", i)
		case link.Type == "":
			return nil, fmt.Errorf("network_data.json: link %s: type is required", link.ID)
		case seen[link.ID]:
			return nil, fmt.Errorf("network_data.json: there are two links with the id %s", link.ID)
		}
		seen[link.ID] = true
	}
	for i, network := range parsed.Networks {
		if !seen[network.Link] {
			return nil, fmt.Errorf("network_data.json: networks[%d] is on link %q, which does not exist", i, network.Link)
		}
	}
	return &parsed, nil
}

// parsePrefix reads an address with its prefix length, or with a netmask beside it.
func parsePrefix(address, netmask string) (netip.Prefix, error) {
	if strings.Contains(address, "/") {
		prefix, err := netip.ParsePrefix(address)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("address %q: %w", address, err)
		}
		return prefix, nil
	}
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("address %q: %w", address, err)
	}
	bits, err := maskBits(netmask, addr)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("address %s: %w", address, err)
	}
	return netip.PrefixFrom(addr, bits), nil
}

// maskBits reads a netmask: "255.255.255.0", "ffff:ffff::" or a number of bits; none is a host address.
func maskBits(netmask string, addr netip.Addr) (int, error) {
	if netmask == "" {
		return addr.BitLen(), nil
	}
	if bits, err := netip.ParsePrefix(addr.String() + "/" + netmask); err == nil {
		return bits.Bits(), nil
	}
	mask, err := netip.ParseAddr(netmask)
	if err != nil || mask.BitLen() != addr.BitLen() {
		return 0, fmt.Errorf("netmask %q: want the form of %s", netmask, addr)
	}
	bits, ended := 0, false
	for _, octet := range mask.AsSlice() {
		for bit := 7; bit >= 0; bit-- {
			set := octet&(1<<bit) != 0
			if set && ended {
				return 0, fmt.Errorf("netmask %q has holes", netmask)
			}
			ended = ended || !set
			if set {
				bits++
			}
		}
	}
	return bits, nil
}
