// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"sync"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/netdata"
)

// DHCPRange is what the site's DHCP server gives out.
type DHCPRange struct {
	// First and Last are the ends of the range, both included.
	First, Last netip.Addr
	// Bits is the prefix length of the network, e.g. 24.
	Bits int
	// Gateway and Nameservers are told to clients; a zero Gateway is left out.
	Gateway     netip.Addr
	Nameservers []netip.Addr
}

// dhcpServer leases addresses for good: a client gets the same one after every restart.
type dhcpServer struct {
	DHCPRange
	file string

	mu sync.Mutex
}

// NewDHCP is a DHCP server for the range that keeps its leases in the file, or one that never answers for nil.
func NewDHCP(given *DHCPRange, file string) netdata.DHCP {
	if given == nil {
		return func(string) (netdata.Lease, error) {
			return netdata.Lease{}, errors.New("no DHCPOFFERS received")
		}
	}
	server := &dhcpServer{DHCPRange: *given, file: file}
	return server.lease
}

func (d *dhcpServer) lease(mac string) (netdata.Lease, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	leases, err := d.load()
	if err != nil {
		return netdata.Lease{}, err
	}
	address, ok := leases[mac]
	if !ok || address.Less(d.First) || d.Last.Less(address) {
		if address, err = d.free(leases); err != nil {
			return netdata.Lease{}, err
		}
		leases[mac] = address
		if err := d.store(leases); err != nil {
			return netdata.Lease{}, err
		}
	}
	return netdata.Lease{Address: netip.PrefixFrom(address, d.Bits), Gateway: d.Gateway, Nameservers: slices.Clone(d.Nameservers)}, nil
}

// free is the first address that nobody has.
func (d *dhcpServer) free(leases map[string]netip.Addr) (netip.Addr, error) {
	taken := map[netip.Addr]bool{}
	for _, address := range leases {
		taken[address] = true
	}
	for address := d.First; address.IsValid() && !d.Last.Less(address); address = address.Next() {
		if !taken[address] {
			return address, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("no DHCPOFFERS received: the range %s to %s is used up", d.First, d.Last)
}

func (d *dhcpServer) load() (map[string]netip.Addr, error) {
	leases := map[string]netip.Addr{}
	content, err := os.ReadFile(d.file)
	if errors.Is(err, fs.ErrNotExist) {
		return leases, nil
	}
	if err == nil {
		err = json.Unmarshal(content, &leases)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the DHCP leases: %w", err)
	}
	return leases, nil
}

func (d *dhcpServer) store(leases map[string]netip.Addr) error {
	content, err := json.Marshal(leases)
	if err != nil {
		return fmt.Errorf("encoding the DHCP leases: %w", err)
	}
	return writeFile(d.file, content)
}
