// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package fakevpp

import (
	"errors"
	"fmt"
	"net/netip"

	"go.fd.io/govpp/binapi/fib_types"
)

// IP protocols: https://www.iana.org/assignments/protocol-numbers.
const (
	protocolICMP = 1
	protocolIPIP = 4
	protocolTCP  = 6
	protocolUDP  = 17
	protocolESP  = 50
)

// vxlanPort is VXLAN's UDP port: RFC 7348.
const vxlanPort = 4789

// Packet is what a pod or the host sends.
type Packet struct {
	Source, Destination netip.Addr
	// Protocol of IP; 0 is taken as ICMP.
	Protocol uint8
	// SourcePort and DestinationPort of TCP and UDP.
	SourcePort, DestinationPort uint16
	// From is the interface that VPP receives it by. Empty takes it as if VPP had received it already.
	From string
}

// Outcome of a packet.
type Outcome string

// Outcomes of a packet that leaves a pod or the host.
const (
	// Encrypted: it left the uplink inside WireGuard or ESP.
	Encrypted Outcome = "Encrypted"
	// Dropped: it left nowhere.
	Dropped Outcome = "Dropped"
	// Plain: it left the uplink in clear.
	Plain Outcome = "Plain"
	// Local: it stayed on this node.
	Local Outcome = "Local"
)

// Verdict says what became of a packet.
type Verdict struct {
	Outcome Outcome
	// Peer is the public key to which it was encrypted.
	Peer string
	// Link is the interface that it left by, or was dropped at; may be empty.
	Link string
	// Protocol on the wire: the outer one of a tunnel.
	Protocol uint8
	// By says what dropped it.
	By string
}

// Send takes a packet through routes, tunnels and ACLs, and counts it.
func (v *VPP) Send(p Packet) (verdict Verdict, err error) {
	if p.Protocol == 0 {
		p.Protocol = protocolICMP
	}
	if !v.inspect(func(s *state) {
		verdict = s.receive(p)
		s.verdicts[verdict.Outcome]++
	}) {
		return Verdict{}, errors.New("the fake VPP is not running")
	}
	return verdict, nil
}

// receive takes a packet from the interface that it comes by.
func (s *state) receive(p Packet) Verdict {
	if p.From == "" {
		return s.send(0, p, true)
	}
	l := s.linkNamed(p.From)
	if l == nil || !l.adminUp || !l.ip4() {
		return s.drop(true, p.From, "ip4-not-enabled", "ip4 not enabled", "VPP does not receive by "+p.From)
	}
	if permitted, by := s.permits(l.inputACLs, p, true); !permitted {
		return s.drop(true, l.name, "acl-plugin-in-ip4-fa", "ACL deny packets", "ACL "+by)
	}
	l.rxPackets++
	return s.send(l.table, p, true)
}

// Sent counts the packets of Send by what became of them, since VPP started.
func (v *VPP) Sent(outcome Outcome) (count uint64) {
	v.inspect(func(s *state) { count = s.verdicts[outcome] })
	return count
}

// reaches reports whether a packet of VPP itself would get onto the wire.
func (s *state) reaches(p Packet) bool {
	return s.send(0, p, false).Outcome == Plain
}

// send finds what becomes of a packet that is looked up in the table.
func (s *state) send(id uint32, p Packet, count bool) Verdict {
	way, found := s.resolve(id, p.Destination)
	if !found {
		return s.drop(count, "", "null-node", "blackholed packets", "no route")
	}
	switch way.kind {
	case fib_types.FIB_API_PATH_TYPE_NORMAL:
	case fib_types.FIB_API_PATH_TYPE_LOCAL:
		return Verdict{Outcome: Local, Link: way.link.name, Protocol: p.Protocol}
	default:
		return s.drop(count, "", "ip4-drop", "ip4 adjacency drop", "route")
	}
	l := way.link
	if !l.adminUp {
		return s.drop(count, l.name, l.name+"-output", "interface is down", l.name+" is down")
	}
	if permitted, by := s.permits(l.outputACLs, p, count); !permitted {
		return s.drop(count, l.name, "acl-plugin-out-ip4-fa", "ACL deny packets", "ACL "+by)
	}
	if count {
		l.txPackets++
	}
	switch l.kind {
	case kindWireGuard:
		return s.encrypt(l, way.gateway, count)
	case kindIPIP:
		if l.protection != nil {
			verdict := s.send(0, Packet{Source: l.local, Destination: l.remote, Protocol: protocolESP}, count)
			if verdict.Outcome == Plain {
				verdict.Outcome = Encrypted
			}
			return verdict
		}
		return s.send(0, Packet{Source: l.local, Destination: l.remote, Protocol: protocolIPIP}, count)
	case kindVXLAN:
		return s.send(0, Packet{Source: l.local, Destination: l.remote, Protocol: protocolUDP, SourcePort: vxlanPort, DestinationPort: vxlanPort}, count)
	case kindAFPacket:
		if s.isUplink(l) {
			return Verdict{Outcome: Plain, Link: l.name, Protocol: p.Protocol}
		}
	}
	return Verdict{Outcome: Local, Link: l.name, Protocol: p.Protocol}
}

// isUplink reports whether the interface has the address of a node: pods' interfaces have none of their own.
func (s *state) isUplink(l *link) bool {
	return len(l.addresses) > 0
}

// encrypt sends a packet to the peer that the next hop belongs to.
func (s *state) encrypt(l *link, nextHop netip.Addr, count bool) Verdict {
	p := s.peerFor(l, nextHop)
	switch {
	case p == nil:
		return s.drop(count, l.name, "wg4-output-tun", "Peer error", fmt.Sprintf("no peer of %s for %s", l.name, nextHop))
	case !p.established:
		return s.drop(count, l.name, "wg4-output-tun", "Keypair error", "no session with the peer at "+p.endpoint.String())
	}
	outer := Packet{
		Source: l.tunnel.source, Destination: p.endpoint.Addr(), Protocol: protocolUDP, SourcePort: l.tunnel.port, DestinationPort: p.endpoint.Port(),
	}
	verdict := s.send(0, outer, count)
	if verdict.Outcome == Plain {
		verdict.Outcome, verdict.Peer = Encrypted, p.public.String()
	}
	return verdict
}

func (s *state) drop(count bool, link, node, reason, by string) Verdict {
	if count {
		s.errors[errorCounter{node, reason}]++
	}
	return Verdict{Outcome: Dropped, Link: link, By: by}
}
