// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"encoding/json"
	"fmt"
	"net/netip"
)

// NetworkData is the plan as OpenStack's network_data.json, the form that a config drive carries. cloud-init reads it with
// convert_net_json (cloudinit/sources/helpers/openstack.py), which sets these rules:
//   - an ethernet is found by ethernet_mac_address and renamed to name;
//   - a bond has the name given, and its parameters are the link's keys that start with bond_;
//   - a VLAN needs vlan_mac_address (its parent's here) and is always named <parent>.<id>;
//   - the default route is a route to 0.0.0.0/0 or ::/0.
func (p Plan) NetworkData() []byte {
	document := networkData{Links: []linkData{}, Networks: []netData{}, Services: []serviceData{}}
	for _, link := range p.links {
		document.Links = append(document.Links, renderLink(link))
	}
	for i, item := range p.interfaces {
		document.Networks = append(document.Networks, renderInterface(i, item))
	}
	for _, server := range p.nameservers {
		document.Services = append(document.Services, serviceData{Type: "dns", Address: server.String()})
	}
	out, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("marshalling strings and numbers: %v", err)) // cannot happen: the types hold nothing else
	}
	return append(out, '\n')
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
	ID        string      `json:"id"`
	NetworkID string      `json:"network_id"`
	Type      string      `json:"type"`
	Link      string      `json:"link"`
	IPAddress string      `json:"ip_address,omitempty"`
	Netmask   string      `json:"netmask,omitempty"`
	Routes    []routeData `json:"routes,omitempty"`
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
	if !item.address.IsValid() {
		data.Type = "ipv4_dhcp"
		return data
	}
	data.Type = "ipv4"
	anywhere := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if item.address.Addr().Is6() {
		data.Type = "ipv6"
		anywhere = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	data.IPAddress = item.address.Addr().String()
	data.Netmask = netmask(item.address)
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
