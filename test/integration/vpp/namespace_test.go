// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vpp

import (
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path"
	"runtime"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// namespace is a network namespace with a name, so that programs can be started in it.
type namespace struct {
	name   string
	handle netns.NsHandle
	link   *netlink.Handle
}

// newNamespace makes one. The thread that makes it stays where it was.
func newNamespace(name string) (*namespace, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	if err != nil {
		return nil, err
	}
	defer func() { _ = home.Close() }()
	handle, err := netns.NewNamed(name)
	if err != nil {
		return nil, fmt.Errorf("make network namespace %s: %w", name, err)
	}
	if err := netns.Set(home); err != nil {
		return nil, err
	}
	link, err := netlink.NewHandleAt(handle)
	if err != nil {
		return nil, err
	}
	return &namespace{name: name, handle: handle, link: link}, nil
}

// remove deletes the namespace, and with it all interfaces in it.
func (n *namespace) remove() error {
	n.link.Close()
	_ = n.handle.Close()
	return netns.DeleteNamed(n.name)
}

// path is the file by which programs enter the namespace.
func (n *namespace) path() string {
	return "/run/netns/" + n.name
}

// inside calls the function on a thread in the namespace; sockets that it makes stay there.
func (n *namespace) inside(do func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	if err != nil {
		return err
	}
	defer func() { _ = home.Close() }()
	if err := netns.Set(n.handle); err != nil {
		return err
	}
	defer func() { _ = netns.Set(home) }()
	return do()
}

// connect joins two namespaces by a veth pair, both ends up.
func connect(a *namespace, nameA string, b *namespace, nameB string) error {
	pair := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: nameA, MTU: linkMTU, Namespace: netlink.NsFd(a.handle)},
		PeerName:  nameB, PeerNamespace: netlink.NsFd(b.handle),
	}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("join %s and %s: %w", a.name, b.name, err)
	}
	for _, end := range []struct {
		ns   *namespace
		name string
	}{{a, nameA}, {b, nameB}} {
		link, err := end.ns.link.LinkByName(end.name)
		if err != nil {
			return err
		}
		if err := end.ns.link.LinkSetUp(link); err != nil {
			return err
		}
	}
	return nil
}

// configurePod gives a pod its address and its routes, as the CNI plugin does: everything goes to a gateway that is nowhere else.
func (n *namespace) configurePod(name string, address netip.Addr) ([6]byte, error) {
	link, err := n.link.LinkByName(name)
	if err != nil {
		return [6]byte{}, err
	}
	if err := n.link.AddrAdd(link, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(address, 32))}); err != nil {
		return [6]byte{}, err
	}
	for _, route := range []netlink.Route{
		{LinkIndex: link.Attrs().Index, Dst: ipNet(netip.PrefixFrom(podGateway, 32)), Scope: netlink.SCOPE_LINK},
		{LinkIndex: link.Attrs().Index, Gw: podGateway.AsSlice()},
	} {
		if err := n.link.RouteAdd(&route); err != nil {
			return [6]byte{}, err
		}
	}
	return [6]byte(link.Attrs().HardwareAddr), nil
}

// setGateway tells a pod the MAC address of its gateway.
func (n *namespace) setGateway(name string, mac [6]byte) error {
	link, err := n.link.LinkByName(name)
	if err != nil {
		return err
	}
	return n.link.NeighSet(&netlink.Neigh{LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT, IP: podGateway.AsSlice(), HardwareAddr: mac[:]})
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// countHugepages adds up the reserved hugepages of all sizes.
func countHugepages(sys fs.FS) (int, error) {
	files, err := fs.Glob(sys, "hugepages-*/nr_hugepages")
	if err != nil {
		return 0, err
	}
	total := 0
	for _, file := range files {
		content, err := fs.ReadFile(sys, path.Clean(file))
		if err != nil {
			return 0, err
		}
		count, err := strconv.Atoi(strings.TrimSpace(string(content)))
		if err != nil {
			return 0, err
		}
		total += count
	}
	return total, nil
}
