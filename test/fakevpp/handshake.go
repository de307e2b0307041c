// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package fakevpp

import (
	"net/netip"
	"slices"
	"time"
)

// presence is what the others can find out about this VPP now.
func (s *state) presence() Presence {
	p := Presence{Boot: s.boot}
	for _, l := range s.sortedLinks() {
		if l.kind != kindAFPacket || !l.adminUp {
			continue
		}
		for _, address := range l.addresses {
			p.Addresses = append(p.Addresses, address.Addr())
		}
	}
	for _, l := range s.tunnels() {
		if !l.adminUp {
			continue
		}
		present := PresentTunnel{PublicKey: l.tunnel.public.String(), Port: l.tunnel.port, Peers: map[string]netip.AddrPort{}}
		for _, other := range s.peers {
			if other.link == l {
				present.Peers[other.public.String()] = other.endpoint
			}
		}
		p.Tunnels = append(p.Tunnels, present)
	}
	return p
}

// shakeHands renews the sessions with those peers that answer, and ends those that are too old.
func (s *state) shakeHands(others []Presence, now time.Time) {
	for _, p := range s.peers {
		switch {
		case p.link.adminUp && s.answers(p, others):
			p.handshake = now
			p.setEstablished(true)
		case now.Sub(p.handshake) > s.config.SessionLifetime:
			p.setEstablished(false)
		}
	}
}

// answers reports whether somebody with the peer's key listens at its endpoint, and knows our key and where we are. What we send, and
// what comes back, passes the ACLs of the uplink.
func (s *state) answers(p *peer, others []Presence) bool {
	tunnel := p.link.tunnel
	hello := Packet{
		Source: tunnel.source, Destination: p.endpoint.Addr(), Protocol: protocolUDP, SourcePort: tunnel.port, DestinationPort: p.endpoint.Port(),
	}
	if !s.reaches(hello) {
		return false
	}
	for _, other := range others {
		if !slices.Contains(other.Addresses, p.endpoint.Addr()) {
			continue
		}
		for _, remote := range other.Tunnels {
			back, knows := remote.Peers[tunnel.public.String()]
			if knows && remote.PublicKey == p.public.String() && remote.Port == p.endpoint.Port() &&
				back == netip.AddrPortFrom(tunnel.source, tunnel.port) {
				return true
			}
		}
	}
	return false
}
