// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package site makes the objects of many edge sites: hosts, and a cluster per site of one standalone control-plane
// Machine and a MachineDeployment, so that the load on the management cluster is that of machines and not of a
// control-plane provider.
package site

import (
	"errors"
	"fmt"
	"net/netip"
)

const (
	// maxPerSite is what fits into a site's /24 beside gateway, endpoint and reserve.
	maxPerSite = 220
	// maxSites is how many /24 networks there are from 10.100.0.0 to 10.199.255.0.
	maxSites     = 100 * 256
	firstNode    = 20
	endpointPort = 6443
	podCIDR      = "192.168.0.0/16"
	serviceCIDR  = "172.30.0.0/16"
	// spareShare is one spare host for so many machines, when the number of hosts is not given.
	spareShare = 10
)

// Plan says how much to make.
type Plan struct {
	// Machines in all clusters together, control planes included.
	Machines int
	// PerCluster is the number of machines of a cluster; the last cluster gets what is left.
	PerCluster int
	// Hosts in all sites together; 0 for one in ten more than machines.
	Hosts int
	// FromHost takes addresses from the hosts' annotation instead of a pool.
	FromHost bool
	// Namespace of everything: one, which is the hardest case for the choice of hosts.
	Namespace string
	// KubernetesVersion of the machines, with a leading v.
	KubernetesVersion string
}

// Site is one cluster with its hosts.
type Site struct {
	// Name of the cluster and value of its hosts' label "site".
	Name string
	// Machines and Hosts of the site.
	Machines, Hosts int

	plan    Plan
	network netip.Prefix
}

// Sites divides the plan. An error names the flag to change.
func (p Plan) Sites() ([]Site, error) {
	if p.Hosts == 0 {
		p.Hosts = p.Machines + (p.Machines+spareShare-1)/spareShare
	}
	count := (p.Machines + p.PerCluster - 1) / max(p.PerCluster, 1)
	switch {
	case p.Machines < 1:
		return nil, errors.New("-n must be at least 1")
	case p.PerCluster < 1 || p.PerCluster > maxPerSite:
		return nil, fmt.Errorf("-per-cluster must be from 1 to %d, what fits into a /24", maxPerSite)
	case count > maxSites:
		return nil, fmt.Errorf("%d clusters are more than %d; raise -per-cluster", count, maxSites)
	case p.Hosts < p.Machines:
		return nil, fmt.Errorf("-hosts %d is less than the %d machines", p.Hosts, p.Machines)
	case p.FromHost && p.Hosts/count+1 > maxPerSite:
		return nil, fmt.Errorf("-hosts %d on %d sites do not fit into a /24 each; use fewer, or addresses from a pool", p.Hosts, count)
	}
	sites := make([]Site, count)
	spare := p.Hosts - p.Machines
	for i := range sites {
		machines := min(p.PerCluster, p.Machines-i*p.PerCluster)
		spareHere := spare/count + min(1, max(0, spare%count-i))
		sites[i] = Site{
			Name: fmt.Sprintf("edge-%03d", i), Machines: machines, Hosts: machines + spareHere,
			plan: p, network: siteNetwork(i),
		}
	}
	return sites, nil
}

// Endpoint is the "host:port" of the control plane, on which nothing listens: clients are given the in-memory API
// server's address in the kubeconfig.
func (s Site) Endpoint() string { return fmt.Sprintf("%s:%d", s.endpoint(), endpointPort) }

func siteNetwork(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(100 + i/256), byte(i % 256), 0}), 24)
}

func (s Site) address(n int) netip.Addr {
	bytes := s.network.Addr().As4()
	bytes[3] = byte(n)
	return netip.AddrFrom4(bytes)
}

func (s Site) gateway() netip.Addr    { return s.address(1) }
func (s Site) nameserver() netip.Addr { return s.address(2) }
func (s Site) endpoint() netip.Addr   { return s.address(10) }
