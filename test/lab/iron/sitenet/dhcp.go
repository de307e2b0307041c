// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package sitenet

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// leaseTime is what clients are told; addresses are leased for good.
const leaseTime = time.Hour

func (g *gateway) serveDHCP(ctx context.Context, conn net.PacketConn) error {
	server, err := server4.NewServer("", nil, g.handleDHCP, server4.WithConn(conn))
	if err != nil {
		return fmt.Errorf("make the gateway's DHCP server: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := closed(ctx, server.Serve()); err != nil {
		return fmt.Errorf("serve DHCP on the gateway: %w", err)
	}
	return nil
}

// listenDHCP listens for broadcasts, which needs the wildcard address, and may send them.
func (g *gateway) listenDHCP() (net.PacketConn, error) {
	var queue waiter.Queue
	endpoint, err := g.stack.NewEndpoint(udp.ProtocolNumber, ipv4.ProtocolNumber, &queue)
	if err != nil {
		return nil, fmt.Errorf("make the gateway's DHCP socket: %s", err)
	}
	endpoint.SocketOptions().SetBroadcast(true)
	if err := endpoint.Bind(tcpip.FullAddress{NIC: gatewayNIC, Port: dhcpv4.ServerPort}); err != nil {
		endpoint.Close()
		return nil, fmt.Errorf("listen on the gateway's DHCP port: %s", err)
	}
	return gonet.NewUDPConn(&queue, endpoint), nil
}

func (g *gateway) handleDHCP(conn net.PacketConn, peer net.Addr, request *dhcpv4.DHCPv4) {
	kind := dhcpv4.MessageTypeOffer
	switch request.MessageType() {
	case dhcpv4.MessageTypeDiscover:
	case dhcpv4.MessageTypeRequest:
		kind = dhcpv4.MessageTypeAck
	default:
		return
	}
	if wanted := request.ServerIdentifier(); wanted != nil && !wanted.IsUnspecified() && !wanted.Equal(g.config.Address.AsSlice()) {
		return // the client chose another server
	}
	reply, err := g.lease(request, kind)
	if err == nil {
		_, err = conn.WriteTo(reply.ToBytes(), peer)
	}
	if err != nil {
		g.config.Log.Info("No DHCP lease", "mac", request.ClientHWAddr.String(), "reason", err.Error())
	}
}

// lease is the answer to a request: an offer, an acknowledgement, or a refusal of an address that is not the
// client's.
func (g *gateway) lease(request *dhcpv4.DHCPv4, kind dhcpv4.MessageType) (*dhcpv4.DHCPv4, error) {
	lease, err := g.config.Lease(request.ClientHWAddr.String())
	if err != nil {
		return nil, err
	}
	given := net.IP(lease.Address.Addr().AsSlice())
	own := net.IP(g.config.Address.AsSlice())
	wanted := request.RequestedIPAddress()
	if wanted == nil || wanted.IsUnspecified() {
		wanted = request.ClientIPAddr
	}
	if kind == dhcpv4.MessageTypeAck && !wanted.IsUnspecified() && !wanted.Equal(given) {
		return dhcpv4.NewReplyFromRequest(request, dhcpv4.WithMessageType(dhcpv4.MessageTypeNak), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(own)))
	}
	changes := []dhcpv4.Modifier{
		dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(given), dhcpv4.WithServerIP(own),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(own)),
		dhcpv4.WithOption(dhcpv4.OptIPAddressLeaseTime(leaseTime)),
		dhcpv4.WithOption(dhcpv4.OptSubnetMask(net.CIDRMask(lease.Address.Bits(), 32))),
	}
	if lease.Gateway.IsValid() {
		changes = append(changes, dhcpv4.WithOption(dhcpv4.OptRouter(lease.Gateway.AsSlice())))
	}
	var names []net.IP
	for _, server := range lease.Nameservers {
		names = append(names, server.AsSlice())
	}
	if len(names) > 0 {
		changes = append(changes, dhcpv4.WithOption(dhcpv4.OptDNS(names...)))
	}
	return dhcpv4.NewReplyFromRequest(request, changes...)
}
