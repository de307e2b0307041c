// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vpp

import (
	"context"
	"encoding/base64"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"go.fd.io/govpp/binapi/acl"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/wireguard"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/calicoagent/vppapi"
)

const allInterfaces = interface_types.InterfaceIndex(vppapi.None)

// publishedKey of the Node.
func (h *host) publishedKey(ctx context.Context) string {
	GinkgoHelper()
	object, err := client.CoreV1().Nodes().Get(ctx, h.name, metav1.GetOptions{})
	Expect(err).NotTo(HaveOccurred())
	return object.Annotations[encryption.PublicKeyAnnotation]
}

// names of VPP's interfaces.
func (h *host) names(ctx context.Context) (names []string) {
	GinkgoHelper()
	h.vpp(func(vpp *vppapi.VPP) {
		all, err := vpp.Interfaces(ctx)
		Expect(err).NotTo(HaveOccurred())
		for _, details := range all {
			names = append(names, details.InterfaceName)
		}
	})
	return names
}

// tunnels are the public keys of VPP's WireGuard interfaces.
func (h *host) tunnels(ctx context.Context) (keys []string) {
	GinkgoHelper()
	h.vpp(func(vpp *vppapi.VPP) {
		stream, err := wireguard.NewServiceClient(vpp.API()).WireguardInterfaceDump(ctx, &wireguard.WireguardInterfaceDump{SwIfIndex: allInterfaces})
		Expect(err).NotTo(HaveOccurred())
		details, err := vppapi.Collect(stream.Recv, nil)
		Expect(err).NotTo(HaveOccurred())
		for _, d := range details {
			keys = append(keys, base64.StdEncoding.EncodeToString(d.Interface.PublicKey))
		}
	})
	return keys
}

// peers are the public keys of VPP's WireGuard peers.
func (h *host) peers(ctx context.Context) (keys []string) {
	GinkgoHelper()
	h.vpp(func(vpp *vppapi.VPP) {
		for _, d := range listPeers(ctx, vpp) {
			keys = append(keys, base64.StdEncoding.EncodeToString(d.Peer.PublicKey))
		}
	})
	return keys
}

func listPeers(ctx context.Context, vpp *vppapi.VPP) []*wireguard.WireguardPeersDetails {
	GinkgoHelper()
	stream, err := wireguard.NewServiceClient(vpp.API()).WireguardPeersDump(ctx, &wireguard.WireguardPeersDump{PeerIndex: vppapi.None})
	Expect(err).NotTo(HaveOccurred())
	details, err := vppapi.Collect(stream.Recv, nil)
	Expect(err).NotTo(HaveOccurred())
	return details
}

// dropPeers removes all peers behind the Calico agent's back.
func dropPeers(ctx context.Context, vpp *vppapi.VPP) {
	GinkgoHelper()
	for _, d := range listPeers(ctx, vpp) {
		_, err := wireguard.NewServiceClient(vpp.API()).WireguardPeerRemove(ctx, &wireguard.WireguardPeerRemove{PeerIndex: d.Peer.PeerIndex})
		Expect(err).NotTo(HaveOccurred())
	}
}

// guards counts the ACLs on what leaves VPP's interfaces.
func (h *host) guards(ctx context.Context) (count int) {
	GinkgoHelper()
	h.vpp(func(vpp *vppapi.VPP) {
		for _, list := range listACLs(ctx, vpp) {
			count += len(list.Acls) - int(list.NInput)
		}
	})
	return count
}

func listACLs(ctx context.Context, vpp *vppapi.VPP) []*acl.ACLInterfaceListDetails {
	GinkgoHelper()
	stream, err := acl.NewServiceClient(vpp.API()).ACLInterfaceListDump(ctx, &acl.ACLInterfaceListDump{SwIfIndex: allInterfaces})
	Expect(err).NotTo(HaveOccurred())
	lists, err := vppapi.Collect(stream.Recv, nil)
	Expect(err).NotTo(HaveOccurred())
	return lists
}

// unguard takes all ACLs off all interfaces.
func unguard(ctx context.Context, vpp *vppapi.VPP) {
	GinkgoHelper()
	for _, list := range listACLs(ctx, vpp) {
		_, err := acl.NewServiceClient(vpp.API()).ACLInterfaceSetACLList(ctx, &acl.ACLInterfaceSetACLList{SwIfIndex: list.SwIfIndex})
		Expect(err).NotTo(HaveOccurred())
	}
}
