// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/machine"
)

// Site is the network of a lab's hosts: a /24 in the loopback range, so that simulated hosts bind addresses of
// their own without any change to the machine's interfaces.
type Site struct {
	// Network of the lab itself, and of simulated hosts.
	Network netip.Prefix `json:"network"`
	// Guests is the network of virtual hosts, which is in user space; the zero Prefix with simulated ones.
	Guests netip.Prefix `json:"guests,omitzero"`
	// Image that the lab serves for virtual hosts.
	Image ServedImage `json:"image,omitzero"`
}

// ServedImage is a disk image on the site's web server.
type ServedImage struct {
	// Name of the image: "node", or "base", which has no Kubernetes.
	Name string `json:"name"`
	// URL of the qcow2 file.
	URL string `json:"url"`
	// SHA256 of the file, in hex.
	SHA256 string `json:"sha256"`
}

const (
	firstSite   = 10
	lastSite    = 250
	guardHost   = 254 // address of the reservation
	guardPort   = 6999
	gatewayHost = 1
	firstLease  = 200 // of DHCP
	lastLease   = 250
)

// Nodes is the network of the hosts.
func (s Site) Nodes() netip.Prefix {
	if s.Guests.IsValid() {
		return s.Guests
	}
	return s.Network
}

// Host is the n-th address in the network of the hosts. Among simulated hosts address .2 is the site's registry's.
func (s Site) Host(n uint8) netip.Addr { return nth(s.Nodes(), n) }

// local is the n-th loopback address of the lab.
func (s Site) local(n uint8) netip.Addr { return nth(s.Network, n) }

// nth address of a /24.
func nth(network netip.Prefix, n uint8) netip.Addr {
	bytes := network.Addr().As4()
	bytes[3] = n
	return netip.AddrFrom4(bytes)
}

// Gateway is the site's router and DNS server. Nothing plays it for simulated hosts.
func (s Site) Gateway() netip.Addr { return s.Host(gatewayHost) }

// VIP is the address for the control-plane endpoint of the quick start's cluster.
func (s Site) VIP() netip.Addr { return s.Host(10) }

// Pool is the range of node addresses, "first-last". It leaves .11 to .19 to further clusters'
// endpoints, .100 to .199 to further pools and .200 to .250 to DHCP.
func (s Site) Pool() string { return s.Host(20).String() + "-" + s.Host(99).String() }

// Variables are what the provider's cluster templates ask for, with the values of this site. Simulated
// hosts never fetch the image.
func (s Site) Variables() map[string]string {
	image, checksum := s.Image.URL, s.Image.SHA256
	if image == "" {
		image = "http://images.example.org/ubuntu-24.04-kubernetes-v1.36.3.qcow2"
		checksum = image + ".sha256sum"
	}
	return map[string]string{
		"EDGEMETAL_CONTROL_PLANE_ENDPOINT_HOST": s.VIP().String(),
		"EDGEMETAL_CONTROL_PLANE_ENDPOINT_PORT": "6443",
		"EDGEMETAL_NETWORK_CIDR":                s.Nodes().String(),
		"EDGEMETAL_NETWORK_GATEWAY":             s.Gateway().String(),
		"EDGEMETAL_NETWORK_NAMESERVERS":         s.Gateway().String(),
		"EDGEMETAL_NODE_ADDRESSES":              s.Pool(),
		"EDGEMETAL_IMAGE_URL":                   image,
		"EDGEMETAL_IMAGE_CHECKSUM":              checksum,
		"EDGEMETAL_CHARTS_REPOSITORY":           s.ChartsRepository(),
	}
}

func (s Site) dhcp() *machine.DHCPRange {
	return &machine.DHCPRange{
		First: s.Host(firstLease), Last: s.Host(lastLease), Bits: s.Nodes().Bits(),
		Gateway: s.Gateway(), Nameservers: []netip.Addr{s.Gateway()},
	}
}

// withGuests is the site with a network for virtual hosts, numbered as the lab's own is.
func (s Site) withGuests() Site {
	number := s.Network.Addr().As4()[2]
	s.Guests = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 64, number, 0}), s.Network.Bits())
	return s
}

// reserve keeps other labs away from the network until the closer is closed.
func (s Site) reserve(ctx context.Context) (io.Closer, error) {
	var config net.ListenConfig
	address := net.JoinHostPort(s.local(guardHost).String(), strconv.Itoa(guardPort))
	listener, err := config.Listen(ctx, "tcp4", address)
	if err != nil {
		return nil, fmt.Errorf("reserve the site network %s: %w", s.Network, err)
	}
	return listener, nil
}

// reserveSite takes the wanted site, or the first free one when it is the zero Site.
func reserveSite(ctx context.Context, wanted Site) (Site, io.Closer, error) {
	if wanted.Network.IsValid() {
		guard, err := wanted.reserve(ctx)
		return wanted, guard, err
	}
	var last error
	for n := byte(firstSite); n <= lastSite; n++ {
		site := Site{Network: netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 64, n, 0}), 24)}
		guard, err := site.reserve(ctx)
		if err == nil {
			return site, guard, nil
		}
		last = err
	}
	return Site{}, nil, errors.Join(errors.New("no site network from 127.64.10.0/24 to 127.64.250.0/24 is free"), last)
}
