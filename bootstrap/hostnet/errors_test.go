// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package hostnet_test

import (
	"net/netip"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap/hostnet"
)

// planError is a plan that is refused: what is changed of a good one, and why it is refused.
type planError struct {
	name            string
	base            func() hostnet.Input
	change          func(*hostnet.Input)
	reason, message string
}

func planErrors() []planError {
	all := append(linkErrors(), addressErrors()...)
	return append(all, mtuErrors()...)
}

func linkErrors() []planError {
	return []planError{
		{"unresolved link", single, func(in *hostnet.Input) { in.Links[0].Match = &infrav1.NICMatch{Name: "eth9"} },
			infrav1.LinkUnresolvedReason, "match.name eth9 selects no NIC"},
		{"unknown network", single, func(in *hostnet.Input) { in.Interfaces[0].Network = "clutser" },
			infrav1.NetworkUnknownReason, `interfaces[0].network: the EdgeCluster has no network "clutser"; it has ["cluster"]`},
		{"unknown link", single, func(in *hostnet.Input) { in.Interfaces[0].Link = "uplink9" },
			infrav1.LinkUnresolvedReason, `interfaces[0].link: the machine has no link "uplink9"`},
		{"interface on a bond's member", withBonds, func(in *hostnet.Input) { in.Interfaces[1].Link = "nic2" },
			infrav1.LinkUnresolvedReason, `interfaces[1].link: "nic2" is a member of bond "bond1"; name the bond instead`},
		{"duplicate link", withSecondNIC, func(in *hostnet.Input) { in.Links[1].Name = "uplink0" },
			infrav1.LinkUnresolvedReason, `links[1].name: "uplink0" is used twice`},
		{"bond without members", withBonds, func(in *hostnet.Input) { in.Links[1].Bond.Members = nil },
			infrav1.LinkUnresolvedReason, `links[1].bond.members: bond "bond1" has no members`},
		{"bond of a bond", withBonds, func(in *hostnet.Input) { in.Links[1].Bond.Members = []string{"bond0"} },
			infrav1.LinkUnresolvedReason, `links[1].bond.members: "bond0" is not a link with match (an ethernet)`},
		{"member of two bonds", withBonds, func(in *hostnet.Input) { in.Links[2].Bond.Members[0] = "nic2" },
			infrav1.LinkUnresolvedReason, `links[2].bond.members: "nic2" is a member of bonds "bond1" and "bond0"`},
		{"bond with a name of its own", withBonds, func(in *hostnet.Input) {
			in.Links[0] = infrav1.Link{Name: "lag1.20", VLAN: &infrav1.VLAN{ID: 20, Parent: "lag1"}}
			in.Links[1].Name = "lag1"
		},
			infrav1.LinkUnresolvedReason, `links[1].name: cloud-init before release 26.1 names bonds by number, so that "lag1" cannot be relied on; name the bonds of this machine bond0, bond1`},
		{"VLAN without parent", withBonds, func(in *hostnet.Input) { in.Links[0].VLAN.Parent = "bond9" },
			infrav1.LinkUnresolvedReason, `links[0].vlan.parent: "bond9" is not an ethernet or bond of this machine`},
		{"VLAN on a VLAN", withBonds, func(in *hostnet.Input) { in.Links[0].VLAN.Parent = "bond0.10" },
			infrav1.LinkUnresolvedReason, `links[0].vlan.parent: "bond0.10" is not an ethernet or bond`},
		{"VLAN on a bond's member", withBonds, func(in *hostnet.Input) { in.Links[0].VLAN.Parent = "nic2" },
			infrav1.LinkUnresolvedReason, `links[0].vlan.parent: "nic2" is a member of bond "bond1"; put the VLAN on the bond`},
		{"VLAN with a name of its own", withBonds, func(in *hostnet.Input) { in.Links[0].Name = "storage" },
			infrav1.LinkUnresolvedReason, `links[0].name: cloud-init names this VLAN "bond1.20", so that the link cannot be "storage"; set links[0].name to "bond1.20"`},
		{"VLAN with too long a name", single, func(in *hostnet.Input) {
			in.Links[0].Name = "mgmt-uplink0"
			in.Links = append(in.Links, infrav1.Link{Name: "mgmt-uplink0.100", VLAN: &infrav1.VLAN{ID: 100, Parent: "mgmt-uplink0"}})
			in.Interfaces[0].Link = "mgmt-uplink0.100"
		}, infrav1.LinkUnresolvedReason, `links[1].name: "mgmt-uplink0.100" has more than 15 characters; shorten the name of its parent`},
	}
}

func addressErrors() []planError {
	give := func(network, address string) func(*hostnet.Input) {
		return func(in *hostnet.Input) { in.Addresses[network] = netip.MustParseAddr(address) }
	}
	return []planError{
		{"address missing on the host", single, func(in *hostnet.Input) { in.Addresses = nil },
			infrav1.AddressMissingReason, `interfaces[0]: the host has no address for network "cluster"; annotate the BareMetalHost with edgemetal.infrastructure.cluster.x-k8s.io/addresses=cluster=<IP>`},
		{"address missing from the pool", single, func(in *hostnet.Input) {
			in.Addresses = nil
			in.Networks[0].Addresses = infrav1.AddressSource{FromPool: &infrav1.PoolReference{Name: "p"}}
		}, infrav1.AddressMissingReason, `interfaces[0]: no address is allocated for network "cluster"`},
		{"outside the subnets", single, give("cluster", "198.51.100.21"),
			infrav1.AddressInvalidReason, `interfaces[0]: address 198.51.100.21 lies outside the subnets of network "cluster" (192.0.2.0/24); fix the address or the subnets`},
		{"other family", withDualStack, give("cluster", "2001:db8:1::22"),
			infrav1.AddressInvalidReason, `address 2001:db8:1::22 lies outside the subnets of network "cluster"`},
		{"network address", single, give("cluster", "192.0.2.0"),
			infrav1.AddressInvalidReason, `address 192.0.2.0 is the network address of 192.0.2.0/24`},
		{"broadcast address", single, give("cluster", "192.0.2.255"),
			infrav1.AddressInvalidReason, `address 192.0.2.255 is the broadcast address of 192.0.2.0/24`},
		{"IPv6 subnet-router anycast", withDualStack, give("cluster6", "2001:db8:1::"),
			infrav1.AddressInvalidReason, `address 2001:db8:1:: is the network address of 2001:db8:1::/64`},
		{"gateway", single, give("cluster", "192.0.2.1"),
			infrav1.AddressInvalidReason, `address 192.0.2.1 of network "cluster" is the gateway of 192.0.2.0/24 of network "cluster"`},
		{"nameserver", single, give("cluster", "192.0.2.53"),
			infrav1.AddressInvalidReason, `address 192.0.2.53 of network "cluster" is a nameserver of network "cluster"`},
		{"nameserver of another network", withSecondNIC, give("storage", "198.51.100.53"),
			infrav1.AddressInvalidReason, `address 198.51.100.53 of network "storage" is a nameserver of network "storage"`},
		{"virtual IP", single, give("cluster", "192.0.2.10"),
			infrav1.AddressInvalidReason, `address 192.0.2.10 of network "cluster" is the control-plane endpoint`},
		{"virtual IP in IPv4-mapped form", single, give("cluster", "::ffff:192.0.2.10"),
			infrav1.AddressInvalidReason, `address 192.0.2.10 of network "cluster" is the control-plane endpoint`},
		{"route to no CIDR", withSecondNIC, func(in *hostnet.Input) { in.Networks[1].Routes[0].Destination = "everything" },
			infrav1.AddressInvalidReason, `network "storage": routes[0].destination: "everything" is not a CIDR`},
		{"route through no address", withSecondNIC, func(in *hostnet.Input) { in.Networks[1].Routes[1].Gateway = "router" },
			infrav1.AddressInvalidReason, `network "storage": routes[1].gateway: "router" is not an IP address`},
		{"route without next hop", withSecondNIC, func(in *hostnet.Input) { in.Networks[1].Subnets[0].Gateway = "" },
			infrav1.AddressInvalidReason, `network "storage": routes[0].gateway: not set, and the subnet of the machine's address has no gateway`},
		{"route of two families", withSecondNIC, func(in *hostnet.Input) { in.Networks[1].Routes[0].Destination = "2001:db8:2::/48" },
			infrav1.AddressInvalidReason, `network "storage": routes[0]: next hop 198.51.100.1 and destination 2001:db8:2::/48 are of different address families`},
		{"route of a DHCP network without next hop", withDHCP, func(in *hostnet.Input) { in.Networks[0].Subnets = nil },
			infrav1.AddressInvalidReason, `network "cluster": routes[0].gateway: not set`},
		{"nameserver that is none", single, func(in *hostnet.Input) { in.Networks[0].Nameservers[0] = "dns" },
			infrav1.AddressInvalidReason, `network "cluster": nameservers[0]: "dns" is not an IP address`},
	}
}

func mtuErrors() []planError {
	return []planError{
		{"link below its network", jumbo, func(in *hostnet.Input) { in.Links[0].MTU = 9000 },
			infrav1.MTUInvalidReason, `links[0].mtu: 9000 of link "uplink0" is smaller than the MTU 9216 of network "cluster" on it; raise links[0].mtu to at least 9216 or lower that MTU`},
		{"link below the default", single, func(in *hostnet.Input) { in.Links[0].MTU = 1400 },
			infrav1.MTUInvalidReason, `1400 of link "uplink0" is smaller than the MTU 1500 of network "cluster"`},
		{"bond below its VLAN", withBonds, func(in *hostnet.Input) { in.Links[1].MTU = 1500 },
			infrav1.MTUInvalidReason, `links[1].mtu: 1500 of link "bond1" is smaller than the MTU 9000 of VLAN "bond1.20" on it`},
		{"member below its bond", withBonds, func(in *hostnet.Input) { in.Links[4].MTU = 9000 },
			infrav1.MTUInvalidReason, `links[4].mtu: 9000 of link "nic0" is smaller than the MTU 9216 of bond "bond0" on it`},
		{"member above its bond", withBonds, func(in *hostnet.Input) { in.Links[6].MTU = 9216 },
			infrav1.MTUInvalidReason, `links[6].mtu: 9216 of link "nic2" is not the MTU 9000 of bond "bond1", which its members share`},
		{"too small for IPv6", withDualStack, func(in *hostnet.Input) { in.Networks[1].MTU = 1000 },
			infrav1.MTUInvalidReason, `network "cluster6": mtu 1000 is too small for its IPv6 address 2001:db8:1::21; IPv6 needs 1280`},
	}
}
