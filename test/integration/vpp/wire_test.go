// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vpp

import (
	"fmt"
	"net/netip"
)

// IP protocols and ports that a capture tells apart.
const (
	protocolICMP  = 1
	protocolIPIP  = 4
	protocolUDP   = 17
	protocolESP   = 50
	portWireGuard = 51820
	portVXLAN     = 4789
	// portIKE, and that of IKE where addresses are translated on the way (RFC 7296 section 2.23).
	portIKE     = 500
	portIKENATT = 4500
)

// podRange holds the addresses of all pods.
var podRange = netip.MustParsePrefix("10.244.0.0/16")

// capture counts IPv4 packets that came to a host from the wire.
type capture struct {
	// IPIP, VXLAN and Pods are in clear: tunnels, and packets between pods as they are.
	IPIP, VXLAN, Pods int
	// WireGuard counts its packets, handshakes among them.
	WireGuard int
	// ESP and IKE count the packets of IPsec.
	ESP, IKE int
	// Other packets: none of pods.
	Other int
	// Readable counts packets of WireGuard, IPsec and others in which there is what a pod has sent, as it has sent it.
	Readable int
}

// add counts a packet by its outer header.
func (c *capture) add(source, destination netip.Addr, protocol uint8, port uint16) {
	switch {
	case protocol == protocolIPIP:
		c.IPIP++
	case protocol == protocolUDP && port == portVXLAN:
		c.VXLAN++
	case protocol == protocolUDP && port == portWireGuard:
		c.WireGuard++
	case protocol == protocolESP:
		c.ESP++
	case protocol == protocolUDP && (port == portIKE || port == portIKENATT):
		c.IKE++
	case podRange.Contains(source) || podRange.Contains(destination):
		c.Pods++
	default:
		c.Other++
	}
}

// clear counts what everybody on the wire could read of pods.
func (c *capture) clear() int {
	return c.IPIP + c.VXLAN + c.Pods + c.Readable
}

// String is for people.
func (c *capture) String() string {
	return fmt.Sprintf("IPIP (protocol 4): %d, VXLAN: %d, pod to pod in clear: %d, WireGuard (UDP %d): %d, ESP (protocol 50): %d, IKE (UDP 500 and 4500): %d, other: %d, readable: %d",
		c.IPIP, c.VXLAN, c.Pods, portWireGuard, c.WireGuard, c.ESP, c.IKE, c.Other, c.Readable)
}
