// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package fakevpp

import (
	"fmt"
	"net/netip"

	"go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/af_packet"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/ip_neighbor"
	"go.fd.io/govpp/binapi/ipip"
	"go.fd.io/govpp/binapi/ipsec"
	"go.fd.io/govpp/binapi/tapv2"
	"go.fd.io/govpp/binapi/vxlan"
)

// Tags that vpp-manager puts on what it makes of the host's interface (vpp-dataplane, vpp-manager/vpp_runner.go).
const (
	uplinkTag  = "main-"
	hostTapTag = "host-"
)

// configureUplink does what vpp-manager does to the host's interface that VPP takes over.
func (s *state) configureUplink(uplink Uplink) {
	s.tables[1] = newTable(1, "punt-table-ip4")
	s.tables[2] = newTable(2, "calico-pods-ip4")
	s.tables[2].replace(route{prefix: netip.PrefixFrom(netip.IPv4Unspecified(), 0), paths: []path{{}}})
	l := s.addAFPacket(uplink.Name)
	l.tag = uplinkTag + uplink.Name
	l.mtu = 1500
	if uplink.MTU != 0 {
		l.mtu = uplink.MTU
	}
	l.rxMode = interface_types.RX_MODE_API_INTERRUPT
	l.addresses = []netip.Prefix{uplink.Address}
	l.setGSO(true)
	s.setAdmin(l, true)
	if uplink.Gateway.IsValid() {
		s.tables[0].replace(route{prefix: netip.PrefixFrom(netip.IPv4Unspecified(), 0), paths: []path{{gateway: uplink.Gateway}}})
	}
	tap := &link{name: "tap0", kind: kindTap, devType: "virtio", host: uplink.Name, tag: hostTapTag + uplink.Name, rxMode: interface_types.RX_MODE_API_INTERRUPT}
	s.addLink(tap)
	s.setAdmin(tap, true)
}

func (s *state) addAFPacket(hostName string) *link {
	// The driver receives with interrupts unless told otherwise.
	l := &link{name: "host-" + hostName, kind: kindAFPacket, devType: "af-packet", host: hostName, rxMode: interface_types.RX_MODE_API_INTERRUPT}
	s.addLink(l)
	return l
}

// hostLink is the packet socket on the host's interface; nil when there is none.
func (s *state) hostLink(hostName string) *link {
	for _, l := range s.links {
		if l.kind == kindAFPacket && l.host == hostName {
			return l
		}
	}
	return nil
}

// createAFPacket answers the versions of af_packet_create.
func (s *state) createAFPacket(hostName string) (interface_types.InterfaceIndex, int32) {
	if existing := s.hostLink(hostName); existing != nil {
		return interface_types.InterfaceIndex(existing.index), int32(api.IF_ALREADY_EXISTS)
	}
	return interface_types.InterfaceIndex(s.addAFPacket(hostName).index), 0
}

func deviceHandlers(put func(string, handler)) {
	put(on(func(s *state, request *af_packet.AfPacketCreate) []api.Message {
		index, retval := s.createAFPacket(request.HostIfName)
		return []api.Message{&af_packet.AfPacketCreateReply{SwIfIndex: index, Retval: retval}}
	}))
	put(on(func(s *state, request *af_packet.AfPacketCreateV2) []api.Message {
		index, retval := s.createAFPacket(request.HostIfName)
		return []api.Message{&af_packet.AfPacketCreateV2Reply{SwIfIndex: index, Retval: retval}}
	}))
	put(on(func(s *state, request *af_packet.AfPacketCreateV3) []api.Message {
		index, retval := s.createAFPacket(request.HostIfName)
		return []api.Message{&af_packet.AfPacketCreateV3Reply{SwIfIndex: index, Retval: retval}}
	}))
	put(on(func(s *state, request *af_packet.AfPacketDelete) []api.Message {
		l := s.hostLink(request.HostIfName)
		if l == nil {
			return []api.Message{&af_packet.AfPacketDeleteReply{Retval: int32(api.NO_MATCHING_INTERFACE)}}
		}
		s.removeLink(l)
		return []api.Message{&af_packet.AfPacketDeleteReply{}}
	}))
	put(on(func(s *state, _ *af_packet.AfPacketDump) []api.Message {
		var details []api.Message
		for _, l := range s.sortedLinks() {
			if l.kind == kindAFPacket {
				details = append(details, &af_packet.AfPacketDetails{SwIfIndex: interface_types.InterfaceIndex(l.index), HostIfName: l.host})
			}
		}
		return details
	}))
	tapHandlers(put)
	encapsulationHandlers(put)
}

func tapHandlers(put func(string, handler)) {
	put(on(func(s *state, request *tapv2.TapCreateV3) []api.Message {
		id := request.ID
		if id == none {
			for id = 0; s.linkNamed(fmt.Sprintf("tap%d", id)) != nil; id++ {
			}
		}
		name := fmt.Sprintf("tap%d", id)
		if s.linkNamed(name) != nil {
			return []api.Message{&tapv2.TapCreateV3Reply{Retval: int32(api.VALUE_EXIST)}}
		}
		l := &link{
			name: name, kind: kindTap, devType: "virtio", host: request.HostIfName, tag: request.Tag, queues: uint32(request.NumRxQueues),
			rxMode: interface_types.RX_MODE_API_INTERRUPT,
		}
		s.addLink(l)
		return []api.Message{&tapv2.TapCreateV3Reply{SwIfIndex: interface_types.InterfaceIndex(l.index)}}
	}))
	put(on(func(s *state, request *tapv2.TapDeleteV2) []api.Message {
		l := s.link(request.SwIfIndex)
		if l == nil || l.kind != kindTap {
			return []api.Message{&tapv2.TapDeleteV2Reply{Retval: int32(api.INVALID_SW_IF_INDEX)}}
		}
		s.removeLink(l)
		return []api.Message{&tapv2.TapDeleteV2Reply{}}
	}))
	put(on(func(s *state, _ *tapv2.SwInterfaceTapV2Dump) []api.Message {
		var details []api.Message
		for _, l := range s.sortedLinks() {
			if l.kind == kindTap {
				details = append(details, &tapv2.SwInterfaceTapV2Details{
					SwIfIndex: l.index, TxRingSz: 256, RxRingSz: 256, DevName: l.name, HostIfName: l.host,
				})
			}
		}
		return details
	}))
}

// encapsulationHandlers make and list the tunnels in clear that the Calico agent falls back to.
func encapsulationHandlers(put func(string, handler)) {
	put(on(func(s *state, request *ipip.IpipAddTunnel) []api.Message {
		l := s.addEncapsulation(kindIPIP, "ipip", "IPIP", toAddr(request.Tunnel.Src), toAddr(request.Tunnel.Dst))
		if l == nil {
			return []api.Message{&ipip.IpipAddTunnelReply{Retval: int32(api.IF_ALREADY_EXISTS)}}
		}
		return []api.Message{&ipip.IpipAddTunnelReply{SwIfIndex: interface_types.InterfaceIndex(l.index)}}
	}))
	put(on(func(s *state, request *ipip.IpipDelTunnel) []api.Message {
		l := s.link(request.SwIfIndex)
		if l == nil || l.kind != kindIPIP {
			return []api.Message{&ipip.IpipDelTunnelReply{Retval: int32(api.NO_SUCH_ENTRY)}}
		}
		s.removeLink(l)
		return []api.Message{&ipip.IpipDelTunnelReply{}}
	}))
	put(on(func(s *state, request *ipip.IpipTunnelDump) []api.Message {
		var details []api.Message
		for _, l := range s.sortedLinks() {
			if l.kind == kindIPIP && (uint32(request.SwIfIndex) == none || uint32(request.SwIfIndex) == l.index) {
				details = append(details, &ipip.IpipTunnelDetails{Tunnel: ipip.IpipTunnel{
					Src: fromAddr(l.local), Dst: fromAddr(l.remote), SwIfIndex: interface_types.InterfaceIndex(l.index),
				}})
			}
		}
		return details
	}))
	protectionHandlers(put)
	vxlanHandlers(put)
}

// protectionHandlers give IPIP tunnels their IPsec security associations, as IKE does.
func protectionHandlers(put func(string, handler)) {
	put(on(func(s *state, request *ipsec.IpsecTunnelProtectUpdate) []api.Message {
		l := s.link(request.Tunnel.SwIfIndex)
		if l == nil || l.kind != kindIPIP {
			return []api.Message{&ipsec.IpsecTunnelProtectUpdateReply{Retval: int32(api.INVALID_SW_IF_INDEX)}}
		}
		l.protection = &request.Tunnel
		return []api.Message{&ipsec.IpsecTunnelProtectUpdateReply{}}
	}))
	put(on(func(s *state, request *ipsec.IpsecTunnelProtectDel) []api.Message {
		l := s.link(request.SwIfIndex)
		if l == nil || l.protection == nil {
			return []api.Message{&ipsec.IpsecTunnelProtectDelReply{Retval: int32(api.NO_SUCH_ENTRY)}}
		}
		l.protection = nil
		return []api.Message{&ipsec.IpsecTunnelProtectDelReply{}}
	}))
	put(on(func(s *state, request *ipsec.IpsecTunnelProtectDump) []api.Message {
		var details []api.Message
		for _, l := range s.sortedLinks() {
			if l.protection != nil && (uint32(request.SwIfIndex) == none || uint32(request.SwIfIndex) == l.index) {
				details = append(details, &ipsec.IpsecTunnelProtectDetails{Tun: *l.protection})
			}
		}
		return details
	}))
}

// vxlanHandlers make and list VXLAN tunnels, and answer what is asked beside.
func vxlanHandlers(put func(string, handler)) {
	put(on((*state).changeVXLAN))
	put(on(func(s *state, request *vxlan.VxlanTunnelV2Dump) []api.Message {
		var details []api.Message
		for _, l := range s.sortedLinks() {
			if l.kind == kindVXLAN && (uint32(request.SwIfIndex) == none || uint32(request.SwIfIndex) == l.index) {
				details = append(details, &vxlan.VxlanTunnelV2Details{
					SwIfIndex: interface_types.InterfaceIndex(l.index), SrcAddress: fromAddr(l.local), DstAddress: fromAddr(l.remote),
					SrcPort: vxlanPort, DstPort: vxlanPort,
				})
			}
		}
		return details
	}))
	put(on(func(s *state, request *ip_neighbor.IPNeighborAddDel) []api.Message {
		return []api.Message{&ip_neighbor.IPNeighborAddDelReply{Retval: s.changeNeighbor(request)}}
	}))
	put(on(func(s *state, request *interfaces.SwInterfaceGetMacAddress) []api.Message {
		l := s.link(request.SwIfIndex)
		if l == nil {
			return []api.Message{&interfaces.SwInterfaceGetMacAddressReply{Retval: int32(api.INVALID_SW_IF_INDEX)}}
		}
		return []api.Message{&interfaces.SwInterfaceGetMacAddressReply{MacAddress: l.mac}}
	}))
}

func (s *state) changeVXLAN(request *vxlan.VxlanAddDelTunnelV3) []api.Message {
	local, remote := toAddr(request.SrcAddress), toAddr(request.DstAddress)
	if request.IsAdd {
		l := s.addEncapsulation(kindVXLAN, "vxlan_tunnel", "VXLAN", local, remote)
		if l == nil {
			return []api.Message{&vxlan.VxlanAddDelTunnelV3Reply{Retval: int32(api.IF_ALREADY_EXISTS)}}
		}
		return []api.Message{&vxlan.VxlanAddDelTunnelV3Reply{SwIfIndex: interface_types.InterfaceIndex(l.index)}}
	}
	for _, l := range s.sortedLinks() {
		if l.kind == kindVXLAN && l.local == local && l.remote == remote {
			s.removeLink(l)
			return []api.Message{&vxlan.VxlanAddDelTunnelV3Reply{}}
		}
	}
	return []api.Message{&vxlan.VxlanAddDelTunnelV3Reply{Retval: int32(api.NO_SUCH_ENTRY)}}
}

// addEncapsulation makes a tunnel in clear; nil when there is one with these ends.
func (s *state) addEncapsulation(k kind, prefix, devType string, local, remote netip.Addr) *link {
	instance := 0
	for _, l := range s.links {
		if l.kind != k {
			continue
		}
		if l.local == local && l.remote == remote {
			return nil
		}
		instance++
	}
	for s.linkNamed(fmt.Sprintf("%s%d", prefix, instance)) != nil {
		instance++
	}
	l := &link{name: fmt.Sprintf("%s%d", prefix, instance), kind: k, devType: devType, local: local, remote: remote}
	s.addLink(l)
	return l
}
