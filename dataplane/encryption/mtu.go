// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package encryption

// Bytes that a tunnel adds to a pod's packet. Calico: felix/dataplane/linux/int_dataplane.go; VPP's agent:
// calico-vpp-agent/cni/podinterface/tuntap.go, which knows no IPv6 tunnels.
const (
	// OverheadIPIP is an IPv4 header.
	OverheadIPIP = 20
	// OverheadVXLAN is IPv4, UDP, VXLAN and inner Ethernet headers.
	OverheadVXLAN = 50
	// OverheadVXLANv6 is the same with an IPv6 header.
	OverheadVXLANv6 = 70
	// OverheadWireGuard is IPv4, UDP and WireGuard headers and the tag.
	OverheadWireGuard = 60
	// OverheadWireGuardV6 is the same with an IPv6 header.
	OverheadWireGuardV6 = 80
	// OverheadIPsec is what VPP's agent leaves for ESP and the IPIP header inside.
	OverheadIPsec = 60
)

// DefaultMTU of a network, in bytes.
const DefaultMTU = 1500

// PoolTunnel is what a pool's packets are put into between nodes.
type PoolTunnel struct {
	// Encapsulation as Calico's operator names it: IPIP, IPIPCrossSubnet, VXLAN, VXLANCrossSubnet or None.
	Encapsulation string
	// IPv6 is true for a pool of IPv6 addresses, whose tunnels run between IPv6 addresses of nodes.
	IPv6 bool
}

// PodMTU is the largest packet in bytes that pods may send: the network's MTU less the largest overhead of any pool. It is the
// same for all dataplanes. Encapsulation counts also where encryption replaces it, because kernel dataplanes fall back to it.
// protocol is empty without encryption.
func PodMTU(network int32, protocol Protocol, pools ...PoolTunnel) int32 {
	overhead := int32(0)
	for _, pool := range pools {
		overhead = max(overhead, encapsulationOverhead(pool), protocolOverhead(protocol, pool.IPv6))
	}
	return network - overhead
}

func encapsulationOverhead(pool PoolTunnel) int32 {
	switch pool.Encapsulation {
	case "IPIP", "IPIPCrossSubnet":
		return OverheadIPIP
	case "VXLAN", "VXLANCrossSubnet":
		if pool.IPv6 {
			return OverheadVXLANv6
		}
		return OverheadVXLAN
	default:
		return 0
	}
}

func protocolOverhead(protocol Protocol, ipv6 bool) int32 {
	switch {
	case protocol == WireGuard && ipv6:
		return OverheadWireGuardV6
	case protocol == WireGuard:
		return OverheadWireGuard
	case protocol == IPsec:
		return OverheadIPsec
	default:
		return 0
	}
}
