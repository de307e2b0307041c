// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package support

import (
	"net/netip"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// Values is what the rules look at, with all defaults filled in.
type Values struct {
	Type     infrav1.DataplaneType
	Mode     infrav1.EncryptionMode
	Protocol infrav1.EncryptionProtocol
	// Port of WireGuard.
	Port int32

	// Pools of pods' addresses.
	Pools []Pool
	// PodCIDRs and ServiceCIDRs of the Cluster.
	PodCIDRs, ServiceCIDRs []netip.Prefix

	// Subnets of the network that carries pods' traffic; empty when only its DHCP server knows them.
	Subnets []netip.Prefix
	// DHCP is true when hosts learn their address in that network when they boot.
	DHCP bool
	// NetworkMTU and PodMTU in bytes.
	NetworkMTU, PodMTU int32

	// VPP's settings; zero with other types.
	VPP VPP

	KubeProxy infrav1.KubeProxyMode
	// Endpoint is the host of the API server's endpoint; empty while it is not known.
	Endpoint string

	// FailureDomains of the site.
	FailureDomains []string
	// Peers of the nodes' BGP speakers.
	Peers []Peer
	// ClusterIPs, ExternalIPs and LoadBalancerIPs are announced.
	ClusterIPs, ExternalIPs, LoadBalancerIPs []netip.Prefix

	// CalicoVersion and VPPVersion with a leading v. VPPVersion is empty with other types than CalicoVPP.
	CalicoVersion, VPPVersion string

	// Architectures of the hosts, as their inspection names them, as far as they are known.
	Architectures []string
}

// Pool of pods' addresses.
type Pool struct {
	Name          string
	CIDR          netip.Prefix
	Encapsulation infrav1.Encapsulation
}

// VPP holds the settings of VPP that rules look at.
type VPP struct {
	Driver                         infrav1.UplinkDriver
	RxMode, PodRxMode, HostTapMode infrav1.RxMode
	// RealTime is true when VPP's threads have a real-time scheduling policy.
	RealTime bool
	// Buffers per NUMA node.
	Buffers int32
}

// Peer is a router that nodes peer with.
type Peer struct {
	Name           string
	Address        netip.Addr
	FailureDomains []string
	// Filters are the import and export filters.
	Filters []infrav1.RouteFilter
}

// encrypted tells whether encryption is asked for, strictly or not.
func (v Values) encrypted() bool { return v.Mode != infrav1.EncryptionDisabled }

// vpp tells whether VPP is the dataplane.
func (v Values) vpp() bool { return v.Type == infrav1.DataplaneCalicoVPP }

// installs tells whether there is anything to install.
func (v Values) installs() bool { return v.Type != infrav1.DataplaneNone }
