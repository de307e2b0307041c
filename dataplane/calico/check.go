// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/support"
)

// Check returns what is wrong with the dataplane in this cluster. It needs neither Uplink nor AgentVersion, so that a fault is
// told before there is a host.
func Check(in Input) []support.Problem {
	values, problems := values(in, Defaults(in))
	if len(problems) > 0 {
		return problems
	}
	return support.Check(values)
}

// values are what the rules look at, or what cannot be read.
func values(in Input, d infrav1.Dataplane) (support.Values, []support.Problem) {
	p := parser{}
	v := support.Values{
		Type: d.Type, Mode: d.Encryption.Mode, Protocol: d.Encryption.Protocol, Port: d.Encryption.Port,
		PodCIDRs:     p.prefixes("Cluster spec.clusterNetwork.pods.cidrBlocks", in.PodCIDRs),
		ServiceCIDRs: p.prefixes("Cluster spec.clusterNetwork.services.cidrBlocks", in.ServiceCIDRs),
		DHCP:         in.Network.Addresses.DHCP != nil, NetworkMTU: networkMTU(in.Network), PodMTU: d.MTU,
		KubeProxy: d.KubeProxy, Endpoint: in.Endpoint.Host, FailureDomains: in.FailureDomains,
		CalicoVersion: d.Calico.Version, VPPVersion: d.Calico.VPPVersion, Architectures: in.Architectures,
	}
	for _, subnet := range in.Network.Subnets {
		v.Subnets = append(v.Subnets, p.prefixes("spec.networks", []string{subnet.CIDR})...)
	}
	for _, pool := range d.IPPools {
		for _, prefix := range p.prefixes("spec.dataplane.ipPools", []string{pool.CIDR}) {
			v.Pools = append(v.Pools, support.Pool{Name: pool.Name, CIDR: prefix, Encapsulation: pool.Encapsulation})
		}
	}
	if d.VPP != nil {
		v.VPP = support.VPP{
			Driver: d.VPP.UplinkDriver, RxMode: d.VPP.RxMode, PodRxMode: d.VPP.PodRxMode, HostTapMode: d.VPP.HostTapRxMode,
			RealTime: d.VPP.Scheduler != nil, Buffers: d.VPP.Buffers,
		}
	}
	if d.BGP != nil {
		p.bgp(&v, d.BGP)
	}
	return v, p.problems
}

// parser remembers what it cannot read.
type parser struct {
	problems []support.Problem
}

func (p *parser) prefixes(field string, cidrs []string) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, cidr := range cidrs {
		prefix, err := netip.ParsePrefix(cidr)
		if err != nil {
			p.problems = append(p.problems, support.Problem{Field: field, Message: fmt.Sprintf("%q is not an address range; use for example 10.244.0.0/16", cidr)})
			continue
		}
		prefixes = append(prefixes, prefix.Masked())
	}
	return prefixes
}

func (p *parser) bgp(v *support.Values, bgp *infrav1.BGP) {
	const field = "spec.dataplane.bgp"
	v.ClusterIPs = p.prefixes(field+".advertise.clusterIPs", bgp.Advertise.ClusterIPs)
	v.ExternalIPs = p.prefixes(field+".advertise.externalIPs", bgp.Advertise.ExternalIPs)
	v.LoadBalancerIPs = p.prefixes(field+".advertise.loadBalancerIPs", bgp.Advertise.LoadBalancerIPs)
	for _, peer := range bgp.Peers {
		address, err := netip.ParseAddr(peer.Address)
		if err != nil {
			p.problems = append(p.problems, support.Problem{Field: field + ".peers", Message: fmt.Sprintf("%q is not an IP address; use for example 192.0.2.1", peer.Address)})
		}
		filters := slices.Concat(peer.Import, peer.Export)
		for _, filter := range filters {
			p.prefixes(field+".peers", []string{filter.CIDR})
		}
		v.Peers = append(v.Peers, support.Peer{Name: peer.Name, Address: address, FailureDomains: peer.FailureDomains, Filters: filters})
	}
}

// isIPv6 tells the family of an address or range.
func isIPv6(addressOrRange string) bool { return strings.Contains(addressOrRange, ":") }
