// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package fakevpp

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/ethernet_types"
	"go.fd.io/govpp/binapi/feature"
	"go.fd.io/govpp/binapi/gso"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/ipsec"
)

// kind of an interface.
type kind int

const (
	kindLocal kind = iota
	kindAFPacket
	kindTap
	kindWireGuard
	kindIPIP
	kindVXLAN
)

// link is one of VPP's interfaces.
type link struct {
	index   uint32
	name    string
	kind    kind
	devType string
	// host is the name of the host's interface behind it.
	host      string
	tag       string
	mac       ethernet_types.MacAddress
	adminUp   bool
	mtu       uint32
	rxMode    interface_types.RxMode
	queues    uint32
	addresses []netip.Prefix
	// borrowed is the interface whose address an unnumbered one uses.
	borrowed *link
	table    uint32
	features []featureKey
	// inputACLs and outputACLs by index, in the order in which they are asked.
	inputACLs, outputACLs []uint32
	tunnel                *tunnel
	// remote and local end of an IPIP or VXLAN tunnel.
	local, remote netip.Addr
	// protection of an IPIP tunnel by IPsec; nil when there is none.
	protection *ipsec.IpsecTunnelProtect
	rxPackets  uint64
	txPackets  uint64
}

// featureKey names a feature on an arc of VPP's graph.
type featureKey struct {
	arc, name string
}

// hasQueues reports whether the interface receives from the host or the network.
func (l *link) hasQueues() bool {
	return l.kind == kindAFPacket || l.kind == kindTap
}

func (l *link) flags() interface_types.IfStatusFlags {
	var flags interface_types.IfStatusFlags
	if l.adminUp {
		flags = interface_types.IF_STATUS_API_FLAG_ADMIN_UP
		flags |= interface_types.IF_STATUS_API_FLAG_LINK_UP
	}
	return flags
}

// ip4 reports whether the interface takes IPv4 packets: it has an address, or borrows one.
func (l *link) ip4() bool {
	return len(l.addresses) > 0 || (l.borrowed != nil && len(l.borrowed.addresses) > 0)
}

func (s *state) addLink(l *link) {
	l.index = s.nextLink
	s.nextLink++
	if l.mtu == 0 && l.kind != kindLocal && l.kind != kindWireGuard {
		l.mtu = 9000
	}
	if l.hasQueues() {
		l.queues = max(l.queues, 1)
		l.mac = s.mac(l.name)
	}
	s.links[l.index] = l
	if l.kind != kindLocal {
		s.notify(l, false)
	}
}

// removeLink takes the interface away with its addresses; routes through it stop working.
func (s *state) removeLink(l *link) {
	delete(s.links, l.index)
	for _, other := range s.links {
		if other.borrowed == l {
			other.borrowed = nil
		}
	}
	s.notify(l, true)
}

// link with the index; nil when there is none.
func (s *state) link(index interface_types.InterfaceIndex) *link {
	return s.links[uint32(index)]
}

func (s *state) linkNamed(name string) *link {
	for _, l := range s.links {
		if l.name == name {
			return l
		}
	}
	return nil
}

func (s *state) setAdmin(l *link, up bool) {
	if l.adminUp == up {
		return
	}
	l.adminUp = up
	if l.tunnel != nil && !up {
		s.endSessions(l)
	}
	s.notify(l, false)
}

func interfaceHandlers(put func(string, handler)) {
	put(on((*state).dumpLinks))
	put(on(func(s *state, request *interfaces.SwInterfaceSetFlags) []api.Message {
		l := s.link(request.SwIfIndex)
		if l == nil {
			return []api.Message{&interfaces.SwInterfaceSetFlagsReply{Retval: int32(api.INVALID_SW_IF_INDEX)}}
		}
		s.setAdmin(l, request.Flags&interface_types.IF_STATUS_API_FLAG_ADMIN_UP != 0)
		return []api.Message{&interfaces.SwInterfaceSetFlagsReply{}}
	}))
	put(on(func(s *state, request *interfaces.SwInterfaceSetUnnumbered) []api.Message {
		return []api.Message{&interfaces.SwInterfaceSetUnnumberedReply{Retval: s.setUnnumbered(request)}}
	}))
	put(on(func(s *state, request *interfaces.SwInterfaceAddDelAddress) []api.Message {
		return []api.Message{&interfaces.SwInterfaceAddDelAddressReply{Retval: s.changeAddress(request)}}
	}))
	put(on(func(s *state, request *interfaces.SwInterfaceTagAddDel) []api.Message {
		l := s.link(request.SwIfIndex)
		if l == nil {
			return []api.Message{&interfaces.SwInterfaceTagAddDelReply{Retval: int32(api.INVALID_SW_IF_INDEX)}}
		}
		l.tag = ""
		if request.IsAdd {
			l.tag = request.Tag
		}
		return []api.Message{&interfaces.SwInterfaceTagAddDelReply{}}
	}))
	put(on(func(s *state, request *interfaces.SwInterfaceSetMtu) []api.Message {
		l := s.link(request.SwIfIndex)
		if l == nil || len(request.Mtu) == 0 {
			return []api.Message{&interfaces.SwInterfaceSetMtuReply{Retval: int32(api.INVALID_SW_IF_INDEX)}}
		}
		l.mtu = request.Mtu[0]
		return []api.Message{&interfaces.SwInterfaceSetMtuReply{}}
	}))
	put(on(func(s *state, request *interfaces.HwInterfaceSetMtu) []api.Message {
		if l := s.link(request.SwIfIndex); l != nil {
			l.mtu = uint32(request.Mtu)
			return []api.Message{&interfaces.HwInterfaceSetMtuReply{}}
		}
		return []api.Message{&interfaces.HwInterfaceSetMtuReply{Retval: int32(api.INVALID_SW_IF_INDEX)}}
	}))
	put(on(func(s *state, request *interfaces.SwInterfaceSetInterfaceName) []api.Message {
		l := s.link(request.SwIfIndex)
		if l == nil {
			return []api.Message{&interfaces.SwInterfaceSetInterfaceNameReply{Retval: int32(api.INVALID_SW_IF_INDEX)}}
		}
		l.name = request.Name
		return []api.Message{&interfaces.SwInterfaceSetInterfaceNameReply{}}
	}))
	tableHandlers(put)
	queueHandlers(put)
	featureHandlers(put)
}

// tableHandlers put interfaces into routing tables.
func tableHandlers(put func(string, handler)) {
	put(on(func(s *state, request *interfaces.SwInterfaceSetTable) []api.Message {
		l := s.link(request.SwIfIndex)
		if l == nil {
			return []api.Message{&interfaces.SwInterfaceSetTableReply{Retval: int32(api.INVALID_SW_IF_INDEX)}}
		}
		if s.tables[request.VrfID] == nil && !request.IsIPv6 {
			return []api.Message{&interfaces.SwInterfaceSetTableReply{Retval: int32(api.NO_SUCH_FIB)}}
		}
		if !request.IsIPv6 {
			l.table = request.VrfID
		}
		return []api.Message{&interfaces.SwInterfaceSetTableReply{}}
	}))
	put(on(func(s *state, request *interfaces.SwInterfaceGetTable) []api.Message {
		l := s.link(request.SwIfIndex)
		if l == nil {
			return []api.Message{&interfaces.SwInterfaceGetTableReply{Retval: int32(api.INVALID_SW_IF_INDEX)}}
		}
		return []api.Message{&interfaces.SwInterfaceGetTableReply{VrfID: l.table}}
	}))
	addressHandlers(put)
}

// addressHandlers tell of addresses.
func addressHandlers(put func(string, handler)) {
	put(on(func(s *state, request *ip.IPAddressDump) []api.Message {
		var details []api.Message
		if l := s.link(request.SwIfIndex); l != nil {
			for _, address := range l.addresses {
				if address.Addr().Is6() == request.IsIPv6 {
					details = append(details, &ip.IPAddressDetails{SwIfIndex: request.SwIfIndex, Prefix: fromInterfacePrefix(address)})
				}
			}
		}
		return details
	}))
	put(on(func(s *state, request *ip.IPUnnumberedDump) []api.Message {
		var details []api.Message
		for _, l := range s.sortedLinks() {
			if l.borrowed != nil && (uint32(request.SwIfIndex) == none || uint32(request.SwIfIndex) == l.index) {
				details = append(details, &ip.IPUnnumberedDetails{
					SwIfIndex: interface_types.InterfaceIndex(l.index), IPSwIfIndex: interface_types.InterfaceIndex(l.borrowed.index),
				})
			}
		}
		return details
	}))
}

func queueHandlers(put func(string, handler)) {
	put(on(func(s *state, request *interfaces.SwInterfaceRxPlacementDump) []api.Message {
		var details []api.Message
		for _, l := range s.sortedLinks() {
			if uint32(request.SwIfIndex) != none && uint32(request.SwIfIndex) != l.index {
				continue
			}
			for queue := range l.queues {
				details = append(details, &interfaces.SwInterfaceRxPlacementDetails{
					SwIfIndex: interface_types.InterfaceIndex(l.index), QueueID: queue, Mode: l.rxMode,
				})
			}
		}
		return details
	}))
	put(on(func(s *state, request *interfaces.SwInterfaceSetRxMode) []api.Message {
		l := s.link(request.SwIfIndex)
		switch {
		case l == nil:
			return []api.Message{&interfaces.SwInterfaceSetRxModeReply{Retval: int32(api.INVALID_SW_IF_INDEX)}}
		case !l.hasQueues(), l.kind == kindAFPacket && request.Mode == interface_types.RX_MODE_API_ADAPTIVE:
			return []api.Message{&interfaces.SwInterfaceSetRxModeReply{Retval: int32(api.INVALID_VALUE)}}
		}
		l.rxMode = request.Mode
		return []api.Message{&interfaces.SwInterfaceSetRxModeReply{}}
	}))
}

func featureHandlers(put func(string, handler)) {
	put(on(func(s *state, request *gso.FeatureGsoEnableDisable) []api.Message {
		l := s.link(request.SwIfIndex)
		if l == nil {
			return []api.Message{&gso.FeatureGsoEnableDisableReply{Retval: int32(api.INVALID_SW_IF_INDEX)}}
		}
		l.setGSO(request.EnableDisable)
		return []api.Message{&gso.FeatureGsoEnableDisableReply{}}
	}))
	put(on(func(s *state, request *feature.FeatureEnableDisable) []api.Message {
		l := s.link(request.SwIfIndex)
		if l == nil {
			return []api.Message{&feature.FeatureEnableDisableReply{Retval: int32(api.INVALID_SW_IF_INDEX)}}
		}
		l.setFeature(featureKey{request.ArcName, request.FeatureName}, request.Enable)
		return []api.Message{&feature.FeatureEnableDisableReply{}}
	}))
	put(on(func(s *state, request *feature.FeatureIsEnabled) []api.Message {
		l := s.link(request.SwIfIndex)
		if l == nil {
			return []api.Message{&feature.FeatureIsEnabledReply{Retval: int32(api.INVALID_SW_IF_INDEX)}}
		}
		return []api.Message{&feature.FeatureIsEnabledReply{IsEnabled: slices.Contains(l.features, featureKey{request.ArcName, request.FeatureName})}}
	}))
}

// setFeature switches a feature. VPP keeps a feature once, however often it is enabled.
func (l *link) setFeature(key featureKey, enable bool) {
	l.features = slices.DeleteFunc(l.features, func(other featureKey) bool { return other == key })
	if enable {
		l.features = append(l.features, key)
		slices.SortFunc(l.features, func(a, b featureKey) int {
			return cmp.Or(strings.Compare(a.arc, b.arc), cmp.Compare(a.rank(), b.rank()), strings.Compare(a.name, b.name))
		})
	}
}

// rank is where the feature's place on its arc is, as features ask for it (VNET_FEATURE_INIT, runs_before).
func (k featureKey) rank() int {
	for i, beginning := range []string{"acl-plugin", "cnat-lookup", "cnat-input", "cnat-output", "cnat-writeback", "gso", "wg"} {
		if strings.HasPrefix(k.name, beginning) {
			return i
		}
	}
	return len(k.name)
}

// setGSO switches segmentation (vpp/src/vnet/gso/gso.c).
func (l *link) setGSO(enable bool) {
	for _, family := range []string{"ip4", "ip6"} {
		l.setFeature(featureKey{family + "-output", "gso-" + family}, enable)
		l.setFeature(featureKey{"l2-output-" + family, "gso-l2-" + family}, enable)
	}
}

// setCNAT switches service translation (vpp/src/plugins/cnat/cnat_types.c, cnat_sw_interface_enable_disable).
func (l *link) setCNAT(enable bool) {
	for _, family := range []string{"ip4", "ip6"} {
		l.setFeature(featureKey{family + "-unicast", "cnat-input-" + family}, enable)
		l.setFeature(featureKey{family + "-unicast", "cnat-lookup-" + family}, enable)
		l.setFeature(featureKey{family + "-output", "cnat-output-" + family}, enable)
		l.setFeature(featureKey{family + "-output", "cnat-writeback-" + family}, enable)
	}
}

func (s *state) dumpLinks(request *interfaces.SwInterfaceDump) []api.Message {
	var details []api.Message
	for _, l := range s.sortedLinks() {
		// A zero index without a filter is what clients send who leave the field alone: VPP takes it for all interfaces.
		if index := uint32(request.SwIfIndex); index != none && index != 0 && index != l.index {
			continue
		}
		if request.NameFilterValid && !strings.Contains(l.name, strings.TrimRight(request.NameFilter, "\x00")) {
			continue
		}
		details = append(details, &interfaces.SwInterfaceDetails{
			SwIfIndex: interface_types.InterfaceIndex(l.index), SupSwIfIndex: l.index, L2Address: l.mac, Flags: l.flags(),
			Type: interface_types.IF_API_TYPE_HARDWARE, LinkMtu: uint16(min(l.mtu, 9216)), Mtu: []uint32{l.mtu, 0, 0, 0},
			InterfaceName: l.name, InterfaceDevType: l.devType, Tag: l.tag,
		})
	}
	return details
}

func (s *state) setUnnumbered(request *interfaces.SwInterfaceSetUnnumbered) int32 {
	l, lender := s.link(request.UnnumberedSwIfIndex), s.link(request.SwIfIndex)
	if l == nil || lender == nil {
		return int32(api.INVALID_SW_IF_INDEX)
	}
	l.borrowed = nil
	if request.IsAdd {
		l.borrowed = lender
	}
	return 0
}

func (s *state) changeAddress(request *interfaces.SwInterfaceAddDelAddress) int32 {
	l := s.link(request.SwIfIndex)
	if l == nil {
		return int32(api.INVALID_SW_IF_INDEX)
	}
	address := netip.PrefixFrom(toAddr(request.Prefix.Address), int(request.Prefix.Len))
	return s.setAddress(l, address, request.IsAdd, request.DelAll)
}

func (s *state) setAddress(l *link, address netip.Prefix, add, all bool) int32 {
	switch {
	case all && !add:
		l.addresses = nil
	case !add:
		l.addresses = slices.DeleteFunc(l.addresses, func(other netip.Prefix) bool { return other == address })
	case slices.Contains(l.addresses, address):
		return int32(api.VALUE_EXIST)
	default:
		l.addresses = append(l.addresses, address)
	}
	return 0
}
