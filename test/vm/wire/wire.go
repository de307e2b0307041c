// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// Kind of a frame.
type Kind string

// Kinds of frames. All but WireGuard and Other are what hosts say to find each other, and carry nothing of a pod's.
const (
	// WireGuard is a message of WireGuard over UDP, at its port.
	WireGuard Kind = "WireGuard"
	// ARP asks for the MAC address of an IPv4 address, or tells it.
	ARP Kind = "ARP"
	// NeighborDiscovery does so for IPv6; its multicast groups are joined with MulticastListener.
	NeighborDiscovery Kind = "neighbor discovery"
	MulticastListener Kind = "multicast listener"
	// LACP negotiates a bond (IEEE 802.1AX, slow protocols).
	LACP Kind = "LACP"
	// DHCP asks for an address.
	DHCP Kind = "DHCP"
	// Other is everything else.
	Other Kind = "other"
)

const (
	slowProtocols = layers.EthernetType(0x8809)
	lacpSubtype   = 1

	dhcpServer, dhcpClient = 67, 68

	// Message types 1 to 4 of WireGuard, each followed by three zero bytes (section 5.4 of its paper).
	firstMessage, lastMessage = 1, 4
)

// Frame of a capture.
type Frame struct {
	Source, Destination net.HardwareAddr
	Kind                Kind
	// Summary for people: the layers' names and, over IP, the addresses.
	Summary string
	// Data is the whole frame.
	Data []byte
}

// Count counts the frames of a capture, complete ones only.
func Count(file string) (int, error) {
	frames, err := Read(file, 0, 0)
	return len(frames), err
}

// Read reads the frames of a capture but for the first ones. The port is WireGuard's. A capture that is still written to may end inside
// of a frame, which is left out.
func Read(file string, skip int, port uint16) ([]Frame, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read a capture: %w", err)
	}
	reader, err := pcapgo.NewReader(bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("read capture %s: %w", file, err)
	}
	var frames []Frame
	for n := 0; ; n++ {
		data, _, err := reader.ReadPacketData()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return frames, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read capture %s: %w", file, err)
		}
		if n >= skip {
			frames = append(frames, decode(data, port))
		}
	}
}

func decode(data []byte, port uint16) Frame {
	packet := gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.NoCopy)
	frame := Frame{Kind: kindOf(packet, port), Summary: summary(packet), Data: data}
	if ethernet, ok := packet.Layer(layers.LayerTypeEthernet).(*layers.Ethernet); ok {
		frame.Source, frame.Destination = ethernet.SrcMAC, ethernet.DstMAC
	}
	return frame
}

func kindOf(packet gopacket.Packet, port uint16) Kind {
	for _, layer := range packet.Layers() {
		switch l := layer.(type) {
		case *layers.ARP:
			return ARP
		case *layers.Ethernet:
			if l.EthernetType == slowProtocols && len(l.Payload) > 0 && l.Payload[0] == lacpSubtype {
				return LACP
			}
		case *layers.UDP:
			return kindOfUDP(l, port)
		case *layers.ICMPv6:
			return kindOfICMPv6(l)
		}
	}
	return Other
}

func kindOfUDP(udp *layers.UDP, port uint16) Kind {
	ports := []uint16{uint16(udp.SrcPort), uint16(udp.DstPort)}
	switch {
	case slices.Contains(ports, port) && isWireGuard(udp.Payload):
		return WireGuard
	case slices.Contains(ports, dhcpServer) && slices.Contains(ports, dhcpClient):
		return DHCP
	default:
		return Other
	}
}

func isWireGuard(payload []byte) bool {
	if len(payload) < 4 {
		return false
	}
	message := binary.LittleEndian.Uint32(payload)
	return message >= firstMessage && message <= lastMessage
}

func kindOfICMPv6(icmp *layers.ICMPv6) Kind {
	switch kind := icmp.TypeCode.Type(); {
	case kind >= layers.ICMPv6TypeRouterSolicitation && kind <= layers.ICMPv6TypeRedirect:
		return NeighborDiscovery
	case kind == layers.ICMPv6TypeMLDv1MulticastListenerReportMessage, kind == layers.ICMPv6TypeMLDv2MulticastListenerReportMessageV2,
		kind == layers.ICMPv6TypeMLDv1MulticastListenerDoneMessage:
		return MulticastListener
	default:
		return Other
	}
}

func summary(packet gopacket.Packet) string {
	text := ""
	for _, layer := range packet.Layers() {
		if text != "" {
			text += "/"
		}
		text += layer.LayerType().String()
	}
	if network := packet.NetworkLayer(); network != nil {
		text += " " + network.NetworkFlow().String()
	}
	return text
}

// Between leaves the frames that one of the groups of addresses sends to the other, or to everybody.
func Between(frames []Frame, one, other []net.HardwareAddr) []Frame {
	in := func(group []net.HardwareAddr, address net.HardwareAddr) bool {
		return slices.ContainsFunc(group, func(a net.HardwareAddr) bool { return bytes.Equal(a, address) })
	}
	var between []Frame
	for _, f := range frames {
		everybody := len(f.Destination) > 0 && f.Destination[0]&1 == 1
		if in(one, f.Source) && (everybody || in(other, f.Destination)) || in(other, f.Source) && (everybody || in(one, f.Destination)) {
			between = append(between, f)
		}
	}
	return between
}

// Kinds counts frames by kind.
func Kinds(frames []Frame) map[Kind]int {
	kinds := map[Kind]int{}
	for _, f := range frames {
		kinds[f.Kind]++
	}
	return kinds
}

// Holding leaves the frames in which the bytes are found.
func Holding(frames []Frame, text []byte) []Frame {
	var holding []Frame
	for _, f := range frames {
		if bytes.Contains(f.Data, text) {
			holding = append(holding, f)
		}
	}
	return holding
}
