// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vpp

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"go.fd.io/govpp/binapi/ikev2"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/ipsec"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/calicoagent/vppapi"
)

const (
	// clusterPSK is nobody's, as is the one of a host that was given another.
	clusterPSK = "test-pre-shared-key-of-no-cluster"
	otherPSK   = "test-pre-shared-key-of-another-one"
	// tunnelName is what VPP calls the first IPIP tunnel.
	tunnelName = "ipip0"
	// reported is how soon a node without encryption is known.
	reported = 15 * time.Second
	// ikeAtRest is longer than the emulated agent waits between two attempts.
	ikeAtRest = 4 * time.Second
)

// The fake VPP has no IKE: what it makes of such tunnels is tested with the agent alone.
var _ = Describe("the node agent with IPsec", func() {
	for _, impl := range implementations() {
		if impl.name == realVPP {
			Context("with the "+impl.name, Ordered, func() { describeIPsec(impl, "real-ipsec") })
		}
	}
})

// needIKE skips the specs where VPP lacks its plugin for IKE.
func (h *host) needIKE() {
	GinkgoHelper()
	h.vpp(func(vpp *vppapi.VPP) {
		lacks, err := vpp.Lacks(&ikev2.Ikev2ProfileAddDel{}, &ikev2.Ikev2ProfileSetAuth{}, &ikev2.Ikev2SetResponder{}, &ikev2.Ikev2InitiateSaInit{})
		Expect(err).NotTo(HaveOccurred())
		if len(lacks) > 0 {
			Skip(fmt.Sprintf("real VPP with IPsec: skipped, it has no plugin ikev2, or another version of it: %v are unknown to it", lacks))
		}
	})
}

// describeIPsec tells what happens from the first start of a pair of hosts on until VPP restarts.
func describeIPsec(impl implementation, name string) {
	var c *cluster
	var reserved int
	BeforeAll(func(ctx context.Context) {
		c = newClusterOf(ctx, impl, name, encryption.IPsec)
		var err error
		reserved, err = c.a.nrHugepages()
		Expect(err).NotTo(HaveOccurred())
		c.register(ctx)
		for _, h := range c.hosts() {
			h.runAgent()
			Eventually(func() string { return filepath.Join(h.runDir(), "hugepages.json") }).Should(BeAnExistingFile())
			h.boot(ctx)
			h.needIKE()
		}
	})
	AfterEach(func() {
		now, err := c.a.nrHugepages()
		Expect(err).NotTo(HaveOccurred())
		Expect(now).To(Equal(reserved), "hugepages of this machine")
	})

	It("keeps pods back while there are tunnels without associations", func(ctx context.Context) {
		// IKE of the two fails: one host has the key of another cluster.
		c.b.psk = otherPSK
		c.traffic(ctx, func() {
			c.a.runCalico()
			Eventually(func() []string { return c.a.names(ctx) }).Should(ContainElement(tunnelName))
			c.b.runCalico()
			Eventually(func() []string { return c.b.names(ctx) }).Should(ContainElement(tunnelName))
			for _, h := range c.hosts() {
				v := h.refused(ctx, encryption.ReasonIPsecNotEstablished)
				Expect(v.message).To(And(ContainSubstring(h.name), ContainSubstring(h.other.name)))
			}
			// Several attempts of IKE.
			Eventually(func() int { return c.a.received().IKE }).Should(BeNumerically(">=", 4))
		})
		c.silent(ctx)
		for _, h := range c.hosts() {
			Expect(h.up(ctx, tunnelName)).To(BeFalse(), "IKE brought up a tunnel of %s", h.name)
			h.refused(ctx, encryption.ReasonIPsecNotEstablished)
			Expect(h.received().ESP).To(BeZero())
		}
	})

	It("drops and counts what would leave by a tunnel that somebody brings up before IKE does", func(ctx context.Context) {
		// The tunnel of the host that begins: VPP has deleted that of the other when authentication failed.
		c.b.vpp(func(vpp *vppapi.VPP) {
			_, err := interfaces.NewServiceClient(vpp.API()).SwInterfaceSetFlags(ctx, &interfaces.SwInterfaceSetFlags{
				SwIfIndex: find(ctx, vpp, tunnelName).SwIfIndex, Flags: interface_types.IF_STATUS_API_FLAG_ADMIN_UP,
			})
			Expect(err).NotTo(HaveOccurred())
		})
		v := c.b.refused(ctx, encryption.ReasonPlaintextTunnel)
		Expect(v.message).To(And(ContainSubstring(tunnelName), ContainSubstring(c.a.name), ContainSubstring("without security associations")))
		c.guarded(ctx, c.b)
		c.leaksUnguarded(ctx, c.b)
	})

	It("proves that traffic is encrypted once IKE has associations", func(ctx context.Context) {
		c.traffic(ctx, func() {
			// As new pods calico-vpp-node with the cluster's key do. Both take one: where authentication fails, the VPP that is asked
			// deletes the tunnel, and Calico does not make it again.
			c.b.psk = clusterPSK
			for _, h := range c.hosts() {
				h.endCalico()
				h.stop()
				h.boot(ctx)
				h.runCalico()
			}
			c.proved(ctx)
			c.flows(ctx)
		})
		c.settled(ctx)
		c.encrypts(ctx)
	})

	It("finds all interfaces in interrupt mode, and no hugepages", func(ctx context.Context) {
		c.inInterruptMode(ctx, reserved)
	})

	// VPP itself drops what is left of its features on such a tunnel's way.
	It("reports a tunnel that has lost its associations and stays up, and nothing leaves by it", func(ctx context.Context) {
		started := time.Now()
		c.traffic(ctx, func() {
			c.b.unprotect(ctx)
			v := c.b.refused(ctx, encryption.ReasonPlaintextTunnel)
			Expect(time.Since(started)).To(BeNumerically("<", reported))
			Expect(v.message).To(And(ContainSubstring(tunnelName), ContainSubstring(c.a.name), ContainSubstring("without security associations")))
		})
		AddReportEntry("reported after", time.Since(started).Round(100*time.Millisecond).String())
		c.silent(ctx)
	})

	It("gets over a restart of VPP without a packet in clear", func(ctx context.Context) {
		started := time.Now()
		c.traffic(ctx, func() {
			c.b.stop()
			c.b.refused(ctx, encryption.ReasonDataplaneUnreachable)
			c.b.boot(ctx)
			c.proved(ctx)
			c.flows(ctx)
		})
		AddReportEntry("restarted within", time.Since(started).Round(100*time.Millisecond).String())
	})
}

// settled waits until IKE has said nothing for a while. Attempts that were begun before the first one succeeded end in associations too,
// which take the place of those that there are: what is encrypted with the old ones in that moment is lost.
func (c *cluster) settled(ctx context.Context) {
	GinkgoHelper()
	Eventually(ctx, func() int {
		c.forget()
		time.Sleep(ikeAtRest)
		return c.a.received().IKE + c.b.received().IKE
	}).Should(BeZero())
}

// silent expects that pods reach nobody, and that nothing of them is on the wire.
func (c *cluster) silent(ctx context.Context) {
	GinkgoHelper()
	c.forget()
	fromA, fromB := c.ping(ctx, pings)
	Expect([]int{fromA, fromB}).To(HaveEach(BeZero()))
	c.nothingInClear()
}

// encrypts expects that pods reach each other, and that the wire has nothing but ESP and IKE.
func (c *cluster) encrypts(ctx context.Context) {
	GinkgoHelper()
	c.forget()
	fromA, fromB := c.ping(ctx, pings)
	AddReportEntry("answered", fmt.Sprintf("%d and %d of %d", fromA, fromB, pings))
	Expect([]int{fromA, fromB}).To(HaveEach(pings))
	c.nothingInClear()
	for _, h := range c.hosts() {
		seen := h.received()
		Expect(seen.ESP).To(BeNumerically(">=", 2*pings), "%s: %s", h.name, &seen)
		Expect(seen.WireGuard+seen.Other).To(BeZero(), "%s: %s", h.name, &seen)
	}
}

// up tells whether VPP has an interface of that name, and it is up.
func (h *host) up(ctx context.Context, name string) (up bool) {
	GinkgoHelper()
	h.vpp(func(vpp *vppapi.VPP) {
		details, err := vpp.Find(ctx, func(d *interfaces.SwInterfaceDetails) bool { return d.InterfaceName == name })
		Expect(err).NotTo(HaveOccurred())
		up = details != nil && details.Flags&interface_types.IF_STATUS_API_FLAG_ADMIN_UP != 0
	})
	return up
}

// unprotect takes the associations from the tunnel behind IKE's back.
func (h *host) unprotect(ctx context.Context) {
	GinkgoHelper()
	h.vpp(func(vpp *vppapi.VPP) {
		_, err := ipsec.NewServiceClient(vpp.API()).IpsecTunnelProtectDel(ctx, &ipsec.IpsecTunnelProtectDel{SwIfIndex: find(ctx, vpp, tunnelName).SwIfIndex})
		Expect(err).NotTo(HaveOccurred())
	})
}
