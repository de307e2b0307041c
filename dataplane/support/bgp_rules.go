// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package support

import (
	"fmt"
	"net/netip"
	"slices"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// bgpRules are about routers and announced addresses.
func bgpRules() []Rule {
	return []Rule{
		{
			When: "A peer with a failure domain that the site does not have", Field: fieldPeers,
			Why:    "no node would peer with it",
			Fix:    "use names of spec.failureDomains",
			broken: unknownFailureDomains,
		},
		{
			When: "Two peers with one address for the same nodes", Field: fieldPeers,
			Why:    "a node has one session with an address",
			Fix:    "join them, or give them different failureDomains",
			broken: doublePeers,
		},
		{
			When: "VPP with an IPv6 peer, or IPv6 addresses to announce", Field: fieldPeers,
			Why: "VPP's BGP speaker is used with IPv4 only",
			Fix: "use IPv4",
			broken: func(v Values) []string {
				return when(v.vpp() && (any6(v.announced()) || slices.ContainsFunc(v.Peers, func(p Peer) bool { return p.Address.Is6() })))
			},
		},
		{
			When: "VPP with a filter that matches Equal, other than 0.0.0.0/0", Field: fieldPeers,
			Why:    "VPP's BGP speaker compares such a filter with no route at all",
			Fix:    "use match In",
			broken: equalFilters,
		},
		{
			When: "Announced cluster IPs outside the Cluster's service range", Field: fieldAdvertise + ".clusterIPs",
			Why: "services have no other cluster IPs",
			Fix: "use the Cluster's spec.clusterNetwork.services.cidrBlocks or a part of it",
			broken: func(v Values) []string {
				return outside(v.ClusterIPs, v.ServiceCIDRs)
			},
		},
		{
			When: "Load balancers' or external IPs that overlap pods or services", Field: fieldAdvertise,
			Why: "packets would go to the wrong place",
			Fix: "use ranges of their own",
			broken: func(v Values) []string {
				var found []string
				for _, prefix := range slices.Concat(v.ExternalIPs, v.LoadBalancerIPs) {
					if overlaps(v.PodCIDRs, prefix) || overlaps(v.ServiceCIDRs, prefix) {
						found = append(found, prefix.String())
					}
				}
				return found
			},
		},
	}
}

func (v Values) announced() []netip.Prefix {
	return slices.Concat(v.ClusterIPs, v.ExternalIPs, v.LoadBalancerIPs)
}

func unknownFailureDomains(v Values) []string {
	var found []string
	for _, peer := range v.Peers {
		for _, domain := range peer.FailureDomains {
			if !slices.Contains(v.FailureDomains, domain) {
				found = append(found, fmt.Sprintf("%s of %s", domain, peer.Name))
			}
		}
	}
	return found
}

func doublePeers(v Values) []string {
	var found []string
	for i, a := range v.Peers {
		for _, b := range v.Peers[i+1:] {
			if a.Address == b.Address && sameNodes(a.FailureDomains, b.FailureDomains) {
				found = append(found, fmt.Sprintf("%s and %s", a.Name, b.Name))
			}
		}
	}
	return found
}

// sameNodes tells whether two lists of failure domains select a node in common. An empty list selects all.
func sameNodes(a, b []string) bool {
	return len(a) == 0 || len(b) == 0 || slices.ContainsFunc(a, func(domain string) bool { return slices.Contains(b, domain) })
}

// equalFilters: the agent passes a mask length of 0 to 0 for Equal (calico-vpp-agent/routing/bgp_watcher.go, NewBGPPolicyV4V6),
// which only a default route has.
func equalFilters(v Values) []string {
	if !v.vpp() {
		return nil
	}
	var found []string
	for _, peer := range v.Peers {
		for _, filter := range peer.Filters {
			if filter.Match == infrav1.RouteMatchEqual && filter.CIDR != "0.0.0.0/0" {
				found = append(found, fmt.Sprintf("%s of %s", filter.CIDR, peer.Name))
			}
		}
	}
	return found
}

func outside(prefixes, ranges []netip.Prefix) []string {
	var found []string
	for _, prefix := range prefixes {
		if !slices.ContainsFunc(ranges, func(r netip.Prefix) bool { return contains(r, prefix) }) {
			found = append(found, prefix.String())
		}
	}
	return found
}
