// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package support

import (
	"fmt"
	"net/netip"
	"slices"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// Smallest MTU with which IP works: RFC 791 section 3.2 (reassembly of 576 bytes), RFC 8200 section 5.
const (
	minMTU4 = 576
	minMTU6 = 1280
)

// rangeRules are about address ranges, on every dataplane that is installed.
func rangeRules() []Rule {
	return []Rule{
		{
			When: "Cluster without pod range", Field: fieldPodCIDRs,
			Why:    "there is no range to take pods' addresses from",
			Fix:    "set it, for example to 10.244.0.0/16",
			broken: func(v Values) []string { return when(v.installs() && len(v.PodCIDRs) == 0) },
		},
		{
			When: "Cluster with several pod or service ranges of one family", Field: fieldPodCIDRs,
			Why: "Kubernetes takes at most one of each family",
			Fix: "leave one range of pods and one of services for each family, and divide pods with ipPools",
			broken: func(v Values) []string {
				return when(v.installs() && (severalOfFamily(v.PodCIDRs) || severalOfFamily(v.ServiceCIDRs)))
			},
		},
		{
			When: "Pool outside the Cluster's pod range", Field: fieldPools,
			Why: "the Tigera operator refuses it, and nothing would guard its traffic",
			Fix: "use a part of the Cluster's spec.clusterNetwork.pods.cidrBlocks",
			broken: func(v Values) []string {
				return v.installedPools(func(p Pool) bool {
					return len(v.PodCIDRs) > 0 && !slices.ContainsFunc(v.PodCIDRs, func(pods netip.Prefix) bool { return contains(pods, p.CIDR) })
				})
			},
		},
		{
			When: "Pool that overlaps services, another pool or the nodes' network", Field: fieldPools,
			Why:    "packets would go to the wrong place",
			Fix:    "give each its own range",
			broken: func(v Values) []string { return v.installedPools(v.overlapping) },
		},
		{
			When: "Services that overlap pods or the nodes' network", Field: fieldServiceCIDR,
			Why: "packets would go to the wrong place",
			Fix: "give each its own range",
			broken: func(v Values) []string {
				return when(v.installs() && slices.ContainsFunc(v.ServiceCIDRs, func(services netip.Prefix) bool {
					return overlaps(v.PodCIDRs, services) || overlaps(v.Subnets, services)
				}))
			},
		},
		{
			When: "IPv6 pool with encapsulation IPIP or IPIPCrossSubnet", Field: fieldPools,
			Why: "IPIP carries IPv4 only",
			Fix: "use VXLAN",
			broken: func(v Values) []string {
				return v.installedPools(func(p Pool) bool {
					return !is4(p.CIDR) && (p.Encapsulation == infrav1.EncapsulationIPIP || p.Encapsulation == infrav1.EncapsulationIPIPCrossSubnet)
				})
			},
		},
	}
}

// mtuRules are about the size of packets.
func mtuRules() []Rule {
	return []Rule{
		{
			When: "Pods' MTU larger than the network's MTU less the tunnels' overhead", Field: fieldMTU,
			Why:    "full packets would not fit into a tunnel",
			Fix:    "leave mtu out, or use a smaller one",
			broken: mtuTooLarge,
		},
		{
			When: "Pods' MTU below 576 bytes, or 1280 with IPv6", Field: fieldMTU,
			Why:    "IP does not work with less",
			Fix:    "use a larger mtu of the network, or of pods if it is set",
			broken: mtuTooSmall,
		},
	}
}

// overlapping tells whether a pool shares addresses with something else.
func (v Values) overlapping(pool Pool) bool {
	others := slices.Concat(v.ServiceCIDRs, v.Subnets)
	for _, other := range v.Pools {
		if other.Name != pool.Name {
			others = append(others, other.CIDR)
		}
	}
	return overlaps(others, pool.CIDR)
}

func mtuTooLarge(v Values) []string {
	if limit := v.maxMTU(); v.installs() && v.PodMTU > limit {
		return []string{fmt.Sprintf("%d is more than %d", v.PodMTU, limit)}
	}
	return nil
}

func mtuTooSmall(v Values) []string {
	smallest := int32(minMTU4)
	if len(v.poolsThat(func(p Pool) bool { return !is4(p.CIDR) })) > 0 {
		smallest = minMTU6
	}
	if v.installs() && v.PodMTU < smallest {
		return []string{fmt.Sprintf("%d is less than %d", v.PodMTU, smallest)}
	}
	return nil
}

// installedPools are the names of pools that match, when a dataplane is installed.
func (v Values) installedPools(match func(Pool) bool) []string {
	if !v.installs() {
		return nil
	}
	return v.poolsThat(match)
}

func severalOfFamily(prefixes []netip.Prefix) bool {
	four := 0
	for _, prefix := range prefixes {
		if is4(prefix) {
			four++
		}
	}
	return four > 1 || len(prefixes)-four > 1
}

// contains tells whether inner lies in outer.
func contains(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

func overlaps(prefixes []netip.Prefix, prefix netip.Prefix) bool {
	return slices.ContainsFunc(prefixes, prefix.Overlaps)
}
