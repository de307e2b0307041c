// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// mortal is a site whose managers are killed between two writes and replaced.
type mortal struct {
	*site
	// lives are the numbers of writes after which the next managers die. The last one lives on.
	lives []int
	// deaths so far.
	deaths int
}

// live starts a manager that dies after so many writes as the next life has.
func (m *mortal) live(ctx context.Context) {
	GinkgoHelper()
	m.record()
	if len(m.lives) > 0 {
		m.recorder.CutAfter(m.lives[0])
		m.lives = m.lives[1:]
	}
	m.startManager(ctx)
}

// revive replaces the manager if it was killed.
func (m *mortal) revive(ctx context.Context) {
	GinkgoHelper()
	if m.recorder.IsCut() {
		if m.manager != nil {
			_ = m.manager.Stop() // Killed: whatever it says.
		}
		m.deaths++
		m.live(ctx)
	}
}

// startKubelets registers the Nodes of hosts that have been provisioned, without a provider ID, so that we have to set it.
func (m *mortal) startKubelets(ctx context.Context, g Gomega) {
	hosts := &bmov1.BareMetalHostList{}
	g.Expect(server.Client.List(ctx, hosts, client.InNamespace(m.namespace))).To(Succeed())
	for _, host := range hosts.Items {
		if host.Status.Provisioning.State == bmov1.StateProvisioned {
			node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: host.Name}}
			g.Expect(client.IgnoreAlreadyExists(server.Client.Create(ctx, node))).To(Succeed())
		}
	}
}

// expectAllLinked waits until the machines are ready, while managers die.
func (m *mortal) expectAllLinked(ctx context.Context, machines []string) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		m.revive(ctx)
		m.startKubelets(ctx, g)
		for _, name := range machines {
			machine := &infrav1.EdgeMachine{}
			g.Expect(server.Client.Get(ctx, m.key(name), machine)).To(Succeed())
			g.Expect(conditions.IsTrue(machine, infrav1.ReadyCondition)).To(BeTrue(), "%s: %s", name, conditions.GetMessage(machine, infrav1.ReadyCondition))
		}
	}).WithTimeout(5 * time.Minute).Should(Succeed())
}

// expectAllGone waits until the machines are gone, while managers die.
func (m *mortal) expectAllGone(ctx context.Context, machines []string) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		m.revive(ctx)
		left := &infrav1.EdgeMachineList{}
		g.Expect(server.Client.List(ctx, left, client.InNamespace(m.namespace))).To(Succeed())
		g.Expect(left.Items).To(BeEmpty())
	}).WithTimeout(5 * time.Minute).Should(Succeed())
	for _, name := range machines {
		m.expectGone(ctx, name)
	}
}

// liveThrough the whole life of some machines on hosts that are one more, and check that nothing is lost or doubled.
// It returns how many managers were killed.
func liveThrough(ctx context.Context, machines int, lives []int) int {
	GinkgoHelper()
	m := &mortal{site: newSite(ctx), lives: lives}
	m.createKubeconfig(ctx, clusterName) // First, as in addCluster.
	cluster := m.createCluster(ctx, clusterName, nil)
	m.createEdgeCluster(ctx, cluster, withAddresses(fromPool()))
	updateStatus(ctx, m.site, clusterName, cluster, func(c *clusterv1.Cluster) { c.Status.Initialization.InfrastructureProvisioned = new(true) })
	m.ipam.SetPool(poolName, "192.0.2.100", "192.0.2.150")
	was := map[string]before{}
	for i := range machines + 1 {
		host := fmt.Sprintf("h%d", i)
		m.addHost(ctx, host, i, poweredOff)
		was[host] = m.remember(ctx, host)
	}
	DeferCleanup(func(ctx context.Context) {
		for host := range was {
			node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: m.hostName(host)}}
			Expect(client.IgnoreNotFound(server.Client.Delete(ctx, node))).To(Succeed())
		}
	})
	var names []string
	for i := range machines {
		names = append(names, fmt.Sprintf("m%d", i))
		m.addMachine(ctx, clusterName, names[i], cleaning(infrav1.CleaningMetadata))
	}
	m.live(ctx)
	m.expectAllLinked(ctx, names)

	held := m.claimants(ctx)(Default)
	boots := 0
	for host := range was {
		boots += len(m.operator.Boots(m.hostName(host)))
	}
	Expect(held).To(HaveLen(machines))
	for _, name := range names {
		Expect(held).To(HaveKeyWithValue(name, 1))
		machine := m.edgeMachine(ctx, name)
		host := strings.TrimSuffix(machine.Status.Host, "-"+m.namespace)
		Expect(machine.Spec.ProviderID).To(Equal(m.providerID(name, host)))
		Expect(m.operator.Boots(machine.Status.Host)).To(HaveLen(1), "host %s", host)
	}
	Expect(boots).To(Equal(machines), "every disk is written once")
	Expect(m.ipam.Taken(poolName)).To(Equal(machines))

	for _, name := range names {
		m.deleteMachine(ctx, name)
	}
	m.expectAllGone(ctx, names)
	for host, before := range was {
		m.expectFree(ctx, host, before)
	}
	Expect(m.ipam.Taken(poolName)).To(BeZero())
	m.revive(ctx) // It may have died of its very last write.
	AddReportEntry("Managers killed", fmt.Sprint(m.deaths))
	return m.deaths
}

var _ = Describe("A manager that is killed", func() {
	// It writes 20 or 21 times; the last one, an event, nobody waits for.
	for n := 1; n <= 19; n++ {
		It(fmt.Sprintf("right after its write number %d loses and doubles nothing", n), func(ctx context.Context) {
			Expect(liveThrough(ctx, 1, []int{n})).To(Equal(1), "there are fewer writes")
		})
	}

	It("again and again, while machines come and go, loses and doubles nothing", func(ctx context.Context) {
		seed := uint64(GinkgoRandomSeed())
		source := rand.New(rand.NewPCG(seed, seed))
		lives := make([]int, 25)
		for i := range lives {
			lives[i] = 1 + source.IntN(6)
		}
		Expect(liveThrough(ctx, 6, lives)).To(BeNumerically(">", 10))
	})
})
