// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package fakevpp

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/fib_types"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/ip_neighbor"
	"go.fd.io/govpp/binapi/ip_types"
)

// table is a routing table of IPv4.
type table struct {
	id     uint32
	name   string
	routes map[netip.Prefix]*route
}

// route of a table. One with no paths drops.
type route struct {
	prefix netip.Prefix
	paths  []path
	// shown is how VPP's API shows the prefix where that is not the prefix itself: that of an interface's address keeps the address.
	shown netip.Prefix
}

// path of a route.
type path struct {
	kind fib_types.FibPathType
	// link to leave by; nil to look the gateway up again, or in another table.
	link *link
	// gateway; not valid when the destination is on the link itself.
	gateway netip.Addr
	// table to look the packet up in again; 0 with neither link nor gateway is the default table.
	table uint32
}

func newTable(id uint32, name string) *table {
	return &table{id: id, name: name, routes: map[netip.Prefix]*route{}}
}

func (t *table) replace(r route) {
	t.routes[r.prefix] = &r
}

// lookup finds the route with the longest prefix; nil when there is none.
func (t *table) lookup(address netip.Addr) *route {
	var best *route
	for prefix, r := range t.routes {
		if prefix.Contains(address) && (best == nil || prefix.Bits() > best.prefix.Bits()) {
			best = r
		}
	}
	return best
}

// sorted routes: by prefix.
func (t *table) sorted() []*route {
	routes := make([]*route, 0, len(t.routes))
	for _, r := range t.routes {
		routes = append(routes, r)
	}
	slices.SortFunc(routes, func(a, b *route) int { return a.prefix.Compare(b.prefix) })
	return routes
}

func routeHandlers(put func(string, handler)) {
	put(on(func(s *state, request *ip.IPTableAddDel) []api.Message {
		s.changeTable(request.IsAdd, request.Table)
		return []api.Message{&ip.IPTableAddDelReply{}}
	}))
	put(on(func(s *state, request *ip.IPTableAddDelV2) []api.Message {
		s.changeTable(request.IsAdd, request.Table)
		return []api.Message{&ip.IPTableAddDelV2Reply{}}
	}))
	put(on(func(s *state, _ *ip.IPTableDump) []api.Message {
		var details []api.Message
		for _, t := range sortedByKey(s.tables) {
			details = append(details, &ip.IPTableDetails{Table: ip.IPTable{TableID: t.id, Name: t.name}})
		}
		return details
	}))
	put(on(func(s *state, request *ip.IPRouteAddDel) []api.Message {
		r := request.Route
		return []api.Message{&ip.IPRouteAddDelReply{Retval: s.changeRoute(request.IsAdd, request.IsMultipath, r.TableID, r.Prefix, r.Paths)}}
	}))
	put(on(func(s *state, request *ip.IPRouteAddDelV2) []api.Message {
		r := request.Route
		return []api.Message{&ip.IPRouteAddDelV2Reply{Retval: s.changeRoute(request.IsAdd, request.IsMultipath, r.TableID, r.Prefix, r.Paths)}}
	}))
	put(on(func(s *state, request *ip.IPRouteDump) []api.Message {
		var details []api.Message
		for _, r := range s.shownRoutes(request.Table) {
			details = append(details, &ip.IPRouteDetails{Route: ip.IPRoute{
				TableID: request.Table.TableID, Prefix: r.apiPrefix(), Paths: r.api(),
			}})
		}
		return details
	}))
	put(on(func(s *state, request *ip.IPRouteV2Dump) []api.Message {
		var details []api.Message
		for _, r := range s.shownRoutes(request.Table) {
			details = append(details, &ip.IPRouteV2Details{Route: ip.IPRouteV2{
				TableID: request.Table.TableID, Prefix: r.apiPrefix(), Paths: r.api(),
			}})
		}
		return details
	}))
}

func (s *state) changeTable(add bool, asked ip.IPTable) {
	switch {
	case asked.IsIP6, asked.TableID == 0:
	case !add:
		delete(s.tables, asked.TableID)
	case s.tables[asked.TableID] == nil:
		s.tables[asked.TableID] = newTable(asked.TableID, asked.Name)
	}
}

func (s *state) changeRoute(add, multipath bool, id uint32, asked ip_types.Prefix, paths []fib_types.FibPath) int32 {
	prefix := toPrefix(asked)
	if prefix.Addr().Is6() {
		// Its tables are for IPv4, which is what WireGuard in VPP is supported with.
		return int32(api.UNIMPLEMENTED)
	}
	t := s.tables[id]
	if t == nil {
		return int32(api.NO_SUCH_FIB)
	}
	wanted := make([]path, 0, len(paths))
	for _, p := range paths {
		converted, retval := s.path(p)
		if retval != 0 {
			return retval
		}
		wanted = append(wanted, converted)
	}
	existing := t.routes[prefix]
	switch {
	case add && multipath && existing != nil:
		existing.paths = append(existing.paths, wanted...)
	case add:
		t.replace(route{prefix: prefix, paths: wanted})
	case existing == nil:
		return int32(api.NO_SUCH_ENTRY)
	case multipath:
		existing.paths = slices.DeleteFunc(existing.paths, func(p path) bool { return slices.Contains(wanted, p) })
		if len(existing.paths) == 0 {
			delete(t.routes, prefix)
		}
	default:
		delete(t.routes, prefix)
	}
	return 0
}

// path converts a path of the API.
func (s *state) path(asked fib_types.FibPath) (path, int32) {
	p := path{kind: asked.Type, table: asked.TableID}
	if asked.SwIfIndex != none {
		p.link = s.links[asked.SwIfIndex]
		if p.link == nil {
			return path{}, int32(api.INVALID_SW_IF_INDEX)
		}
	}
	if asked.Proto == fib_types.FIB_API_PATH_NH_PROTO_IP4 {
		if gateway := netip.AddrFrom4(asked.Nh.Address.GetIP4()); !gateway.IsUnspecified() {
			p.gateway = gateway
		}
	}
	return p, 0
}

// shownRoutes of a table, with those that follow from addresses, as VPP lists them.
func (s *state) shownRoutes(asked ip.IPTable) []*route {
	t := s.tables[asked.TableID]
	if asked.IsIP6 || t == nil {
		return nil
	}
	return s.withConnected(t).sorted()
}

// withConnected is the table with the routes that VPP itself makes: what every table has, and what follows from addresses of interfaces and
// from neighbors.
func (s *state) withConnected(t *table) *table {
	all := newTable(t.id, t.name)
	for _, prefix := range []string{"0.0.0.0/0", "0.0.0.0/32", "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32"} {
		all.drop(netip.MustParsePrefix(prefix))
	}
	for _, l := range s.sortedLinks() {
		if l.table != t.id || !l.adminUp {
			continue
		}
		for _, address := range l.addresses {
			all.connect(l, address)
		}
	}
	for _, n := range s.neighbors {
		if s.links[n.link.index] == n.link && n.link.adminUp && n.link.table == t.id {
			all.replace(route{prefix: host(n.address), paths: []path{{link: n.link, gateway: n.address}}})
		}
	}
	for _, r := range t.routes {
		all.replace(*r)
	}
	return all
}

// drop makes the table drop what goes to the prefix.
func (t *table) drop(prefix netip.Prefix) {
	t.replace(route{prefix: prefix, paths: []path{{kind: fib_types.FIB_API_PATH_TYPE_DROP}}})
}

// connect adds what follows from an interface's address.
func (t *table) connect(l *link, address netip.Prefix) {
	subnet := address.Masked()
	t.replace(route{prefix: subnet, paths: []path{{link: l}}, shown: address})
	if bits := subnet.Addr().BitLen() - subnet.Bits(); subnet.Addr().Is4() && bits > 1 {
		last := subnet.Addr().As4()
		binary.BigEndian.PutUint32(last[:], binary.BigEndian.Uint32(last[:])|(1<<bits-1))
		t.drop(host(subnet.Addr()))
		t.drop(host(netip.AddrFrom4(last)))
	}
	t.replace(route{prefix: host(address.Addr()), paths: []path{{kind: fib_types.FIB_API_PATH_TYPE_LOCAL, link: l, gateway: address.Addr()}}})
}

// apiPrefix is the prefix as the API shows it.
func (r *route) apiPrefix() ip_types.Prefix {
	if r.shown.IsValid() {
		return fromPrefix(r.shown)
	}
	return fromPrefix(r.prefix)
}

// neighbor is somebody on an interface whose MAC address VPP was told.
type neighbor struct {
	link    *link
	address netip.Addr
}

// changeNeighbor answers ip_neighbor_add_del.
func (s *state) changeNeighbor(request *ip_neighbor.IPNeighborAddDel) int32 {
	l := s.link(request.Neighbor.SwIfIndex)
	if l == nil {
		return int32(api.INVALID_SW_IF_INDEX)
	}
	n := neighbor{link: l, address: toAddr(request.Neighbor.IPAddress)}
	s.neighbors = slices.DeleteFunc(s.neighbors, func(other neighbor) bool { return other == n })
	if request.IsAdd {
		s.neighbors = append(s.neighbors, n)
	}
	return 0
}

// api is the route's paths as the API shows them.
func (r *route) api() []fib_types.FibPath {
	shown := make([]fib_types.FibPath, 0, len(r.paths))
	for _, p := range r.paths {
		converted := fib_types.FibPath{SwIfIndex: none, TableID: p.table, Weight: 1, Type: p.kind}
		if p.link != nil {
			converted.SwIfIndex = p.link.index
		}
		if p.gateway.IsValid() {
			converted.Nh.Address = fromAddr(p.gateway).Un
		}
		shown = append(shown, converted)
	}
	return shown
}

// resolve takes the address through the table to the path that it leaves by. It is at most a few steps: gateways that other routes lead
// to, and tables that lead to tables.
func (s *state) resolve(id uint32, address netip.Addr) (path, bool) {
	destination := address
	for range 8 {
		t := s.tables[id]
		if t == nil {
			return path{}, false
		}
		r := s.withConnected(t).lookup(destination)
		if r == nil || len(r.paths) == 0 {
			return path{}, false
		}
		p := r.paths[0]
		switch {
		case p.kind != fib_types.FIB_API_PATH_TYPE_NORMAL:
			return p, true
		case p.link != nil:
			if !p.gateway.IsValid() {
				p.gateway = destination
			}
			return p, s.links[p.link.index] == p.link
		case p.gateway.IsValid():
			destination = p.gateway
		default:
			id = p.table
		}
	}
	return path{}, false
}
