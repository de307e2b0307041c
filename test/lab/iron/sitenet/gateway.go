// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package sitenet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/netdata"
)

const (
	gatewayNIC = tcpip.NICID(1)
	// gatewayMTU suits every host: TCP's segment size is agreed on from it.
	gatewayMTU = 1500
)

// gatewayAddress is the gateway's MAC address; it is locally administered.
func gatewayAddress() address { return address{0x02, 0xed, 0x9e, 0, 0, 0x01} }

type gatewayConfig struct {
	Prefix  netip.Prefix
	Address netip.Addr
	Lease   netdata.DHCP
	Log     logr.Logger
}

// gateway is a host of its own at a port of the switch: a TCP/IP stack in user space that forwards nothing.
type gateway struct {
	config gatewayConfig
	link   *channel.Endpoint
	stack  *stack.Stack
}

func newGateway(c gatewayConfig) (*gateway, error) {
	mac := gatewayAddress()
	g := &gateway{
		config: c,
		link:   channel.New(queueLength, gatewayMTU+minimumLength, tcpip.LinkAddress(mac[:])),
		stack: stack.New(stack.Options{
			NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
			TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
		}),
	}
	if err := g.stack.CreateNIC(gatewayNIC, ethernet.New(g.link)); err != nil {
		return nil, fmt.Errorf("make the gateway's NIC: %s", err)
	}
	own := tcpip.ProtocolAddress{
		Protocol:          ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4(c.Address.As4()), PrefixLen: c.Prefix.Bits()},
	}
	if err := g.stack.AddProtocolAddress(gatewayNIC, own, stack.AddressProperties{}); err != nil {
		return nil, fmt.Errorf("give the gateway its address: %s", err)
	}
	g.stack.SetRouteTable([]tcpip.Route{{Destination: own.AddressWithPrefix.Subnet(), NIC: gatewayNIC}})
	return g, nil
}

func (g *gateway) close() {
	g.link.Close()
	g.stack.Destroy()
}

func (g *gateway) dial(ctx context.Context, target netip.AddrPort) (net.Conn, error) {
	conn, err := gonet.DialContextTCP(ctx, g.stack, tcpip.FullAddress{
		NIC: gatewayNIC, Addr: tcpip.AddrFrom4(target.Addr().As4()), Port: target.Port(),
	}, ipv4.ProtocolNumber)
	if err != nil {
		return nil, fmt.Errorf("dial %s in the site: %w", target, err)
	}
	return conn, nil
}

// run joins the gateway to the switch and serves DHCP and DNS, until the context ends.
func (g *gateway) run(ctx context.Context, f *fabric) error {
	leases, err := g.listenDHCP()
	if err != nil {
		return err
	}
	queries, streams, err := g.listenDNS()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Only now: who reaches the gateway is answered.
	p := f.plug(cancel)
	defer f.remove(p)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return g.serveDHCP(ctx, leases) })
	group.Go(func() error { return serveDNS(ctx, queries, streams) })
	group.Go(func() error {
		for {
			packet := g.link.ReadContext(ctx)
			if packet == nil {
				return nil
			}
			view := packet.ToView()
			frame := append([]byte(nil), view.AsSlice()...)
			view.Release()
			packet.DecRef()
			f.forward(p, frame)
		}
	})
	group.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case frame := <-p.out:
				g.take(frame)
			}
		}
	})
	return group.Wait()
}

// take lets a frame in; its Ethernet header says which protocol it is.
func (g *gateway) take(frame []byte) {
	packet := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(frame)})
	g.link.InjectInbound(0, packet)
	packet.DecRef()
}

// closed leaves out the error of a listener that was closed because the context ended.
func closed(ctx context.Context, err error) error {
	ended := ctx.Err() != nil || errors.Is(err, net.ErrClosed)
	if !ended {
		return err
	}
	return nil
}
