// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

const port = 51820

func macs() (a, b, gateway, everybody net.HardwareAddr) {
	return net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 2}, net.HardwareAddr{2, 0, 0, 0, 0, 9},
		net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
}

func frame(t *testing.T, parts ...gopacket.SerializableLayer) []byte {
	t.Helper()
	buffer := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true}, parts...); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(buffer.Bytes())
}

func udp(t *testing.T, from, to net.HardwareAddr, destination uint16, payload []byte) []byte {
	t.Helper()
	source := layers.UDPPort(destination)
	if destination == dhcpServer {
		source = dhcpClient
	}
	return frame(t, &layers.Ethernet{SrcMAC: from, DstMAC: to, EthernetType: layers.EthernetTypeDot1Q},
		&layers.Dot1Q{VLANIdentifier: 61, Type: layers.EthernetTypeIPv4},
		&layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.IP{192, 0, 2, 1}, DstIP: net.IP{192, 0, 2, 2}},
		&layers.UDP{SrcPort: source, DstPort: layers.UDPPort(destination)}, gopacket.Payload(payload))
}

func icmp6(t *testing.T, from, to net.HardwareAddr, kind uint8) []byte {
	t.Helper()
	return frame(t, &layers.Ethernet{SrcMAC: from, DstMAC: to, EthernetType: layers.EthernetTypeIPv6},
		&layers.IPv6{Version: 6, NextHeader: layers.IPProtocolICMPv6, HopLimit: 255, SrcIP: net.ParseIP("fe80::1"), DstIP: net.ParseIP("ff02::1")},
		&layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, 0)}, gopacket.Payload(make([]byte, 20)))
}

func capture(t *testing.T, frames ...[]byte) string {
	t.Helper()
	var content bytes.Buffer
	writer := pcapgo.NewWriter(&content)
	if err := writer.WriteFileHeader(65536, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	for _, f := range frames {
		info := gopacket.CaptureInfo{Timestamp: time.Unix(0, 0), CaptureLength: len(f), Length: len(f)}
		if err := writer.WritePacket(info, f); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "nic0.pcap")
	if err := os.WriteFile(file, content.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestKinds(t *testing.T) {
	a, b, gateway, everybody := macs()
	secret := []byte("traffic of a pod")
	file := capture(t,
		udp(t, a, b, port, append([]byte{1, 0, 0, 0}, make([]byte, 144)...)),
		udp(t, b, a, port, append([]byte{4, 0, 0, 0}, make([]byte, 60)...)),
		udp(t, a, b, port, secret), // the port alone does not make it WireGuard
		udp(t, a, b, 53, secret),
		udp(t, a, everybody, dhcpServer, secret),
		udp(t, a, gateway, 53, secret),
		frame(t, &layers.Ethernet{SrcMAC: a, DstMAC: everybody, EthernetType: layers.EthernetTypeARP},
			&layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: layers.ARPRequest,
				SourceHwAddress: a, SourceProtAddress: []byte{192, 0, 2, 1}, DstHwAddress: make([]byte, 6), DstProtAddress: []byte{192, 0, 2, 2}}),
		frame(t, &layers.Ethernet{SrcMAC: b, DstMAC: net.HardwareAddr{1, 0x80, 0xc2, 0, 0, 2}, EthernetType: slowProtocols}, gopacket.Payload(append([]byte{1, 1}, make([]byte, 108)...))),
		icmp6(t, a, net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, layers.ICMPv6TypeNeighborSolicitation),
		icmp6(t, a, net.HardwareAddr{0x33, 0x33, 0, 0, 0, 22}, layers.ICMPv6TypeMLDv2MulticastListenerReportMessageV2),
		icmp6(t, a, b, layers.ICMPv6TypeEchoRequest),
	)
	frames, err := Read(file, 0, port)
	if err != nil {
		t.Fatal(err)
	}
	between := Between(frames, []net.HardwareAddr{a}, []net.HardwareAddr{b})
	want := map[Kind]int{WireGuard: 2, Other: 3, DHCP: 1, ARP: 1, LACP: 1, NeighborDiscovery: 1, MulticastListener: 1}
	if diff := cmp.Diff(want, Kinds(between)); diff != "" {
		t.Errorf("kinds between the two (-want +got):\n%s", diff)
	}
	if got := Holding(between, secret); len(got) != 3 || got[0].Summary == "" {
		t.Errorf("%d frames hold the text: %v", len(got), got)
	}
	if got := Kinds(frames)[Other]; got != 4 {
		t.Errorf("%d other frames with the one to the gateway, want 4", got)
	}
}

func TestReadWhatIsWritten(t *testing.T) {
	a, b, _, _ := macs()
	file := capture(t, udp(t, a, b, port, []byte{4, 0, 0, 0}), udp(t, b, a, 53, []byte("x")))
	if n, err := Count(file); err != nil || n != 2 {
		t.Errorf("%d frames, error %v", n, err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for cut, want := range map[int]int{1: 1, 60: 1, 100: 0} {
		if err := os.WriteFile(file, content[:len(content)-cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if frames, err := Read(file, 0, port); err != nil || len(frames) != want {
			t.Errorf("without the last %d bytes: %d frames, want %d, error %v", cut, len(frames), want, err)
		}
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if frames, err := Read(file, 1, port); err != nil || len(frames) != 1 || frames[0].Kind != Other {
		t.Errorf("after the first: %v, error %v", frames, err)
	}
	for name, bad := range map[string]string{"missing": filepath.Join(t.TempDir(), "none"), "not a capture": os.Args[0]} {
		if _, err := Read(bad, 0, port); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
