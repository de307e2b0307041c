// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// Verdicts of a program on the way out of a device: linux/bpf.h enum tcx_action_base. The older hook's are the same numbers.
const (
	actionNext = -1
	actionDrop = 2
)

// Offsets in struct __sk_buff, linux/bpf.h.
const (
	skbLength   = 0
	skbProtocol = 16
)

// Layout of headers in bytes: RFC 791, RFC 8200, RFC 768.
const (
	ip4Header, ip4Protocol, ip4Source, ip4Destination = 20, 9, 12, 16
	ip6Header, ip6Protocol, ip6Source, ip6Destination = 40, 6, 8, 24
	udpHeader, udpDestination                         = 8, 2
)

// IP protocols and the port that the guard knows. https://www.iana.org/assignments/protocol-numbers, RFC 7348 section 5.
const (
	protocolIPIP  = 4
	protocolUDP   = 17
	protocolIP6IP = 41
	portVXLAN     = 4789
)

// Where the program keeps what it reads, relative to the frame pointer.
const (
	stackHeader = -48
	stackPorts  = -56
	stackKey    = -64
)

// startNetwork makes bpf_skb_load_bytes_relative count from the network header: linux/bpf.h BPF_HDR_START_NET.
const startNetwork = 1

// guardName of the program; the kernel keeps 15 characters.
const guardName = "edgemetal_guard"

// rules of the guard, by their place in the counters. The place after them holds the fingerprint.
func rules() []string {
	return []string{encryption.RuleIPIP, encryption.RuleVXLAN, encryption.RulePods}
}

// counter is an element of the guard's map: what one rule has dropped; the fingerprint of the rules in the last.
type counter struct{ Packets, Bytes uint64 }

// guardSpec is the guard as a program: it sees every packet on its way out of a device, after all that Calico does to it, also those
// which Calico's eBPF programs redirect and which netfilter therefore never sees.
func guardSpec(pods, services []netip.Prefix, counters *ebpf.Map) *ebpf.ProgramSpec {
	p := &program{pods: pods, services: services}
	p.add(
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R7, asm.R6, skbProtocol, asm.Word),
		asm.JEq.Imm(asm.R7, int32(networkOrder16(unix.ETH_P_IP)), "ip4"),
		asm.JEq.Imm(asm.R7, int32(networkOrder16(unix.ETH_P_IPV6)), "ip6"),
		asm.Ja.Label("pass"),
	)
	p.ip4()
	p.ip6()
	for i, name := range rules() {
		p.label("drop_"+name, asm.Mov.Imm(asm.R8, int32(i)))
		p.add(asm.Ja.Label("count"))
	}
	p.count(counters)
	p.label("pass", asm.Mov.Imm(asm.R0, actionNext))
	p.add(asm.Return())
	return &ebpf.ProgramSpec{Name: guardName, Type: ebpf.SchedCLS, License: "Apache-2.0", Instructions: p.instructions}
}

// program being written.
type program struct {
	pods, services []netip.Prefix
	instructions   asm.Instructions
}

func (p *program) add(instructions ...asm.Instruction) {
	p.instructions = append(p.instructions, instructions...)
}

// label adds an instruction that others jump to.
func (p *program) label(name string, instruction asm.Instruction) {
	p.add(instruction.WithSymbol(name))
}

// load reads bytes of the packet, from an offset to the network header, onto the stack. The offset is in R2. A packet that is too short
// to be read passes: no receiver takes it for a tunnel's.
func (p *program) load(stack, length int32) {
	p.add(
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, stack),
		asm.Mov.Imm(asm.R4, length),
		asm.Mov.Imm(asm.R5, startNetwork),
		asm.FnSkbLoadBytesRelative.Call(),
		asm.JNE.Imm(asm.R0, 0, "pass"),
	)
}

// protocol goes on by the protocol in R7: tunnels in clear are dropped, UDP jumps to a label.
func (p *program) protocol(offset int16, udp string) {
	p.add(
		asm.LoadMem(asm.R7, asm.RFP, offset, asm.Byte),
		asm.JEq.Imm(asm.R7, protocolIPIP, "drop_"+encryption.RuleIPIP),
		asm.JEq.Imm(asm.R7, protocolIP6IP, "drop_"+encryption.RuleIPIP),
		asm.JEq.Imm(asm.R7, protocolUDP, udp),
	)
}

// vxlan drops UDP to VXLAN's port; the offset of the UDP header is in R2.
func (p *program) vxlan() {
	p.load(stackPorts, udpHeader)
	p.add(
		asm.LoadMem(asm.R7, asm.RFP, stackPorts+udpDestination, asm.Half),
		asm.JEq.Imm(asm.R7, int32(networkOrder16(portVXLAN)), "drop_"+encryption.RuleVXLAN),
	)
}

func (p *program) ip4() {
	p.label("ip4", asm.Mov.Imm(asm.R2, 0))
	p.load(stackHeader, ip4Header)
	p.protocol(stackHeader+ip4Protocol, "ip4_udp")
	p.add(asm.Ja.Label("ip4_addresses"))
	// The length of the header, in words, is in the lower half of its first byte. Only the first fragment has ports.
	p.label("ip4_udp", asm.LoadMem(asm.R2, asm.RFP, stackHeader+6, asm.Half))
	p.add(
		asm.And.Imm(asm.R2, int32(networkOrder16(0x1fff))),
		asm.JNE.Imm(asm.R2, 0, "ip4_addresses"),
		asm.LoadMem(asm.R2, asm.RFP, stackHeader, asm.Byte),
		asm.And.Imm(asm.R2, 0x0f),
		asm.LSh.Imm(asm.R2, 2),
	)
	p.vxlan()
	p.addresses("ip4", stackHeader+ip4Source, stackHeader+ip4Destination, netip.Addr.Is4)
}

func (p *program) ip6() {
	p.label("ip6", asm.Mov.Imm(asm.R2, 0))
	p.load(stackHeader, ip6Header)
	p.protocol(stackHeader+ip6Protocol, "ip6_udp")
	p.add(asm.Ja.Label("ip6_addresses"))
	p.label("ip6_udp", asm.Mov.Imm(asm.R2, ip6Header))
	p.vxlan()
	p.addresses("ip6", stackHeader+ip6Source, stackHeader+ip6Destination, func(a netip.Addr) bool { return !a.Is4() })
}

// addresses drops packets to pods, from wherever, and from pods to services. A host's own packets are no exception: those to pods of
// other nodes are sent through WireGuard as well, also those that were to a service and whose source was translated.
func (p *program) addresses(family string, source, destination int16, of func(netip.Addr) bool) {
	other := func(r netip.Prefix) bool { return !of(r.Addr()) }
	pods := slices.DeleteFunc(slices.Clone(p.pods), other)
	services := slices.DeleteFunc(slices.Clone(p.services), other)
	p.label(family+"_addresses", asm.Mov.Imm(asm.R9, 0))
	for i, to := range pods {
		p.match(fmt.Sprintf("%s_to_pods_%d", family, i), destination, to, "drop_"+encryption.RulePods)
	}
	from := family + "_from"
	if len(pods) > 0 {
		for i, to := range services {
			p.match(fmt.Sprintf("%s_to_services_%d", family, i), destination, to, from)
		}
	}
	p.add(asm.Ja.Label("pass"))
	if len(pods) == 0 || len(services) == 0 {
		return // The kernel takes no instructions that are never reached.
	}
	p.label(from, asm.Mov.Imm(asm.R9, 0))
	for i, r := range pods {
		p.match(fmt.Sprintf("%s_from_%d", family, i), source, r, "drop_"+encryption.RulePods)
	}
	p.add(asm.Ja.Label("pass"))
}

// match jumps when the address at a place on the stack is in a range.
func (p *program) match(name string, at int16, prefix netip.Prefix, then string) {
	network := prefix.Masked().Addr().AsSlice()
	other := name + "_not"
	for word, bits := 0, prefix.Bits(); bits > 0; word, bits = word+1, bits-32 {
		var mask [4]byte
		binary.BigEndian.PutUint32(mask[:], ^uint32(0)<<max(0, 32-bits))
		p.add(
			asm.LoadMem(asm.R7, asm.RFP, at+int16(4*word), asm.Word),
			asm.And.Imm32(asm.R7, asWord(mask[:])),
			asm.JNE.Imm32(asm.R7, asWord(network[4*word:]), other),
		)
	}
	p.add(asm.Ja.Label(then))
	p.label(other, asm.Mov.Imm(asm.R9, 0))
}

// asWord reads four bytes of an address as the program does.
func asWord(b []byte) int32 {
	return int32(binary.NativeEndian.Uint32(b)) //nolint:gosec // G115: an operand is signed, and the program takes it as it is.
}

// count adds the packet to the counter whose place is in R8, and drops it.
func (p *program) count(counters *ebpf.Map) {
	p.label("count", asm.StoreMem(asm.RFP, stackKey, asm.R8, asm.Word))
	p.add(
		asm.LoadMapPtr(asm.R1, counters.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, stackKey),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "drop"),
		asm.Mov.Imm(asm.R1, 1),
		asm.AddAtomic.Mem(asm.R0, asm.R1, asm.DWord, 0),
		asm.LoadMem(asm.R1, asm.R6, skbLength, asm.Word),
		asm.AddAtomic.Mem(asm.R0, asm.R1, asm.DWord, 8),
	)
	p.label("drop", asm.Mov.Imm(asm.R0, actionDrop))
	p.add(asm.Return())
}

// networkOrder16 is a number as the program sees it in a packet.
func networkOrder16(n uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], n)
	return binary.NativeEndian.Uint16(b[:])
}
