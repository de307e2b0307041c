// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// NetworkData is the plan as OpenStack's network_data.json, the form that a config drive carries. cloud-init reads it with
// convert_net_json (cloudinit/sources/helpers/openstack.py), and the document suits its releases from 22.4 on:
//   - an ethernet is found by ethernet_mac_address and renamed to name;
//   - ethernets precede bonds, and bonds precede VLANs, because a bond loses members that are defined after it;
//   - bonds are named bond0, bond1 and so on in order (name counts only since 26.1). Their address is in mac_address:
//     before 24.2 ethernet_mac_address of a bond replaces that of its members, which are then not found;
//   - a VLAN needs vlan_mac_address (its parent's here) and is always named <parent>.<id>;
//   - the default route is a route to 0.0.0.0/0 or ::/0;
//   - nameservers belong to a network: those at the top level would be asked through every link, also those that do not
//     lead to them. Older releases read dns_nameservers, newer ones OpenStack's own services.
func (p Plan) NetworkData() []byte {
	document := networkData{Links: []linkData{}, Networks: []netData{}, Services: []serviceData{}}
	for _, link := range slices.SortedStableFunc(slices.Values(p.links), func(a, b plannedLink) int {
		return cmp.Or(cmp.Compare(layer(a), layer(b)), bondIndex(a)-bondIndex(b))
	}) {
		document.Links = append(document.Links, renderLink(link))
	}
	for i, item := range p.interfaces {
		document.Networks = append(document.Networks, renderInterface(i, item))
	}
	out, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("marshalling strings and numbers: %v", err)) // cannot happen: the types hold nothing else
	}
	return append(out, '\n')
}

// layer orders links so that each comes after those it is made of.
func layer(link plannedLink) int {
	switch {
	case link.Bond != nil:
		return 1
	case link.VLAN != nil:
		return 2
	default:
		return 0
	}
}

// bondIndex is the number in a bond's name, 0 for other links.
func bondIndex(link plannedLink) int {
	if link.Bond == nil {
		return 0
	}
	index, _ := strconv.Atoi(strings.TrimPrefix(link.Name, bondPrefix))
	return index
}

type networkData struct {
	Links    []linkData    `json:"links"`
	Networks []netData     `json:"networks"`
	Services []serviceData `json:"services"`
}

type linkData struct {
	ID           string   `json:"id"`
	Name         string   `json:"name"`
	Type         string   `json:"type"`
	MAC          string   `json:"ethernet_mac_address,omitempty"`
	BondMAC      string   `json:"mac_address,omitempty"`
	MTU          int32    `json:"mtu"`
	BondMode     string   `json:"bond_mode,omitempty"`
	BondMembers  []string `json:"bond_links,omitempty"`
	BondMIIMon   *int32   `json:"bond_miimon,omitempty"`
	BondXmitHash string   `json:"bond_xmit_hash_policy,omitempty"`
	BondLACPRate string   `json:"bond_lacp_rate,omitempty"`
	BondPrimary  string   `json:"bond_primary,omitempty"`
	VLANParent   string   `json:"vlan_link,omitempty"`
	VLANID       int32    `json:"vlan_id,omitempty"`
	VLANMAC      string   `json:"vlan_mac_address,omitempty"`
}

type netData struct {
	ID        string        `json:"id"`
	NetworkID string        `json:"network_id"`
	Type      string        `json:"type"`
	Link      string        `json:"link"`
	IPAddress string        `json:"ip_address,omitempty"`
	Netmask   string        `json:"netmask,omitempty"`
	Routes    []routeData   `json:"routes,omitempty"`
	DNS       []string      `json:"dns_nameservers,omitempty"`
	Services  []serviceData `json:"services,omitempty"`
}

type routeData struct {
	Network string `json:"network"`
	Netmask string `json:"netmask"`
	Gateway string `json:"gateway"`
}

type serviceData struct {
	Type    string `json:"type"`
	Address string `json:"address"`
}

const defaultMIIMon = 100

func renderLink(link plannedLink) linkData {
	data := linkData{ID: link.Name, Name: link.Name, Type: "phy", MAC: link.mac, MTU: link.mtu}
	switch {
	case link.Bond != nil:
		data.Type = "bond"
		data.MAC = ""
		data.BondMAC = link.mac
		data.BondMode = string(link.Bond.Mode)
		data.BondMembers = link.Bond.Members
		data.BondMIIMon = link.Bond.MIIMon
		if data.BondMIIMon == nil {
			data.BondMIIMon = new(int32(defaultMIIMon))
		}
		data.BondXmitHash = link.Bond.XmitHashPolicy
		data.BondLACPRate = link.Bond.LACPRate
		data.BondPrimary = link.Bond.Primary
	case link.VLAN != nil:
		data.Type = "vlan"
		data.MAC = ""
		data.VLANParent = link.VLAN.Parent
		data.VLANID = link.VLAN.ID
		data.VLANMAC = link.mac
	}
	return data
}

func renderInterface(at int, item plannedInterface) netData {
	data := netData{ID: fmt.Sprintf("network%d", at), NetworkID: item.network.Name, Link: item.link}
	for _, server := range item.nameservers {
		data.DNS = append(data.DNS, server.String())
		data.Services = append(data.Services, serviceData{Type: "dns", Address: server.String()})
	}
	anywhere := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	switch {
	case !item.address.IsValid():
		data.Type = "ipv4_dhcp"
	case item.address.Addr().Is4():
		data.Type = "ipv4"
	default:
		data.Type = "ipv6"
		anywhere = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	if item.address.IsValid() {
		data.IPAddress = item.address.Addr().String()
		data.Netmask = netmask(item.address)
	}
	if item.gateway.IsValid() {
		data.Routes = append(data.Routes, renderRoute(plannedRoute{destination: anywhere, gateway: item.gateway}))
	}
	for _, route := range item.routes {
		data.Routes = append(data.Routes, renderRoute(route))
	}
	return data
}

func renderRoute(route plannedRoute) routeData {
	return routeData{Network: route.destination.Addr().String(), Netmask: netmask(route.destination), Gateway: route.gateway.String()}
}

// netmask of a prefix in address form, which is what OpenStack writes for both families.
func netmask(prefix netip.Prefix) string {
	mask := make([]byte, prefix.Addr().BitLen()/8)
	for bit := range prefix.Bits() {
		mask[bit/8] |= 1 << (7 - bit%8)
	}
	address, _ := netip.AddrFromSlice(mask)
	return address.String()
}
