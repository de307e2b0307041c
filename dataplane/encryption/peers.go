// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package encryption

import (
	"cmp"
	"fmt"
	"slices"
)

// judgePeers judges the traffic to each other Node; sorted by name.
func judgePeers(e Expectation, o Observation) []PeerVerdict {
	judge := judgeWireGuardPeer
	if e.Protocol == IPsec {
		judge = judgeIPsecPeer
	}
	peers := make([]PeerVerdict, 0, len(e.Peers))
	for _, expected := range e.Peers {
		verdict := describe(expected)
		if e.Expects(expected) {
			judge(e, o, expected, &verdict)
			verdict.forgive(e, o, expected)
		} else {
			verdict.State = PeerNotExpected
		}
		peers = append(peers, verdict)
	}
	slices.SortFunc(peers, func(a, b PeerVerdict) int { return cmp.Compare(a.Node, b.Node) })
	return peers
}

// unknownPeers are the peers of a dataplane that cannot be asked.
func unknownPeers(e Expectation) []PeerVerdict {
	peers := make([]PeerVerdict, 0, len(e.Peers))
	for _, expected := range e.Peers {
		verdict := describe(expected)
		verdict.State, verdict.Reason = PeerFailed, ReasonDataplaneUnreachable
		if !e.Expects(expected) {
			verdict.State, verdict.Reason = PeerNotExpected, ""
		}
		peers = append(peers, verdict)
	}
	slices.SortFunc(peers, func(a, b PeerVerdict) int { return cmp.Compare(a.Node, b.Node) })
	return peers
}

func describe(expected ExpectedPeer) PeerVerdict {
	verdict := PeerVerdict{Node: expected.Node, PublicKey: expected.PublicKey, HandshakeAge: HandshakeUnknown}
	if expected.Address.IsValid() {
		verdict.Address = expected.Address.String()
	}
	return verdict
}

func (v *PeerVerdict) fail(reason, format string, args ...any) {
	v.State, v.Reason, v.Message = PeerFailed, reason, fmt.Sprintf(format, args...)
}

// forgive lets the session of a peer be awaited for a short while. Only a node that is proved, and whose guard is in force, does so:
// see ExpectedPeer.New.
func (v *PeerVerdict) forgive(e Expectation, o Observation, expected ExpectedPeer) {
	if v.State != PeerFailed || v.Reason == ReasonPeerKeyDuplicate || !e.Proved || e.Mode != ModeRequired || !o.Guard.InForce {
		return
	}
	if expected.New || expected.Lapsed && (v.Reason == ReasonPeerNotEstablished || v.Reason == ReasonIPsecNotEstablished) {
		v.State = PeerPending
	}
}

func judgeWireGuardPeer(e Expectation, o Observation, expected ExpectedPeer, v *PeerVerdict) {
	if expected.PublicKey == "" {
		v.fail(ReasonPeerKeyUnknown, "Node %s publishes no key in annotation %s: %s cannot encrypt to it; the manager publishes the key of its Machine once it reaches the cluster",
			expected.Node, PublicKeyAnnotation, e.Node)
		return
	}
	if other, found := e.SameKey(expected); found {
		v.fail(ReasonPeerKeyDuplicate, "Nodes %s and %s publish one key %s in annotation %s: a session with it may be with either; correct the annotation of the one whose key it is not, the manager does so for its Machines",
			expected.Node, other, expected.PublicKey, PublicKeyAnnotation)
		return
	}
	own := ownTunnels(e, o)
	peer, found := findPeer(o.Peers, own, func(p Peer) bool { return p.PublicKey == expected.PublicKey })
	if !found {
		if other, found := findPeer(o.Peers, own, func(p Peer) bool { return expected.Address.IsValid() && p.Endpoint.Addr().Unmap() == expected.Address }); found {
			v.fail(ReasonPeerKeyMismatch, "%s has key %s for %s, whose Node publishes %s: Calico takes the new key over within seconds; if it does not, restart the pod calico-vpp-node or calico-node of %s",
				e.Node, other.PublicKey, expected.Node, expected.PublicKey, e.Node)
			return
		}
		v.fail(ReasonPeerMissing, "%s has no WireGuard peer for %s: Calico adds it with the first route to %s; see that BGP between the two is established", e.Node, expected.Node, expected.Node)
		return
	}
	v.HandshakeAge, v.RxBytes, v.TxBytes = peer.HandshakeAge, peer.RxBytes, peer.TxBytes
	if !peer.Established {
		v.fail(ReasonPeerNotEstablished, "%s has no WireGuard session with %s: see that UDP port %d is open between them, and that %s is up", e.Node, expected.Node, e.Port, expected.Node)
		return
	}
	v.State = PeerEncrypted
}

// findPeer finds a peer of the node's own tunnels.
func findPeer(peers []Peer, own []Tunnel, match func(Peer) bool) (Peer, bool) {
	i := slices.IndexFunc(peers, func(p Peer) bool {
		return match(p) && slices.ContainsFunc(own, func(t Tunnel) bool { return t.Name == p.Tunnel })
	})
	if i < 0 {
		return Peer{}, false
	}
	return peers[i], true
}

func judgeIPsecPeer(e Expectation, o Observation, expected ExpectedPeer, v *PeerVerdict) {
	i := slices.IndexFunc(o.Associations, func(a Association) bool { return expected.Address.IsValid() && a.Remote == expected.Address })
	if i >= 0 && o.Associations[i].Up {
		v.State = PeerEncrypted
		return
	}
	v.fail(ReasonIPsecNotEstablished, "%s has no IPsec security association with %s: see that UDP ports 500 and 4500 and protocol 50 are open between them, and that both have the cluster's pre-shared key", e.Node, expected.Node)
}
