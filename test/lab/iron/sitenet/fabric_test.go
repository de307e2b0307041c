// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package sitenet

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
)

// newNetwork runs a site 10.64.1.0/24 until the test ends. Its folder is too deep for a plain socket path.
func newNetwork(t *testing.T) *Network {
	t.Helper()
	n, err := New(Config{
		Prefix: netip.MustParsePrefix("10.64.1.0/24"), Gateway: netip.MustParseAddr("10.64.1.1"),
		DHCPFirst: netip.MustParseAddr("10.64.1.200"), DHCPLast: netip.MustParseAddr("10.64.1.201"),
		Dir: t.TempDir() + "/" + strings.Repeat("deep/", 25), Log: testr.New(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return n
}

// cable is a NIC's end of a cable.
type cable struct {
	net.Conn
}

func plug(t *testing.T, n *Network) cable {
	t.Helper()
	// The switch's folder is too deep for a plain path.
	conn, err := net.Dial("unix", fmt.Sprintf("/proc/self/fd/%d/%s", n.dir.Fd(), socketName))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return cable{conn}
}

func (c cable) write(t *testing.T, frame []byte) {
	t.Helper()
	if _, err := c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...)); err != nil {
		t.Fatal(err)
	}
}

// read is the next frame that arrives; nil when none does in a time that is long enough even on a busy machine.
func (c cable) read(t *testing.T) []byte {
	t.Helper()
	return c.readWithin(t, 5*time.Second)
}

// silent tells that nothing arrives.
func (c cable) silent(t *testing.T) bool {
	t.Helper()
	return c.readWithin(t, 100*time.Millisecond) == nil
}

func (c cable) readWithin(t *testing.T, limit time.Duration) []byte {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(limit))
	var length [4]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return nil
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Minute)) // the rest of a frame that has begun to arrive
	frame := make([]byte, binary.BigEndian.Uint32(length[:]))
	if _, err := io.ReadFull(c, frame); err != nil {
		t.Fatal(err)
	}
	return frame
}

// frame is an Ethernet frame; a VLAN of 0 leaves the tag out. size is that of its payload.
func frame(to, from address, vlan uint16, size int) []byte {
	f := append(to[:], from[:]...)
	if vlan != 0 {
		f = binary.BigEndian.AppendUint16(append(f, 0x81, 0x00), vlan)
	}
	f = append(f, 0x88, 0xb5) // for local experiments
	return append(f, bytes.Repeat([]byte{0x5a}, size)...)
}

func everybody() address { return address{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} }

func TestFramesThatPass(t *testing.T) {
	n := newNetwork(t)
	one, two := address{2, 0, 0, 0, 0, 1}, address{2, 0, 0, 0, 0, 2}
	tests := map[string]struct {
		frame  []byte
		passes bool
	}{
		"a broadcast":                          {frame(everybody(), one, 0, 46), true},
		"a broadcast in a VLAN":                {frame(everybody(), one, 100, 46), true},
		"a multicast of IPv6":                  {frame(address{0x33, 0x33, 0, 0, 0, 1}, one, 0, 46), true},
		"a multicast of routers in a VLAN":     {frame(address{0x01, 0, 0x5e, 0, 0, 5}, one, 4094, 46), true},
		"an address that nobody has":           {frame(two, one, 0, 46), true},
		"9000 bytes":                           {frame(everybody(), one, 0, 9000), true},
		"9000 bytes in a VLAN":                 {frame(everybody(), one, 100, 9000), true},
		"more than the switch's MTU":           {frame(everybody(), one, 0, 9005), false},
		"frames for bridges":                   {frame(address{0x01, 0x80, 0xc2, 0, 0, 0x0e}, one, 0, 46), false},
		"a fragment that is no Ethernet frame": {[]byte{1, 2, 3}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a, b, c := plug(t, n), plug(t, n), plug(t, n)
			settle(t, a, b, c)
			a.write(t, test.frame)
			for _, other := range []cable{b, c} {
				if !test.passes {
					if !other.silent(t) {
						t.Error("the frame arrived")
					}
				} else if got := other.read(t); !bytes.Equal(got, test.frame) {
					t.Errorf("arrived: %d bytes of %d", len(got), len(test.frame))
				}
			}
			if !a.silent(t) {
				t.Error("the frame came back")
			}
		})
	}
}

func TestLearning(t *testing.T) {
	n := newNetwork(t)
	one, two := address{2, 0, 0, 0, 0, 1}, address{2, 0, 0, 0, 0, 2}
	a, b, c := plug(t, n), plug(t, n), plug(t, n)
	settle(t, a, b, c)
	b.write(t, frame(one, two, 0, 46))
	if a.read(t) == nil || c.read(t) == nil {
		t.Fatal("a frame to an unknown address is not everywhere")
	}
	a.write(t, frame(two, one, 0, 46))
	if b.read(t) == nil {
		t.Error("the frame is not where its address was seen")
	}
	if !c.silent(t) {
		t.Error("the frame is everywhere")
	}
	c.write(t, frame(everybody(), two, 0, 46)) // it moved
	_, _ = a.read(t), b.read(t)
	a.write(t, frame(two, one, 0, 46))
	if c.read(t) == nil || !b.silent(t) {
		t.Error("the frame is not where its address was seen last")
	}
	_ = c.Close()
	for range 20 { // until the switch saw that
		a.write(t, frame(two, one, 0, 46))
		if !b.silent(t) {
			return
		}
	}
	t.Error("the switch still sends to a cable that was pulled")
}

// settle waits until the switch has all cables: until each gets what the others send.
func settle(t *testing.T, cables ...cable) {
	t.Helper()
	for round := range 100 {
		for i, c := range cables {
			c.write(t, frame(everybody(), address{2, 1, 1, 1, byte(round), byte(i)}, 0, 46))
		}
		complete := true
		for i, c := range cables {
			seen := map[byte]bool{byte(i): true}
			for len(seen) < len(cables) {
				got := c.readWithin(t, 50*time.Millisecond)
				if got == nil {
					complete = false
					break
				}
				if got[10] == byte(round) {
					seen[got[11]] = true
				}
			}
		}
		if complete {
			return
		}
	}
	t.Fatal("the switch does not have all cables")
}

// lacpdu is what a host's bond sends.
func lacpdu(system address, key uint16, port uint16, state byte) []byte {
	f := make([]byte, lacpLength)
	copy(f, []byte{0x01, 0x80, 0xc2, 0, 0, 2})
	copy(f[6:], system[:])
	binary.BigEndian.PutUint16(f[12:], etherTypeSlow)
	f[14], f[15] = subtypeLACP, 1
	actor := f[lacpActor:]
	actor[0], actor[1] = 1, 20
	copy(actor[4:], system[:])
	binary.BigEndian.PutUint16(actor[10:], key)
	binary.BigEndian.PutUint16(actor[14:], port)
	actor[16] = state
	return f
}

func TestLACP(t *testing.T) {
	n := newNetwork(t)
	host, other := address{2, 0, 0, 0, 0, 1}, address{2, 0, 0, 0, 0, 9}
	a, b, c := plug(t, n), plug(t, n), plug(t, n)
	settle(t, a, b, c)
	for i, member := range []cable{a, b} {
		sent := lacpdu(host, 9, uint16(i+1), stateActivity|stateAggregation|stateSync|stateCollecting)
		member.write(t, sent)
		got := member.read(t)
		if len(got) != lacpLength || !bytes.Equal(got[lacpPartner+2:lacpPartner+17], sent[lacpActor+2:lacpActor+17]) {
			t.Fatalf("the answer does not know its partner: %x", got)
		}
		actor := got[lacpActor:]
		if want := switchAddress(); !bytes.Equal(actor[4:10], want[:]) || binary.BigEndian.Uint16(actor[10:]) != 1 || actor[16]&stateDistributing == 0 {
			t.Errorf("the answer's actor %x", actor[:20])
		}
	}
	if !c.silent(t) {
		t.Error("a LACPDU passed the switch")
	}
	c.write(t, frame(everybody(), other, 0, 46))
	var first, second []byte
	for deadline := time.Now().Add(5 * time.Second); first == nil && second == nil && time.Now().Before(deadline); {
		first, second = a.readWithin(t, 100*time.Millisecond), b.readWithin(t, 100*time.Millisecond)
	}
	if (first == nil) == (second == nil) {
		t.Errorf("a broadcast arrived at the members of a group: %t, %t, want one of them", first != nil, second != nil)
	}
	if !a.silent(t) || !b.silent(t) {
		t.Error("a broadcast arrived at a group more than once")
	}
	b.write(t, frame(everybody(), host, 0, 46))
	if c.read(t) == nil || !a.silent(t) {
		t.Error("a broadcast came back to the group, or did not arrive elsewhere")
	}
	b.write(t, frame(other, host, 0, 46))
	if c.read(t) == nil {
		t.Error("nothing arrived from the group")
	}
	_ = a.Close()
	for range 20 {
		c.write(t, frame(host, other, 0, 46))
		if !b.silent(t) {
			return
		}
	}
	t.Error("the group does not go on with its other port")
}

func TestGroupsForget(t *testing.T) {
	g := newGroups()
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	pdu := lacpdu(address{2}, 7, 1, stateAggregation)
	if group := g.hear(5, pdu[lacpActor:], begin); group == 0 || g.of(5, begin) != group || g.first(group, begin) != 5 {
		t.Errorf("group %d, of port 5 %d", group, g.of(5, begin))
	}
	if late := begin.Add(lacpTimeout + time.Second); g.of(5, late) != 0 || g.first(1, late) != 5 {
		t.Error("a port that says nothing stays in its group, or is not even sent to for want of another")
	}
	if g.hear(5, lacpdu(address{2}, 7, 1, 0)[lacpActor:], begin) != 0 || g.of(5, begin) != 0 {
		t.Error("a port that wants no group has one")
	}
}
