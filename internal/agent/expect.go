// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// Grace is how long the first session with a new or restarted node is awaited before it counts as missing. A node's dataplane starts
// within a minute; WireGuard tries a handshake every 5 seconds.
const Grace = 60 * time.Second

// Config is what the cluster expects of every node.
type Config struct {
	// Node is the name of the Node that the agent runs on.
	Node string
	// Mode, Protocol, Port, PodCIDRs, ServiceCIDRs, AnnouncedCIDRs, RxMode and HugepagesForbidden as in encryption.Expectation.
	Mode               encryption.Mode
	Protocol           encryption.Protocol
	Port               uint16
	PodCIDRs           []netip.Prefix
	ServiceCIDRs       []netip.Prefix
	AnnouncedCIDRs     []netip.Prefix
	RxMode             string
	HugepagesForbidden bool
}

// memory of other Nodes, for what a single look cannot tell.
type memory map[string]*peerMemory

type peerMemory struct {
	key         string
	readySince  time.Time
	newUntil    time.Time
	established bool
	lapsedUntil time.Time
}

// expectation is what is expected of the node now.
func (c Config) expectation(nodes []*corev1.Node, fileKey string, m memory, now time.Time) encryption.Expectation {
	e := encryption.Expectation{
		Node: c.Node, Mode: c.Mode, Protocol: c.Protocol, Port: c.Port, FileKey: fileKey,
		PodCIDRs: c.PodCIDRs, ServiceCIDRs: c.ServiceCIDRs, AnnouncedCIDRs: c.AnnouncedCIDRs, RxMode: c.RxMode, HugepagesForbidden: c.HugepagesForbidden,
	}
	seen := map[string]bool{}
	for _, node := range nodes {
		if node.Name == c.Node {
			e.Address, e.PublishedKey = nodeAddress(node), node.Annotations[encryption.PublicKeyAnnotation]
			continue
		}
		seen[node.Name] = true
		remembered := m.look(node, now)
		ready := condition(node, corev1.NodeReady)
		e.Peers = append(e.Peers, encryption.ExpectedPeer{
			Node:      node.Name,
			Ready:     ready != nil && ready.Status == corev1.ConditionTrue,
			Cordoned:  node.Spec.Unschedulable,
			Deleting:  node.DeletionTimestamp != nil,
			Address:   nodeAddress(node),
			PublicKey: node.Annotations[encryption.PublicKeyAnnotation],
			New:       now.Before(remembered.newUntil),
			Lapsed:    now.Before(remembered.lapsedUntil),
		})
	}
	for name := range m {
		if !seen[name] {
			delete(m, name)
		}
	}
	return e
}

// look remembers since when a Node is Ready, and with which key.
func (m memory) look(node *corev1.Node, now time.Time) *peerMemory {
	remembered, known := m[node.Name]
	if !known {
		remembered = &peerMemory{key: node.Annotations[encryption.PublicKeyAnnotation]}
		m[node.Name] = remembered
	}
	ready := condition(node, corev1.NodeReady)
	if ready != nil && ready.Status == corev1.ConditionTrue && !ready.LastTransitionTime.Time.Equal(remembered.readySince) {
		remembered.readySince = ready.LastTransitionTime.Time
		// The time is by the other host's clock: it may shorten the grace, never lengthen it.
		remembered.newUntil = remembered.readySince.Add(Grace)
		if latest := now.Add(Grace); remembered.newUntil.After(latest) {
			remembered.newUntil = latest
		}
	}
	// A key that is taken away gives no grace: whoever withholds a key must be seen at once.
	if key := node.Annotations[encryption.PublicKeyAnnotation]; key != remembered.key {
		remembered.key = key
		if key != "" {
			remembered.newUntil = now.Add(Grace)
		}
	}
	return remembered
}

// note remembers which sessions there are, and since when one is lost. The first one ends the grace of what was new.
func (m memory) note(e *encryption.Expectation, o encryption.Observation, now time.Time) {
	for i, peer := range e.Peers {
		remembered := m[peer.Node]
		established := hasSession(*e, peer, o)
		if remembered.established && !established {
			remembered.lapsedUntil = now.Add(Grace)
		}
		remembered.established = established
		if established {
			remembered.newUntil = time.Time{}
		}
		e.Peers[i].New, e.Peers[i].Lapsed = now.Before(remembered.newUntil), now.Before(remembered.lapsedUntil)
	}
}

// hasSession tells whether there is a session with the peer and no other Node.
func hasSession(e encryption.Expectation, peer encryption.ExpectedPeer, o encryption.Observation) bool {
	if _, ambiguous := e.SameKey(peer); ambiguous {
		return false
	}
	return slices.ContainsFunc(o.Peers, func(p encryption.Peer) bool { return p.PublicKey == peer.PublicKey && p.Established }) ||
		slices.ContainsFunc(o.Associations, func(a encryption.Association) bool { return a.Remote == peer.Address && a.Up })
}
