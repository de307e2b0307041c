// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package calicoagent

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"

	"go.fd.io/govpp/binapi/ikev2"
	"go.fd.io/govpp/binapi/ikev2_types"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/ipip"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/calicoagent/vppapi"
)

// Numbers of IKEv2 (https://www.iana.org/assignments/ikev2-parameters) that the agent asks for (vpplink/ikev2.go).
const (
	ikeIDAddress = 1
	ikeSharedKey = 2
	ikeAESGCM16  = 20
	ikeKeyBits   = 256
	lastPort     = 65535
	lastAddress  = "255.255.255.255"
)

// ipsecProvider encrypts by IPsec: an IPIP tunnel for each node, down until IKE has associations for it.
type ipsecProvider struct {
	vpp     *vppapi.VPP
	uplink  interface_types.InterfaceIndex
	address netip.Addr
	// psk authenticates all nodes.
	psk string
	log *slog.Logger
	// tunnels by address of the node, and those that were made and never seen up.
	tunnels map[netip.Addr]interface_types.InterfaceIndex
	awaited map[netip.Addr]interface_types.InterfaceIndex
}

// ProfileName is what the agent calls the profile of IKE between two nodes.
func ProfileName(from, to netip.Addr) string {
	return strings.ReplaceAll(fmt.Sprintf("pr_%s_to_%s", from, to), ".", "_")
}

// rescan finds the tunnels that there are in VPP already. None of them is awaited any more.
func (p *ipsecProvider) rescan(ctx context.Context) error {
	p.tunnels = map[netip.Addr]interface_types.InterfaceIndex{}
	p.awaited = map[netip.Addr]interface_types.InterfaceIndex{}
	// The binary messages of profiles and of their algorithms are not the same in every VPP.
	profiles, err := p.vpp.CLI(ctx, "show ikev2 profile")
	if err != nil {
		return fmt.Errorf("list profiles of IKE: %w", err)
	}
	found, err := findTunnels(ctx, p.vpp)
	if err != nil {
		return err
	}
	for remote, index := range found {
		if slices.Contains(strings.Fields(profiles), ProfileName(p.address, remote)) {
			p.tunnels[remote] = index
		}
	}
	return nil
}

func (p *ipsecProvider) add(ctx context.Context, n node) error {
	index, found := p.tunnels[n.address]
	if !found {
		var err error
		if index, err = makeTunnel(ctx, p.vpp, p.uplink, p.address, n); err != nil {
			return err
		}
		if err := p.negotiate(ctx, n.address, index); err != nil {
			return fmt.Errorf("IKE with %s: %w", n.name, err)
		}
		p.tunnels[n.address], p.awaited[n.address] = index, index
	}
	return p.vpp.SetRoute(ctx, vppapi.Route{Prefix: n.block, Link: uint32(index)}, true)
}

// initiates tells which of two nodes begins: the one with the higher address.
func (p *ipsecProvider) initiates(remote netip.Addr) bool {
	return remote.Less(p.address)
}

// negotiate makes the profile by which IKE gives the tunnel its associations, and begins if it is this node's turn.
func (p *ipsecProvider) negotiate(ctx context.Context, remote netip.Addr, tunnel interface_types.InterfaceIndex) error {
	client, name := ikev2.NewServiceClient(p.vpp.API()), ProfileName(p.address, remote)
	if _, err := client.Ikev2ProfileAddDel(ctx, &ikev2.Ikev2ProfileAddDel{Name: name, IsAdd: true}); err != nil {
		return fmt.Errorf("make profile %s: %w", name, err)
	}
	if _, err := client.Ikev2ProfileSetAuth(ctx, &ikev2.Ikev2ProfileSetAuth{Name: name, AuthMethod: ikeSharedKey, Data: []byte(p.psk)}); err != nil {
		return fmt.Errorf("set the pre-shared key of profile %s: %w", name, err)
	}
	for _, end := range []struct {
		local   bool
		address netip.Addr
	}{{true, p.address}, {false, remote}} {
		if _, err := client.Ikev2ProfileSetID(ctx, &ikev2.Ikev2ProfileSetID{Name: name, IsLocal: end.local, IDType: ikeIDAddress, Data: end.address.AsSlice()}); err != nil {
			return fmt.Errorf("set an identity of profile %s: %w", name, err)
		}
		if _, err := client.Ikev2ProfileSetTs(ctx, &ikev2.Ikev2ProfileSetTs{Name: name, Ts: ikev2_types.Ikev2Ts{
			IsLocal: end.local, EndPort: lastPort,
			StartAddr: vppapi.Address(netip.IPv4Unspecified()), EndAddr: vppapi.Address(netip.MustParseAddr(lastAddress)),
		}}); err != nil {
			return fmt.Errorf("set the traffic of profile %s: %w", name, err)
		}
	}
	if _, err := client.Ikev2SetTunnelInterface(ctx, &ikev2.Ikev2SetTunnelInterface{Name: name, SwIfIndex: tunnel}); err != nil {
		return fmt.Errorf("set the tunnel of profile %s: %w", name, err)
	}
	if !p.initiates(remote) {
		return nil
	}
	if err := p.propose(ctx, client, name, remote); err != nil {
		return err
	}
	return p.initiate(ctx, remote)
}

// propose says to whom, and with which algorithms.
func (p *ipsecProvider) propose(ctx context.Context, client ikev2.RPCService, name string, remote netip.Addr) error {
	if _, err := client.Ikev2SetResponder(ctx, &ikev2.Ikev2SetResponder{
		Name: name, Responder: ikev2_types.Ikev2Responder{SwIfIndex: p.uplink, Addr: vppapi.Address(remote)},
	}); err != nil {
		return fmt.Errorf("set the responder of profile %s: %w", name, err)
	}
	if _, err := p.vpp.CLI(ctx, fmt.Sprintf("ikev2 profile set %s ike-crypto-alg aes-cbc %d ike-integ-alg sha1-96 ike-dh modp-2048", name, ikeKeyBits)); err != nil {
		return fmt.Errorf("set the algorithms of IKE of profile %s: %w", name, err)
	}
	if _, err := client.Ikev2SetEspTransforms(ctx, &ikev2.Ikev2SetEspTransforms{Name: name, Tr: ikev2_types.Ikev2EspTransforms{
		CryptoAlg: ikeAESGCM16, CryptoKeySize: ikeKeyBits,
	}}); err != nil {
		return fmt.Errorf("set the algorithms of ESP of profile %s: %w", name, err)
	}
	return nil
}

func (p *ipsecProvider) initiate(ctx context.Context, remote netip.Addr) error {
	name := ProfileName(p.address, remote)
	if _, err := ikev2.NewServiceClient(p.vpp.API()).Ikev2InitiateSaInit(ctx, &ikev2.Ikev2InitiateSaInit{Name: name}); err != nil {
		return fmt.Errorf("begin with profile %s: %w", name, err)
	}
	return nil
}

// retry begins anew with the nodes whose tunnels have never been up: IKE brings a tunnel up with its associations.
func (p *ipsecProvider) retry(ctx context.Context) error {
	for remote, index := range p.awaited {
		details, err := p.vpp.Find(ctx, func(d *interfaces.SwInterfaceDetails) bool { return d.SwIfIndex == index })
		switch {
		case err != nil:
			return err
		case details == nil:
			// VPP's IKE deletes the tunnel of the node that is asked when authentication fails.
			p.log.Error("Cannot get IPIP tunnel status", "node", remote)
			delete(p.awaited, remote)
		case details.Flags&interface_types.IF_STATUS_API_FLAG_ADMIN_UP != 0:
			p.log.Info("IPIP tunnel now up", "node", remote)
			delete(p.awaited, remote)
		case p.initiates(remote):
			p.log.Info("IPIP tunnel still down, re-trying initiate", "node", remote)
			if err := p.initiate(ctx, remote); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *ipsecProvider) remove(ctx context.Context, n node) error {
	index, found := p.tunnels[n.address]
	if !found {
		return fmt.Errorf("no IPsec tunnel to %s", n.name)
	}
	if err := p.vpp.SetRoute(ctx, vppapi.Route{Prefix: n.block, Link: uint32(index)}, false); err != nil {
		return err
	}
	delete(p.tunnels, n.address)
	delete(p.awaited, n.address)
	name := ProfileName(p.address, n.address)
	if _, err := ikev2.NewServiceClient(p.vpp.API()).Ikev2ProfileAddDel(ctx, &ikev2.Ikev2ProfileAddDel{Name: name}); err != nil {
		return fmt.Errorf("delete profile %s: %w", name, err)
	}
	if _, err := ipip.NewServiceClient(p.vpp.API()).IpipDelTunnel(ctx, &ipip.IpipDelTunnel{SwIfIndex: index}); err != nil {
		return fmt.Errorf("delete the IPIP tunnel to %s: %w", n.name, err)
	}
	return nil
}
