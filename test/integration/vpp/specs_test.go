// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vpp

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/wireguard"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/calicoagent/vppapi"
)

// pings of one look at the traffic.
const pings = 100

func blockOf(h *host) netip.Prefix {
	return netip.PrefixFrom(h.podAddr, 26).Masked()
}

var _ = Describe("the node agent", func() {
	for _, impl := range implementations() {
		Context("with the "+impl.name, func() {
			name, _, _ := strings.Cut(impl.name, " ")
			Context("on hosts that know each other's keys", Ordered, func() { describeKnown(impl, name+"-known") })
			Context("on a host that does not know the other's key", Ordered, func() { describeUnknown(impl, name+"-unknown") })
			Context("on a host without a key", Ordered, func() { describeKeyless(impl, name+"-keyless") })
		})
	}
})

// describeKnown tells what happens on a healthy pair of hosts, and on one that is disturbed.
func describeKnown(impl implementation, name string) {
	var c *cluster
	var reserved int
	BeforeAll(func(ctx context.Context) {
		c = newCluster(ctx, impl, name)
		var err error
		reserved, err = c.a.nrHugepages()
		Expect(err).NotTo(HaveOccurred())
		c.register(ctx)
		for _, h := range c.hosts() {
			h.runAgent()
			// It counts hugepages when it starts, before VPP does.
			Eventually(func() string { return filepath.Join(h.runDir(), "hugepages.json") }).Should(BeAnExistingFile())
		}
	})
	AfterEach(func() {
		now, err := c.a.nrHugepages()
		Expect(err).NotTo(HaveOccurred())
		Expect(now).To(Equal(reserved), "hugepages of this machine")
	})

	It("completes the tunnel of the host's file without being told of it", func(ctx context.Context) {
		for _, h := range c.hosts() {
			h.boot(ctx)
		}
		appeared, completed := watchTunnel(ctx, c.a)
		AddReportEntry("tunnel", fmt.Sprintf("appeared %s after VPP answered, was complete %s later", appeared.Round(time.Millisecond), completed.Round(time.Millisecond)))
		Expect(completed).To(BeNumerically("<", 30*time.Second)) // The report says how soon; a machine may stand still meanwhile.
	})

	It("proves that traffic is encrypted once the Calico agents run", func(ctx context.Context) {
		c.traffic(ctx, func() {
			for _, h := range c.hosts() {
				h.runCalico()
			}
			c.proved(ctx)
			c.flows(ctx)
		})
		c.forget()
		fromA, fromB := c.ping(ctx, pings)
		AddReportEntry("answered", fmt.Sprintf("%d and %d of %d", fromA, fromB, pings))
		Expect(fromA).To(Equal(pings))
		Expect(fromB).To(Equal(pings))
		c.nothingInClear()
		for _, h := range c.hosts() {
			Expect(h.received().WireGuard).To(BeNumerically(">=", 2*pings))
		}
	})

	It("leaves the published keys as they were", func(ctx context.Context) {
		for _, h := range c.hosts() {
			Expect(h.publishedKey(ctx)).To(Equal(h.private.PublicKey().String()))
		}
	})

	It("finds all interfaces in interrupt mode, and no hugepages", func(ctx context.Context) {
		c.inInterruptMode(ctx, reserved)
	})

	It("keeps a safe state when it is killed, and returns", func(ctx context.Context) {
		guards := c.a.guards(ctx)
		Expect(guards).To(Equal(1))
		c.a.killAgent()
		c.forget()
		fromA, fromB := c.ping(ctx, pings)
		Expect([]int{fromA, fromB}).To(HaveEach(pings))
		c.nothingInClear()
		Expect(c.a.guards(ctx)).To(Equal(1))
		c.a.runAgent()
		Eventually(func(g Gomega) {
			status, err := agentStatus(ctx, c.a.runDir())
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(status.Verdict.Encrypted).To(BeTrue(), status.Verdict.Message)
		}).Should(Succeed())
		c.proved(ctx)
		Expect(c.a.guards(ctx)).To(Equal(1), "the guard it finds is its own")
	})

	It("reports a second tunnel with the same source, and makes none", func(ctx context.Context) {
		var second interface_types.InterfaceIndex
		c.a.vpp(func(vpp *vppapi.VPP) {
			reply, err := wireguard.NewServiceClient(vpp.API()).WireguardInterfaceCreate(ctx, &wireguard.WireguardInterfaceCreate{
				Interface: wireguard.WireguardInterface{
					UserInstance: vppapi.None, Port: portWireGuard, SrcIP: vppapi.Address(c.a.address.Addr()), PrivateKey: make([]byte, 32), PublicKey: make([]byte, 32),
				},
				GenerateKey: true,
			})
			Expect(err).NotTo(HaveOccurred())
			second = reply.SwIfIndex
		})
		v := c.a.refused(ctx, encryption.ReasonTunnelDuplicate)
		Expect(v.message).To(And(ContainSubstring(c.a.name), ContainSubstring("wg0"), ContainSubstring("wg1")))
		c.a.vpp(func(vpp *vppapi.VPP) {
			_, err := wireguard.NewServiceClient(vpp.API()).WireguardInterfaceDelete(ctx, &wireguard.WireguardInterfaceDelete{SwIfIndex: second})
			Expect(err).NotTo(HaveOccurred())
		})
		c.proved(ctx)
		Expect(c.a.tunnels(ctx)).To(HaveLen(1))
	})

	It("gets over a restart of VPP without a packet in clear", func(ctx context.Context) {
		c.traffic(ctx, func() {
			c.b.stop()
			c.b.refused(ctx, encryption.ReasonDataplaneUnreachable)
			c.b.boot(ctx)
			c.proved(ctx)
			c.flows(ctx)
		})
		Expect(c.b.tunnels(ctx)).To(Equal([]string{c.b.private.PublicKey().String()}))
	})

	It("gets over a key that is replaced", func(ctx context.Context) {
		before := c.b.private.PublicKey().String()
		c.traffic(ctx, func() {
			c.b.stop()
			c.b.refused(ctx, encryption.ReasonDataplaneUnreachable)
			c.b.install(testKey(c.b.number, 2))
			c.publish(ctx, c.b, c.b.private.PublicKey().String())
			c.b.boot(ctx)
			c.proved(ctx)
			c.flows(ctx)
		})
		Expect(c.b.tunnels(ctx)).To(Equal([]string{c.b.private.PublicKey().String()}))
		Expect(c.a.peers(ctx)).To(And(ContainElement(c.b.private.PublicKey().String()), Not(ContainElement(before))))
	})
}

// describeUnknown tells what happens when the Calico agent of one host does not know the key of the other, and falls back to IPIP.
func describeUnknown(impl implementation, name string) {
	var c *cluster
	BeforeAll(func(ctx context.Context) {
		c = newCluster(ctx, impl, name)
		c.register(ctx)
		c.a.withheld.Store(true)
		for _, h := range c.hosts() {
			h.boot(ctx)
			h.runAgent()
			h.runCalico()
		}
	})

	It("lets nothing leave in clear, says why the node is not ready, and counts", func(ctx context.Context) {
		// The fallback is in place: the Calico agent sends in clear from here on.
		Eventually(func() []string { return c.a.names(ctx) }).Should(ContainElement("ipip0"))
		v := c.a.refused(ctx, encryption.ReasonPlaintextTunnel)
		Expect(v.message).To(And(ContainSubstring(c.a.name), ContainSubstring(c.b.name)))
		c.guarded(ctx, c.a)
	})

	It("is what stops it: without the agent's guard the same packets are captured in clear", func(ctx context.Context) {
		c.leaksUnguarded(ctx, c.a)
	})

	It("proves the node once the peer is added", func(ctx context.Context) {
		c.traffic(ctx, func() {
			c.a.withheld.Store(false)
			c.a.calico.Poke()
			c.proved(ctx)
			c.flows(ctx)
		})
		c.forget()
		fromA, fromB := c.ping(ctx, pings)
		Expect([]int{fromA, fromB}).To(HaveEach(pings))
		c.nothingInClear()
		Expect(c.a.names(ctx)).NotTo(ContainElement("ipip0"))
	})

	It("keeps pods back again when the peer is lost", func(ctx context.Context) {
		// As an agent does that starts again while a Node's key cannot be read.
		c.a.vpp(func(vpp *vppapi.VPP) { dropPeers(ctx, vpp) })
		started := time.Now()
		v := c.a.refused(ctx, encryption.ReasonPeerMissing)
		Expect(v.message).To(ContainSubstring(c.b.name))
		AddReportEntry("reported after", time.Since(started).Round(100*time.Millisecond).String())
		c.forget()
		fromA, _ := c.ping(ctx, pings)
		Expect(fromA).To(BeZero())
		c.nothingInClear()
	})
}

// describeKeyless tells what happens when the Calico agent finds no tunnel, and makes one with a key of its own.
func describeKeyless(impl implementation, name string) {
	It("reports the agent's own key, and adds no tunnel", func(ctx context.Context) {
		c := newCluster(ctx, impl, name)
		c.register(ctx)
		// Calico comes first: VPP's start-up script has nothing to run.
		c.b.write("/etc/vpp/startup.exec", nil)
		for _, h := range c.hosts() {
			h.boot(ctx)
			h.runCalico()
		}
		c.a.runAgent()
		Eventually(func() []string { return c.b.tunnels(ctx) }).Should(HaveLen(1))
		// In one attempt, which others who write to the Node may spoil: its own agent comes later.
		Eventually(func() string { return c.b.publishedKey(ctx) }).Should(Equal(c.b.tunnels(ctx)[0]))
		c.b.runAgent()
		v := c.b.refused(ctx, encryption.ReasonKeyMismatch)
		Expect(v.message).To(ContainSubstring(c.b.name))
		Expect(c.b.publishedKey(ctx)).To(Equal(c.b.tunnels(ctx)[0]))
		c.traffic(ctx, func() {
			Consistently(func() []string { return c.b.tunnels(ctx) }, 3*time.Second).Should(HaveLen(1))
		})
	})
}

// watchTunnel waits until VPP has a WireGuard interface, and until it is up, and says how long each took.
func watchTunnel(ctx context.Context, h *host) (appeared, completed time.Duration) {
	GinkgoHelper()
	h.vpp(func(vpp *vppapi.VPP) {
		began := time.Now()
		var found time.Time
		Eventually(func(g Gomega) {
			tunnel, err := vpp.Find(ctx, func(d *interfaces.SwInterfaceDetails) bool { return d.InterfaceName == "wg0" })
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(tunnel).NotTo(BeNil())
			if found.IsZero() {
				found = time.Now()
			}
			g.Expect(tunnel.Flags & interface_types.IF_STATUS_API_FLAG_ADMIN_UP).NotTo(BeZero())
		}).WithPolling(10 * time.Millisecond).Should(Succeed())
		appeared, completed = found.Sub(began), time.Since(found)
	})
	return appeared, completed
}
