// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vpp

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/ip_types"
	"go.fd.io/govpp/binapi/ipip"
	"go.fd.io/govpp/binapi/ipsec"
	"go.fd.io/govpp/binapi/wireguard"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

const allInterfaces = interface_types.InterfaceIndex(every)

// stream of details that ends with io.EOF.
type stream[T any] interface{ Recv() (T, error) }

// collect reads a stream to its end.
func collect[S stream[T], T any](s S, err error) ([]T, error) {
	if err != nil {
		return nil, err
	}
	var all []T
	for {
		item, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, item)
	}
}

// links are VPP's interfaces by index.
type links map[uint32]*interfaces.SwInterfaceDetails

func (l links) name(index uint32) string {
	if link, found := l[index]; found {
		return link.InterfaceName
	}
	return fmt.Sprintf("interface %d", index)
}

func (l links) up(index uint32) bool {
	return l[index] != nil && l[index].Flags&interface_types.IF_STATUS_API_FLAG_ADMIN_UP != 0
}

// observe looks at everything once.
func (s *session) observe(ctx context.Context, e encryption.Expectation) (encryption.Observation, error) {
	o := encryption.Observation{Backend: encryption.VPP}
	all, err := s.links(ctx)
	if err != nil {
		return o, err
	}
	if o.Uplink, err = s.findUplink(ctx, all, e.Address); err != nil {
		return o, err
	}
	counters := s.readCounters()
	if o.Tunnels, err = s.tunnels(ctx, all, counters); err != nil {
		return o, err
	}
	if o.Peers, err = s.peers(ctx, all); err != nil {
		return o, err
	}
	if o.Associations, o.PlainTunnels, err = s.otherTunnels(ctx, all, e.Protocol); err != nil {
		return o, err
	}
	routes, err := s.routes(ctx)
	if err != nil {
		return o, err
	}
	o.Routes = blockRoutes(routes, all, encrypting(o), e)
	for i := range o.PlainTunnels {
		for _, route := range o.Routes {
			if route.Interface == o.PlainTunnels[i].Name {
				o.PlainTunnels[i].Routes++
			}
		}
	}
	if o.Guard, err = s.observeGuard(ctx, e, o.Uplink, routes, counters); err != nil {
		return o, err
	}
	o.RxQueues, err = s.rxQueues(ctx, all)
	return o, err
}

func (s *session) links(ctx context.Context) (links, error) {
	details, err := collect(interfaces.NewServiceClient(s.conn).SwInterfaceDump(ctx, &interfaces.SwInterfaceDump{SwIfIndex: allInterfaces}))
	if err != nil {
		return nil, fmt.Errorf("listing interfaces: %w", err)
	}
	all := links{}
	for _, link := range details {
		all[uint32(link.SwIfIndex)] = link
	}
	return all, nil
}

// findUplink finds the interface that holds the node's address. It rarely changes: the last one is looked at first.
func (s *session) findUplink(ctx context.Context, all links, address netip.Addr) (encryption.Interface, error) {
	candidates := []uint32{}
	if all[s.uplink] != nil {
		candidates = append(candidates, s.uplink)
	}
	for index := range all {
		if index != s.uplink && !strings.HasPrefix(all[index].InterfaceName, "tun") {
			candidates = append(candidates, index)
		}
	}
	for _, index := range candidates {
		addresses, err := collect(ip.NewServiceClient(s.conn).IPAddressDump(ctx, &ip.IPAddressDump{SwIfIndex: interface_types.InterfaceIndex(index)}))
		if err != nil {
			return encryption.Interface{}, fmt.Errorf("listing addresses of %s: %w", all.name(index), err)
		}
		for _, a := range addresses {
			if toAddr(a.Prefix.Address) == address {
				s.uplink = index
				return encryption.Interface{Name: all.name(index), Index: index}, nil
			}
		}
	}
	s.uplink = every
	return encryption.Interface{}, nil
}

func (s *session) tunnels(ctx context.Context, all links, counters counters) ([]encryption.Tunnel, error) {
	// Without private keys: ShowPrivateKey stays false.
	details, err := collect(wireguard.NewServiceClient(s.conn).WireguardInterfaceDump(ctx, &wireguard.WireguardInterfaceDump{SwIfIndex: allInterfaces}))
	if err != nil {
		return nil, fmt.Errorf("listing WireGuard interfaces: %w", err)
	}
	var tunnels []encryption.Tunnel
	for _, d := range details {
		index := uint32(d.Interface.SwIfIndex)
		tunnel := encryption.Tunnel{
			Interface: encryption.Interface{Name: all.name(index), Index: index},
			Source:    toAddr(d.Interface.SrcIP),
			Port:      d.Interface.Port,
			PublicKey: base64.StdEncoding.EncodeToString(d.Interface.PublicKey),
			Up:        all.up(index),
			RxBytes:   counters.rx[index],
			TxBytes:   counters.tx[index],
		}
		if tunnel.Addressed, err = s.addressed(ctx, index); err != nil {
			return nil, err
		}
		features, err := s.cli(ctx, "show interface features "+tunnel.Name)
		if err != nil {
			return nil, err
		}
		tunnel.GSO, tunnel.CNAT = hasFeature(features, "gso-ip4"), hasFeature(features, "cnat-")
		tunnels = append(tunnels, tunnel)
	}
	return tunnels, nil
}

// hasFeature looks for a node, by the beginning of its name, in what `show interface features` prints: one name a line.
func hasFeature(features, prefix string) bool {
	for line := range strings.Lines(features) {
		if strings.HasPrefix(strings.TrimSpace(line), prefix) {
			return true
		}
	}
	return false
}

// addressed tells whether an interface takes IPv4 packets.
func (s *session) addressed(ctx context.Context, index uint32) (bool, error) {
	client := ip.NewServiceClient(s.conn)
	borrowed, err := collect(client.IPUnnumberedDump(ctx, &ip.IPUnnumberedDump{SwIfIndex: interface_types.InterfaceIndex(index)}))
	if err != nil {
		return false, fmt.Errorf("looking for a borrowed address: %w", err)
	}
	if len(borrowed) > 0 {
		return true, nil
	}
	addresses, err := collect(client.IPAddressDump(ctx, &ip.IPAddressDump{SwIfIndex: interface_types.InterfaceIndex(index)}))
	if err != nil {
		return false, fmt.Errorf("listing addresses: %w", err)
	}
	return len(addresses) > 0, nil
}

func (s *session) peers(ctx context.Context, all links) ([]encryption.Peer, error) {
	details, err := collect(wireguard.NewServiceClient(s.conn).WireguardPeersDump(ctx, &wireguard.WireguardPeersDump{PeerIndex: every}))
	if err != nil {
		return nil, fmt.Errorf("listing WireGuard peers: %w", err)
	}
	raw := make([]wireguard.WireguardPeer, 0, len(details))
	var peers []encryption.Peer
	for _, d := range details {
		raw = append(raw, d.Peer)
		peer := encryption.Peer{
			Tunnel:       all.name(uint32(d.Peer.SwIfIndex)),
			PublicKey:    base64.StdEncoding.EncodeToString(d.Peer.PublicKey),
			Endpoint:     netip.AddrPortFrom(toAddr(d.Peer.Endpoint), d.Peer.Port),
			Established:  d.Peer.Flags&wireguard.WIREGUARD_PEER_ESTABLISHED != 0 && d.Peer.Flags&wireguard.WIREGUARD_PEER_STATUS_DEAD == 0,
			HandshakeAge: encryption.HandshakeUnknown,
		}
		for _, allowed := range d.Peer.AllowedIps {
			peer.AllowedIPs = append(peer.AllowedIPs, toPrefix(allowed))
		}
		peers = append(peers, peer)
	}
	return peers, s.watchPeers(ctx, raw)
}

// otherTunnels are IPIP interfaces, protected by IPsec or not, and VXLAN interfaces.
func (s *session) otherTunnels(ctx context.Context, all links, protocol encryption.Protocol) ([]encryption.Association, []encryption.PlainTunnel, error) {
	protected := map[uint32]bool{}
	remotes := map[uint32]netip.Addr{}
	if s.noIPsec == nil {
		details, err := collect(ipsec.NewServiceClient(s.conn).IpsecTunnelProtectDump(ctx, &ipsec.IpsecTunnelProtectDump{SwIfIndex: allInterfaces}))
		if err != nil {
			return nil, nil, fmt.Errorf("listing IPsec tunnels: %w", err)
		}
		for _, d := range details {
			protected[uint32(d.Tun.SwIfIndex)] = len(d.Tun.SaIn) > 0
		}
	}
	if s.noIPIP == nil {
		details, err := collect(ipip.NewServiceClient(s.conn).IpipTunnelDump(ctx, &ipip.IpipTunnelDump{SwIfIndex: allInterfaces}))
		if err != nil {
			return nil, nil, fmt.Errorf("listing IPIP tunnels: %w", err)
		}
		for _, d := range details {
			remotes[uint32(d.Tunnel.SwIfIndex)] = toAddr(d.Tunnel.Dst)
		}
	}
	var associations []encryption.Association
	var plain []encryption.PlainTunnel
	for index, link := range all {
		kind := tunnelKind(link.InterfaceName)
		at := encryption.Interface{Name: link.InterfaceName, Index: index}
		// Calico makes the tunnels of IPsec down, and leaves it to IKE to bring each up with its associations (waitForIPsecSA in
		// connectivity/ipsec.go): one that is down drops what is routed into it.
		awaited := protocol == encryption.IPsec && kind == kindIPIP && !all.up(index)
		switch {
		case kind == "":
		case protected[index] || awaited:
			associations = append(associations, encryption.Association{Interface: at, Remote: remotes[index], Up: protected[index] && all.up(index)})
		default:
			plain = append(plain, encryption.PlainTunnel{Interface: at, Kind: kind, Remote: remotes[index]})
		}
	}
	return associations, plain, nil
}

// kindIPIP is the kind of IPIP interfaces.
const kindIPIP = "ipip"

// tunnelKind tells by VPP's naming what an interface is.
func tunnelKind(name string) string {
	switch {
	case strings.HasPrefix(name, kindIPIP):
		return kindIPIP
	case strings.HasPrefix(name, "vxlan"):
		return "vxlan"
	default:
		return ""
	}
}

func (s *session) rxQueues(ctx context.Context, all links) ([]encryption.RxQueue, error) {
	details, err := collect(interfaces.NewServiceClient(s.conn).SwInterfaceRxPlacementDump(ctx, &interfaces.SwInterfaceRxPlacementDump{SwIfIndex: allInterfaces}))
	if err != nil {
		return nil, fmt.Errorf("listing receive queues: %w", err)
	}
	var queues []encryption.RxQueue
	for _, d := range details {
		mode := "unknown"
		switch d.Mode {
		case interface_types.RX_MODE_API_POLLING:
			mode = "polling"
		case interface_types.RX_MODE_API_INTERRUPT:
			mode = encryption.RxInterrupt
		case interface_types.RX_MODE_API_ADAPTIVE:
			mode = "adaptive"
		}
		queues = append(queues, encryption.RxQueue{Interface: all.name(uint32(d.SwIfIndex)), Queue: d.QueueID, Mode: mode})
	}
	return queues, nil
}

// readPageSize finds the largest pages that VPP's memory has: of packet buffers (their arenas; what it calls the default page size is
// never used by them) and of the main heap.
func (s *session) readPageSize(ctx context.Context) (int64, error) {
	var largest int64
	for _, source := range []struct{ command, key string }{{"show physmem", "subpage-size"}, {"show memory main-heap", "page-size"}} {
		text, err := s.cli(ctx, source.command)
		if err != nil {
			return 0, err
		}
		largest = max(largest, maxPageSize(text, source.key))
	}
	return largest, nil
}

// maxPageSize finds the largest size that follows the word key, for example 4K or 2M.
func maxPageSize(text, key string) int64 {
	var largest int64
	words := strings.Fields(text)
	for i := 1; i < len(words); i++ {
		if words[i-1] != key {
			continue
		}
		word := strings.TrimRight(words[i], ",;)")
		shift := 0
		switch {
		case strings.HasSuffix(word, "K"):
			shift = 10
		case strings.HasSuffix(word, "M"):
			shift = 20
		case strings.HasSuffix(word, "G"):
			shift = 30
		}
		if n, err := strconv.ParseInt(strings.TrimRight(word, "KMG"), 10, 32); err == nil {
			largest = max(largest, n<<shift)
		}
	}
	return largest
}

func toAddr(a ip_types.Address) netip.Addr {
	if a.Af == ip_types.ADDRESS_IP6 {
		return netip.AddrFrom16(a.Un.GetIP6())
	}
	return netip.AddrFrom4(a.Un.GetIP4())
}

func toPrefix(p ip_types.Prefix) netip.Prefix {
	return netip.PrefixFrom(toAddr(p.Address), int(p.Len)).Masked()
}

func fromPrefix(p netip.Prefix) ip_types.Prefix {
	address := ip_types.Address{Af: ip_types.ADDRESS_IP6, Un: ip_types.AddressUnionIP6(p.Addr().As16())}
	if p.Addr().Is4() {
		address = ip_types.Address{Af: ip_types.ADDRESS_IP4, Un: ip_types.AddressUnionIP4(p.Addr().As4())}
	}
	return ip_types.Prefix{Address: address, Len: uint8(p.Bits())} //nolint:gosec // G115: at most 128.
}
