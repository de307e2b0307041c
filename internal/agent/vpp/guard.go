// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vpp

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go.fd.io/govpp/binapi/acl"
	"go.fd.io/govpp/binapi/acl_types"
	"go.fd.io/govpp/binapi/fib_types"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/ip_types"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// guardTag finds the guard's ACL again.
const guardTag = "edgemetal-guard"

// IP protocols and the port that the guard knows. https://www.iana.org/assignments/protocol-numbers, RFC 7348 section 5.
const (
	protocolIPIP  = 4
	protocolIP6IP = 41
	portVXLAN     = 4789
)

// rule of the guard: what it drops, empty when it lets pass.
type rule struct {
	drops string
	acl_types.ACLRule
}

// guardRules are the rules of the ACL on what leaves the uplink, after it was encapsulated. Everything that is not a tunnel in clear, nor
// a packet to a pod or from a pod to a service in clear, passes: WireGuard, ESP and IKE, BGP, DHCP, and what the host itself sends to
// anything but pods.
func guardRules(e encryption.Expectation) []rule {
	any4, any6 := netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	match := func(drops string, from, to netip.Prefix, protocol ip_types.IPProto) rule {
		return rule{drops: drops, ACLRule: acl_types.ACLRule{
			SrcPrefix: fromPrefix(from), DstPrefix: fromPrefix(to), Proto: protocol,
			SrcportOrIcmptypeLast: ^uint16(0), DstportOrIcmpcodeLast: ^uint16(0),
		}}
	}
	vxlan := func(family netip.Prefix) rule {
		r := match(encryption.RuleVXLAN, family, family, ip_types.IP_API_PROTO_UDP)
		r.DstportOrIcmpcodeFirst, r.DstportOrIcmpcodeLast = portVXLAN, portVXLAN
		return r
	}
	rules := []rule{
		match(encryption.RuleIPIP, any4, any4, protocolIPIP),
		match(encryption.RuleIPIP, any4, any4, protocolIP6IP),
		vxlan(any4),
		match(encryption.RuleIPIP, any6, any6, protocolIPIP),
		match(encryption.RuleIPIP, any6, any6, protocolIP6IP),
		vxlan(any6),
	}
	for _, pods := range e.PodCIDRs {
		from := any4
		if pods.Addr().Is6() {
			from = any6
		}
		rules = append(rules, match(encryption.RulePods, from, pods, 0))
		for _, services := range e.ServiceCIDRs {
			if services.Addr().Is4() == pods.Addr().Is4() {
				rules = append(rules, match(encryption.RulePods, pods, services, 0))
			}
		}
	}
	for _, family := range []netip.Prefix{any4, any6} {
		r := match("", family, family, 0)
		r.IsPermit = acl_types.ACL_ACTION_API_PERMIT
		rules = append(rules, r)
	}
	return rules
}

// guardState is what there is of the guard.
type guardState struct {
	// acl is the guard's, nil when there is none.
	acl *acl.ACLDetails
	// lists of ACLs by interface.
	lists []*acl.ACLInterfaceListDetails
}

func (s *session) readGuard(ctx context.Context) (guardState, error) {
	client := acl.NewServiceClient(s.conn)
	acls, err := collect(client.ACLDump(ctx, &acl.ACLDump{ACLIndex: every}))
	if err != nil {
		return guardState{}, fmt.Errorf("listing ACLs: %w", err)
	}
	state := guardState{}
	if i := slices.IndexFunc(acls, func(a *acl.ACLDetails) bool { return a.Tag == guardTag }); i >= 0 {
		state.acl = acls[i]
	}
	if state.lists, err = collect(client.ACLInterfaceListDump(ctx, &acl.ACLInterfaceListDump{SwIfIndex: allInterfaces})); err != nil {
		return guardState{}, fmt.Errorf("listing the ACLs of interfaces: %w", err)
	}
	return state, nil
}

// list returns the ACLs on what enters an interface and on what leaves it, in order.
func (g guardState) list(index uint32) (input, output []uint32) {
	for _, list := range g.lists {
		if uint32(list.SwIfIndex) == index {
			n := min(int(list.NInput), len(list.Acls))
			return list.Acls[:n], list.Acls[n:]
		}
	}
	return nil, nil
}

func (s *session) observeGuard(ctx context.Context, e encryption.Expectation, uplink encryption.Interface, routes []ip.IPRoute, c counters) (encryption.Guard, error) {
	if s.noACL != nil {
		return encryption.Guard{Problem: fmt.Sprintf("VPP's acl plugin cannot be used: %v", s.noACL)}, nil //nolint:nilerr // The finding tells it.
	}
	state, err := s.readGuard(ctx)
	if err != nil {
		return encryption.Guard{}, err
	}
	want := guardRules(e)
	guard := encryption.Guard{Present: state.acl != nil}
	covered := 0
	drops := map[string]encryption.Drop{}
	for _, pods := range e.PodCIDRs {
		i := routeTo(routes, pods)
		if i < 0 {
			continue
		}
		// A route to all pods that is not ours is judged as any other: see blockRoutes.
		covered++
		if isDrop(routes[i]) {
			guard.Present = true
			count(drops, encryption.RuleNoRoute, at(c.routes, int(routes[i].StatsIndex)))
		}
	}
	guard.Early = covered == len(e.PodCIDRs)
	if state.acl != nil {
		_, output := state.list(uplink.Index)
		placed := uplink.Name != "" && len(output) > 0 && output[0] == state.acl.ACLIndex
		guard.InForce = placed && guard.Early && sameRules(state.acl.R, want)
		for i, r := range want {
			if r.drops != "" {
				count(drops, r.drops, at(c.rules[state.acl.ACLIndex], i))
			}
		}
	}
	if guard.Present {
		guard.Drops = s.drops(ctx, drops, c.known)
	}
	return guard, nil
}

// drops lists what was counted. Where VPP shares no counters, its error counters tell at least what all rules together have dropped.
func (s *session) drops(ctx context.Context, counted map[string]encryption.Drop, known bool) []encryption.Drop {
	if !known {
		text, err := s.cli(ctx, "show errors")
		if err != nil {
			return nil
		}
		return []encryption.Drop{{Rule: encryption.RuleAny, Packets: deniedPackets(text)}}
	}
	var drops []encryption.Drop
	for _, drop := range counted {
		drops = append(drops, drop)
	}
	slices.SortFunc(drops, func(a, b encryption.Drop) int { return cmp.Compare(a.Rule, b.Rule) })
	return drops
}

// deniedPackets adds up what ACLs have denied to leave, in what `show errors` prints: count, node, reason.
func deniedPackets(errorCounters string) uint64 {
	var packets uint64
	for line := range strings.Lines(errorCounters) {
		fields := strings.Fields(line)
		if len(fields) < 3 || !strings.HasPrefix(fields[1], "acl-plugin-out-ip") || !strings.Contains(line, "deny") {
			continue
		}
		if n, err := strconv.ParseUint(fields[0], 10, 64); err == nil {
			packets += n
		}
	}
	return packets
}

func count(drops map[string]encryption.Drop, rule string, counter [2]uint64) {
	drop := drops[rule]
	drops[rule] = encryption.Drop{Rule: rule, Packets: drop.Packets + counter[0], Bytes: drop.Bytes + counter[1]}
}

// routeTo finds the route to exactly that range, -1 when there is none.
func routeTo(routes []ip.IPRoute, to netip.Prefix) int {
	return slices.IndexFunc(routes, func(r ip.IPRoute) bool { return toPrefix(r.Prefix) == to })
}

func isDrop(route ip.IPRoute) bool {
	return len(route.Paths) == 1 && route.Paths[0].Type == fib_types.FIB_API_PATH_TYPE_DROP
}

func sameRules(have []acl_types.ACLRule, want []rule) bool {
	return slices.EqualFunc(have, want, func(a acl_types.ACLRule, b rule) bool { return a == b.ACLRule })
}

// installGuard puts the routes below the blocks', and the ACL first on what leaves the uplink, before any that is there. Without an uplink
// yet, as after VPP has started, the routes alone see to it that nothing to a pod follows the default route.
func (s *session) installGuard(ctx context.Context, e encryption.Expectation, uplink encryption.Interface) error {
	routes, err := s.routes(ctx)
	if err != nil {
		return err
	}
	for _, pods := range e.PodCIDRs {
		if routeTo(routes, pods) >= 0 {
			continue
		}
		if err := s.setDropRoute(ctx, pods, true); err != nil {
			return err
		}
	}
	if uplink.Name == "" {
		return nil
	}
	state, err := s.readGuard(ctx)
	if err != nil {
		return err
	}
	client := acl.NewServiceClient(s.conn)
	request := &acl.ACLAddReplace{ACLIndex: every, Tag: guardTag}
	if state.acl != nil {
		request.ACLIndex = state.acl.ACLIndex
	}
	for _, r := range guardRules(e) {
		request.R = append(request.R, r.ACLRule)
	}
	reply, err := client.ACLAddReplace(ctx, request)
	if err != nil {
		return fmt.Errorf("adding the ACL: %w", err)
	}
	for _, list := range state.lists {
		if index := uint32(list.SwIfIndex); index != uplink.Index {
			if err := s.unlist(ctx, state, index, reply.ACLIndex); err != nil {
				return err
			}
		}
	}
	input, output := state.list(uplink.Index)
	output = slices.DeleteFunc(slices.Clone(output), func(a uint32) bool { return a == reply.ACLIndex })
	if err := s.setList(ctx, uplink.Index, input, append([]uint32{reply.ACLIndex}, output...)); err != nil {
		return err
	}
	if _, err := client.ACLStatsIntfCountersEnable(ctx, &acl.ACLStatsIntfCountersEnable{Enable: true}); err != nil {
		return fmt.Errorf("counting what ACLs match: %w", err)
	}
	return nil
}

// removeGuard restores what was there before the guard.
func (s *session) removeGuard(ctx context.Context, e encryption.Expectation) error {
	state, err := s.readGuard(ctx)
	if err != nil {
		return err
	}
	if state.acl != nil {
		for _, list := range state.lists {
			if err := s.unlist(ctx, state, uint32(list.SwIfIndex), state.acl.ACLIndex); err != nil {
				return err
			}
		}
		if _, err := acl.NewServiceClient(s.conn).ACLDel(ctx, &acl.ACLDel{ACLIndex: state.acl.ACLIndex}); err != nil {
			return fmt.Errorf("deleting the ACL: %w", err)
		}
	}
	routes, err := s.routes(ctx)
	if err != nil {
		return err
	}
	for _, pods := range e.PodCIDRs {
		if i := routeTo(routes, pods); i >= 0 && isDrop(routes[i]) {
			if err := s.setDropRoute(ctx, pods, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// unlist takes the guard's ACL from an interface.
func (s *session) unlist(ctx context.Context, state guardState, index, guard uint32) error {
	input, output := state.list(index)
	if !slices.Contains(output, guard) {
		return nil
	}
	return s.setList(ctx, index, input, slices.DeleteFunc(slices.Clone(output), func(a uint32) bool { return a == guard }))
}

func (s *session) setList(ctx context.Context, index uint32, input, output []uint32) error {
	_, err := acl.NewServiceClient(s.conn).ACLInterfaceSetACLList(ctx, &acl.ACLInterfaceSetACLList{
		SwIfIndex: interface_types.InterfaceIndex(index),
		NInput:    uint8(len(input)), //nolint:gosec // G115: it was read from such a message.
		Acls:      slices.Concat(input, output),
	})
	if err != nil {
		return fmt.Errorf("setting the ACLs of interface %d: %w", index, err)
	}
	return nil
}

func (s *session) setDropRoute(ctx context.Context, to netip.Prefix, add bool) error {
	proto := fib_types.FIB_API_PATH_NH_PROTO_IP4
	if to.Addr().Is6() {
		proto = fib_types.FIB_API_PATH_NH_PROTO_IP6
	}
	_, err := ip.NewServiceClient(s.conn).IPRouteAddDel(ctx, &ip.IPRouteAddDel{IsAdd: add, Route: ip.IPRoute{
		Prefix: fromPrefix(to),
		Paths:  []fib_types.FibPath{{SwIfIndex: every, Weight: 1, Type: fib_types.FIB_API_PATH_TYPE_DROP, Proto: proto}},
	}})
	if err != nil {
		return fmt.Errorf("setting the route that drops %s: %w", to, err)
	}
	return nil
}
