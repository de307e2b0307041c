// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package fakevpp

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.fd.io/govpp/binapi/acl_types"
	"go.fd.io/govpp/binapi/fib_types"
	"go.fd.io/govpp/binapi/interface_types"
)

// Buffers of the fake, of which VPP gets into 16384 pages of 4 KiB fewer.
const (
	buffers      = 11956
	bufferData   = 2048
	bufferObject = 2304
)

// shows are commands that print. They print as VPP does as far as anybody reads it.
func shows() []cliCommand {
	return []cliCommand{
		{"show version", func(*state, []string) (string, error) {
			return "vpp v" + version + " built by root on build at 2026-05-05T14:01:34\n", nil
		}},
		{"show physmem", func(s *state, _ []string) (string, error) { return s.showPhysmem(), nil }},
		{"show memory main-heap", func(*state, []string) (string, error) {
			return "  base 0x7f574e0ef000, size 1g, locked, unmap-on-destroy, name 'main heap'\n" +
				"    page stats: page-size 4K, total 262144, populated 9779, not-populated 252365\n" +
				"      numa 0: 9779 pages, 38.20m bytes\n" +
				"    total: 1.00G, used: 35.19M, free: 988.81M, trimmable: 988.81M\n\n", nil
		}},
		{"show buffers", func(*state, []string) (string, error) {
			return "Pool Name            Index NUMA  Size  Data Size  Total  Avail  Cached   Used  \n" +
				fmt.Sprintf("%-20s%4d%6d%8d%9d%9d%7d%6d%9d\n", "default-numa-0", 0, 0, bufferObject, bufferData, buffers, buffers-512, 2, 510), nil
		}},
		{"show interface", func(s *state, args []string) (string, error) { return s.showInterface(args) }},
		{"show interface address", func(s *state, args []string) (string, error) { return s.showAddresses(args), nil }},
		{"show interface addr", func(s *state, args []string) (string, error) { return s.showAddresses(args), nil }},
		{"show interface features", func(s *state, args []string) (string, error) { return s.showFeatures(args) }},
		{"show interface rx-placement", func(s *state, args []string) (string, error) { return s.showPlacement(args), nil }},
		{"show wireguard interface", func(s *state, _ []string) (string, error) { return s.showTunnels(), nil }},
		{"show wireguard peer", func(s *state, _ []string) (string, error) { return s.showPeers(), nil }},
		{"show acl-plugin acl", func(s *state, _ []string) (string, error) { return s.showACLs(), nil }},
		{"show acl-plugin interface", func(s *state, _ []string) (string, error) { return s.showAppliedACLs(), nil }},
		{"show acl-plugin tables", func(s *state, _ []string) (string, error) { return s.showHits(), nil }},
		{"show ip fib", func(s *state, args []string) (string, error) { return s.showFIB(args), nil }},
		{"show errors", func(s *state, _ []string) (string, error) { return s.showErrors(), nil }},
	}
}

func (s *state) showPhysmem() string {
	size := "4K"
	if s.config.Hugepages {
		size = "2M"
	}
	return " used-pages 32 reserved-pages 1024 default-page-size 2M lookup-page-size " + size + "\n" +
		"   arena 'buffers-numa-0' pages 32 subpage-size " + size + " numa-node 0 shared fd 5\n"
}

func (s *state) showInterface(args []string) (string, error) {
	var out strings.Builder
	out.WriteString("              Name               Idx    State  MTU (L3/IP4/IP6/MPLS)     Counter          Count     \n")
	for _, l := range s.linksByName() {
		if len(args) > 0 && !slices.Contains(args, l.name) {
			continue
		}
		head := fmt.Sprintf("%-32s%3d%9s%15s       ", l.name, l.index, l.state(), fmt.Sprintf("%d/0/0/0", l.mtu))
		var counters []string
		if l.rxPackets > 0 {
			counters = append(counters, fmt.Sprintf("%-20s%16d", "rx packets", l.rxPackets))
		}
		if l.txPackets > 0 {
			counters = append(counters, fmt.Sprintf("%-20s%16d", "tx packets", l.txPackets))
		}
		out.WriteString(head + strings.Join(counters, "\n"+strings.Repeat(" ", len(head))) + "\n")
	}
	return out.String(), nil
}

// linksByName is the order in which VPP shows interfaces.
func (s *state) linksByName() []*link {
	return slices.SortedFunc(maps.Values(s.links), func(a, b *link) int { return strings.Compare(a.name, b.name) })
}

func (l *link) state() string {
	if l.adminUp {
		return "up"
	}
	return "down"
}

func (s *state) showAddresses(args []string) string {
	var out strings.Builder
	for _, l := range s.linksByName() {
		if len(args) > 0 && !slices.Contains(args, l.name) {
			continue
		}
		state := "dn"
		if l.adminUp {
			state = "up"
		}
		fmt.Fprintf(&out, "%s (%s):\n", l.name, state)
		if l.borrowed != nil {
			fmt.Fprintf(&out, "  unnumbered, use %s\n", l.borrowed.name)
			for _, address := range l.borrowed.addresses {
				fmt.Fprintf(&out, "  L3 %s\n", address)
			}
		}
		for _, address := range l.addresses {
			fmt.Fprintf(&out, "  L3 %s\n", address)
		}
	}
	return out.String()
}

func (s *state) showFeatures(args []string) (string, error) {
	l, err := s.cliLink(args)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	fmt.Fprintf(&out, "Feature paths configured on %s...\n", l.name)
	arcs := []string{
		"arp", "nsh-output", "mpls-output", "mpls-input", "ip6-drop", "ip6-punt", "ip6-local", "ip6-output", "ip6-multicast", "ip6-unicast",
		"ip4-drop", "ip4-punt", "ip4-local", "ip4-output", "ip4-multicast", "ip4-unicast", "l2-output-nonip", "l2-input-nonip", "l2-output-ip6",
		"l2-input-ip6", "l2-output-ip4", "l2-input-ip4", "ethernet-output", "error-drop", "interface-output", "port-rx-eth", "device-input",
		"l2-input", "l2-output",
	}
	for _, arc := range arcs {
		fmt.Fprintf(&out, "\n%s:\n", arc)
		names := l.featuresOn(arc)
		if len(names) == 0 {
			names = []string{"none configured"}
		}
		fmt.Fprintf(&out, "  %s\n", strings.Join(names, "\n  "))
	}
	return out.String(), nil
}

// featuresOn are the features on an arc, in order; those that drop what the interface is not enabled for among them.
func (l *link) featuresOn(arc string) []string {
	var names []string
	for _, f := range l.features {
		if f.arc == arc {
			names = append(names, f.name)
		}
	}
	switch {
	case strings.HasPrefix(arc, "ip4-") && strings.HasSuffix(arc, "cast") && !l.ip4():
		names = append(names, "ip4-not-enabled")
	case strings.HasPrefix(arc, "ip6-") && strings.HasSuffix(arc, "cast"):
		names = append(names, "ip6-not-enabled")
	case arc == "mpls-input":
		names = append(names, "mpls-not-enabled")
	}
	return names
}

func (s *state) showPlacement(args []string) string {
	var out strings.Builder
	out.WriteString("Thread 0 (vpp_main):\n")
	for _, l := range s.sortedLinks() {
		if len(args) > 0 && !slices.Contains(args, l.name) {
			continue
		}
		for queue := range l.queues {
			fmt.Fprintf(&out, " node %s-input:\n    %s queue %d (%s)\n", l.devType, l.name, queue, modeName(l.rxMode))
		}
	}
	return out.String()
}

func modeName(mode interface_types.RxMode) string {
	switch mode {
	case interface_types.RX_MODE_API_POLLING:
		return "polling"
	case interface_types.RX_MODE_API_ADAPTIVE:
		return "adaptive"
	default:
		return "interrupt"
	}
}

// showTunnels prints the private keys, as VPP does: whoever collects this output gives them away.
func (s *state) showTunnels() string {
	var out strings.Builder
	for _, l := range s.tunnels() {
		fmt.Fprintf(&out, "[%d] %s src:%s port:%d private-key:%s %x public-key:%s %x mac-key: %x\n", l.tunnel.instance, l.name, l.tunnel.source,
			l.tunnel.port, l.tunnel.private, l.tunnel.private[:], l.tunnel.public, l.tunnel.public[:], make([]byte, 32))
	}
	return out.String()
}

func (s *state) showPeers() string {
	var out strings.Builder
	for _, p := range sortedByKey(s.peers) {
		fmt.Fprintf(&out, "[%d] endpoint:[%s:%d->%s] %s keep-alive:%d flags: %d, api-clients count: %d\n  adj:\n  public key:%s %x\n  allowed-ips:",
			p.index, p.link.tunnel.source, p.link.tunnel.port, p.endpoint, p.link.name, p.keepalive, p.flags(), len(p.watchers), p.public, p.public[:])
		for _, prefix := range p.allowed {
			fmt.Fprintf(&out, " %s", prefix)
		}
		out.WriteString("\n")
	}
	return out.String()
}

func (s *state) showACLs() string {
	var out strings.Builder
	for _, a := range sortedByKey(s.acls) {
		fmt.Fprintf(&out, "acl-index %d count %d tag {%s}\n", a.index, len(a.rules), a.tag)
		for i, r := range a.rules {
			fmt.Fprintf(&out, "  %9d: ipv4 %s src %s dst %s proto %d sport %s dport %s\n", i, actionName(r.IsPermit), r.SrcPrefix, r.DstPrefix, r.Proto,
				span(r.SrcportOrIcmptypeFirst, r.SrcportOrIcmptypeLast), span(r.DstportOrIcmpcodeFirst, r.DstportOrIcmpcodeLast))
		}
		for _, l := range s.sortedLinks() {
			if slices.Contains(l.outputACLs, a.index) {
				fmt.Fprintf(&out, "  applied outbound on sw_if_index: %d\n", l.index)
			}
			if slices.Contains(l.inputACLs, a.index) {
				fmt.Fprintf(&out, "  applied inbound on sw_if_index: %d\n", l.index)
			}
		}
	}
	return out.String()
}

func actionName(action acl_types.ACLAction) string {
	switch action {
	case acl_types.ACL_ACTION_API_PERMIT:
		return "permit"
	case acl_types.ACL_ACTION_API_PERMIT_REFLECT:
		return "permit+reflect"
	default:
		return "deny"
	}
}

func span(first, last uint16) string {
	if first == last {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d-%d", first, last)
}

func (s *state) showAppliedACLs() string {
	var out strings.Builder
	for _, l := range s.sortedLinks() {
		fmt.Fprintf(&out, "sw_if_index %d:\n", l.index)
		if len(l.inputACLs) > 0 {
			fmt.Fprintf(&out, "  input acl(s): %s\n", numbers(l.inputACLs))
		}
		if len(l.outputACLs) > 0 {
			fmt.Fprintf(&out, "  output acl(s): %s\n", numbers(l.outputACLs))
		}
	}
	return out.String()
}

func numbers(list []uint32) string {
	return strings.Trim(fmt.Sprint(list), "[]")
}

// showHits lists the rules in force with how often each was met.
func (s *state) showHits() string {
	var out strings.Builder
	out.WriteString("Stats counters enabled for interface ACLs: 0\nUse hash-based lookup for ACLs: 1\nApplied lookup entries for lookup contexts\n")
	lookups := 0
	for _, l := range s.sortedLinks() {
		for _, lists := range [][]uint32{l.inputACLs, l.outputACLs} {
			if len(lists) == 0 {
				continue
			}
			fmt.Fprintf(&out, "lc_index %d:\n  applied acls: %s\n  lookup applied entries:\n", lookups, numbers(lists))
			lookups++
			entry := 0
			for position, index := range lists {
				for i, r := range s.acls[index].rules {
					fmt.Fprintf(&out, "    %4d: acl %d rule %d action %d bitmask-ready rule %d mask type index: 1 colliding_rules: 1 collision_head_ae_idx %d hitcount %d acl_pos: %d\n",
						entry, index, i, r.IsPermit, i, entry, s.acls[index].hits[i], position)
					entry++
				}
			}
		}
	}
	return out.String()
}

func (s *state) showFIB(args []string) string {
	var out strings.Builder
	for _, t := range sortedByKey(s.tables) {
		fmt.Fprintf(&out, "%s, fib_index:%d, flow hash:[src dst sport dport proto flowlabel ] epoch:0 flags:none locks:[adjacency:1, default-route:1, ]\n", t.name, t.id)
		for _, r := range s.withConnected(t).sorted() {
			if len(args) > 0 && args[0] != r.prefix.String() && args[0] != r.prefix.Addr().String() {
				continue
			}
			fmt.Fprintf(&out, "%s\n  unicast-ip4-chain\n", r.prefix)
			for _, p := range r.paths {
				fmt.Fprintf(&out, "    %s\n", p)
			}
		}
	}
	return out.String()
}

// String is the path as "show ip fib" tells it.
func (p path) String() string {
	switch {
	case p.kind == fib_types.FIB_API_PATH_TYPE_DROP:
		return "[@0]: dpo-drop ip4"
	case p.kind == fib_types.FIB_API_PATH_TYPE_LOCAL:
		return "[@0]: dpo-receive: " + p.gateway.String()
	case p.link != nil && !p.link.adminUp:
		return "[@0]: dpo-drop ip4"
	case p.link != nil && p.gateway.IsValid():
		return fmt.Sprintf("[@0]: ipv4 via %s %s", p.gateway, p.link.name)
	case p.link != nil:
		return "[@0]: ipv4-glean: " + p.link.name
	case p.gateway.IsValid():
		return "[@0]: ipv4 via " + p.gateway.String()
	default:
		return fmt.Sprintf("[@0]: dst-address,unicast lookup in ipv4-VRF:%d", p.table)
	}
}

func (s *state) showErrors() string {
	var out strings.Builder
	out.WriteString("   Count                  Node                              Reason               Severity \n")
	for _, counter := range slices.SortedFunc(maps.Keys(s.errors), func(a, b errorCounter) int {
		return cmp.Or(strings.Compare(a.node, b.node), strings.Compare(a.reason, b.reason))
	}) {
		fmt.Fprintf(&out, "%10d%s%s%s\n", s.errors[counter], centered(counter.node, 35), centered(counter.reason, 35), centered("error", 10))
	}
	return out.String()
}

// centered pads the text on both sides.
func centered(text string, width int) string {
	left := max(0, width-len(text)) / 2
	return fmt.Sprintf("%*s%-*s", left, "", width-left, text)
}
