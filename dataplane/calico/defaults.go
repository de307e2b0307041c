// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"cmp"
	"fmt"
	"net/netip"

	"k8s.io/apimachinery/pkg/api/resource"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// Versions that are installed when the user names none.
const (
	// DefaultVersion of Calico, whose chart names version v1.42.3 of the Tigera operator.
	DefaultVersion = "v3.32.1"
	// DefaultVPPVersion is the tag of Calico-VPP's images.
	DefaultVPPVersion = "v3.32.0"
	// DefaultChartRepository is where Calico publishes its charts.
	DefaultChartRepository = "https://docs.tigera.io/calico/charts"
	// DefaultAgentImage of the node agent, without tag.
	DefaultAgentImage = "ghcr.io/edgemetal/edge-agent"
)

// Sizes that are used when the user sets none.
const (
	defaultMaxPods  = 110
	defaultRingSize = 256
	defaultPriority = 20
	defaultASNumber = 64512
	// defaultHeap: with 256 MiB VPP aborts at the first service session; pages that are never touched cost nothing.
	defaultHeap = "1Gi"
	// Calico's own block sizes.
	defaultBlockSize4 = 26
	defaultBlockSize6 = 122
)

// Defaults returns the dataplane with everything filled in that the user left out, except what stays empty: charts from a
// Secret have no repository, types other than CalicoVPP no VPP settings, and encryption with IPsec no port.
func Defaults(in Input) infrav1.Dataplane {
	d := *in.Dataplane.DeepCopy()
	d.Type = cmp.Or(d.Type, infrav1.DataplaneCalicoVPP)
	d.Network = cmp.Or(d.Network, in.Network.Name)
	d.Encryption.Mode = cmp.Or(d.Encryption.Mode, infrav1.EncryptionRequired)
	d.Encryption.Protocol = cmp.Or(d.Encryption.Protocol, infrav1.ProtocolWireGuard)
	if d.Encryption.Protocol == infrav1.ProtocolWireGuard {
		d.Encryption.Port = cmp.Or(d.Encryption.Port, encryption.DefaultPort)
	}
	if d.Type == infrav1.DataplaneNone {
		return d
	}
	d.Calico.Version = cmp.Or(d.Calico.Version, DefaultVersion)
	if d.Calico.Charts.Secret == nil {
		d.Calico.Charts.Repository = cmp.Or(d.Calico.Charts.Repository, DefaultChartRepository)
	}
	if d.Type == infrav1.DataplaneCalicoVPP {
		d.Calico.VPPVersion = cmp.Or(d.Calico.VPPVersion, DefaultVPPVersion)
		d.VPP = defaultVPP(d.VPP)
	}
	d.IPPools = defaultPools(d, in.PodCIDRs)
	if d.MTU == 0 {
		d.MTU = encryption.PodMTU(networkMTU(in.Network), protocol(d), poolTunnels(d.IPPools)...)
	}
	d.BGP = defaultBGP(d)
	d.KubeProxy = cmp.Or(d.KubeProxy, infrav1.KubeProxyKeep)
	d.AgentImage = cmp.Or(d.AgentImage, fmt.Sprintf("%s:%s", DefaultAgentImage, in.AgentVersion))
	return d
}

func defaultVPP(vpp *infrav1.VPP) *infrav1.VPP {
	if vpp == nil {
		vpp = &infrav1.VPP{}
	}
	vpp.UplinkDriver = cmp.Or(vpp.UplinkDriver, infrav1.UplinkAFPacket)
	vpp.RxMode = cmp.Or(vpp.RxMode, infrav1.RxModeInterrupt)
	vpp.PodRxMode = cmp.Or(vpp.PodRxMode, infrav1.RxModeInterrupt)
	vpp.HostTapRxMode = cmp.Or(vpp.HostTapRxMode, infrav1.RxModeInterrupt)
	vpp.Workers = cmp.Or(vpp.Workers, new(int32))
	if vpp.Scheduler != nil {
		vpp.Scheduler.Priority = cmp.Or(vpp.Scheduler.Priority, defaultPriority)
	}
	vpp.MainHeapSize = cmp.Or(vpp.MainHeapSize, new(resource.MustParse(defaultHeap)))
	vpp.RingSize = cmp.Or(vpp.RingSize, defaultRingSize)
	if vpp.Buffers == 0 {
		vpp.MaxPodsPerNode = cmp.Or(vpp.MaxPodsPerNode, defaultMaxPods)
		vpp.Buffers = Buffers(vpp.MaxPodsPerNode, vpp.RingSize)
	}
	vpp.GSO = cmp.Or(vpp.GSO, new(true))
	vpp.ServiceAcceleration = cmp.Or(vpp.ServiceAcceleration, new(true))
	return vpp
}

// defaultPools names the pools as the Tigera operator does when it makes them from kubeadm's pod ranges. CIDRs that cannot be
// parsed stay as they are; Check reports them.
func defaultPools(d infrav1.Dataplane, podCIDRs []string) []infrav1.IPPool {
	pools := d.IPPools
	if len(pools) == 0 {
		for _, cidr := range podCIDRs {
			name := "default-ipv4-ippool"
			if prefix, err := netip.ParsePrefix(cidr); err == nil && prefix.Addr().Is6() {
				name = "default-ipv6-ippool"
			}
			pools = append(pools, infrav1.IPPool{Name: name, CIDR: cidr})
		}
	}
	for i := range pools {
		pool := &pools[i]
		six := isIPv6(pool.CIDR)
		if pool.BlockSize == 0 {
			pool.BlockSize = defaultBlockSize(pool.CIDR)
		}
		if pool.Encapsulation == "" && d.Type == infrav1.DataplaneCalicoVPP && !six {
			pool.Encapsulation = infrav1.EncapsulationIPIP
		}
		pool.Encapsulation = cmp.Or(pool.Encapsulation, infrav1.EncapsulationVXLAN)
		pool.NATOutgoing = cmp.Or(pool.NATOutgoing, new(true))
	}
	return pools
}

// defaultBlockSize is Calico's, or the pool itself when that is smaller.
func defaultBlockSize(cidr string) int32 {
	size := int32(defaultBlockSize4)
	prefix, err := netip.ParsePrefix(cidr)
	if err != nil {
		return size
	}
	if prefix.Addr().Is6() {
		size = defaultBlockSize6
	}
	return max(size, int32(prefix.Bits())) //nolint:gosec // A prefix has at most 128 bits.
}

// defaultBGP is nil when no BGP speaker is needed: kernel dataplanes with VXLAN program their routes themselves.
func defaultBGP(d infrav1.Dataplane) *infrav1.BGP {
	bgp := d.BGP
	if bgp == nil {
		if !needsBGP(d) {
			return nil
		}
		bgp = &infrav1.BGP{}
	}
	bgp.ASNumber = cmp.Or(bgp.ASNumber, defaultASNumber)
	bgp.NodeMesh = cmp.Or(bgp.NodeMesh, new(true))
	for i := range bgp.Peers {
		peer := &bgp.Peers[i]
		if len(peer.Import) == 0 {
			peer.Import = []infrav1.RouteFilter{{CIDR: defaultRoute(peer.Address)}}
		}
		if len(peer.Export) == 0 {
			peer.Export = advertised(bgp.Advertise, isIPv6(peer.Address))
		}
		defaultFilters(peer.Import)
		defaultFilters(peer.Export)
	}
	return bgp
}

// needsBGP: VPP's agent distributes routes with BGP only, and so do kernel dataplanes without VXLAN.
func needsBGP(d infrav1.Dataplane) bool {
	if d.Type == infrav1.DataplaneCalicoVPP {
		return true
	}
	for _, pool := range d.IPPools {
		if pool.Encapsulation != infrav1.EncapsulationVXLAN && pool.Encapsulation != infrav1.EncapsulationVXLANCrossSubnet {
			return true
		}
	}
	return false
}

func defaultRoute(peer string) string {
	if isIPv6(peer) {
		return "::/0"
	}
	return "0.0.0.0/0"
}

// advertised lets the announced ranges of one address family pass, and what lies in them.
func advertised(advertise infrav1.Advertise, six bool) []infrav1.RouteFilter {
	var filters []infrav1.RouteFilter
	for _, ranges := range [][]string{advertise.ClusterIPs, advertise.ExternalIPs, advertise.LoadBalancerIPs} {
		for _, cidr := range ranges {
			if isIPv6(cidr) == six {
				filters = append(filters, infrav1.RouteFilter{CIDR: cidr, Match: infrav1.RouteMatchIn})
			}
		}
	}
	return filters
}

func defaultFilters(filters []infrav1.RouteFilter) {
	for i := range filters {
		filters[i].Match = cmp.Or(filters[i].Match, infrav1.RouteMatchEqual)
		filters[i].Action = cmp.Or(filters[i].Action, infrav1.RouteAccept)
	}
}

func networkMTU(network infrav1.Network) int32 { return cmp.Or(network.MTU, encryption.DefaultMTU) }

// protocol is empty when encryption is disabled.
func protocol(d infrav1.Dataplane) encryption.Protocol {
	if d.Encryption.Mode == infrav1.EncryptionDisabled {
		return ""
	}
	return encryption.Protocol(d.Encryption.Protocol)
}

func poolTunnels(pools []infrav1.IPPool) []encryption.PoolTunnel {
	tunnels := make([]encryption.PoolTunnel, len(pools))
	for i, pool := range pools {
		tunnels[i] = encryption.PoolTunnel{Encapsulation: string(pool.Encapsulation), IPv6: isIPv6(pool.CIDR)}
	}
	return tunnels
}
