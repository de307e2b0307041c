// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package sitenet

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/miekg/dns"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
)

// newHost is a host with an address in the site: a gateway's stack on the other end of a cable.
func newHost(t *testing.T, n *Network, ip string) *gateway {
	t.Helper()
	own, err := newGateway(gatewayConfig{Prefix: n.config.Prefix, Address: netip.MustParseAddr(ip)})
	if err != nil {
		t.Fatal(err)
	}
	own.link.SetLinkAddress(tcpip.LinkAddress([]byte{2, 0, 0, 0, 0, 0x77}))
	c := plug(t, n)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() {
		cancel()
		own.close()
	})
	go func() {
		for {
			packet := own.link.ReadContext(ctx)
			if packet == nil {
				return
			}
			view := packet.ToView().AsSlice()
			_, _ = c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(view))), view...))
			packet.DecRef()
		}
	}()
	go func() {
		reader := bufio.NewReader(c)
		for {
			var length [4]byte
			if _, err := io.ReadFull(reader, length[:]); err != nil {
				return
			}
			content := make([]byte, binary.BigEndian.Uint32(length[:]))
			if _, err := io.ReadFull(reader, content); err != nil {
				return
			}
			own.take(content)
		}
	}()
	return own
}

func TestDialAndProxy(t *testing.T) {
	n := newNetwork(t)
	host := newHost(t, n, "10.64.1.20")
	listener, err := gonet.ListenTCP(host.stack, tcpip.FullAddress{NIC: gatewayNIC, Addr: tcpip.AddrFrom4([4]byte{10, 64, 1, 20}), Port: 6443}, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "host for %s", r.RemoteAddr)
		}))
	}()
	defer listener.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()

	direct, err := n.DialContext(ctx, "tcp", "10.64.1.20:6443")
	if err != nil {
		t.Fatal(err)
	}
	if got := get(t, direct); !strings.HasPrefix(got, "host for 10.64.1.1:") {
		t.Errorf("the host says %q", got)
	}
	tunnel, status := connect(t, n.ProxyAddr(), "10.64.1.20:6443")
	if status != http.StatusOK {
		t.Fatalf("CONNECT: status %d", status)
	}
	if got := get(t, tunnel); !strings.HasPrefix(got, "host for 10.64.1.1:") {
		t.Errorf("through the proxy the host says %q", got)
	}
	for _, outside := range []string{"127.0.0.1:22", "10.64.2.20:6443", "host:6443", "10.64.1.20:1"} {
		if _, status := connect(t, n.ProxyAddr(), outside); status != http.StatusBadGateway {
			t.Errorf("CONNECT to %s: status %d", outside, status)
		}
	}
	if _, err := n.DialContext(ctx, "udp", "10.64.1.20:53"); err == nil {
		t.Error("UDP was dialled")
	}
}

// get asks what is at the other end for its page.
func get(t *testing.T, conn net.Conn) string {
	t.Helper()
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func connect(t *testing.T, proxy, target string) (net.Conn, int) {
	t.Helper()
	conn, err := net.Dial("tcp", proxy)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect})
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return conn, response.StatusCode
}

func TestDNSKnowsNothing(t *testing.T) {
	n := newNetwork(t)
	host := newHost(t, n, "10.64.1.21")
	server := tcpip.FullAddress{NIC: gatewayNIC, Addr: tcpip.AddrFrom4([4]byte{10, 64, 1, 1}), Port: 53}
	packets, err := gonet.DialUDP(host.stack, nil, &server, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := gonet.DialTCP(host.stack, server, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	for _, conn := range []net.Conn{packets, stream} {
		client := dns.Client{Timeout: 5 * time.Second}
		query := new(dns.Msg).SetQuestion("registry.k8s.io.", dns.TypeA)
		reply, _, err := client.ExchangeWithConn(query, &dns.Conn{Conn: conn})
		if err != nil {
			t.Fatal(err)
		}
		if reply.Rcode != dns.RcodeNameError || len(reply.Answer) != 0 {
			t.Errorf("answer %v", reply)
		}
		_ = conn.Close()
	}
}

func TestDHCP(t *testing.T) {
	n := newNetwork(t)
	c := plug(t, n)
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 0x42}
	offer := exchange(t, c, mac, dhcpv4.MessageTypeDiscover)
	if offer.MessageType() != dhcpv4.MessageTypeOffer || !offer.YourIPAddr.Equal(net.IPv4(10, 64, 1, 200)) {
		t.Fatalf("the offer is %s", offer.Summary())
	}
	ack := exchange(t, c, mac, dhcpv4.MessageTypeRequest, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(offer.YourIPAddr)), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(offer.ServerIdentifier())))
	gateway := net.IPv4(10, 64, 1, 1)
	switch {
	case ack.MessageType() != dhcpv4.MessageTypeAck || !ack.YourIPAddr.Equal(offer.YourIPAddr):
		t.Errorf("the acknowledgement is %s", ack.Summary())
	case len(ack.Router()) != 1 || !ack.Router()[0].Equal(gateway) || len(ack.DNS()) != 1 || !ack.DNS()[0].Equal(gateway):
		t.Errorf("gateway %v, name servers %v", ack.Router(), ack.DNS())
	case !slices.Equal(ack.SubnetMask(), net.CIDRMask(24, 32)):
		t.Errorf("mask %v", ack.SubnetMask())
	}
	nak := exchange(t, c, mac, dhcpv4.MessageTypeRequest, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.IPv4(10, 64, 1, 222))))
	if nak.MessageType() != dhcpv4.MessageTypeNak {
		t.Errorf("an address of somebody else's gets %s", nak.Summary())
	}
}

// exchange sends a DHCP message as a client without an address does, and returns the answer.
func exchange(t *testing.T, c cable, mac net.HardwareAddr, kind dhcpv4.MessageType, change ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	t.Helper()
	message, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(mac), dhcpv4.WithMessageType(kind)}, change...)...)
	if err != nil {
		t.Fatal(err)
	}
	everywhere := tcpip.AddrFrom4([4]byte{255, 255, 255, 255})
	payload := message.ToBytes()
	packet := make([]byte, header.IPv4MinimumSize+header.UDPMinimumSize+len(payload))
	ip := header.IPv4(packet)
	ip.Encode(&header.IPv4Fields{TotalLength: uint16(len(packet)), TTL: 64, Protocol: uint8(header.UDPProtocolNumber), SrcAddr: tcpip.AddrFrom4([4]byte{}), DstAddr: everywhere})
	ip.SetChecksum(^ip.CalculateChecksum())
	datagram := header.UDP(packet[header.IPv4MinimumSize:])
	copy(datagram[header.UDPMinimumSize:], payload)
	datagram.Encode(&header.UDPFields{SrcPort: dhcpv4.ClientPort, DstPort: dhcpv4.ServerPort, Length: uint16(len(datagram))})
	pseudo := header.PseudoHeaderChecksum(header.UDPProtocolNumber, tcpip.AddrFrom4([4]byte{}), everywhere, uint16(len(datagram)))
	datagram.SetChecksum(^datagram.CalculateChecksum(checksum.Checksum(payload, pseudo)))
	all := everybody()
	for range 20 {
		// As clients do, again when nobody answers: the gateway may not be there yet.
		c.write(t, slices.Concat(all[:], mac, []byte{0x08, 0x00}, packet))
		got := c.readWithin(t, time.Second)
		offset := minimumLength + header.IPv4MinimumSize + header.UDPMinimumSize
		if len(got) < offset || header.UDP(got[offset-header.UDPMinimumSize:]).DestinationPort() != dhcpv4.ClientPort {
			continue
		}
		answer, err := dhcpv4.FromBytes(got[offset:])
		if err != nil {
			t.Fatal(err)
		}
		if answer.TransactionID == message.TransactionID {
			return answer
		}
	}
	t.Fatal("no answer")
	return nil
}
