// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package encryption

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// StrayPeer is a peer of the node's own tunnel whose key no Node publishes. What it sends is encrypted, and is taken for a node's: it may be
// a host whose Machine was deleted, and that somebody else has.
type StrayPeer struct {
	// Tunnel is the name of the interface.
	Tunnel string `json:"tunnel"`
	// PublicKey, base64.
	PublicKey string `json:"publicKey"`
	// Endpoint that it was last reached at; empty when there is none.
	Endpoint string `json:"endpoint,omitempty"`
	// Established is true while there are session keys.
	Established bool `json:"established"`
}

// Strays are the peers that belong to no Node, by key. A peer belongs to a Node by its key, or by its endpoint as long as the Node's own
// key is no peer: so Calico has still to take over another key, or the key was withdrawn because the Node's machine is taken away.
func Strays(e Expectation, o Observation) []StrayPeer {
	if e.Protocol != WireGuard {
		return nil
	}
	own := ownTunnels(e, o)
	isPeer := func(key string) bool {
		_, found := findPeer(o.Peers, own, func(p Peer) bool { return p.PublicKey == key })
		return found
	}
	published, claimed := map[string]bool{e.PublishedKey: true}, map[netip.Addr]bool{}
	for _, p := range e.Peers {
		published[p.PublicKey] = true
		if p.Address.IsValid() && !isPeer(p.PublicKey) {
			claimed[p.Address] = true
		}
	}
	var strays []StrayPeer
	for _, p := range o.Peers {
		if published[p.PublicKey] || claimed[p.Endpoint.Addr().Unmap()] || !slices.ContainsFunc(own, func(t Tunnel) bool { return t.Name == p.Tunnel }) {
			continue
		}
		stray := StrayPeer{Tunnel: p.Tunnel, PublicKey: p.PublicKey, Established: p.Established}
		if p.Endpoint.IsValid() {
			stray.Endpoint = p.Endpoint.String()
		}
		strays = append(strays, stray)
	}
	slices.SortFunc(strays, func(a, b StrayPeer) int { return cmp.Compare(a.PublicKey, b.PublicKey) })
	return strays
}

// lastingStrays are those that have been there for longer than it takes Calico to remove the peer of a Node that is gone.
func lastingStrays(e Expectation, o Observation) []StrayPeer {
	return slices.DeleteFunc(Strays(e, o), func(s StrayPeer) bool { return !slices.Contains(e.Stray, s.PublicKey) })
}

// DescribeStrays tells of them for people; empty when there are none.
func DescribeStrays(strays []StrayPeer) string {
	if len(strays) == 0 {
		return ""
	}
	var keys []string
	for _, s := range strays[:min(len(strays), maxFindings)] {
		keys = append(keys, s.PublicKey)
	}
	if more := len(strays) - len(keys); more > 0 {
		keys = append(keys, fmt.Sprintf("%d more", more))
	}
	return fmt.Sprintf("%s has %s without a Node (%s), whose packets are taken for a node's: restart the pod calico-vpp-node or calico-node of this node, to remove it",
		strays[0].Tunnel, count(len(strays), "peer"), strings.Join(keys, ", "))
}
