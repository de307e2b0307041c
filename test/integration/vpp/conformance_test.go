// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vpp

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/types"
	"go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/acl"
	"go.fd.io/govpp/binapi/acl_types"
	"go.fd.io/govpp/binapi/fib_types"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/ip_types"
	"go.fd.io/govpp/binapi/wireguard"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/calicoagent/vppapi"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/fakevpp"
)

// What the fake is built upon: the same calls, with the same answers, on the real VPP.
var _ = Describe("VPP", func() {
	for _, impl := range implementations() {
		name, _, _ := strings.Cut(impl.name, " ")
		Context(impl.name, Ordered, ContinueOnFailure, func() { describeVPP(impl, name+"-alone") })
	}
})

func describeVPP(impl implementation, name string) {
	var h *host
	var vpp *vppapi.VPP
	BeforeAll(func(ctx context.Context) {
		h = newCluster(ctx, impl, name).a
		h.boot(ctx)
		var err error
		vpp, err = vppapi.Connect(h.socket())
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(vpp.Close)
		Eventually(func() []string { return h.tunnels(ctx) }).Should(HaveLen(1))
	})
	cli := func(ctx context.Context, command string) string {
		GinkgoHelper()
		out, err := vpp.CLI(ctx, command)
		Expect(err).NotTo(HaveOccurred())
		return out
	}

	It("announces every message that the fake answers, with its CRC", func() {
		Expect(vpp.Lacks(fakevpp.Answered()...)).To(BeEmpty())
	})

	It("makes interfaces of its kinds", func(ctx context.Context) {
		Expect(find(ctx, vpp, "wg0")).To(haveFields(0, "Wireguard", 0))
		Expect(find(ctx, vpp, "host-"+uplinkName)).To(haveFields(
			interface_types.IF_STATUS_API_FLAG_ADMIN_UP|interface_types.IF_STATUS_API_FLAG_LINK_UP, "af-packet", linkMTU))
		Expect(find(ctx, vpp, "local0")).To(haveFields(0, "local", 0))
	})

	It("refuses an instance that is taken, and takes the next without one", func(ctx context.Context) {
		client := wireguard.NewServiceClient(vpp.API())
		create := func(instance uint32) (*wireguard.WireguardInterfaceCreateReply, error) {
			return client.WireguardInterfaceCreate(ctx, &wireguard.WireguardInterfaceCreate{GenerateKey: true, Interface: wireguard.WireguardInterface{
				UserInstance: instance, Port: portWireGuard, SrcIP: vppapi.Address(h.address.Addr()), PrivateKey: make([]byte, 32), PublicKey: make([]byte, 32),
			}})
		}
		_, err := create(0)
		Expect(err).To(MatchError(api.INVALID_REGISTRATION))
		second, err := create(vppapi.None)
		Expect(err).NotTo(HaveOccurred())
		Expect(find(ctx, vpp, "wg1").SwIfIndex).To(Equal(second.SwIfIndex))
		_, err = client.WireguardInterfaceDelete(ctx, &wireguard.WireguardInterfaceDelete{SwIfIndex: second.SwIfIndex})
		Expect(err).NotTo(HaveOccurred())
	})

	It("tells commands that fail", func(ctx context.Context) {
		for command, want := range map[string]string{
			"make coffee": "unknown input `make coffee'\n",
			"wireguard create listen-port 51820 private-key " + h.private.String() + " src 192.0.2.21 instance 0": "wireguard create: wireguard interface create failed\n",
			"set cnat feature nope enable": "set cnat feature: unknown input 'nope enable'\n",
		} {
			_, err := vpp.CLI(ctx, command)
			Expect(err).To(MatchError(api.VPPApiError(-1)), command)
			Expect(vpp.Output(ctx, command)).To(Equal(want), command)
		}
	})

	It("prints what agents read", func(ctx context.Context) {
		Expect(cli(ctx, "show physmem")).To(ContainSubstring("arena 'buffers-numa-0' pages"))
		Expect(cli(ctx, "show physmem")).To(ContainSubstring(" subpage-size 4K numa-node 0"))
		Expect(cli(ctx, "show memory main-heap")).To(ContainSubstring("page stats: page-size 4K, total 262144,"))
		Expect(cli(ctx, "show buffers")).To(MatchRegexp(`(?m)^default-numa-0 +0 +0 +2304 +2048 +\d+ +\d+ +\d+ +\d+ *$`))
		Expect(cli(ctx, "show interface rx-placement")).To(MatchRegexp(`(?m)^ node af-packet-input:\n    host-uplink0 queue 0 \(interrupt\)$`))
		Expect(cli(ctx, "show interface addr")).To(And(ContainSubstring("host-uplink0 (up):\n  L3 192.0.2.21/24\n"), ContainSubstring("wg0 (dn):\n")))
	})

	It("completes a tunnel feature by feature", func(ctx context.Context) {
		features := func() string { return cli(ctx, "show interface features wg0") }
		tunnel, uplink := find(ctx, vpp, "wg0").SwIfIndex, find(ctx, vpp, "host-"+uplinkName).SwIfIndex
		Expect(features()).To(ContainSubstring("ip4-unicast:\n  ip4-not-enabled\n"))
		Expect(vpp.Borrow(ctx, tunnel, uplink)).To(Succeed())
		Expect(features()).NotTo(ContainSubstring("ip4-unicast:\n  ip4-not-enabled\n"))
		Expect(cli(ctx, "show interface addr")).To(ContainSubstring("  unnumbered, use host-uplink0\n  L3 192.0.2.21/24\n"))
		Expect(vpp.EnableGSO(ctx, tunnel)).To(Succeed())
		Expect(features()).To(ContainSubstring("ip4-output:\n  gso-ip4\n"))
		Expect(cli(ctx, "set cnat feature wg0 enable")).To(BeEmpty())
		Expect(features()).To(And(ContainSubstring("ip4-output:\n  cnat-output-ip4\n  cnat-writeback-ip4\n  gso-ip4\n"), ContainSubstring("ip4-unicast:\n  cnat-lookup-ip4\n  cnat-input-ip4\n")))
		Expect(vpp.SetUp(ctx, tunnel)).To(Succeed())
		Expect(find(ctx, vpp, "wg0").Flags & interface_types.IF_STATUS_API_FLAG_ADMIN_UP).NotTo(BeZero())
	})

	It("knows a peer's key once, and tells events of peers that there were", func(ctx context.Context) {
		client := wireguard.NewServiceClient(vpp.API())
		watcher, err := vpp.API().WatchEvent(ctx, &wireguard.WireguardPeerEvent{})
		Expect(err).NotTo(HaveOccurred())
		defer watcher.Close()
		watch := func() {
			_, err := client.WantWireguardPeerEvents(ctx, &wireguard.WantWireguardPeerEvents{
				SwIfIndex: allInterfaces, PeerIndex: vppapi.None, EnableDisable: 1, PID: uint32(os.Getpid()),
			})
			Expect(err).NotTo(HaveOccurred())
		}
		watch()
		request := &wireguard.WireguardPeerAdd{Peer: wireguard.WireguardPeer{
			PublicKey: bytesOf(testKey(2, 1).PublicKey().String()), Port: portWireGuard, Endpoint: vppapi.Address(netip.MustParseAddr("192.0.2.22")),
			SwIfIndex:  find(ctx, vpp, "wg0").SwIfIndex,
			AllowedIps: []ip_types.Prefix{vppapi.Prefix(netip.MustParsePrefix("10.244.2.0/26"))},
		}}
		added, err := client.WireguardPeerAdd(ctx, request)
		Expect(err).NotTo(HaveOccurred())
		Expect(added.PeerIndex).To(BeZero())
		_, err = client.WireguardPeerAdd(ctx, request)
		Expect(err).To(MatchError(api.ENTRY_ALREADY_EXISTS))
		Expect(cli(ctx, "show interface features wg0")).To(ContainSubstring("  gso-ip4\n  wg4-output-tun\n"))
		Expect(cli(ctx, "show wireguard peer")).To(And(
			ContainSubstring("[0] endpoint:[192.0.2.21:51820->192.0.2.22:51820] wg0 keep-alive:0 flags: 0, api-clients count: 0\n  adj:"),
			ContainSubstring("\n  public key:"+testKey(2, 1).PublicKey().String()+" "), ContainSubstring("\n  allowed-ips: 10.244.2.0/26")))
		watch()
		Expect(cli(ctx, "show wireguard peer")).To(ContainSubstring("flags: 0, api-clients count: 1\n"))
		_, err = client.WireguardPeerRemove(ctx, &wireguard.WireguardPeerRemove{PeerIndex: added.PeerIndex})
		Expect(err).NotTo(HaveOccurred())
		_, err = client.WireguardPeerRemove(ctx, &wireguard.WireguardPeerRemove{PeerIndex: added.PeerIndex})
		Expect(err).To(MatchError(api.NO_SUCH_ENTRY))
		Consistently(watcher.Events(), 300*time.Millisecond).ShouldNot(Receive(HaveField("Flags", wireguard.WIREGUARD_PEER_ESTABLISHED)))
	})

	It("routes", func(ctx context.Context) {
		block := netip.MustParsePrefix("10.244.2.0/26")
		tunnel := find(ctx, vpp, "wg0").SwIfIndex
		Expect(vpp.SetRoute(ctx, vppapi.Route{Prefix: block, Link: uint32(tunnel), Gateway: block.Addr()}, true)).To(Succeed())
		Expect(vpp.SetRoute(ctx, vppapi.Route{Prefix: podRange, Link: vppapi.None, Drop: true}, true)).To(Succeed())
		uplink := find(ctx, vpp, "host-"+uplinkName).SwIfIndex
		shown := routes(ctx, vpp)
		Expect(shown).To(HaveKeyWithValue(block.String(), fmt.Sprintf("normal, interface %d, next hop 10.244.2.0", tunnel)))
		Expect(shown).To(HaveKeyWithValue(podRange.String(), "drop"))
		Expect(shown).To(HaveKeyWithValue("192.0.2.21/24", fmt.Sprintf("normal, interface %d, next hop 0.0.0.0", uplink)))
		Expect(shown).To(HaveKeyWithValue("192.0.2.21/32", fmt.Sprintf("local, interface %d, next hop 192.0.2.21", uplink)))
		Expect(shown).To(HaveKeyWithValue("0.0.0.0/0", "normal, next hop 192.0.2.1"))
		for _, dropped := range []string{"0.0.0.0/32", "192.0.2.0/32", "192.0.2.255/32", "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32"} {
			Expect(shown).To(HaveKeyWithValue(dropped, "drop"))
		}
		Expect(cli(ctx, "show ip fib 10.244.2.0/26")).To(ContainSubstring("via 10.244.2.0 wg0"))
		Expect(cli(ctx, "show ip fib 10.244.0.0/16")).To(ContainSubstring("dpo-drop ip4"))
		Expect(vpp.SetRoute(ctx, vppapi.Route{Prefix: block, Link: uint32(tunnel), Gateway: block.Addr()}, false)).To(Succeed())
		Expect(routes(ctx, vpp)).NotTo(HaveKey(block.String()))
	})

	It("keeps ACLs that are in use", func(ctx context.Context) {
		client := acl.NewServiceClient(vpp.API())
		uplink := find(ctx, vpp, "host-"+uplinkName).SwIfIndex
		everywhere := vppapi.Prefix(netip.MustParsePrefix("0.0.0.0/0"))
		reply, err := client.ACLAddReplace(ctx, &acl.ACLAddReplace{ACLIndex: vppapi.None, Tag: "conformance", R: []acl_types.ACLRule{
			{SrcPrefix: everywhere, DstPrefix: everywhere, Proto: protocolIPIP, SrcportOrIcmptypeLast: 65535, DstportOrIcmpcodeLast: 65535},
			{SrcPrefix: everywhere, DstPrefix: everywhere, IsPermit: acl_types.ACL_ACTION_API_PERMIT, SrcportOrIcmptypeLast: 65535, DstportOrIcmpcodeLast: 65535},
		}})
		Expect(err).NotTo(HaveOccurred())
		_, err = client.ACLInterfaceSetACLList(ctx, &acl.ACLInterfaceSetACLList{SwIfIndex: uplink, Acls: []uint32{reply.ACLIndex}})
		Expect(err).NotTo(HaveOccurred())
		_, err = client.ACLDel(ctx, &acl.ACLDel{ACLIndex: reply.ACLIndex})
		Expect(err).To(MatchError(api.ACL_IN_USE_OUTBOUND))
		Expect(cli(ctx, "show acl-plugin acl")).To(And(
			ContainSubstring("acl-index 0 count 2 tag {conformance}\n"),
			ContainSubstring("          0: ipv4 deny src 0.0.0.0/0 dst 0.0.0.0/0 proto 4 sport 0-65535 dport 0-65535\n"),
			ContainSubstring("          1: ipv4 permit src 0.0.0.0/0 dst 0.0.0.0/0 proto 0 sport 0-65535 dport 0-65535\n"),
			ContainSubstring("  applied outbound on sw_if_index: ")))
		Expect(cli(ctx, "show acl-plugin tables")).To(ContainSubstring("acl 0 rule 0 action 0 bitmask-ready rule 0 "))
		Expect(cli(ctx, "show interface features host-uplink0")).To(ContainSubstring("  acl-plugin-out-ip4-fa\n"))
		_, err = client.ACLInterfaceSetACLList(ctx, &acl.ACLInterfaceSetACLList{SwIfIndex: uplink})
		Expect(err).NotTo(HaveOccurred())
		_, err = client.ACLDel(ctx, &acl.ACLDel{ACLIndex: reply.ACLIndex})
		Expect(err).NotTo(HaveOccurred())
	})

	It("tells interface events to who asked", func(ctx context.Context) {
		watcher, err := vpp.API().WatchEvent(ctx, &interfaces.SwInterfaceEvent{})
		Expect(err).NotTo(HaveOccurred())
		defer watcher.Close()
		client := interfaces.NewServiceClient(vpp.API())
		_, err = client.WantInterfaceEvents(ctx, &interfaces.WantInterfaceEvents{EnableDisable: 1, PID: uint32(os.Getpid())})
		Expect(err).NotTo(HaveOccurred())
		tunnel := find(ctx, vpp, "wg0").SwIfIndex
		_, err = client.SwInterfaceSetFlags(ctx, &interfaces.SwInterfaceSetFlags{SwIfIndex: tunnel})
		Expect(err).NotTo(HaveOccurred())
		Eventually(watcher.Events()).Should(Receive(And(HaveField("SwIfIndex", tunnel), HaveField("Deleted", false),
			HaveField("Flags", Not(Equal(interface_types.IF_STATUS_API_FLAG_ADMIN_UP))))))
	})
}

// haveFields matches an interface by its flags, the name of its device class, and its MTU.
func haveFields(flags interface_types.IfStatusFlags, device string, mtu uint32) types.GomegaMatcher {
	return And(HaveField("Flags", flags), HaveField("InterfaceDevType", ContainSubstring(device)), HaveField("Mtu", HaveExactElements(mtu, uint32(0), uint32(0), uint32(0))))
}

func find(ctx context.Context, vpp *vppapi.VPP, name string) *interfaces.SwInterfaceDetails {
	GinkgoHelper()
	details, err := vpp.Find(ctx, func(d *interfaces.SwInterfaceDetails) bool { return d.InterfaceName == name })
	Expect(err).NotTo(HaveOccurred())
	Expect(details).NotTo(BeNil(), "VPP has no interface "+name)
	return details
}

// routes of table 0: the first path of each by prefix.
func routes(ctx context.Context, vpp *vppapi.VPP) map[string]string {
	GinkgoHelper()
	stream, err := ip.NewServiceClient(vpp.API()).IPRouteDump(ctx, &ip.IPRouteDump{})
	Expect(err).NotTo(HaveOccurred())
	details, err := vppapi.Collect(stream.Recv, nil)
	Expect(err).NotTo(HaveOccurred())
	all := map[string]string{}
	for _, d := range details {
		if len(d.Route.Paths) > 0 {
			all[d.Route.Prefix.String()] = describePath(d.Route.Paths[0])
		}
	}
	return all
}

func describePath(path fib_types.FibPath) string {
	if path.Type == fib_types.FIB_API_PATH_TYPE_DROP {
		return "drop"
	}
	text := map[fib_types.FibPathType]string{fib_types.FIB_API_PATH_TYPE_NORMAL: "normal", fib_types.FIB_API_PATH_TYPE_LOCAL: "local"}[path.Type]
	if path.SwIfIndex != vppapi.None {
		text += fmt.Sprintf(", interface %d", path.SwIfIndex)
	}
	return text + ", next hop " + netip.AddrFrom4(path.Nh.Address.GetIP4()).String()
}

func bytesOf(key string) []byte {
	GinkgoHelper()
	decoded, err := base64.StdEncoding.DecodeString(key)
	Expect(err).NotTo(HaveOccurred())
	return decoded
}
