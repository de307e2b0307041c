// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"context"
	"fmt"
	"time"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// encrypted gives a site a dataplane. The mode may be any but Disabled.
func encrypted(kind infrav1.DataplaneType, mode infrav1.EncryptionMode) func(*infrav1.EdgeCluster) {
	return func(c *infrav1.EdgeCluster) {
		c.Spec.Dataplane = infrav1.Dataplane{Type: kind, Encryption: infrav1.Encryption{Mode: mode, Protocol: infrav1.ProtocolWireGuard}}
	}
}

// newEncryptedSite makes a site with a manager, a cluster that requires encryption, and a host "a" in failure domain "rack-1".
func newEncryptedSite(ctx context.Context) *site {
	GinkgoHelper()
	s := newRunningSite(ctx)
	s.addCluster(ctx, clusterName, encrypted(infrav1.DataplaneCalicoVPP, infrav1.EncryptionRequired))
	s.addHost(ctx, "a", 1, labelled(infrav1.FailureDomainLabel, "rack-1"))
	return s
}

// keys of machine m's Secret.
func (s *site) keys(ctx context.Context) (private, public string) {
	GinkgoHelper()
	secret := get(ctx, s, "m-wireguard", &corev1.Secret{})
	return string(secret.Data["privateKey"]), string(secret.Data["publicKey"])
}

// node of host a.
func (s *site) node(ctx context.Context) *corev1.Node {
	GinkgoHelper()
	node := &corev1.Node{}
	Expect(server.Client.Get(ctx, client.ObjectKey{Name: s.hostName("a")}, node)).To(Succeed())
	return node
}

// published is the key on the Node of host a, for Eventually.
func (s *site) published(ctx context.Context) func() string {
	return func() string { return s.node(ctx).Annotations[encryption.PublicKeyAnnotation] }
}

// changeNode changes the Node of host a as its kubelet, its agents or a user do.
func (s *site) changeNode(ctx context.Context, change func(*corev1.Node)) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		node := &corev1.Node{}
		g.Expect(server.Client.Get(ctx, client.ObjectKey{Name: s.hostName("a")}, node)).To(Succeed())
		change(node)
		g.Expect(server.Client.Update(ctx, node)).To(Succeed())
	}).Should(Succeed())
}

// report plays the node agent of a host.
func (s *site) report(ctx context.Context, host string, condition corev1.NodeCondition) {
	GinkgoHelper()
	condition.Type = encryption.NodeCondition
	if condition.LastHeartbeatTime.IsZero() {
		condition.LastHeartbeatTime = metav1.Now()
	}
	Eventually(func(g Gomega) {
		node := &corev1.Node{}
		g.Expect(server.Client.Get(ctx, client.ObjectKey{Name: s.hostName(host)}, node)).To(Succeed())
		node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}, condition}
		g.Expect(server.Client.Status().Update(ctx, node)).To(Succeed())
	}).Should(Succeed())
}

// proved is what the node agent reports of an encrypted node.
func proved() corev1.NodeCondition {
	return corev1.NodeCondition{Status: corev1.ConditionTrue, Reason: encryption.ReasonEncrypted, Message: "2 of 2 peers", LastTransitionTime: metav1.NewTime(time.Now().Add(-time.Hour))}
}

// unproved is what it reports of one that is not.
func unproved(reason, message string) corev1.NodeCondition {
	return corev1.NodeCondition{Status: corev1.ConditionFalse, Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(time.Now().Add(-time.Minute))}
}

// join provisions a machine on a host, and registers its Node with the start-up taint, as a kubelet does that kubeadm has started.
func (s *site) join(ctx context.Context, machine, host string) {
	GinkgoHelper()
	s.addMachine(ctx, clusterName, machine, onHost(host))
	s.expectProvisioned(ctx, machine)
	s.registerTainted(ctx, host, s.providerID(machine, host))
	Eventually(s.condition(ctx, machine, infrav1.NodeLinkedCondition)).Should(beTrue())
}

// onHost has a machine take the host with the address that addHost gave it, by its label.
func onHost(host string) func(*clusterv1.Machine, *infrav1.EdgeMachine) {
	return func(_ *clusterv1.Machine, m *infrav1.EdgeMachine) {
		if host != "a" {
			m.Spec.HostSelector.MatchLabels = map[string]string{"host": host}
		}
	}
}

func (s *site) registerTainted(ctx context.Context, host, providerID string) {
	GinkgoHelper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: s.hostName(host)}}
	node.Spec.ProviderID = providerID
	node.Spec.Taints = []corev1.Taint{{Key: encryption.NotReadyTaint, Effect: corev1.TaintEffectNoSchedule}}
	Expect(server.Client.Create(ctx, node)).To(Succeed())
	DeferCleanup(func(ctx context.Context) {
		Expect(client.IgnoreNotFound(server.Client.Delete(ctx, node))).To(Succeed())
	})
}

func hasTaint(node *corev1.Node) bool {
	for _, taint := range node.Spec.Taints {
		if taint.Key == encryption.NotReadyTaint {
			return true
		}
	}
	return false
}

var _ = Describe("The start-up taint", func() {
	It("is given to a Node that has registered without, once", func(ctx context.Context) {
		s := newEncryptedSite(ctx)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectProvisioned(ctx, "m")
		s.registerNode(ctx, "a", "")
		Eventually(func() bool { return hasTaint(s.node(ctx)) }).Should(BeTrue())
		Eventually(s.condition(ctx, "m", infrav1.NodeLinkedCondition)).Should(beTrue())
		Expect(s.node(ctx).Spec.ProviderID).To(Equal(s.providerID("m", "a")))

		By("leaving it to the node agent from then on")
		s.changeNode(ctx, func(n *corev1.Node) { n.Spec.Taints = nil })
		s.report(ctx, "a", proved())
		Eventually(s.condition(ctx, "m", infrav1.ReadyCondition)).Should(beTrue())
		Expect(s.manager.Stop()).To(Succeed())
		s.startManager(ctx)
		Consistently(func() bool { return hasTaint(s.node(ctx)) }).Should(BeFalse())

		By("not giving it to a proved Node when the status is lost, as after a move")
		Expect(s.manager.Stop()).To(Succeed())
		updateStatus(ctx, s, "m", &infrav1.EdgeMachine{}, func(m *infrav1.EdgeMachine) { m.Status = infrav1.EdgeMachineStatus{} })
		s.startManager(ctx)
		Eventually(s.condition(ctx, "m", infrav1.ReadyCondition)).Should(beTrue())
		Expect(hasTaint(s.node(ctx))).To(BeFalse())
	})

	It("is not given in mode Preferred", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, encrypted(infrav1.DataplaneCalicoNftables, infrav1.EncryptionPreferred))
		s.addHost(ctx, "a", 1, nil)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectProvisioned(ctx, "m")
		Expect(s.operator.Boots(s.hostName("a"))[0].UserData).NotTo(ContainSubstring(encryption.NotReadyTaint))
		s.registerNode(ctx, "a", s.providerID("m", "a"))
		s.expectLinked(ctx, "m")
		Expect(hasTaint(s.node(ctx))).To(BeFalse())
		Expect(s.published(ctx)()).NotTo(BeEmpty())
	})
})

var _ = Describe("The encryption of a machine", func() {
	It("is what its node agent reports, and makes the machine ready or not", func(ctx context.Context) {
		s := newEncryptedSite(ctx)
		s.join(ctx, "m", "a")
		of := s.condition(ctx, "m", infrav1.EncryptionReadyCondition)
		Eventually(of).Should(And(HaveField("Status", metav1.ConditionUnknown), HaveField("Reason", infrav1.WaitingForAgentReason), HaveField("Message", ContainSubstring("has not reported on Node "+s.hostName("a")))))
		Expect(s.condition(ctx, "m", infrav1.ReadyCondition)(Default)).To(waitFor(infrav1.WaitingForAgentReason))
		Expect(s.edgeMachine(ctx, "m").Status.Initialization.Provisioned).To(HaveValue(BeTrue()), "else Cluster API would never look for the Node")

		By("becoming encrypted")
		good := proved()
		s.report(ctx, "a", good)
		Eventually(of).Should(And(beTrue(), HaveField("Reason", encryption.ReasonEncrypted), HaveField("Message", "2 of 2 peers"),
			HaveField("LastTransitionTime.Unix()", good.LastTransitionTime.Unix())))
		Eventually(s.condition(ctx, "m", infrav1.ReadyCondition)).Should(beTrue())
		Eventually(s.eventsOf(ctx)).Should(ContainElement(encryption.ReasonEncrypted + ": 2 of 2 peers"))

		By("writing and reconciling nothing over heartbeats")
		s.expectQuiet()
		s.expectNoWrites(func() {
			for range 5 {
				s.report(ctx, "a", good)
			}
		})
		Expect(s.manager.Stop()).To(Succeed())
		s.expectNoWrites(func() { s.startManager(ctx) })

		By("losing it")
		s.report(ctx, "a", unproved(encryption.ReasonPeerKeyUnknown, "worker-2 publishes no key"))
		Eventually(of).Should(waitFor(encryption.ReasonPeerKeyUnknown, "worker-2 publishes no key"))
		Eventually(s.condition(ctx, "m", infrav1.ReadyCondition)).Should(waitFor(encryption.ReasonPeerKeyUnknown))
		Eventually(s.eventsOf(ctx)).Should(ContainElement(encryption.ReasonPeerKeyUnknown + ": worker-2 publishes no key"))

		By("a Node that is gone")
		s.report(ctx, "a", proved())
		Eventually(of).Should(beTrue())
		Expect(server.Client.Delete(ctx, s.node(ctx))).To(Succeed())
		s.expectWaiting(ctx, "m", infrav1.NodeLinkedCondition, infrav1.WaitingForNodeReason)
		Eventually(of).Should(HaveField("Status", metav1.ConditionUnknown))
	})

	It("is not known any more when its agent falls silent or its host is started again, for all who look at the Node", func(ctx context.Context) {
		s := newSite(ctx)
		s.reportTimeout = 15 * time.Second
		s.startManager(ctx)
		s.addCluster(ctx, clusterName, encrypted(infrav1.DataplaneCalicoVPP, infrav1.EncryptionRequired))
		s.addHost(ctx, "a", 1, nil)
		s.join(ctx, "m", "a")
		of := s.condition(ctx, "m", infrav1.EncryptionReadyCondition)
		boot := func(id string) {
			Eventually(func(g Gomega) {
				node := s.node(ctx)
				node.Status.NodeInfo.BootID = id
				g.Expect(server.Client.Status().Update(ctx, node)).To(Succeed())
			}).Should(Succeed())
		}
		prove := func() {
			// A host's clock may be wrong.
			good := proved()
			good.LastHeartbeatTime = metav1.NewTime(time.Now().Add(-time.Hour))
			s.report(ctx, "a", good)
			Eventually(of).Should(beTrue())
			s.changeNode(ctx, func(n *corev1.Node) { n.Spec.Taints = nil })
		}
		reported := func(g Gomega) []corev1.NodeCondition {
			node := &corev1.Node{}
			g.Expect(server.Client.Get(ctx, client.ObjectKey{Name: s.hostName("a")}, node)).To(Succeed())
			g.Expect(hasTaint(node)).To(BeTrue())
			return node.Status.Conditions
		}
		unknown := func(text string) {
			GinkgoHelper()
			Eventually(reported).Should(ConsistOf(
				And(HaveField("Type", corev1.NodeReady), HaveField("Status", corev1.ConditionTrue)),
				And(HaveField("Type", corev1.NodeConditionType(encryption.NodeCondition)), HaveField("Status", corev1.ConditionUnknown), HaveField("Reason", infrav1.WaitingForAgentReason), HaveField("Message", ContainSubstring(text))),
			))
			Eventually(of).Should(And(HaveField("Status", metav1.ConditionUnknown), HaveField("Reason", infrav1.WaitingForAgentReason), HaveField("Message", ContainSubstring(text))))
			Eventually(s.condition(ctx, "m", infrav1.ReadyCondition)).Should(waitFor(infrav1.WaitingForAgentReason))
		}
		boot("first")
		prove()
		unknown("has not reported on Node " + s.hostName("a") + " since 2")
		s.expectQuiet()
		Expect(s.manager.Stop()).To(Succeed())
		s.expectNoWrites(func() { s.startManager(ctx) })

		By("leaving it to the agent when it is back")
		prove()
		boot("second")
		unknown("since its host was started again")
	})

	It("does not decide over readiness in mode Preferred", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, encrypted(infrav1.DataplaneCalicoVPP, infrav1.EncryptionPreferred))
		s.addHost(ctx, "a", 1, nil)
		s.join(ctx, "m", "a")
		s.report(ctx, "a", unproved(encryption.ReasonTunnelMissing, "no tunnel"))
		Eventually(s.condition(ctx, "m", infrav1.EncryptionReadyCondition)).Should(waitFor(encryption.ReasonTunnelMissing))
		Eventually(s.condition(ctx, "m", infrav1.ReadyCondition)).Should(beTrue())
	})

	It("is counted for the cluster, which names who is missing, why and since when", func(ctx context.Context) {
		s := newEncryptedSite(ctx)
		of := s.clusterCondition(ctx, infrav1.EncryptionReadyCondition)
		Eventually(of).Should(waitFor(infrav1.NodesNotEncryptedReason, "No machine has a host yet"))
		s.join(ctx, "m", "a")
		s.addHost(ctx, "b", 2, labelled("host", "b"))
		s.join(ctx, "n", "b")
		Eventually(of).Should(waitFor(infrav1.NodesNotEncryptedReason, "0 of 2 nodes encrypted", s.hostName("a")+": WaitingForAgent", s.hostName("b")+": WaitingForAgent"))
		s.report(ctx, "a", proved())
		bad := unproved(encryption.ReasonPeerNotEstablished, "no handshake with a")
		s.report(ctx, "b", bad)
		Eventually(of).Should(waitFor(infrav1.NodesNotEncryptedReason,
			fmt.Sprintf("1 of 2 nodes encrypted; %s: PeerNotEstablished since %s (no handshake with a)", s.hostName("b"), bad.LastTransitionTime.UTC().Format("2006-01-02T15:04Z"))))
		s.report(ctx, "b", proved())
		Eventually(of).Should(And(beTrue(), HaveField("Message", "2 of 2 nodes encrypted")))

		By("not counting a machine that finds no host, nor one that is deleted")
		s.addMachine(ctx, clusterName, "o", nil)
		s.expectWaiting(ctx, "o", infrav1.HostClaimedCondition, infrav1.NoHostMatchesReason)
		Consistently(of).Should(beTrue())
		s.operator.HoldIn(s.hostName("b"), bmov1.StateDeprovisioning)
		s.deleteMachine(ctx, "n")
		Eventually(of).Should(And(beTrue(), HaveField("Message", "1 of 1 nodes encrypted")))
		s.operator.LetGo(s.hostName("b"))
		s.expectGone(ctx, "n")
	})
})
