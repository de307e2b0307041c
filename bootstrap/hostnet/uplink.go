// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"fmt"
	"net/netip"
	"slices"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// Uplink is the link of a machine that carries the dataplane.
type Uplink struct {
	// Link is its name, which is that of the device on the host.
	Link string
	// MTU of the link in bytes.
	MTU int32
}

// UplinkOf finds the link of a machine's interface in a network. It needs no hardware, so that it can be told before a host is chosen.
//
// It returns an *Error with reason UplinkInvalid when the machine has no interface in the network.
func UplinkOf(links []infrav1.Link, interfaces []infrav1.Interface, networks []infrav1.Network, network string) (Uplink, error) {
	joined, err := joinNetworks(interfaces, networks)
	if err != nil {
		return Uplink{}, err
	}
	at := slices.IndexFunc(joined, func(j joinedInterface) bool { return j.network.Name == network })
	if at < 0 {
		return Uplink{}, &Error{Reason: infrav1.UplinkInvalidReason, Message: fmt.Sprintf(
			"interfaces: none is in network %q, which carries the dataplane (spec.dataplane.network of the EdgeCluster); add one to the machine template", network)}
	}
	link, found := findLink(links, joined[at].link)
	if !found {
		return Uplink{}, linkUnresolved("%s.link: the machine has no link %q; name one of its links", joined[at].field, joined[at].link)
	}
	return Uplink{Link: link.Name, MTU: max(link.MTU, neededMTUs(links, joined)[link.Name].bytes)}, nil
}

// Address of the machine in a network, with the prefix length of its subnet; false when it has none or DHCP gives it.
func (p Plan) Address(network string) (netip.Prefix, bool) {
	for _, candidate := range p.interfaces {
		if candidate.network.Name == network && candidate.address.IsValid() {
			return candidate.address, true
		}
	}
	return netip.Prefix{}, false
}

// Nameservers of all networks of the machine, each once, in order of preference.
func (p Plan) Nameservers() []netip.Addr {
	var servers []netip.Addr
	for _, joined := range p.interfaces {
		servers = append(servers, joined.nameservers...)
	}
	return servers
}
