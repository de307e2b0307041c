// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vpp

import (
	"context"
	"fmt"
	"net/netip"

	"go.fd.io/govpp/binapi/fib_types"
	"go.fd.io/govpp/binapi/ip"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// routes are those of table 0, from which Calico-VPP routes to other nodes: its pods' tables lead there.
func (s *session) routes(ctx context.Context) ([]ip.IPRoute, error) {
	details, err := collect(ip.NewServiceClient(s.conn).IPRouteDump(ctx, &ip.IPRouteDump{}))
	if err != nil {
		return nil, fmt.Errorf("listing routes: %w", err)
	}
	routes := make([]ip.IPRoute, 0, len(details))
	for _, d := range details {
		routes = append(routes, d.Route)
	}
	return routes, nil
}

// encrypting are the interfaces that encrypt.
func encrypting(o encryption.Observation) map[uint32]bool {
	indexes := map[uint32]bool{}
	for _, tunnel := range o.Tunnels {
		indexes[tunnel.Index] = true
	}
	for _, association := range o.Associations {
		indexes[association.Index] = true
	}
	return indexes
}

// blockRoutes are the routes to other nodes' pods: those inside the pod CIDRs which do not end on this node, and those outside that lead to
// another node in clear.
func blockRoutes(routes []ip.IPRoute, all links, encrypting map[uint32]bool, e encryption.Expectation) []encryption.Route {
	var blocks []encryption.Route
	for _, route := range routes {
		block := toPrefix(route.Prefix)
		pods := e.IsPods(block)
		if !pods && !e.MayBePods(block) {
			continue
		}
		for _, path := range route.Paths {
			to, remote := pathTo(path, block, all, encrypting)
			if !remote || !pods && (to.Encrypted || !leadsToPeer(path, block, all, e)) {
				continue
			}
			to.Block = block
			blocks = append(blocks, to)
		}
	}
	return blocks
}

// leadsToPeer tells whether a path to a range outside the pods' leads to another node: by its address, or by a tunnel.
func leadsToPeer(path fib_types.FibPath, block netip.Prefix, all links, e encryption.Expectation) bool {
	return e.LeadsToPeer(block, nextHop(path)) || tunnelKind(all.name(path.SwIfIndex)) != ""
}

// pathTo tells where a path to a block leads to, and whether that is off the node.
func pathTo(path fib_types.FibPath, block netip.Prefix, all links, encrypting map[uint32]bool) (encryption.Route, bool) {
	switch {
	case path.Type != fib_types.FIB_API_PATH_TYPE_NORMAL:
		// Dropped, or for this node itself.
		return encryption.Route{}, false
	case path.SwIfIndex == every:
		// Through another node's address, that is, out of the uplink.
		return encryption.Route{Interface: "next hop " + nextHop(path).String()}, true
	case encrypting[path.SwIfIndex]:
		return encryption.Route{Interface: all.name(path.SwIfIndex), Encrypted: true}, true
	case tunnelKind(all.name(path.SwIfIndex)) != "":
		return encryption.Route{Interface: all.name(path.SwIfIndex)}, true
	default:
		// Without a next hop, or when it is the destination itself, the interface is a pod's.
		via := nextHop(path)
		remote := !via.IsUnspecified() && via != block.Addr()
		return encryption.Route{Interface: all.name(path.SwIfIndex)}, remote && !isPod(all.name(path.SwIfIndex))
	}
}

// isPod tells by VPP's naming whether an interface ends in a pod: a TUN, a memif, or Calico's loopback of the pod.
func isPod(name string) bool {
	for _, prefix := range []string{"tun", "tap", "memif", "loop"} {
		if len(name) > len(prefix) && name[:len(prefix)] == prefix {
			return true
		}
	}
	return false
}

func nextHop(path fib_types.FibPath) netip.Addr {
	if path.Proto == fib_types.FIB_API_PATH_NH_PROTO_IP6 {
		return netip.AddrFrom16(path.Nh.Address.GetIP6())
	}
	return netip.AddrFrom4(path.Nh.Address.GetIP4())
}
