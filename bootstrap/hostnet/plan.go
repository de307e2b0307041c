// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"net/netip"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// Input is what a plan follows from.
type Input struct {
	// Links and Interfaces of the machine.
	Links      []infrav1.Link
	Interfaces []infrav1.Interface
	// Networks of the EdgeCluster.
	Networks []infrav1.Network
	// Hardware is what the inspection of the host found.
	Hardware *bmov1.HardwareDetails
	// BootMAC is the BareMetalHost's bootMACAddress; may be empty.
	BootMAC string
	// Addresses of the machine by network name. Networks with DHCP have none.
	Addresses map[string]netip.Addr
	// VIP is the control-plane endpoint when it is an IP address, which no machine may have as its own; else the zero Addr.
	VIP netip.Addr
}

// Plan is the validated network of one host. Make it with NewPlan.
type Plan struct {
	links      []plannedLink
	interfaces []plannedInterface
}

// plannedLink is a network device.
type plannedLink struct {
	infrav1.Link
	mac string
	mtu int32
}

// plannedInterface is a link's configuration for one network.
type plannedInterface struct {
	link    string
	network infrav1.Network
	// address with the prefix length of its subnet; not valid with DHCP.
	address netip.Prefix
	// gateway of the default route; not valid without one.
	gateway netip.Addr
	routes  []plannedRoute
	// nameservers of the network that no earlier interface has.
	nameservers []netip.Addr
}

type plannedRoute struct {
	destination netip.Prefix
	gateway     netip.Addr
}

// NewPlan checks the input and plans the network of the host. Everything that is wrong with a machine on this host comes back as
// an *Error with a reason of the condition NetworkDataValid.
func NewPlan(in Input) (Plan, error) {
	nics, err := ResolveLinks(in.Links, in.Hardware, in.BootMAC)
	if err != nil {
		return Plan{}, err
	}
	joined, err := joinNetworks(in.Interfaces, in.Networks)
	if err != nil {
		return Plan{}, err
	}
	links, err := planLinks(in.Links, joined, nics)
	if err != nil {
		return Plan{}, err
	}
	interfaces, err := planInterfaces(joined, in)
	if err != nil {
		return Plan{}, err
	}
	return Plan{links: links, interfaces: interfaces}, nil
}

// NodeAddresses are the static addresses of the first interface and of the other address family on the same link, at most one of
// each family: what the kubelet announces. Empty when the first interface uses DHCP.
func (p Plan) NodeAddresses() []netip.Addr {
	if len(p.interfaces) == 0 || !p.interfaces[0].address.IsValid() {
		return nil
	}
	first := p.interfaces[0]
	addresses := []netip.Addr{first.address.Addr()}
	for _, other := range p.interfaces[1:] {
		if other.link == first.link && other.address.IsValid() && other.address.Addr().Is4() != first.address.Addr().Is4() {
			return append(addresses, other.address.Addr())
		}
	}
	return addresses
}

// VIPInterface is the name of the link on which vip can be announced: the one whose network has it in a subnet. When none has,
// it is the first with DHCP whose subnets are not known; when there is none of these either, an *Error with reason AddressInvalid.
func (p Plan) VIPInterface(vip netip.Addr) (string, error) {
	unknown := ""
	for _, candidate := range p.interfaces {
		if len(candidate.network.Subnets) == 0 && unknown == "" {
			unknown = candidate.link
		}
		if _, _, found := subnetOf(candidate.network, vip); found {
			return candidate.link, nil
		}
	}
	if unknown != "" {
		return unknown, nil
	}
	return "", addressInvalid("controlPlaneEndpoint.host %s lies in no subnet of this machine's interfaces; add an interface on its network to the control-plane machines, or use controlPlaneVIP.mode External", vip)
}

// FirstLink is the name of the link of the first interface, which carries the Node's address.
func (p Plan) FirstLink() string {
	if len(p.interfaces) == 0 {
		return ""
	}
	return p.interfaces[0].link
}
