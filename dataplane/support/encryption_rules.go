// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package support

import (
	"net/netip"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// vxlanPort is the UDP port of Calico's VXLAN, which the node agent's guard closes.
const vxlanPort = 4789

// encryptionRules follow from how Calico-VPP chooses a tunnel for a route (calico-vpp-agent/connectivity/connectivity_server.go,
// getProviderType), and from what the node agent can prove.
func encryptionRules() []Rule {
	return []Rule{
		{
			When: "type None with encryption", Field: fieldEncryption + ".mode", Leaks: true,
			Why:    "nothing is installed, so nothing is encrypted and nothing can be proved",
			Fix:    "set encryption.mode Disabled, or choose another type",
			broken: func(v Values) []string { return when(!v.installs() && v.encrypted()) },
		},
		{
			When: "IPsec with another type than CalicoVPP", Field: fieldEncryption + ".protocol", Leaks: true,
			Why: "only VPP has IPsec",
			Fix: "use WireGuard",
			broken: func(v Values) []string {
				return when(v.encrypted() && v.Protocol == infrav1.ProtocolIPsec && !v.vpp())
			},
		},
		{
			When: "IPv6 pool with encryption", Field: fieldPools, Leaks: true,
			Why:    "VPP encrypts IPv4 only, and on other dataplanes the node agent can prove IPv4 only",
			Fix:    "use IPv4 pools only, or set encryption.mode Disabled",
			broken: func(v Values) []string { return v.encryptedPools(func(p Pool) bool { return !is4(p.CIDR) }) },
		},
		{
			When: "IPv6 or dual-stack Cluster with encryption", Field: fieldPodCIDRs, Leaks: true,
			Why: "dual stack makes VPP refuse the second family's peers, whose traffic may then leave in clear, and IPv6 alone is never encrypted",
			Fix: "use one IPv4 range for pods and one for services, or set encryption.mode Disabled",
			broken: func(v Values) []string {
				return when(v.installs() && v.encrypted() && (any6(v.PodCIDRs) || any6(v.ServiceCIDRs)))
			},
		},
		{
			When: "VPP with encryption and pool encapsulation None, IPIPCrossSubnet or VXLANCrossSubnet", Field: fieldPools, Leaks: true,
			Why: "VPP encrypts what it would encapsulate, so nodes of one subnet, or all, would talk in clear",
			Fix: "use encapsulation IPIP, or VXLAN with WireGuard",
			broken: func(v Values) []string {
				return v.encryptedPools(func(p Pool) bool {
					return v.vpp() && p.Encapsulation != infrav1.EncapsulationIPIP && p.Encapsulation != infrav1.EncapsulationVXLAN
				})
			},
		},
		{
			When: "IPsec with pool encapsulation VXLAN", Field: fieldPools, Leaks: true,
			Why: "VPP's IPsec protects IPIP tunnels and leaves VXLAN in clear",
			Fix: "use encapsulation IPIP",
			broken: func(v Values) []string {
				return v.encryptedPools(func(p Pool) bool {
					return v.vpp() && v.Protocol == infrav1.ProtocolIPsec && p.Encapsulation == infrav1.EncapsulationVXLAN
				})
			},
		},
	}
}

// tunnelRules are about the network in which nodes' tunnels run.
func tunnelRules() []Rule {
	return []Rule{
		{
			When: "VPP with encryption on a network with IPv6 subnets", Field: fieldNetwork, Leaks: true,
			Why:    "with a second address VPP makes a second tunnel, whose peers it refuses",
			Fix:    "choose a network with IPv4 subnets only",
			broken: func(v Values) []string { return when(v.vpp() && v.encrypted() && any6(v.Subnets)) },
		},
		{
			When: "Encryption on a network without IPv4 subnet", Field: fieldNetwork, Leaks: true,
			Why: "tunnels run between nodes' IPv4 addresses",
			Fix: "choose a network with an IPv4 subnet",
			broken: func(v Values) []string {
				return when(v.installs() && v.encrypted() && len(v.Subnets) > 0 && !any4(v.Subnets))
			},
		},
		{
			When: "VPP with encryption on a network with DHCP, or without subnets", Field: fieldNetwork,
			Why: "the host's tunnel is configured before it boots, with its address",
			Fix: "use addresses fromPool or fromHost, and name the subnets",
			broken: func(v Values) []string {
				return when(v.vpp() && v.encrypted() && (v.DHCP || len(v.Subnets) == 0))
			},
		},
		{
			When: "WireGuard on UDP port 4789", Field: fieldEncryption + ".port",
			Why:    "it is VXLAN's port, which is closed to keep clear traffic in",
			Fix:    "use another port, for example 51820",
			broken: func(v Values) []string { return when(v.encrypted() && v.wireGuard() && v.Port == vxlanPort) },
		},
	}
}

func (v Values) wireGuard() bool { return v.Protocol == infrav1.ProtocolWireGuard }

// encryptedPools are the names of pools that match, when encryption is asked for.
func (v Values) encryptedPools(match func(Pool) bool) []string {
	if !v.encrypted() || !v.installs() {
		return nil
	}
	return v.poolsThat(match)
}

func (v Values) poolsThat(match func(Pool) bool) []string {
	var names []string
	for _, pool := range v.Pools {
		if match(pool) {
			names = append(names, pool.Name)
		}
	}
	return names
}

func is4(prefix netip.Prefix) bool { return prefix.Addr().Is4() }

func any4(prefixes []netip.Prefix) bool { return anyFamily(prefixes, true) }

func any6(prefixes []netip.Prefix) bool { return anyFamily(prefixes, false) }

func anyFamily(prefixes []netip.Prefix, v4 bool) bool {
	for _, prefix := range prefixes {
		if is4(prefix) == v4 {
			return true
		}
	}
	return false
}
