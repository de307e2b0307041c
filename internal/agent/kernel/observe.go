// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

const (
	// sessionLife is how long after its handshake a session can be used: REJECT_AFTER_TIME of the WireGuard protocol,
	// https://www.wireguard.com/papers/wireguard.pdf section 6.1.
	sessionLife = 180 * time.Second
	// rekeyAfter is when a session is renewed, provided that there is something to send: REKEY_AFTER_TIME, same section.
	rekeyAfter = 120 * time.Second
)

func (b *Backend) observe(e encryption.Expectation) (encryption.Observation, error) {
	o := encryption.Observation{Backend: encryption.Kernel}
	links, err := netlink.LinkList()
	if err != nil {
		return o, fmt.Errorf("listing devices: %w", err)
	}
	byIndex := map[int]netlink.Link{}
	for _, link := range links {
		byIndex[link.Attrs().Index] = link
	}
	uplinks, err := findUplinks(e.Address)
	if err != nil {
		return o, err
	}
	if len(uplinks) > 0 && byIndex[uplinks[0]] != nil {
		o.Uplink = describe(byIndex[uplinks[0]])
	}
	if err := b.observeDevice(e, byIndex, &o); err != nil {
		return o, err
	}
	if o.Routes, err = observeRoutes(e.PodCIDRs, o, byIndex); err != nil {
		return o, err
	}
	for _, link := range links {
		if kind := link.Type(); kind == "ipip" || kind == "vxlan" {
			plain := encryption.PlainTunnel{Interface: describe(link), Kind: kind}
			for _, route := range o.Routes {
				if route.Interface == plain.Name {
					plain.Routes++
				}
			}
			o.PlainTunnels = append(o.PlainTunnels, plain)
		}
	}
	o.Guard, err = observeGuard(e, uplinks)
	return o, err
}

func describe(link netlink.Link) encryption.Interface {
	return encryption.Interface{Name: link.Attrs().Name, Index: uint32(link.Attrs().Index)} //nolint:gosec // G115: indexes are positive.
}

// findUplinks finds the devices through which packets leave the host: the one that holds the node's address, first, and those of default
// routes. None before the node has its address.
func findUplinks(address netip.Addr) ([]int, error) {
	addresses, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("listing addresses: %w", err)
	}
	var uplinks []int
	seen := map[int]bool{}
	for _, a := range addresses {
		if found, ok := netip.AddrFromSlice(a.IP); ok && found.Unmap() == address {
			uplinks, seen[a.LinkIndex] = []int{a.LinkIndex}, true
			break
		}
	}
	if len(uplinks) == 0 {
		return nil, nil
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("listing routes: %w", err)
	}
	for _, route := range routes {
		if destination, ok := toPrefix(route.Dst); ok && destination.Bits() > 0 {
			continue
		}
		for _, index := range append(hopIndexes(route), route.LinkIndex) {
			if index > 0 && !seen[index] {
				uplinks, seen[index] = append(uplinks, index), true
			}
		}
	}
	return uplinks, nil
}

func hopIndexes(route netlink.Route) []int {
	var indexes []int
	for _, hop := range route.MultiPath {
		indexes = append(indexes, hop.LinkIndex)
	}
	return indexes
}

// observeDevice looks at Felix's WireGuard device.
func (b *Backend) observeDevice(e encryption.Expectation, links map[int]netlink.Link, o *encryption.Observation) error {
	var link netlink.Link
	for _, candidate := range links {
		if candidate.Attrs().Name == encryption.KernelDevice {
			link = candidate
		}
	}
	if link == nil {
		return nil
	}
	device, err := b.wg.Device(encryption.KernelDevice)
	if err != nil {
		return fmt.Errorf("reading device %s: %w", encryption.KernelDevice, err)
	}
	tunnel := encryption.Tunnel{
		Interface: describe(link),
		Port:      uint16(device.ListenPort), //nolint:gosec // G115: a port.
		Up:        link.Attrs().Flags&net.FlagUp != 0,
		// Linux takes packets without an address of its own on the device.
		Addressed: true,
	}
	if device.PrivateKey != (wgtypes.Key{}) {
		tunnel.PublicKey = device.PublicKey.String()
	}
	if statistics := link.Attrs().Statistics; statistics != nil {
		tunnel.RxBytes, tunnel.TxBytes = statistics.RxBytes, statistics.TxBytes
	}
	o.Tunnels = append(o.Tunnels, tunnel)
	now := time.Now()
	for _, p := range device.Peers {
		peer := toPeer(p, now)
		o.Peers = append(o.Peers, peer)
		stale := peer.HandshakeAge == encryption.HandshakeUnknown || peer.HandshakeAge > int64(rekeyAfter.Seconds())
		if to, found := firstAddress(peer.AllowedIPs, e.PodCIDRs); found && stale && tunnel.Up {
			if err := awake(link, to.AsSlice()); err != nil {
				b.log.Debug("Cannot send to a peer", "peer", peer.PublicKey, "reason", err)
			}
		}
	}
	return nil
}

func toPeer(p wgtypes.Peer, now time.Time) encryption.Peer {
	peer := encryption.Peer{
		Tunnel: encryption.KernelDevice, PublicKey: p.PublicKey.String(), HandshakeAge: encryption.HandshakeUnknown,
		RxBytes: uint64(max(0, p.ReceiveBytes)), TxBytes: uint64(max(0, p.TransmitBytes)),
	}
	if p.Endpoint != nil {
		endpoint := p.Endpoint.AddrPort()
		peer.Endpoint = netip.AddrPortFrom(endpoint.Addr().Unmap(), endpoint.Port())
	}
	if !p.LastHandshakeTime.IsZero() && p.LastHandshakeTime.Unix() > 0 {
		age := max(0, now.Sub(p.LastHandshakeTime))
		peer.HandshakeAge, peer.Established = int64(age.Seconds()), age <= sessionLife
	}
	for i := range p.AllowedIPs {
		if allowed, ok := toPrefix(&p.AllowedIPs[i]); ok {
			peer.AllowedIPs = append(peer.AllowedIPs, allowed)
		}
	}
	return peer
}

// firstAddress of the first range that is inside others.
func firstAddress(ranges, inside []netip.Prefix) (netip.Addr, bool) {
	for _, r := range ranges {
		if within(r, inside) {
			return r.Addr(), true
		}
	}
	return netip.Addr{}, false
}

func within(block netip.Prefix, ranges []netip.Prefix) bool {
	for _, r := range ranges {
		if r.Overlaps(block) && r.Bits() <= block.Bits() {
			return true
		}
	}
	return false
}

// toPrefix converts; false when there is no range.
func toPrefix(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	address, ok := netip.AddrFromSlice(n.IP)
	if !ok {
		return netip.Prefix{}, false
	}
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(address.Unmap(), ones).Masked(), true
}

// bindTo makes a socket send through one device only.
func bindTo(device string) func(network, address string, conn syscall.RawConn) error {
	return func(_, _ string, conn syscall.RawConn) error {
		var bound error
		err := conn.Control(func(fd uintptr) { bound = unix.BindToDevice(int(fd), device) })
		return errors.Join(err, bound)
	}
}
