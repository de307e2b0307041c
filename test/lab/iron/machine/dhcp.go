// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"errors"
	"fmt"
	"net/netip"
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

// NewDHCP is a DHCP server for the range, or one that never answers for nil. A client keeps its address as
// long as the server lives; a restart can give it another one.
func NewDHCP(given *DHCPRange) netdata.DHCP {
	if given == nil {
		return func(string) (netdata.Lease, error) {
			return netdata.Lease{}, errors.New("no DHCPOFFERS received")
		}
	}
	var mu sync.Mutex
	leases := map[string]netip.Addr{}
	next := given.First
	return func(mac string) (netdata.Lease, error) {
		mu.Lock()
		defer mu.Unlock()
		address, ok := leases[mac]
		if !ok {
			if next.Compare(given.Last) > 0 {
				return netdata.Lease{}, fmt.Errorf("no DHCPOFFERS received: the range %s to %s is used up", given.First, given.Last)
			}
			address, next = next, next.Next()
			leases[mac] = address
		}
		return netdata.Lease{Address: netip.PrefixFrom(address, given.Bits), Gateway: given.Gateway, Nameservers: given.Nameservers}, nil
	}
}
