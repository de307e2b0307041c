// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package fakevpp

import (
	"slices"
	"strings"

	"go.fd.io/govpp/api"
	aclapi "go.fd.io/govpp/binapi/acl"
	"go.fd.io/govpp/binapi/acl_types"
	"go.fd.io/govpp/binapi/interface_types"
)

// accessList is an ACL of the acl plugin.
type accessList struct {
	index uint32
	tag   string
	rules []acl_types.ACLRule
	// hits by rule.
	hits []uint64
}

// match finds the first rule that the packet meets; -1 when none does.
func (a *accessList) match(p Packet) int {
	return slices.IndexFunc(a.rules, func(r acl_types.ACLRule) bool {
		if !toPrefix(r.SrcPrefix).Contains(p.Source) || !toPrefix(r.DstPrefix).Contains(p.Destination) {
			return false
		}
		// Protocol 0 is any, and then the ports are not looked at (vpp/src/plugins/acl/public_inlines.h).
		if r.Proto == 0 {
			return true
		}
		if uint8(r.Proto) != p.Protocol {
			return false
		}
		if p.Protocol != protocolTCP && p.Protocol != protocolUDP {
			return true
		}
		return within(p.SourcePort, r.SrcportOrIcmptypeFirst, r.SrcportOrIcmptypeLast) &&
			within(p.DestinationPort, r.DstportOrIcmpcodeFirst, r.DstportOrIcmpcodeLast)
	})
}

func within(port, first, last uint16) bool {
	return first <= port && port <= last
}

// permits asks the lists in order. The first rule that matches decides; when none does, a packet passes only if there are no lists.
// Without one that counts, the rules' hits stay.
func (s *state) permits(lists []uint32, p Packet, count bool) (bool, string) {
	if len(lists) == 0 {
		return true, ""
	}
	for _, index := range lists {
		a := s.acls[index]
		if a == nil {
			continue
		}
		rule := a.match(p)
		if rule < 0 {
			continue
		}
		if count {
			a.hits[rule]++
		}
		return a.rules[rule].IsPermit != acl_types.ACL_ACTION_API_DENY, a.tag
	}
	return false, "no rule of the ACLs"
}

func aclHandlers(put func(string, handler)) {
	put(on((*state).setACL))
	put(on(func(s *state, request *aclapi.ACLDel) []api.Message {
		return []api.Message{&aclapi.ACLDelReply{Retval: s.deleteACL(request.ACLIndex)}}
	}))
	put(on(func(s *state, request *aclapi.ACLDump) []api.Message {
		var details []api.Message
		for _, a := range sortedByKey(s.acls) {
			if request.ACLIndex == none || request.ACLIndex == a.index {
				details = append(details, &aclapi.ACLDetails{ACLIndex: a.index, Tag: a.tag, R: a.rules})
			}
		}
		return details
	}))
	put(on(func(s *state, request *aclapi.ACLInterfaceSetACLList) []api.Message {
		return []api.Message{&aclapi.ACLInterfaceSetACLListReply{Retval: s.applyACLs(request)}}
	}))
	put(on(func(s *state, request *aclapi.ACLInterfaceAddDel) []api.Message {
		return []api.Message{&aclapi.ACLInterfaceAddDelReply{Retval: s.changeACLs(request)}}
	}))
	put(on(func(s *state, request *aclapi.ACLInterfaceListDump) []api.Message {
		var details []api.Message
		for _, l := range s.sortedLinks() {
			if uint32(request.SwIfIndex) != none && uint32(request.SwIfIndex) != l.index {
				continue
			}
			details = append(details, &aclapi.ACLInterfaceListDetails{
				SwIfIndex: interface_types.InterfaceIndex(l.index), NInput: uint8(min(len(l.inputACLs), 255)),
				Acls: slices.Concat(l.inputACLs, l.outputACLs),
			})
		}
		return details
	}))
	put(on(func(_ *state, _ *aclapi.ACLStatsIntfCountersEnable) []api.Message {
		return []api.Message{&aclapi.ACLStatsIntfCountersEnableReply{}}
	}))
	put(on(func(_ *state, _ *aclapi.ACLPluginGetVersion) []api.Message {
		return []api.Message{&aclapi.ACLPluginGetVersionReply{Major: 1, Minor: 4}}
	}))
}

func (s *state) setACL(request *aclapi.ACLAddReplace) []api.Message {
	index := request.ACLIndex
	if index == none {
		for index = 0; s.acls[index] != nil; index++ {
		}
	} else if s.acls[index] == nil {
		return []api.Message{&aclapi.ACLAddReplaceReply{ACLIndex: none, Retval: int32(api.NO_SUCH_ENTRY)}}
	}
	s.acls[index] = &accessList{index: index, tag: strings.TrimRight(request.Tag, "\x00"), rules: request.R, hits: make([]uint64, len(request.R))}
	return []api.Message{&aclapi.ACLAddReplaceReply{ACLIndex: index}}
}

func (s *state) deleteACL(index uint32) int32 {
	if s.acls[index] == nil {
		return int32(api.NO_SUCH_ENTRY)
	}
	for _, l := range s.links {
		if slices.Contains(l.inputACLs, index) {
			return int32(api.ACL_IN_USE_INBOUND)
		}
		if slices.Contains(l.outputACLs, index) {
			return int32(api.ACL_IN_USE_OUTBOUND)
		}
	}
	delete(s.acls, index)
	return 0
}

func (s *state) applyACLs(request *aclapi.ACLInterfaceSetACLList) int32 {
	l := s.link(request.SwIfIndex)
	if l == nil {
		return int32(api.INVALID_SW_IF_INDEX)
	}
	if int(request.NInput) > len(request.Acls) {
		return int32(api.INVALID_VALUE)
	}
	for _, index := range request.Acls {
		if s.acls[index] == nil {
			return int32(api.NO_SUCH_ENTRY)
		}
	}
	l.setACLs(slices.Clone(request.Acls[:request.NInput]), slices.Clone(request.Acls[request.NInput:]))
	return 0
}

func (s *state) changeACLs(request *aclapi.ACLInterfaceAddDel) int32 {
	l := s.link(request.SwIfIndex)
	if l == nil {
		return int32(api.INVALID_SW_IF_INDEX)
	}
	if s.acls[request.ACLIndex] == nil {
		return int32(api.NO_SUCH_ENTRY)
	}
	input, output := l.inputACLs, l.outputACLs
	list := &output
	if request.IsInput {
		list = &input
	}
	*list = slices.DeleteFunc(slices.Clone(*list), func(index uint32) bool { return index == request.ACLIndex })
	if request.IsAdd {
		*list = append(*list, request.ACLIndex)
	}
	l.setACLs(input, output)
	return 0
}

// setACLs applies the lists; the plugin is on the interface's arcs while there are any.
func (l *link) setACLs(input, output []uint32) {
	l.inputACLs, l.outputACLs = input, output
	for _, family := range []string{"ip4", "ip6"} {
		l.setFeature(featureKey{family + "-unicast", "acl-plugin-in-" + family + "-fa"}, len(input) > 0)
		l.setFeature(featureKey{family + "-output", "acl-plugin-out-" + family + "-fa"}, len(output) > 0)
		l.setFeature(featureKey{"l2-input-" + family, "acl-plugin-in-" + family + "-l2"}, len(input) > 0)
		l.setFeature(featureKey{"l2-output-" + family, "acl-plugin-out-" + family + "-l2"}, len(output) > 0)
	}
}
