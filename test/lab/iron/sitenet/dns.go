// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package sitenet

import (
	"context"
	"fmt"
	"net"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
)

const dnsPort = 53

func (g *gateway) listenDNS() (net.PacketConn, net.Listener, error) {
	local := tcpip.FullAddress{NIC: gatewayNIC, Addr: tcpip.AddrFrom4(g.config.Address.As4()), Port: dnsPort}
	packets, err := gonet.DialUDP(g.stack, &local, nil, ipv4.ProtocolNumber)
	if err != nil {
		return nil, nil, fmt.Errorf("listen on the gateway's DNS port: %w", err)
	}
	streams, err := gonet.ListenTCP(g.stack, local, ipv4.ProtocolNumber)
	if err != nil {
		return nil, nil, fmt.Errorf("listen on the gateway's DNS port: %w", err)
	}
	return packets, streams, nil
}

// serveDNS knows no names. That is an answer, on which hosts go on at once instead of waiting for one.
func serveDNS(ctx context.Context, packets net.PacketConn, streams net.Listener) error {
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		reply := new(dns.Msg).SetRcode(query, dns.RcodeNameError)
		reply.RecursionAvailable = true
		_ = w.WriteMsg(reply) // the client asks again
	})
	group := errgroup.Group{}
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: handler}, {Listener: streams, Handler: handler}} {
		group.Go(func() error {
			stop := context.AfterFunc(ctx, func() {
				_ = server.Shutdown()
				_ = packets.Close()
				_ = streams.Close()
			})
			defer stop()
			if err := closed(ctx, server.ActivateAndServe()); err != nil {
				return fmt.Errorf("serve DNS on the gateway: %w", err)
			}
			return nil
		})
	}
	return group.Wait()
}
