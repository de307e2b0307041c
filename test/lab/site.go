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

// Site is the network of a lab's hosts: a /24 in the loopback range, so that hosts bind addresses of
// their own without any change to the machine's interfaces.
type Site struct {
	Network netip.Prefix `json:"network"`
}

const (
	firstSite = 10
	lastSite  = 250
	guardHost = 254 // address of the reservation
	guardPort = 6999
)

// Host is the network's n-th address. Address .2 is the site's registry's.
func (s Site) Host(n uint8) netip.Addr {
	bytes := s.Network.Addr().As4()
	bytes[3] = n
	return netip.AddrFrom4(bytes)
}

// Gateway is the site's router, which nothing plays.
func (s Site) Gateway() netip.Addr { return s.Host(1) }

// VIP is the address for the control-plane endpoint of the quick start's cluster.
func (s Site) VIP() netip.Addr { return s.Host(10) }

// Pool is the range of node addresses, "first-last". It leaves .11 to .19 to further clusters'
// endpoints, .100 to .199 to further pools and .200 to .250 to DHCP.
func (s Site) Pool() string { return s.Host(20).String() + "-" + s.Host(99).String() }

// Variables are what the provider's cluster templates ask for, with the values of this site. Simulated
// hosts never fetch the image.
func (s Site) Variables() map[string]string {
	const image = "http://images.example.org/ubuntu-24.04-kubernetes-v1.36.3.qcow2"
	return map[string]string{
		"EDGEMETAL_CONTROL_PLANE_ENDPOINT_HOST": s.VIP().String(),
		"EDGEMETAL_CONTROL_PLANE_ENDPOINT_PORT": "6443",
		"EDGEMETAL_NETWORK_CIDR":                s.Network.String(),
		"EDGEMETAL_NETWORK_GATEWAY":             s.Gateway().String(),
		"EDGEMETAL_NETWORK_NAMESERVERS":         s.Gateway().String(),
		"EDGEMETAL_NODE_ADDRESSES":              s.Pool(),
		"EDGEMETAL_IMAGE_URL":                   image,
		"EDGEMETAL_IMAGE_CHECKSUM":              image + ".sha256sum",
		"EDGEMETAL_CHARTS_REPOSITORY":           s.ChartsRepository(),
	}
}

func (s Site) dhcp() *machine.DHCPRange {
	return &machine.DHCPRange{
		First: s.Host(200), Last: s.Host(250), Bits: s.Network.Bits(),
		Gateway: s.Gateway(), Nameservers: []netip.Addr{s.Gateway()},
	}
}

// reserve keeps other labs away from the network until the closer is closed.
func (s Site) reserve(ctx context.Context) (io.Closer, error) {
	var config net.ListenConfig
	address := net.JoinHostPort(s.Host(guardHost).String(), strconv.Itoa(guardPort))
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
