// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package sitenet

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/go-logr/logr"
)

const (
	// headerLength is that of Ethernet with a VLAN tag.
	headerLength = 14 + 4
	// minimumLength is that of Ethernet's header without a tag.
	minimumLength = 14
	// queueLength is how many frames a port holds for a NIC that is slow; more are lost, as in a real switch.
	queueLength = 4096
	// maxStreamFrame is the largest frame that QEMU sends over a stream.
	maxStreamFrame = 4096 + 65536
)

// address is a MAC address.
type address [6]byte

// fabric is a learning Ethernet switch.
type fabric struct {
	mtu int
	log logr.Logger
	now func() time.Time

	mu    sync.Mutex
	ports map[int]*port
	next  int
	// learned tells behind which port, or group of ports, an address was last seen.
	learned map[address]side
	groups  *groups
}

// side is a way out of the switch: a port, or a link aggregation group when that is not zero.
type side struct {
	port, group int
}

// port is where a cable is plugged in.
type port struct {
	id      int
	out     chan []byte
	done    chan struct{}
	unplug  func()
	dropped bool
}

func newFabric(mtu int, log logr.Logger) *fabric {
	return &fabric{mtu: mtu, log: log, now: time.Now, ports: map[int]*port{}, learned: map[address]side{}, groups: newGroups()}
}

// plug makes a port. unplug is called when the switch pulls the cable.
func (f *fabric) plug(unplug func()) *port {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	p := &port{id: f.next, out: make(chan []byte, queueLength), done: make(chan struct{}), unplug: unplug}
	f.ports[p.id] = p
	return p
}

// remove forgets a port and what was behind it.
func (f *fabric) remove(p *port) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ports[p.id] != p {
		return
	}
	delete(f.ports, p.id)
	f.groups.leave(p.id)
	for seen, where := range f.learned {
		if where == (side{port: p.id}) {
			delete(f.learned, seen)
		}
	}
	close(p.done)
}

func (f *fabric) unplugAll() {
	f.mu.Lock()
	var calls []func()
	for _, p := range f.ports {
		calls = append(calls, p.unplug)
	}
	f.mu.Unlock()
	for _, call := range calls {
		call()
	}
}

// serve carries the frames of one cable until it is unplugged.
func (f *fabric) serve(cable net.Conn) {
	p := f.plug(func() { _ = cable.Close() })
	defer f.remove(p)
	defer cable.Close()
	var sender sync.WaitGroup
	sender.Go(func() { p.send(cable) })
	if err := f.receive(p, cable); !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		f.log.Info("A cable was unplugged", "port", p.id, "reason", err.Error())
	}
	_ = cable.Close()
	f.remove(p)
	sender.Wait()
}

// send writes what goes out of the port in QEMU's framing: each frame after its length, 32 bits, big endian.
func (p *port) send(cable net.Conn) {
	writer := bufio.NewWriterSize(cable, 1<<16)
	for {
		select {
		case <-p.done:
			return
		case frame := <-p.out:
			var length [4]byte
			binary.BigEndian.PutUint32(length[:], uint32(len(frame)))
			// A failed write shows when the receiver finds the cable closed.
			_, _ = writer.Write(length[:])
			_, _ = writer.Write(frame)
			if len(p.out) == 0 && writer.Flush() != nil {
				_ = cable.Close()
				return
			}
		}
	}
}

// receive takes in what comes over the cable. It ends with an error, io.EOF when the cable is pulled.
func (f *fabric) receive(p *port, cable net.Conn) error {
	reader := bufio.NewReaderSize(cable, 1<<16)
	for {
		var length [4]byte
		if _, err := io.ReadFull(reader, length[:]); err != nil {
			return err
		}
		size := binary.BigEndian.Uint32(length[:])
		if size > maxStreamFrame {
			return fmt.Errorf("a frame of %d bytes: not QEMU's stream protocol", size)
		}
		frame := make([]byte, size)
		if _, err := io.ReadFull(reader, frame); err != nil {
			return err
		}
		f.forward(p, frame)
	}
}

// forward takes a frame in from a port and sends it where it belongs. The frame is not changed afterwards.
func (f *fabric) forward(in *port, frame []byte) {
	if len(frame) < minimumLength {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ports[in.id] != in {
		return
	}
	to, from := address(frame[0:6]), address(frame[6:12])
	if isForBridges(to) {
		f.control(in, frame)
		return
	}
	if len(frame) > f.mtu+headerLength {
		f.drop(in, "a frame is larger than the switch's MTU", len(frame))
		return
	}
	source := f.sideOf(in.id)
	if from[0]&1 == 0 {
		f.learned[from] = source
	}
	if known, ok := f.learned[to]; ok && to[0]&1 == 0 {
		if known != source {
			f.emit(known, frame)
		}
		return
	}
	f.flood(source, frame)
}

// flood sends a frame out of all sides but the one it came from.
func (f *fabric) flood(source side, frame []byte) {
	sent := map[side]bool{source: true}
	for id := range f.ports {
		if target := f.sideOf(id); !sent[target] {
			sent[target] = true
			f.emit(target, frame)
		}
	}
}

func (f *fabric) sideOf(id int) side {
	if group := f.groups.of(id, f.now()); group != 0 {
		return side{group: group}
	}
	return side{port: id}
}

// emit sends a frame out of one side; of a group, out of its first port.
func (f *fabric) emit(to side, frame []byte) {
	id := to.port
	if to.group != 0 {
		id = f.groups.first(to.group, f.now())
	}
	p, ok := f.ports[id]
	if !ok {
		return
	}
	select {
	case p.out <- frame:
	default:
		f.drop(p, "a NIC does not take its frames", len(frame))
	}
}

// drop tells of the first frame that a port loses.
func (f *fabric) drop(p *port, reason string, length int) {
	if !p.dropped {
		p.dropped = true
		f.log.Info("The switch drops frames", "port", p.id, "reason", reason, "bytes", length)
	}
}

// isForBridges tells of the addresses that bridges do not forward, 01:80:C2:00:00:00 to 0F (IEEE 802.1Q, 8.6.3).
func isForBridges(to address) bool {
	return to[0] == 0x01 && to[1] == 0x80 && to[2] == 0xc2 && to[3] == 0 && to[4] == 0 && to[5] <= 0x0f
}
