// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vpp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

const (
	// pingInterval between packets, and answerTimeout after the last of them.
	pingInterval  = 10 * time.Millisecond
	answerTimeout = 500 * time.Millisecond
	ethernet      = 14
	// podText is what pods send to each other.
	podText = "from pod to pod in the clear"
)

// sniffer counts what an interface receives. It does not see what VPP sends on the same interface: packet sockets do not show each other's
// packets.
type sniffer struct {
	file *os.File

	mu   sync.Mutex
	seen capture
}

// newSniffer listens on an interface of the namespace.
func newSniffer(ns *namespace, name string) (*sniffer, error) {
	link, err := ns.link.LinkByName(name)
	if err != nil {
		return nil, err
	}
	s := &sniffer{}
	err = ns.inside(func() error {
		socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(networkOrder(unix.ETH_P_ALL)))
		if err != nil {
			return err
		}
		s.file = os.NewFile(uintptr(socket), "sniffer")
		return unix.Bind(socket, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: link.Attrs().Index})
	})
	if err != nil {
		return nil, err
	}
	go s.listen()
	return s, nil
}

func networkOrder(v uint16) uint16 { return v<<8 | v>>8 }

func (s *sniffer) close() { _ = s.file.Close() }

func (s *sniffer) listen() {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return
	}
	buffer := make([]byte, 65536)
	for {
		var length int
		var from unix.Sockaddr
		var failed error
		err := raw.Read(func(socket uintptr) bool {
			length, from, failed = unix.Recvfrom(int(socket), buffer, 0)
			return !errors.Is(failed, unix.EAGAIN)
		})
		if err != nil || failed != nil && !errors.Is(failed, unix.ENETDOWN) {
			return
		}
		if address, is := from.(*unix.SockaddrLinklayer); is && address.Pkttype != unix.PACKET_OUTGOING {
			s.count(buffer[:length])
		}
	}
}

// count reads the IPv4 header behind the Ethernet header.
func (s *sniffer) count(frame []byte) {
	if len(frame) < ethernet || binary.BigEndian.Uint16(frame[12:]) != unix.ETH_P_IP {
		return
	}
	header, err := ipv4.ParseHeader(frame[ethernet:])
	if err != nil {
		return
	}
	var port uint16
	if body := frame[ethernet+header.Len:]; header.Protocol == protocolUDP && len(body) >= 4 {
		port = binary.BigEndian.Uint16(body[2:])
	}
	source, _ := netip.AddrFromSlice(header.Src.To4())
	destination, _ := netip.AddrFromSlice(header.Dst.To4())
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.seen.clear()
	s.seen.add(source, destination, uint8(header.Protocol), port)
	if s.seen.clear() == known && bytes.Contains(frame, []byte(podText)) {
		s.seen.Readable++
	}
}

func (s *sniffer) received() capture {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

func (s *sniffer) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = capture{}
}

// ping sends echo requests from the namespace and counts those that are answered.
func (n *namespace) ping(ctx context.Context, to netip.Addr, count int) (int, error) {
	var conn *icmp.PacketConn
	if err := n.inside(func() (err error) {
		conn, err = icmp.ListenPacket("ip4:icmp", "0.0.0.0")
		return err
	}); err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	id := int(time.Now().UnixNano() & 0xffff)
	answers := make(chan int, 1)
	go func() { answers <- countAnswers(conn, to, id, count) }()
	ticker := time.NewTicker(pingInterval)
	defer ticker.Stop()
	for sequence := range count {
		request := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: id, Seq: sequence, Data: []byte(podText)}}
		packet, err := request.Marshal(nil)
		if err != nil {
			return 0, err
		}
		if _, err := conn.WriteTo(packet, &net.IPAddr{IP: to.AsSlice()}); err != nil {
			return 0, err
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-ticker.C:
		}
	}
	if err := conn.SetReadDeadline(time.Now().Add(answerTimeout)); err != nil {
		return 0, err
	}
	return <-answers, nil
}

// countAnswers reads until all are answered, or until the deadline.
func countAnswers(conn *icmp.PacketConn, from netip.Addr, id, count int) int {
	seen := map[int]bool{}
	buffer := make([]byte, 1500)
	for len(seen) < count {
		length, sender, err := conn.ReadFrom(buffer)
		if err != nil {
			break
		}
		message, err := icmp.ParseMessage(protocolICMP, buffer[:length])
		if err != nil || message.Type != ipv4.ICMPTypeEchoReply || sender.String() != from.String() {
			continue
		}
		if echo, is := message.Body.(*icmp.Echo); is && echo.ID == id {
			seen[echo.Seq] = true
		}
	}
	return len(seen)
}
