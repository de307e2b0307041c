// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package sitenet

import (
	"encoding/binary"
	"time"
)

// The LACPDU of IEEE 802.1AX, 6.4.2: offsets from the start of the frame.
const (
	lacpLength    = 124
	lacpActor     = 16
	lacpPartner   = 36
	lacpCollector = 56
	etherTypeSlow = 0x8809
	subtypeLACP   = 1
)

// Bits of a port's state in a LACPDU.
const (
	stateActivity     = 0x01
	stateShortTimeout = 0x02
	stateAggregation  = 0x04
	stateSync         = 0x08
	stateCollecting   = 0x10
	stateDistributing = 0x20
)

const (
	lacpPriority = 0x8000
	// lacpTimeout is how long a port stays in its group without hearing of the other end. The standard's short one,
	// 3 s, is too short for emulated machines that share a few CPUs; its long one is 90 s.
	lacpTimeout = 30 * time.Second
)

// switchAddress is the switch's own, as a LACP system. It is locally administered.
func switchAddress() address { return address{0x02, 0xed, 0x9e, 0, 0, 0xfe} }

// bond is one end of a group: the other side's system and key.
type bond struct {
	system   address
	priority uint16
	key      uint16
}

// member is a port in a group.
type member struct {
	group      int
	heard      time.Time
	collecting bool
}

// groups are the link aggregation groups that hosts asked for.
type groups struct {
	ids     map[bond]int
	members map[int]member
}

func newGroups() *groups { return &groups{ids: map[bond]int{}, members: map[int]member{}} }

func (g *groups) leave(port int) { delete(g.members, port) }

// of is the group that a port is in; 0 for none.
func (g *groups) of(port int, now time.Time) int {
	m, ok := g.members[port]
	if !ok || now.Sub(m.heard) > lacpTimeout {
		return 0
	}
	return m.group
}

// first is the port that a group's frames go out of: the lowest that collects and was heard of lately, or else the
// lowest; 0 for none.
func (g *groups) first(group int, now time.Time) int {
	fallback, best := 0, 0
	for id, m := range g.members {
		if m.group != group {
			continue
		}
		if fallback == 0 || id < fallback {
			fallback = id
		}
		if m.collecting && g.of(id, now) == group && (best == 0 || id < best) {
			best = id
		}
	}
	if best != 0 {
		return best
	}
	return fallback
}

// hear takes in a LACPDU's actor and returns the port's group; 0 when the other end wants none.
func (g *groups) hear(port int, actor []byte, now time.Time) int {
	state := actor[16]
	if state&stateAggregation == 0 {
		g.leave(port)
		return 0
	}
	far := bond{priority: binary.BigEndian.Uint16(actor[2:]), system: address(actor[4:10]), key: binary.BigEndian.Uint16(actor[10:])}
	id, ok := g.ids[far]
	if !ok {
		id = len(g.ids) + 1
		g.ids[far] = id
	}
	g.members[port] = member{group: id, heard: now, collecting: state&stateCollecting != 0}
	return id
}

// control answers LACPDUs; other frames to bridges are for protocols that the switch does not speak.
func (f *fabric) control(in *port, frame []byte) {
	if len(frame) < lacpLength || binary.BigEndian.Uint16(frame[12:]) != etherTypeSlow || frame[14] != subtypeLACP {
		return
	}
	actor := frame[lacpActor : lacpActor+20]
	group := f.groups.hear(in.id, actor, f.now())
	if group == 0 {
		return
	}
	for seen, where := range f.learned {
		if where.port == in.id {
			delete(f.learned, seen) // it is behind the group now
		}
	}
	f.emit(side{port: in.id}, answer(in.id, group, actor))
}

// answer is the LACPDU that the switch sends for one of the other end. Its short time-out makes the other end
// send every second, so answering is enough.
func answer(port, group int, actor []byte) []byte {
	frame := make([]byte, lacpLength)
	own := switchAddress()
	copy(frame, []byte{0x01, 0x80, 0xc2, 0, 0, 0x02})
	copy(frame[6:], own[:])
	binary.BigEndian.PutUint16(frame[12:], etherTypeSlow)
	frame[14], frame[15] = subtypeLACP, 1
	end := frame[lacpActor:]
	end[0], end[1] = 1, 20
	binary.BigEndian.PutUint16(end[2:], lacpPriority)
	copy(end[4:], own[:])
	binary.BigEndian.PutUint16(end[10:], uint16(group))
	binary.BigEndian.PutUint16(end[12:], lacpPriority)
	binary.BigEndian.PutUint16(end[14:], uint16(port))
	end[16] = stateActivity | stateShortTimeout | stateAggregation | stateSync | stateCollecting | stateDistributing
	copy(frame[lacpPartner:], actor)
	frame[lacpPartner] = 2
	frame[lacpCollector], frame[lacpCollector+1] = 3, 16
	return frame
}
