// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package encryption

import "net/netip"

// Backend is what carries the pods' traffic.
type Backend string

const (
	// VPP is FD.io VPP.
	VPP Backend = "vpp"
	// Kernel is Linux, with WireGuard in the kernel or in a process that speaks its protocol.
	Kernel Backend = "kernel"
)

// Observation is what a node sees of its dataplane at one moment. It holds no private key.
type Observation struct {
	// Backend that was observed.
	Backend Backend
	// Unreachable says why the dataplane cannot be asked; empty when it can. Nothing else is known then.
	Unreachable string
	// Uplink is the interface that holds the node's address; empty when none does.
	Uplink Interface
	// Tunnels are all WireGuard interfaces.
	Tunnels []Tunnel
	// Peers of all WireGuard interfaces.
	Peers []Peer
	// PlainTunnels are IPIP and VXLAN interfaces without encryption.
	PlainTunnels []PlainTunnel
	// Routes to blocks of other nodes' pods, and in clear to anything else that is handed to another node and is no service.
	Routes []Route
	// Guard against traffic in clear.
	Guard Guard
	// Hugepages of the host and of VPP.
	Hugepages Hugepages
	// RxQueues are the receive queues of VPP's interfaces.
	RxQueues []RxQueue
	// Associations are the IPsec tunnels.
	Associations []Association
}

// Interface of the dataplane.
type Interface struct {
	// Name, and Index as the dataplane counts.
	Name  string
	Index uint32
}

// Tunnel is a WireGuard interface.
type Tunnel struct {
	Interface
	// Source address of what it sends; not valid with the kernel, which chooses by route.
	Source netip.Addr
	// Port (UDP) that it listens on.
	Port uint16
	// PublicKey, base64; empty when the interface has no key.
	PublicKey string
	// Up is the administrative state.
	Up bool
	// Addressed is true when the interface takes IPv4 packets: it has an address, or borrows the uplink's.
	Addressed bool
	// GSO and CNAT are VPP's features of that name on the interface. Without them large packets are dropped and services fail.
	GSO, CNAT bool
	// RxBytes and TxBytes in total.
	RxBytes, TxBytes uint64
}

// HandshakeUnknown is the age of a handshake that never was, or that the dataplane does not tell.
const HandshakeUnknown int64 = -1

// Peer of a WireGuard interface.
type Peer struct {
	// Tunnel is the name of the interface.
	Tunnel string
	// PublicKey, base64.
	PublicKey string
	// Endpoint that it was last reached at.
	Endpoint netip.AddrPort
	// AllowedIPs are the ranges that are sent to it.
	AllowedIPs []netip.Prefix
	// Established is true while there are session keys.
	Established bool
	// HandshakeAge in seconds, or HandshakeUnknown.
	HandshakeAge int64
	// RxBytes and TxBytes in total; zero with VPP, which counts per interface only.
	RxBytes, TxBytes uint64
}

// PlainTunnel is an IPIP or VXLAN interface without encryption.
type PlainTunnel struct {
	Interface
	// Kind is ipip or vxlan.
	Kind string
	// Remote address; not valid when the interface reaches several.
	Remote netip.Addr
	// Routes is the number of blocks of other nodes' pods that are routed into it.
	Routes int
}

// Route to a block of another node's pods.
type Route struct {
	// Block of addresses.
	Block netip.Prefix
	// Interface that it leads to; empty when packets are dropped.
	Interface string
	// Encrypted is true when the interface encrypts, or when packets are dropped.
	Encrypted bool
}

// Guard drops what would leave the uplink in clear.
type Guard struct {
	// Present is true when any part of it is there.
	Present bool
	// InForce is true when all of it is there, for these pod CIDRs and at the uplink.
	InForce bool
	// Early is true when that part of it is there which needs no uplink: routes that drop. Always true where there is no such part.
	Early bool
	// Boot is true while what the host has loaded when it started drops as well: see KernelBootGuard.
	Boot bool
	// Problem says why it cannot be put in force; empty when nothing is known to be in its way.
	Problem string
	// Drops by rule.
	Drops []Drop
}

// Drop is what a rule of the guard has dropped.
type Drop struct {
	// Rule is one of the Rule constants.
	Rule string
	// Packets and Bytes in total. Bytes are zero where the dataplane does not count them.
	Packets, Bytes uint64
}

// Rules of the guard.
const (
	// RuleIPIP drops IP in IP: protocols 4 and 41.
	RuleIPIP = "ipip"
	// RuleVXLAN drops VXLAN: UDP port 4789.
	RuleVXLAN = "vxlan"
	// RulePods drops packets to pods, and from pods to services, without any tunnel.
	RulePods = "pods"
	// RuleNoRoute drops packets to pods that no route leads to.
	RuleNoRoute = "no-route"
	// RuleAny is all rules together, where the dataplane does not count them one by one.
	RuleAny = "any"
)

// Hugepages of the host and of VPP.
type Hugepages struct {
	// Before VPP started for the first time since the host did: number reserved, of any size. Known tells whether it was counted.
	Before int
	Known  bool
	// Now reserved.
	Now int
	// VPPPageSize is the largest page size in bytes that VPP's memory has; zero when unknown.
	VPPPageSize int64
}

// RxQueue is a receive queue.
type RxQueue struct {
	// Interface and number of the queue.
	Interface string
	Queue     uint32
	// Mode is polling, interrupt or adaptive.
	Mode string
}

// Association is an IPsec tunnel to another node.
type Association struct {
	Interface
	// Remote is the other node's address.
	Remote netip.Addr
	// Up is true while the tunnel is up and has security associations in both directions.
	Up bool
}
