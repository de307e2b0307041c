// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
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
	// maxAhead is how far in the future a handshake may seem to be: more than a clock that is slewed moves between two readings, and
	// nothing beside sessionLife. WireGuard tells the time of day, so that after a clock was set back the age is not known.
	maxAhead = 5 * time.Second
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
	uplinks, err := findUplinks(e)
	if err != nil {
		return o, err
	}
	if len(uplinks) > 0 && byIndex[uplinks[0]] != nil {
		o.Uplink = describe(byIndex[uplinks[0]])
	}
	if err := b.observeDevice(e, byIndex, &o); err != nil {
		return o, err
	}
	if o.Routes, err = observeRoutes(e, o, byIndex); err != nil {
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
	if o.Guard, err = observeGuard(e, uplinks); err != nil {
		return o, err
	}
	o.Guard.Boot, err = hasBootGuard()
	return o, err
}

func describe(link netlink.Link) encryption.Interface {
	return encryption.Interface{Name: link.Attrs().Name, Index: uint32(link.Attrs().Index)} //nolint:gosec // G115: indexes are positive.
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
		if to, found := firstAddress(peer.AllowedIPs, e.IsPods); found && stale && tunnel.Up {
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
		if age := now.Sub(p.LastHandshakeTime); age >= -maxAhead {
			peer.HandshakeAge, peer.Established = int64(max(0, age).Seconds()), age <= sessionLife
		}
	}
	for i := range p.AllowedIPs {
		if allowed, ok := toPrefix(&p.AllowedIPs[i]); ok {
			peer.AllowedIPs = append(peer.AllowedIPs, allowed)
		}
	}
	return peer
}

// firstAddress of the first range that is wanted.
func firstAddress(ranges []netip.Prefix, wanted func(netip.Prefix) bool) (netip.Addr, bool) {
	if i := slices.IndexFunc(ranges, wanted); i >= 0 {
		return ranges[i].Addr(), true
	}
	return netip.Addr{}, false
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
