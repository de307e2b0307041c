// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package encryption

import (
	"net/netip"
	"slices"
)

// Mode says how strictly encryption is asked for. The values are those of the API.
type Mode string

const (
	// ModeRequired keeps pods from nodes that are not proved to encrypt, and drops what would leave in clear.
	ModeRequired Mode = "Required"
	// ModePreferred sets encryption up and reports on it.
	ModePreferred Mode = "Preferred"
)

// Protocol encrypts traffic between nodes. The values are those of the API.
type Protocol string

const (
	// WireGuard has a key pair per node.
	WireGuard Protocol = "WireGuard"
	// IPsec has one pre-shared key per cluster; with VPP only.
	IPsec Protocol = "IPsec"
)

// RxInterrupt is the receive mode in which an idle interface costs no CPU time.
const RxInterrupt = "interrupt"

// Expectation is what the cluster expects of a node's dataplane. Keys are public WireGuard keys, base64; no private key is ever part
// of it.
type Expectation struct {
	// Node is the name of the node itself.
	Node string
	// Address of the node (IPv4): the source of its tunnels.
	Address netip.Addr
	// Mode and Protocol of the cluster's encryption.
	Mode     Mode
	Protocol Protocol
	// Port is the UDP port of WireGuard on every node.
	Port uint16
	// FileKey is the public key of the private key in the host's file; empty when there is none.
	FileKey string
	// PublishedKey is the public key that the Node publishes; empty when there is none.
	PublishedKey string
	// PodCIDRs are the address ranges of the cluster's pods.
	PodCIDRs []netip.Prefix
	// ServiceCIDRs are the address ranges of the cluster's services. A packet from a pod to a service never leaves a node as such.
	ServiceCIDRs []netip.Prefix
	// AnnouncedCIDRs are the other address ranges of services that nodes announce to routers: external IPs and load balancers'.
	AnnouncedCIDRs []netip.Prefix
	// Peers are all other Nodes of the cluster.
	Peers []ExpectedPeer
	// Stray are the keys that no Node has published for a while. A peer with one of them is told; see Strays.
	Stray []string
	// Proved is true while the node is reported to be encrypted. See ExpectedPeer.New.
	Proved bool
	// RxMode is what every interface must receive by, for example RxInterrupt; empty when any will do.
	RxMode string
	// HugepagesForbidden is true when VPP must neither use nor reserve hugepages.
	HugepagesForbidden bool
}

// IsPods tells whether a range is inside the cluster's pods'.
func (e Expectation) IsPods(block netip.Prefix) bool {
	return inside(block, e.PodCIDRs)
}

// LeadsToPeer tells whether a route to a range outside the pods', with a next hop, hands packets to another Node: so a block of a pool that
// the cluster does not know of is routed. Not meant are default routes, Nodes' own addresses, and services that Nodes announce.
func (e Expectation) LeadsToPeer(block netip.Prefix, via netip.Addr) bool {
	isPeer := func(address netip.Addr) bool {
		return slices.ContainsFunc(e.Peers, func(p ExpectedPeer) bool { return p.Address.IsValid() && p.Address == address })
	}
	return isPeer(via) && e.MayBePods(block) && (!block.IsSingleIP() || !isPeer(block.Addr()))
}

// MayBePods tells whether a range outside the pods' can be one of pods that the cluster does not know of.
func (e Expectation) MayBePods(block netip.Prefix) bool {
	return block.Bits() > 0 && !e.IsPods(block) && !inside(block, e.ServiceCIDRs) && !inside(block, e.AnnouncedCIDRs)
}

func inside(block netip.Prefix, ranges []netip.Prefix) bool {
	return slices.ContainsFunc(ranges, func(r netip.Prefix) bool { return r.Overlaps(block) && r.Bits() <= block.Bits() })
}

// ExpectedPeer is another Node.
type ExpectedPeer struct {
	// Node is its name.
	Node string
	// Ready is the Node's condition.
	Ready bool
	// Cordoned is true while the Node takes no new pods, as while its machine is being deleted.
	Cordoned bool
	// Deleting is true once the Node has a deletion timestamp.
	Deleting bool
	// Address (IPv4); not valid when the Node has none yet.
	Address netip.Addr
	// PublicKey that the Node publishes; empty when there is none.
	PublicKey string
	// New is true for a short while after the Node became Ready or has published another key. A node that is proved stays so
	// meanwhile: the guard drops what would leave in clear, so a handshake that is still awaited can lose packets but cannot
	// leak them, and one node that joins must not take all others out of service. The new node itself has no such grace: it
	// is not proved yet.
	New bool
	// Lapsed is true for a short while after an established session was lost, for example because the other node restarts. It
	// has the same effect as New, but for the session only.
	Lapsed bool
}

// Expects tells whether traffic to the peer must be encrypted for the node to be. A Node that is not Ready or is being deleted carries
// no pods that anybody reaches. Neither does one that is cordoned and whose WireGuard key was withdrawn: so its machine is taken away.
// With IPsec no Node has a key, and a cordoned one is expected as long as it is Ready.
func (e Expectation) Expects(p ExpectedPeer) bool {
	withdrawn := e.Protocol == WireGuard && p.PublicKey == "" && p.Cordoned
	return p.Ready && !p.Deleting && !withdrawn
}

// SameKey names another Node, or the node itself, that publishes the peer's key: whoever has a session with the key cannot tell with which
// of them.
func (e Expectation) SameKey(p ExpectedPeer) (node string, found bool) {
	if p.PublicKey == "" {
		return "", false
	}
	if e.PublishedKey == p.PublicKey {
		return e.Node, true
	}
	i := slices.IndexFunc(e.Peers, func(other ExpectedPeer) bool { return other.Node != p.Node && other.PublicKey == p.PublicKey })
	if i < 0 {
		return "", false
	}
	return e.Peers[i].Node, true
}
