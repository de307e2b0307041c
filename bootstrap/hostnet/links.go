// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"fmt"
	"slices"
	"strings"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

const defaultMTU = 1500

// joinedInterface is an interface together with the network that it names.
type joinedInterface struct {
	field   string
	link    string
	network infrav1.Network
}

func joinNetworks(interfaces []infrav1.Interface, networks []infrav1.Network) ([]joinedInterface, error) {
	joined := make([]joinedInterface, 0, len(interfaces))
	for i, item := range interfaces {
		at := slices.IndexFunc(networks, func(n infrav1.Network) bool { return n.Name == item.Network })
		if at < 0 {
			names := make([]string, 0, len(networks))
			for _, network := range networks {
				names = append(names, network.Name)
			}
			return nil, &Error{Reason: infrav1.NetworkUnknownReason, Message: fmt.Sprintf(
				"interfaces[%d].network: the EdgeCluster has no network %q; it has %q; add it to spec.networks of the EdgeCluster or use one of these", i, item.Network, names)}
		}
		joined = append(joined, joinedInterface{field: fmt.Sprintf("interfaces[%d]", i), link: item.Link, network: networks[at]})
	}
	return joined, nil
}

// planLinks gives every link its MAC address and MTU.
func planLinks(links []infrav1.Link, joined []joinedInterface, nics map[string]NIC) ([]plannedLink, error) {
	if err := checkTopology(links, joined); err != nil {
		return nil, err
	}
	needed := neededMTUs(links, joined)
	planned := make([]plannedLink, 0, len(links))
	for i, link := range links {
		need := needed[link.Name]
		mtu := need.bytes
		if link.MTU != 0 {
			mtu = link.MTU
		}
		if mtu < need.bytes {
			return nil, &Error{Reason: infrav1.MTUInvalidReason, Message: fmt.Sprintf(
				"links[%d].mtu: %d of link %q is smaller than the MTU %d of %s on it; raise links[%d].mtu to at least %d or lower that MTU", i, mtu, link.Name, need.bytes, need.cause, i, need.bytes)}
		}
		planned = append(planned, plannedLink{Link: link, mac: linkMAC(link, links, nics), mtu: mtu})
	}
	return planned, checkMembers(planned)
}

// checkMembers refuses a bond's member whose MTU is larger than the bond's: Linux would lower it without a word.
func checkMembers(links []plannedLink) error {
	for i, member := range links {
		for _, bond := range links {
			if bond.Bond != nil && slices.Contains(bond.Bond.Members, member.Name) && member.mtu != bond.mtu {
				return &Error{Reason: infrav1.MTUInvalidReason, Message: fmt.Sprintf(
					"links[%d].mtu: %d of link %q is not the MTU %d of bond %q, which its members share; remove links[%d].mtu or set that of the bond", i, member.mtu, member.Name, bond.mtu, bond.Name, i)}
			}
		}
	}
	return nil
}

// linkMAC is the MAC address of an ethernet, of a bond's first member, or of a VLAN's parent.
func linkMAC(link infrav1.Link, links []infrav1.Link, nics map[string]NIC) string {
	switch {
	case link.Bond != nil:
		return nics[link.Bond.Members[0]].MAC
	case link.VLAN != nil:
		parent, _ := findLink(links, link.VLAN.Parent)
		return linkMAC(parent, links, nics)
	default:
		return nics[link.Name].MAC
	}
}

// checkTopology repeats what the API already refuses, because a plan of a broken topology would take a host off the network,
// and checks what the API cannot know.
func checkTopology(links []infrav1.Link, joined []joinedInterface) error {
	for i, link := range links {
		if slices.ContainsFunc(links[:i], func(l infrav1.Link) bool { return l.Name == link.Name }) {
			return linkUnresolved("links[%d].name: %q is used twice; rename one of the links", i, link.Name)
		}
		switch {
		case link.Bond != nil:
			if err := checkBond(i, link, links); err != nil {
				return err
			}
		case link.VLAN != nil:
			if err := checkVLAN(i, link, links); err != nil {
				return err
			}
		}
	}
	for _, item := range joined {
		if _, found := findLink(links, item.link); !found {
			return linkUnresolved("%s.link: the machine has no link %q; name one of its links", item.field, item.link)
		}
		if bond, member := bondOf(links, item.link); member {
			return linkUnresolved("%s.link: %q is a member of bond %q; name the bond instead", item.field, item.link, bond)
		}
	}
	return nil
}

// bondPrefix is how cloud-init names bonds, see checkBond.
const bondPrefix = "bond"

// checkBond also wants the names bond0, bond1 and so on: up to release 26.1 cloud-init gives the bonds of OpenStack network data these
// names, whatever the document says (convert_net_json in cloudinit/sources/helpers/openstack.py).
func checkBond(at int, bond infrav1.Link, links []infrav1.Link) error {
	if allowed := bondNames(links); !slices.Contains(allowed, bond.Name) {
		return linkUnresolved("links[%d].name: cloud-init before release 26.1 names bonds by number, so that %q cannot be relied on; name the bonds of this machine %s", at, bond.Name, strings.Join(allowed, ", "))
	}
	if len(bond.Bond.Members) == 0 {
		return linkUnresolved("links[%d].bond.members: bond %q has no members; name at least one ethernet", at, bond.Name)
	}
	for _, name := range bond.Bond.Members {
		member, found := findLink(links, name)
		if !found || member.Match == nil {
			return linkUnresolved("links[%d].bond.members: %q is not a link with match (an ethernet) of this machine", at, name)
		}
		if other, _ := bondOf(links, name); other != bond.Name {
			return linkUnresolved("links[%d].bond.members: %q is a member of bonds %q and %q; a NIC can serve one bond", at, name, other, bond.Name)
		}
	}
	return nil
}

// checkVLAN also wants the name <parent>.<id>: cloud-init gives every VLAN of OpenStack network data that name, whatever the
// document says (convert_net_json in cloudinit/sources/helpers/openstack.py).
func checkVLAN(at int, vlan infrav1.Link, links []infrav1.Link) error {
	parent, found := findLink(links, vlan.VLAN.Parent)
	if !found || parent.VLAN != nil {
		return linkUnresolved("links[%d].vlan.parent: %q is not an ethernet or bond of this machine", at, vlan.VLAN.Parent)
	}
	if bond, member := bondOf(links, parent.Name); member {
		return linkUnresolved("links[%d].vlan.parent: %q is a member of bond %q; put the VLAN on the bond", at, parent.Name, bond)
	}
	if want := fmt.Sprintf("%s.%d", vlan.VLAN.Parent, vlan.VLAN.ID); vlan.Name != want {
		return linkUnresolved("links[%d].name: cloud-init names this VLAN %q, so that the link cannot be %q; set links[%d].name to %q", at, want, vlan.Name, at, want)
	}
	if len(vlan.Name) > maxNameLength {
		return linkUnresolved("links[%d].name: %q has more than %d characters; shorten the name of its parent", at, vlan.Name, maxNameLength)
	}
	return nil
}

// maxNameLength of a network device in Linux (IFNAMSIZ - 1).
const maxNameLength = 15

// bondNames are the names for as many bonds as there are.
func bondNames(links []infrav1.Link) []string {
	var names []string
	for _, link := range links {
		if link.Bond != nil {
			names = append(names, fmt.Sprintf("%s%d", bondPrefix, len(names)))
		}
	}
	return names
}

func findLink(links []infrav1.Link, name string) (infrav1.Link, bool) {
	at := slices.IndexFunc(links, func(l infrav1.Link) bool { return l.Name == name })
	if at < 0 {
		return infrav1.Link{}, false
	}
	return links[at], true
}

// bondOf returns the first bond that has the link as a member.
func bondOf(links []infrav1.Link, name string) (string, bool) {
	for _, link := range links {
		if link.Bond != nil && slices.Contains(link.Bond.Members, name) {
			return link.Name, true
		}
	}
	return "", false
}

// mtuNeed is the smallest MTU that a link must have, and what needs it.
type mtuNeed struct {
	bytes int32
	cause string
}

// neededMTUs is by link name: the largest MTU of the networks on a link, and of the links above it. A bond's members need
// what the bond has, a VLAN's parent what the VLAN has. Without any of these a link gets 1500.
func neededMTUs(links []infrav1.Link, joined []joinedInterface) map[string]mtuNeed {
	needed := map[string]mtuNeed{}
	raise := func(name string, mtu int32, cause string) {
		if mtu > needed[name].bytes {
			needed[name] = mtuNeed{bytes: mtu, cause: cause}
		}
	}
	for _, item := range joined {
		mtu := item.network.MTU
		if mtu == 0 {
			mtu = defaultMTU
		}
		raise(item.link, mtu, fmt.Sprintf("network %q", item.network.Name))
	}
	resulting := func(link infrav1.Link) int32 { return max(link.MTU, needed[link.Name].bytes) }
	for _, link := range links {
		if link.VLAN != nil {
			raise(link.VLAN.Parent, resulting(link), fmt.Sprintf("VLAN %q", link.Name))
		}
	}
	for _, link := range links {
		if link.Bond == nil {
			continue
		}
		for _, member := range link.Bond.Members {
			raise(member, resulting(link), fmt.Sprintf("bond %q", link.Name))
		}
	}
	for _, link := range links {
		if needed[link.Name].bytes == 0 && link.MTU == 0 {
			needed[link.Name] = mtuNeed{bytes: defaultMTU, cause: "the default"}
		}
	}
	return needed
}
