// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package sitenet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/machine"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/services"
)

const (
	// defaultMTU is what data center switches pass as jumbo frames.
	defaultMTU = 9000
	socketName = "site.sock"
	leasesName = "dhcp.json"
)

// Config says what network a site has.
type Config struct {
	// Prefix is the site's network, IPv4, e.g. 10.64.1.0/24.
	Prefix netip.Prefix
	// Gateway is the gateway's address in it.
	Gateway netip.Addr
	// DHCPFirst and DHCPLast are the ends of the range that DHCP leases, both included; none is leased when they
	// are zero.
	DHCPFirst, DHCPLast netip.Addr
	// MTU is the largest packet that the switch passes, in bytes without Ethernet header and VLAN tag; 9000 when zero.
	MTU int
	// Dir is for the switch's unix socket and the leases; it is created.
	Dir string
	// Log is where the network tells what it does; nothing is logged by default.
	Log logr.Logger
}

// Network is a site's network. Its methods may be called from several goroutines.
type Network struct {
	config   Config
	socket   string
	dir      *os.File // keeps the path by which the listener was made
	listener net.Listener
	fabric   *fabric
	gateway  *gateway
	proxy    *services.Proxy
	close    sync.Once
}

// New makes a network and listens; cables and clients of the proxy wait until Run. It must be closed.
func New(c Config) (*Network, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("sitenet: %w", err)
	}
	c.MTU = cmp.Or(c.MTU, defaultMTU)
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("sitenet: make Config.Dir: %w", err)
	}
	n := &Network{config: c, socket: filepath.Join(c.Dir, socketName), fabric: newFabric(c.MTU, c.Log)}
	if err := n.open(); err != nil {
		n.Close()
		return nil, fmt.Errorf("sitenet: %w", err)
	}
	return n, nil
}

func (c Config) check() error {
	switch {
	case !c.Prefix.IsValid() || !c.Prefix.Addr().Is4():
		return errors.New("Config.Prefix must be an IPv4 network")
	case !c.Prefix.Contains(c.Gateway):
		return fmt.Errorf("Config.Gateway must be an address in %s", c.Prefix)
	case c.DHCPFirst.IsValid() != c.DHCPLast.IsValid(), c.DHCPFirst.IsValid() && (!c.Prefix.Contains(c.DHCPFirst) || !c.Prefix.Contains(c.DHCPLast)):
		return fmt.Errorf("Config.DHCPFirst and DHCPLast must be addresses in %s, or both zero", c.Prefix)
	case c.DHCPLast.Less(c.DHCPFirst):
		return errors.New("Config.DHCPLast must not be before DHCPFirst")
	case c.MTU != 0 && (c.MTU < 1280 || c.MTU > 9216):
		return errors.New("Config.MTU must be from 1280 to 9216")
	case !filepath.IsAbs(c.Dir):
		return errors.New("Config.Dir must be an absolute path")
	default:
		return nil
	}
}

// open takes what belongs to the network: the socket, the proxy's port and the gateway.
func (n *Network) open() error {
	if err := os.Remove(n.socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the socket of an earlier run: %w", err)
	}
	dir, err := os.Open(n.config.Dir)
	if err != nil {
		return fmt.Errorf("open Config.Dir: %w", err)
	}
	n.dir = dir
	// A socket's path has at most 107 bytes; this one is short wherever Dir is.
	short := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), socketName)
	var config net.ListenConfig
	if n.listener, err = config.Listen(context.Background(), "unix", short); err != nil {
		return fmt.Errorf("listen for cables on %s: %w", n.socket, err)
	}
	if n.proxy, err = services.Listen(context.Background()); err != nil {
		return err
	}
	n.gateway, err = newGateway(gatewayConfig{
		Prefix: n.config.Prefix, Address: n.config.Gateway, Lease: machine.NewDHCP(n.leases(), filepath.Join(n.config.Dir, leasesName)), Log: n.config.Log,
	})
	return err
}

// leases is what DHCP gives out; nil for nothing.
func (n *Network) leases() *machine.DHCPRange {
	if !n.config.DHCPFirst.IsValid() {
		return nil
	}
	return &machine.DHCPRange{
		First: n.config.DHCPFirst, Last: n.config.DHCPLast, Bits: n.config.Prefix.Bits(),
		Gateway: n.config.Gateway, Nameservers: []netip.Addr{n.config.Gateway},
	}
}

// Socket is the path of the unix socket that NICs connect to.
func (n *Network) Socket() string { return n.socket }

// ProxyAddr is the "host:port", on 127.0.0.1, of an HTTP CONNECT proxy into the site.
func (n *Network) ProxyAddr() string { return n.proxy.Addr() }

// DialContext connects from the gateway to an "ip:port" of the site. The network must be "tcp" or "tcp4".
func (n *Network) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if network != "tcp" && network != "tcp4" {
		return nil, fmt.Errorf("dial %s in the site: network %q is not tcp", address, network)
	}
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial in the site: %w", err)
	}
	return n.dial(ctx, target)
}

func (n *Network) dial(ctx context.Context, target netip.AddrPort) (net.Conn, error) {
	if !n.config.Prefix.Contains(target.Addr()) {
		return nil, fmt.Errorf("dial %s: not in the site's network %s", target, n.config.Prefix)
	}
	return n.gateway.dial(ctx, target)
}

// Run switches frames until the context ends. It closes the network.
func (n *Network) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, n.Close)
	defer stop()
	defer n.Close()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return n.gateway.run(ctx, n.fabric) })
	group.Go(func() error { return n.proxy.ServePlain(ctx, n.dial, n.config.Log) })
	group.Go(func() error {
		defer n.fabric.unplugAll()
		for {
			cable, err := n.listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("accept a cable: %w", err)
			}
			group.Go(func() error {
				n.fabric.serve(cable)
				return nil
			})
		}
	})
	if err := group.Wait(); err != nil {
		return fmt.Errorf("sitenet: %w", err)
	}
	return nil
}

// Close ends the network. Closing twice is fine.
func (n *Network) Close() {
	n.close.Do(func() {
		if n.listener != nil {
			_ = n.listener.Close()
		}
		if n.proxy != nil {
			n.proxy.Close()
		}
		if n.gateway != nil {
			n.gateway.close()
		}
		n.fabric.unplugAll()
		if n.dir != nil {
			_ = n.dir.Close()
		}
	})
}
