// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package fakevpp

import (
	"errors"
	"net/netip"
	"strconv"
)

// cliAddPeer is "wireguard peer add <interface> public-key <key> endpoint <address> allowed-ip <prefix>... dst-port <port>
// [persistent-keepalive <seconds>]".
func (s *state) cliAddPeer(args []string) (string, error) {
	l, err := s.cliLink(args)
	if err != nil {
		return "", err
	}
	if l.tunnel == nil || len(args)%2 == 0 {
		return "", errors.New("no WireGuard interface, or a value is missing")
	}
	p := &peer{link: l}
	var address netip.Addr
	var port uint64
	for i := 1; i+1 < len(args); i += 2 {
		value := args[i+1]
		switch args[i] {
		case "public-key":
			p.public, err = parseKey(value)
		case "endpoint":
			address, err = netip.ParseAddr(value)
		case "allowed-ip":
			var prefix netip.Prefix
			prefix, err = netip.ParsePrefix(value)
			p.allowed = append(p.allowed, prefix.Masked())
		case "dst-port":
			port, err = strconv.ParseUint(value, 10, 16)
		case "persistent-keepalive":
			var seconds uint64
			seconds, err = strconv.ParseUint(value, 10, 16)
			p.keepalive = uint16(seconds)
		default:
			err = errors.New("unknown input " + args[i])
		}
		if err != nil {
			return "", err
		}
	}
	p.endpoint = netip.AddrPortFrom(address, uint16(port))
	if s.addPeer(p) != 0 {
		return "", errors.New("wireguard peer add failed")
	}
	return "", nil
}
