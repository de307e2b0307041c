// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vpp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// frame is an Ethernet frame with an IPv4 packet between two addresses.
func frame(t *testing.T, from, to string, protocol int, payload []byte) []byte {
	t.Helper()
	header := &ipv4.Header{
		Version: ipv4.Version, Len: ipv4.HeaderLen, TotalLen: ipv4.HeaderLen + len(payload), TTL: 64, Protocol: protocol,
		Src: netip.MustParseAddr(from).AsSlice(), Dst: netip.MustParseAddr(to).AsSlice(),
	}
	packet, err := header.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	link := append(net.HardwareAddr{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}, 0, 0)
	binary.BigEndian.PutUint16(link[12:], unix.ETH_P_IP)
	return append(append(link, packet...), payload...)
}

// datagram is a UDP header with its port of destination, and what follows.
func datagram(port uint16, text string) []byte {
	header := make([]byte, 8, 8+len(text))
	binary.BigEndian.PutUint16(header[2:], port)
	return append(header, text...)
}

// TestCapture tells the packets apart that are expected on the wire, and those that must not be there.
func TestCapture(t *testing.T) {
	const a, b, podA, podB = "192.0.2.21", "192.0.2.22", "10.244.1.10", "10.244.2.10"
	for name, test := range map[string]struct {
		frame []byte
		want  capture
		clear int
	}{
		"ESP":                  {frame: frame(t, a, b, 50, []byte("\x12\x34\x56\x78....")), want: capture{ESP: 1}},
		"IKE":                  {frame: frame(t, a, b, 17, datagram(500, "IKE_SA_INIT")), want: capture{IKE: 1}},
		"IKE past a NAT":       {frame: frame(t, a, b, 17, datagram(4500, "\x00\x00\x00\x00IKE_AUTH")), want: capture{IKE: 1}},
		"WireGuard":            {frame: frame(t, a, b, 17, datagram(51820, "\x04\x00\x00\x00")), want: capture{WireGuard: 1}},
		"BGP":                  {frame: frame(t, a, b, 6, datagram(179, "")), want: capture{Other: 1}},
		"IPIP":                 {frame: frame(t, a, b, 4, []byte(podText)), want: capture{IPIP: 1}, clear: 1},
		"VXLAN":                {frame: frame(t, a, b, 17, datagram(4789, podText)), want: capture{VXLAN: 1}, clear: 1},
		"to a pod":             {frame: frame(t, a, podB, 1, nil), want: capture{Pods: 1}, clear: 1},
		"pod to pod":           {frame: frame(t, podA, podB, 1, []byte(podText)), want: capture{Pods: 1}, clear: 1},
		"ESP without a cipher": {frame: frame(t, a, b, 50, []byte("\x12\x34\x56\x78"+podText)), want: capture{ESP: 1, Readable: 1}, clear: 1},
		"another tunnel":       {frame: frame(t, a, b, 47, []byte(podText)), want: capture{Other: 1, Readable: 1}, clear: 1},
		"ARP":                  {frame: append(make([]byte, 12), 0x08, 0x06, 0, 1)},
		"cut off":              {frame: frame(t, a, b, 50, nil)[:20]},
	} {
		t.Run(name, func(t *testing.T) {
			s := &sniffer{}
			s.count(test.frame)
			got := s.received()
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.clear() != test.clear {
				t.Errorf("%d in clear, want %d", got.clear(), test.clear)
			}
		})
	}
}
