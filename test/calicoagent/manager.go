// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package calicoagent

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"go.fd.io/govpp/binapi/af_packet"
	"go.fd.io/govpp/binapi/ethernet_types"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/ip_neighbor"
	"go.fd.io/govpp/binapi/ip_types"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/calicoagent/vppapi"
)

// Routing tables that vpp-manager makes first (vpp-dataplane, vpp-manager/vpp_runner.go, allocateStaticVRFs).
const (
	puntTable = 1
	podTable  = 2
)

// uplinkTag begins the tag of the interface that vpp-manager makes of the host's.
const uplinkTag = "main-"

// Uplink is the host's interface that VPP takes over.
type Uplink struct {
	// HostInterface is its name on the host.
	HostInterface string
	// Address of the node with the prefix length of its subnet.
	Address netip.Prefix
	// Gateway of the default route; not valid without one.
	Gateway netip.Addr
	// MTU, which must not exceed that of the host's interface.
	MTU uint32
}

// ConfigureUplink does what vpp-manager does to VPP after its start, as far as pods' traffic depends on it. There is no tap to the
// host: a network namespace has no vhost-net.
func ConfigureUplink(ctx context.Context, vpp *vppapi.VPP, uplink Uplink) error {
	for id, name := range map[uint32]string{puntTable: "punt-table-ip4", podTable: "calico-pods-ip4"} {
		if _, err := ip.NewServiceClient(vpp.API()).IPTableAddDel(ctx, &ip.IPTableAddDel{IsAdd: true, Table: ip.IPTable{TableID: id, Name: name}}); err != nil {
			return fmt.Errorf("make routing table %d: %w", id, err)
		}
	}
	everything := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if err := vpp.SetRoute(ctx, vppapi.Route{Table: podTable, Prefix: everything, Link: vppapi.None}, true); err != nil {
		return err
	}
	index, err := addHostInterface(ctx, vpp, uplink.HostInterface)
	if err != nil {
		return err
	}
	client := interfaces.NewServiceClient(vpp.API())
	if _, err := client.SwInterfaceTagAddDel(ctx, &interfaces.SwInterfaceTagAddDel{IsAdd: true, SwIfIndex: index, Tag: uplinkTag + uplink.HostInterface}); err != nil {
		return fmt.Errorf("tag the uplink: %w", err)
	}
	if _, err := client.SwInterfaceSetMtu(ctx, &interfaces.SwInterfaceSetMtu{SwIfIndex: index, Mtu: []uint32{uplink.MTU, 0, 0, 0}}); err != nil {
		return fmt.Errorf("set the MTU of the uplink: %w", err)
	}
	address := ip_types.AddressWithPrefix{Address: vppapi.Address(uplink.Address.Addr()), Len: uint8(uplink.Address.Bits())}
	if _, err := client.SwInterfaceAddDelAddress(ctx, &interfaces.SwInterfaceAddDelAddress{SwIfIndex: index, IsAdd: true, Prefix: address}); err != nil {
		return fmt.Errorf("set the address of the uplink: %w", err)
	}
	if err := vpp.EnableGSO(ctx, index); err != nil {
		return fmt.Errorf("enable GSO on the uplink: %w", err)
	}
	if err := vpp.SetUp(ctx, index); err != nil {
		return fmt.Errorf("bring the uplink up: %w", err)
	}
	if !uplink.Gateway.IsValid() {
		return nil
	}
	return vpp.SetRoute(ctx, vppapi.Route{Prefix: everything, Link: vppapi.None, Gateway: uplink.Gateway}, true)
}

// addHostInterface makes VPP take over an interface of the host, in interrupt mode.
func addHostInterface(ctx context.Context, vpp *vppapi.VPP, name string) (interface_types.InterfaceIndex, error) {
	reply, err := af_packet.NewServiceClient(vpp.API()).AfPacketCreateV3(ctx, &af_packet.AfPacketCreateV3{
		Mode: af_packet.AF_PACKET_API_MODE_ETHERNET, HostIfName: name, UseRandomHwAddr: true, NumRxQueues: 1, NumTxQueues: 1,
	})
	if err != nil {
		return 0, fmt.Errorf("take over %s: %w", name, err)
	}
	_, err = interfaces.NewServiceClient(vpp.API()).SwInterfaceSetRxMode(ctx, &interfaces.SwInterfaceSetRxMode{
		SwIfIndex: reply.SwIfIndex, Mode: interface_types.RX_MODE_API_INTERRUPT,
	})
	if err != nil {
		return 0, fmt.Errorf("set %s to interrupts: %w", name, err)
	}
	return reply.SwIfIndex, nil
}

// Pod is a pod that is connected through an interface of the host.
type Pod struct {
	// Interface is the name of VPP's interface: tun<number>, as Calico calls it.
	Interface string
	// HostInterface is its name on the host.
	HostInterface string
	// Address of the pod.
	Address netip.Addr
	// MAC of the pod's end, for VPP need not ask then.
	MAC [6]byte
}

// ConnectPod does what the CNI plugin does for a pod that VPP does not know yet, and returns the MAC address of VPP's end: the pod's
// gateway.
func ConnectPod(ctx context.Context, vpp *vppapi.VPP, pod Pod) ([6]byte, error) {
	existing, err := vpp.Find(ctx, func(d *interfaces.SwInterfaceDetails) bool { return d.InterfaceName == pod.Interface })
	if err != nil {
		return [6]byte{}, err
	}
	if existing != nil {
		return existing.L2Address, nil
	}
	uplink, err := findUplink(ctx, vpp)
	if err != nil {
		return [6]byte{}, err
	}
	index, err := addHostInterface(ctx, vpp, pod.HostInterface)
	if err != nil {
		return [6]byte{}, err
	}
	client := interfaces.NewServiceClient(vpp.API())
	if _, err := client.SwInterfaceSetInterfaceName(ctx, &interfaces.SwInterfaceSetInterfaceName{SwIfIndex: index, Name: pod.Interface}); err != nil {
		return [6]byte{}, fmt.Errorf("name the pod's interface: %w", err)
	}
	if err := vpp.Borrow(ctx, index, uplink); err != nil {
		return [6]byte{}, fmt.Errorf("give the pod's interface an address: %w", err)
	}
	if err := vpp.SetUp(ctx, index); err != nil {
		return [6]byte{}, fmt.Errorf("bring the pod's interface up: %w", err)
	}
	neighbor := ip_neighbor.IPNeighbor{
		SwIfIndex: index, Flags: ip_neighbor.IP_API_NEIGHBOR_FLAG_STATIC, MacAddress: ethernet_types.MacAddress(pod.MAC),
		IPAddress: vppapi.Address(pod.Address),
	}
	if _, err := ip_neighbor.NewServiceClient(vpp.API()).IPNeighborAddDel(ctx, &ip_neighbor.IPNeighborAddDel{IsAdd: true, Neighbor: neighbor}); err != nil {
		return [6]byte{}, fmt.Errorf("tell VPP the pod's MAC: %w", err)
	}
	if err := vpp.SetRoute(ctx, vppapi.Route{Prefix: vppapi.Host(pod.Address), Link: uint32(index), Gateway: pod.Address}, true); err != nil {
		return [6]byte{}, err
	}
	mac, err := client.SwInterfaceGetMacAddress(ctx, &interfaces.SwInterfaceGetMacAddress{SwIfIndex: index})
	if err != nil {
		return [6]byte{}, err
	}
	return mac.MacAddress, nil
}

// findUplink waits for nothing: an error says that vpp-manager is not done yet.
func findUplink(ctx context.Context, vpp *vppapi.VPP) (interface_types.InterfaceIndex, error) {
	details, err := vpp.Find(ctx, func(d *interfaces.SwInterfaceDetails) bool { return strings.HasPrefix(d.Tag, uplinkTag) })
	if err != nil {
		return 0, err
	}
	if details == nil {
		return 0, fmt.Errorf("VPP has no interface with a tag %s yet", uplinkTag)
	}
	return details.SwIfIndex, nil
}
