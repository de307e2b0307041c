// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package fakevpp

import (
	"net/netip"

	"go.fd.io/govpp/binapi/ip_types"
)

// toAddr converts an address of the API; VPP has no other kinds than IPv4 and IPv6.
func toAddr(a ip_types.Address) netip.Addr {
	addr, _ := netip.AddrFromSlice(a.ToIP())
	if a.Af == ip_types.ADDRESS_IP4 {
		return addr.Unmap()
	}
	return addr
}

func fromAddr(a netip.Addr) ip_types.Address {
	if !a.IsValid() {
		return ip_types.Address{}
	}
	return ip_types.NewAddress(a.AsSlice())
}

// toPrefix converts a prefix of the API; host bits are cleared, as VPP does for routes and peers.
func toPrefix(p ip_types.Prefix) netip.Prefix {
	return netip.PrefixFrom(toAddr(p.Address), int(p.Len)).Masked()
}

func fromPrefix(p netip.Prefix) ip_types.Prefix {
	return ip_types.Prefix{Address: fromAddr(p.Addr()), Len: prefixLength(p)}
}

func fromInterfacePrefix(p netip.Prefix) ip_types.AddressWithPrefix {
	return ip_types.AddressWithPrefix{Address: fromAddr(p.Addr()), Len: prefixLength(p)}
}

// prefixLength is at most 128.
func prefixLength(p netip.Prefix) uint8 {
	return uint8(p.Bits())
}

func host(a netip.Addr) netip.Prefix {
	return netip.PrefixFrom(a, a.BitLen())
}
