// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"context"
	"fmt"
	"strings"
	"time"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/integration/wire"
)

const (
	// mostWrites is how many writes a machine may cost us from its creation to its Node, events included.
	mostWrites = 12
	// quietFor is how long nothing is written before a site counts as settled, and has to stay so: longer than an EdgeCluster waits
	// before it counts hosts that have changed, which is 2 s and 10 ms for each.
	quietFor = 4 * time.Second
)

// expectQuiet waits until our manager writes nothing any more.
func (s *site) expectQuiet() {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		count := len(s.recorder.Writes())
		g.Consistently(func() int { return len(s.recorder.Writes()) }).WithTimeout(quietFor).Should(Equal(count))
	}).Should(Succeed())
}

// expectNoWrites runs what should not make our manager write anything.
func (s *site) expectNoWrites(do func()) {
	GinkgoHelper()
	before := len(s.recorder.Writes())
	do()
	Consistently(func() []wire.Write { return s.recorder.Writes()[before:] }).WithTimeout(quietFor).Should(BeEmpty())
}

var _ = Describe("Writes", func() {
	DescribeTable("per machine from creation to linked are few, and none follow", func(ctx context.Context, source infrav1.AddressSource) {
		const machines = 5
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, withAddresses(source))
		s.ipam.SetPool(poolName, "192.0.2.100", "192.0.2.150")
		for i := range machines {
			s.addHost(ctx, fmt.Sprintf("h%d", i), i, nil)
		}
		s.expectQuiet()
		settled := len(s.recorder.Writes())
		for i := range machines {
			s.addMachine(ctx, clusterName, fmt.Sprintf("m%d", i), nil)
		}
		for i := range machines {
			name := fmt.Sprintf("m%d", i)
			s.expectProvisioned(ctx, name)
			host := strings.TrimSuffix(s.edgeMachine(ctx, name).Status.Host, "-"+s.namespace)
			s.registerNode(ctx, host, s.providerID(name, host), corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("192.0.2.%d", 200+i)})
			s.expectLinked(ctx, name)
		}
		s.expectQuiet()
		writes := s.recorder.Writes()[settled:]
		AddReportEntry(fmt.Sprintf("Writes for %d machines", machines), strings.Join(wire.Counts(writes), "\n"), ReportEntryVisibilityAlways)
		Expect(len(writes)).To(BeNumerically("<=", machines*mostWrites), strings.Join(wire.Counts(writes), "\n"))

		By("writing nothing over what others report again and again")
		host := s.edgeMachine(ctx, "m0").Status.Host
		s.expectNoWrites(func() {
			updateStatus(ctx, s, host, &bmov1.BareMetalHost{}, func(h *bmov1.BareMetalHost) { h.Status.LastUpdated = new(metav1.Now()) })
			updateStatus(ctx, s, host, &corev1.Node{}, func(n *corev1.Node) {
				n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now()}}
			})
		})

		By("writing nothing after a restart")
		Expect(s.manager.Stop()).To(Succeed())
		s.expectNoWrites(func() { s.startManager(ctx) })
	},
		Entry("with addresses from the host", infrav1.AddressSource{FromHost: &infrav1.FromHost{}}),
		Entry("with addresses from a pool", fromPool()),
		Entry("with DHCP", infrav1.AddressSource{DHCP: &infrav1.DHCP{}}),
	)

	It("stop while machines wait for what does not come", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, annotateAddresses(""))
		s.addMachine(ctx, clusterName, "m", nil)
		s.addMachine(ctx, clusterName, "n", nil)
		s.expectQuiet()
		Expect(s.manager.Stop()).To(Succeed())
		s.expectNoWrites(func() { s.startManager(ctx) })
	})
})
