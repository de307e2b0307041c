// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package encryption

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/e2e/stage"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/fakevpp"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/fakevpp/control"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/faults"
)

const (
	cluster = "edge-1"
	workers = cluster + "-workers"
	// promptly is how soon a node that loses its encryption is seen and tainted.
	promptly = time.Minute
)

var _ = Describe("A cluster with required encryption", Ordered, func() {
	var (
		s    *stage.Site
		keys *stage.WireGuardKeys
		wire *prober
	)

	BeforeAll(func(ctx SpecContext) {
		s = lab.NewSite(ctx, "encryption")
		s.AddHosts(ctx, 1, 4)
		DeferCleanup(func() {
			if wire != nil {
				wire.stop()
			}
		})
	}, NodeTimeout(stage.Limit))

	It("is not ready while nodes would send in clear, from its first minute on", func(ctx SpecContext) {
		for n := 1; n <= 4; n++ {
			s.Fault(ctx, n, "withhold-key")
		}
		s.Create(ctx, stage.Order{Name: cluster, ControlPlane: 1, Workers: 2, Encrypted: true})
		Eventually(ctx, func(g Gomega) {
			site := edgeCluster(ctx, g, s)
			c := meta.FindStatusCondition(site.Status.Conditions, infrav1.EncryptionReadyCondition)
			g.Expect(c).NotTo(BeNil())
			g.Expect(c.Message).To(MatchRegexp(`^0 of 3 nodes encrypted(; host-\d: PlaintextTunnel since .* in clear, and the guard drops it.*){3}`))
			g.Expect(meta.IsStatusConditionTrue(site.Status.Conditions, infrav1.ReadyCondition)).To(BeFalse())
		}).Should(Succeed())
		for name, node := range nodesByName(ctx, s) {
			Expect(tainted(node)).To(BeTrue(), "%s is tainted", name)
		}
		flows := s.Flows(ctx, cluster)
		Expect(flows).To(HaveLen(6))
		Expect(flows).To(HaveEach(HaveField("Outcome", fakevpp.Dropped)))
		wire = startProber(ctx, s)
	}, SpecTimeout(stage.Limit))

	It("comes up when every node has proved that it encrypts", func(ctx SpecContext) {
		for n := 1; n <= 4; n++ {
			s.Fault(ctx, n, "")
		}
		s.AwaitCluster(ctx, cluster, 3)
		expectEncrypted(ctx, s, 3)
		keys = s.WireGuardKeys(ctx, nil)
		Expect(keys.Count).To(Equal(3), "keys of machines")
		nodes := nodesByName(ctx, s)
		for _, m := range s.EdgeMachines(ctx) {
			node := nodes[m.Status.Host]
			Expect(m.Status.WireGuardPublicKey).NotTo(BeEmpty())
			Expect(node.Annotations).To(HaveKeyWithValue(encryption.PublicKeyAnnotation, m.Status.WireGuardPublicKey))
			status := agentStatus(ctx, s, node.Name)
			Expect(status.Tunnels).To(HaveLen(1))
			Expect(status.Tunnels[0].PublicKey).To(Equal(m.Status.WireGuardPublicKey))
			Expect(status.Guard.InForce).To(BeTrue())
			Expect(status.Verdict.Peers).To(HaveEach(HaveField("State", encryption.PeerEncrypted)))
		}
	}, SpecTimeout(stage.Limit))

	It("tells people on the node, and the site's administrator, the same", func(ctx SpecContext) {
		worker := workerNodes(ctx, s)[0]
		Expect(s.AgentStatus(ctx, cluster, worker)).To(MatchRegexp(`(?s)Node %s .*: ENCRYPTED, WireGuard Required.*wg0 up.*(host-\d .*Encrypted.*){2}`, worker))
		Expect(s.Describe(ctx, cluster, "EdgeCluster")).To(MatchRegexp(`─EncryptionReady +True .*3 of 3 nodes encrypted`))
	}, SpecTimeout(stage.Limit))

	It("drops what would leave in clear, says who and why, and takes no pods, when a key is withheld", func(ctx SpecContext) {
		names := workerNodes(ctx, s)
		victim, other := names[0], names[1]
		s.Do(ctx, "annotate", "baremetalhost", victim, faults.Annotation+"=withhold-key")
		restartVPPPod(ctx, s, other)
		Eventually(ctx, func(g Gomega) {
			c := meta.FindStatusCondition(edgeCluster(ctx, g, s).Status.Conditions, infrav1.EncryptionReadyCondition)
			g.Expect(c.Status).To(Equal(metav1.ConditionFalse))
			g.Expect(c.Message).To(MatchRegexp(`%s: %s since .*%s`, other, encryption.ReasonPlaintextTunnel, victim))
			g.Expect(tainted(nodesIn(ctx, g, s)[other])).To(BeTrue(), "%s is tainted", other)
		}).Should(Succeed())
		outcomes := map[string]fakevpp.Outcome{}
		for _, flow := range s.Flows(ctx, cluster) {
			outcomes[flow.From+" to "+flow.To] = flow.Outcome
		}
		Expect(outcomes).To(HaveKeyWithValue(other+" to "+victim, fakevpp.Dropped))
		Expect(outcomes).NotTo(ContainElement(fakevpp.Plain))

		createPod(ctx, s, "held-back", other)
		Eventually(ctx, func(g Gomega) {
			g.Expect(podCondition(ctx, g, s, "held-back", corev1.PodScheduled).Message).To(ContainSubstring("untolerated taint"))
		}).Should(Succeed())

		s.Do(ctx, "annotate", "baremetalhost", victim, faults.Annotation+"-")
		expectEncrypted(ctx, s, 3)
		Eventually(ctx, func(g Gomega) {
			g.Expect(podCondition(ctx, g, s, "held-back", corev1.PodReady).Status).To(Equal(corev1.ConditionTrue))
		}).Should(Succeed())
	}, SpecTimeout(stage.Limit))

	It("shows promptly that a running node has lost its encryption, and heals with VPP", func(ctx SpecContext) {
		worker := workerNodes(ctx, s)[0]
		key := nodesByName(ctx, s)[worker].Annotations[encryption.PublicKeyAnnotation]
		vpp := s.VPP(s.Namespace, worker)
		Expect(vpp.Fault(ctx, control.Fault{SecondTunnel: true})).To(Succeed())
		began := time.Now()
		Eventually(ctx, func(g Gomega) {
			c := meta.FindStatusCondition(edgeCluster(ctx, g, s).Status.Conditions, infrav1.EncryptionReadyCondition)
			g.Expect(c.Message).To(ContainSubstring("2 of 3 nodes encrypted; " + worker + ": " + encryption.ReasonTunnelDuplicate))
			g.Expect(tainted(nodesIn(ctx, g, s)[worker])).To(BeTrue())
		}).WithTimeout(promptly).Should(Succeed())
		GinkgoWriter.Printf("seen after %s\n", time.Since(began).Round(time.Millisecond))
		Expect(vpp.Restart(ctx)).To(Succeed())
		expectEncrypted(ctx, s, 3)
		Expect(nodesByName(ctx, s)[worker].Annotations).To(HaveKeyWithValue(encryption.PublicKeyAnnotation, key), "the key outlives VPP")
	}, SpecTimeout(stage.Limit))

	It("rolls a change of VPP's configuration out node by node", func(ctx SpecContext) {
		before := vppPods(ctx, Default, s)
		watch := watchRollout(ctx, s)
		s.Do(ctx, "patch", "edgecluster", cluster, "--type=merge", "--patch", `{"spec":{"dataplane":{"vpp":{"ringSize":512}}}}`)
		Eventually(ctx, func(g Gomega) {
			now := vppPods(ctx, g, s)
			g.Expect(now).To(HaveLen(3))
			for node, pod := range now {
				g.Expect(pod.UID).NotTo(Equal(before[node].UID), node)
			}
			site := edgeCluster(ctx, g, s)
			g.Expect(meta.IsStatusConditionTrue(site.Status.Conditions, infrav1.DataplaneInstalledCondition)).To(BeTrue())
		}).Should(Succeed())
		expectEncrypted(ctx, s, 3)
		seen := watch()
		Expect(seen.mostDown).To(Equal(1), "nodes without VPP at a time")
		Expect(seen.reasons).To(ContainElement(infrav1.RollingOutReason))
	}, SpecTimeout(stage.Limit))

	It("lets a MachineHealthCheck replace a node that does not encrypt; its key goes with it", func(ctx SpecContext) {
		Expect(s.Apply(ctx, healthCheck(s.Namespace))).To(Succeed())
		worker := workerNodes(ctx, s)[0]
		node := nodesByName(ctx, s)[worker]
		key := node.Annotations[encryption.PublicKeyAnnotation]
		Expect(s.VPP(s.Namespace, worker).Fault(ctx, control.Fault{SecondTunnel: true})).To(Succeed())
		Eventually(ctx, func(g Gomega) {
			list := &infrav1.EdgeMachineList{}
			g.Expect(s.Client().List(ctx, list, client.InNamespace(s.Namespace))).To(Succeed())
			g.Expect(list.Items).NotTo(ContainElement(HaveField("Status.WireGuardPublicKey", key)))
		}).Should(Succeed())
		// The impatient check may take the new node for one more that does not encrypt.
		Expect(s.Client().Delete(ctx, &clusterv1.MachineHealthCheck{ObjectMeta: objectMeta(s, "encryption")})).To(Succeed())
		s.AwaitCluster(ctx, cluster, 3)
		expectEncrypted(ctx, s, 3)
		keys = s.WireGuardKeys(ctx, keys)
		Expect(keys.Count).To(Equal(4))
		for name := range nodesByName(ctx, s) {
			Expect(agentStatus(ctx, s, name).Verdict.Peers).NotTo(ContainElement(HaveField("PublicKey", key)))
		}
	}, SpecTimeout(stage.Limit))

	It("expects nothing more of a machine that is deleted", func(ctx SpecContext) {
		before := transitions(ctx, s)
		s.Scale(ctx, "machinedeployment/"+workers, 1)
		s.AwaitCluster(ctx, cluster, 2)
		expectEncrypted(ctx, s, 2)
		for name, at := range transitions(ctx, s) {
			Expect(at).To(Equal(before[name]), "since when %s encrypts", name)
			Expect(agentStatus(ctx, s, name).Verdict.Peers).To(HaveLen(1))
		}
	}, SpecTimeout(stage.Limit))

	It("has sent nothing in clear at any time", func(SpecContext) {
		sent := wire.stop()
		GinkgoWriter.Printf("packets between nodes' pods: %v\n", sent.outcomes)
		Expect(sent.inClear).To(BeEmpty())
		Expect(sent.outcomes[fakevpp.Encrypted]).To(BeNumerically(">", 100))
		Expect(sent.outcomes[fakevpp.Dropped]).To(BeNumerically(">", 0))
	}, SpecTimeout(stage.Limit))

	It("keeps private keys where they belong", func(ctx SpecContext) {
		keys.ExpectNowhere(ctx, s, cluster)
		s.Secrets(ctx, cluster).ExpectNowhere(ctx, s)
	}, SpecTimeout(stage.Limit))

	It("gives everything back when it is deleted", func(ctx SpecContext) {
		s.Delete(ctx, "cluster/"+cluster)
		s.AwaitNothing(ctx)
	}, SpecTimeout(stage.Limit))
})
