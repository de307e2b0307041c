// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"context"
	"encoding/base64"
	"fmt"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

var _ = Describe("The WireGuard key of a machine", func() {
	It("is made once, given to the host, published on the Node, and withdrawn before anything else is given back", func(ctx context.Context) {
		s := newEncryptedSite(ctx)
		was := s.remember(ctx, "a")
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectProvisioned(ctx, "m")
		private, public := s.keys(ctx)
		secret := get(ctx, s, "m-wireguard", &corev1.Secret{})
		Expect(secret.Labels).To(HaveKeyWithValue(clusterv1.ClusterNameLabel, clusterName), "so that clusterctl moves it")
		Expect(owners(secret)).To(Equal([]string{"EdgeMachine/m"}))
		Expect(secret.Immutable).To(HaveValue(BeTrue()))
		Expect(s.edgeMachine(ctx, "m").Status.WireGuardPublicKey).To(Equal(public))

		boot := s.operator.Boots(s.hostName("a"))[0]
		Expect(boot.UserData).To(ContainSubstring("wireguard create listen-port 51820 private-key " + private + " src 192.0.2.21 instance 0"))
		Expect(boot.UserData).To(And(ContainSubstring("vhost_net"), ContainSubstring("vm.nr_hugepages = 0"), ContainSubstring(encryption.NotReadyTaint+":NoSchedule"), ContainSubstring("DNS=192.0.2.53")))

		By("publishing it with the failure domain in one request")
		before := len(s.recorder.Writes())
		s.registerTainted(ctx, "a", s.providerID("m", "a"))
		Eventually(s.published(ctx)).Should(Equal(public))
		Expect(s.node(ctx).Labels).To(HaveKeyWithValue(encryption.FailureDomainLabel, "rack-1"))
		Eventually(s.condition(ctx, "m", infrav1.NodeLinkedCondition)).Should(beTrue())
		s.expectQuiet()
		patches := 0
		for _, write := range s.recorder.Writes()[before:] {
			if write.Resource == "nodes" {
				patches++
			}
		}
		Expect(patches).To(Equal(1))

		By("withdrawing it while the host still runs")
		s.operator.HoldIn(s.hostName("a"), bmov1.StateDeprovisioning)
		s.deleteMachine(ctx, "m")
		Eventually(s.published(ctx)).Should(BeEmpty())
		Expect(s.node(ctx).Spec.Unschedulable).To(BeTrue())
		Eventually(s.condition(ctx, "m", infrav1.HostProvisionedCondition)).Should(waitFor(infrav1.HostDeprovisioningReason))

		By("not fighting with a dataplane that publishes it again")
		s.changeNode(ctx, func(n *corev1.Node) { n.Annotations = map[string]string{encryption.PublicKeyAnnotation: public} })
		Consistently(s.published(ctx)).Should(Equal(public))
		s.operator.LetGo(s.hostName("a"))
		s.expectGone(ctx, "m")
		s.expectFree(ctx, "a", was)
	})

	It("is withdrawn first also by a manager that has just started", func(ctx context.Context) {
		s := newEncryptedSite(ctx)
		s.join(ctx, "m", "a")
		Eventually(s.published(ctx)).ShouldNot(BeEmpty())
		Expect(s.manager.Stop()).To(Succeed())
		s.deleteMachine(ctx, "m")
		s.record()
		s.startManager(ctx)
		s.expectGone(ctx, "m")
		Expect(s.published(ctx)()).To(BeEmpty())
		var changed []string
		for _, write := range s.recorder.Writes() {
			if write.Resource == "nodes" || write.Resource == "baremetalhosts" {
				changed = append(changed, write.Resource)
			}
		}
		Expect(changed).NotTo(BeEmpty())
		Expect(changed[0]).To(Equal("nodes"), "%v", changed)
	})

	It("outlives managers, and comes anew with the next machine", func(ctx context.Context) {
		s := newEncryptedSite(ctx)
		s.addMachine(ctx, clusterName, "m", func(_ *clusterv1.Machine, m *infrav1.EdgeMachine) { m.Spec.Hold = new(true) })
		s.expectWaiting(ctx, "m", infrav1.ReleasedCondition, infrav1.HeldReason)
		Expect(s.manager.Stop()).To(Succeed())
		update(ctx, s, "m", &infrav1.EdgeMachine{}, func(m *infrav1.EdgeMachine) { m.Spec.Hold = nil })
		s.startManager(ctx)
		s.expectProvisioned(ctx, "m")
		_, public := s.keys(ctx)
		Expect(s.manager.Stop()).To(Succeed())

		By("reading it again when the status is lost, as after a move")
		updateStatus(ctx, s, "m", &infrav1.EdgeMachine{}, func(m *infrav1.EdgeMachine) { m.Status.WireGuardPublicKey = "" })
		s.startManager(ctx)
		Eventually(func() string { return s.edgeMachine(ctx, "m").Status.WireGuardPublicKey }).Should(Equal(public))
		s.deleteMachine(ctx, "m")
		s.expectGone(ctx, "m")
		Expect(server.Client.Delete(ctx, get(ctx, s, "m", &clusterv1.Machine{}))).To(Succeed())
		Expect(server.Client.Delete(ctx, get(ctx, s, "m-bootstrap", &corev1.Secret{}))).To(Succeed())
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectProvisioned(ctx, "m")
		_, next := s.keys(ctx)
		Expect(next).NotTo(Equal(public))
	})

	for n := 2; n <= 8; n++ {
		It(fmt.Sprintf("is the same on the host and in the Secret when the manager is killed after its write number %d", n), func(ctx context.Context) {
			m := &mortal{site: newSite(ctx), lives: []int{n}}
			m.addCluster(ctx, clusterName, encrypted(infrav1.DataplaneCalicoVPP, infrav1.EncryptionRequired))
			m.addHost(ctx, "a", 1, nil)
			m.addMachine(ctx, clusterName, "m", nil)
			m.live(ctx)
			Eventually(func(g Gomega) {
				m.revive(ctx)
				g.Expect(m.edgeMachine(ctx, "m").Spec.ProviderID).NotTo(BeEmpty())
			}).Should(Succeed())
			private, public := m.keys(ctx)
			Expect(m.operator.Boots(m.hostName("a"))).To(HaveLen(1))
			Expect(m.operator.Boots(m.hostName("a"))[0].UserData).To(ContainSubstring(private))
			Eventually(func() string { return m.edgeMachine(ctx, "m").Status.WireGuardPublicKey }).Should(Equal(public))
			m.revive(ctx) // It may have died of its very last write.
			Expect(m.deaths).To(Equal(1), "there are fewer writes")
		})
	}

	DescribeTable("waits for somebody else's Secret to make room", func(ctx context.Context, labels map[string]string) {
		s := newEncryptedSite(ctx)
		foreign := &corev1.Secret{ObjectMeta: s.meta("m-wireguard"), Data: map[string][]byte{"privateKey": []byte("mine")}}
		foreign.Labels = labels
		Expect(server.Client.Create(ctx, foreign)).To(Succeed())
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectWaiting(ctx, "m", infrav1.BootstrapDataReadyCondition, infrav1.KeyUnavailableReason, "Secret m-wireguard exists and is not ours", "rename or delete it")
		Expect(s.host(ctx, "a").Spec.Image).To(BeNil())
		Expect(get(ctx, s, "m-wireguard", &corev1.Secret{}).Data).To(Equal(foreign.Data))
		if labels != nil {
			Expect(server.Client.Delete(ctx, foreign)).To(Succeed())
			s.expectProvisioned(ctx, "m")
			return
		}
		s.deleteMachine(ctx, "m")
		Eventually(func() bool {
			return apierrors.IsNotFound(server.Client.Get(ctx, s.key("m"), &infrav1.EdgeMachine{}))
		}).Should(BeTrue())
		Expect(get(ctx, s, "m-wireguard", &corev1.Secret{}).Data).To(Equal(foreign.Data))
	},
		Entry("with the label of the cluster", map[string]string{clusterv1.ClusterNameLabel: clusterName}),
		Entry("without it", nil),
	)

	It("is made again when it is lost before the host is told to boot with it", func(ctx context.Context) {
		s := newEncryptedSite(ctx)
		s.createMachine(ctx, clusterName, "m", nil)
		s.expectWaiting(ctx, "m", infrav1.BootstrapDataReadyCondition, infrav1.WaitingForBootstrapDataReason)
		_, first := s.keys(ctx)
		Expect(server.Client.Delete(ctx, get(ctx, s, "m-wireguard", &corev1.Secret{}))).To(Succeed())
		Eventually(func(g Gomega) {
			g.Expect(server.Client.Get(ctx, s.key("m-wireguard"), &corev1.Secret{})).To(Succeed())
			g.Expect(s.edgeMachine(ctx, "m").Status.WireGuardPublicKey).NotTo(Equal(first))
		}).Should(Succeed())
		s.createBootstrapData(ctx, clusterName, "m", "cloud-config", cloudConfig)
		s.publishBootstrapData(ctx)
		s.expectProvisioned(ctx, "m")
		private, public := s.keys(ctx)
		Expect(public).NotTo(Equal(first))
		Expect(s.operator.Boots(s.hostName("a"))[0].UserData).To(ContainSubstring(private))
		Expect(s.edgeMachine(ctx, "m").Status.WireGuardPublicKey).To(Equal(public))
	})

	It("is missed, and not replaced, when it is lost after that", func(ctx context.Context) {
		s := newEncryptedSite(ctx)
		s.join(ctx, "m", "a")
		secret := get(ctx, s, "m-wireguard", &corev1.Secret{})
		public := string(secret.Data["publicKey"])
		s.report(ctx, "a", proved())
		Eventually(s.condition(ctx, "m", infrav1.ReadyCondition)).Should(beTrue())
		Expect(server.Client.Delete(ctx, secret)).To(Succeed())
		s.expectWaiting(ctx, "m", infrav1.BootstrapDataReadyCondition, infrav1.KeyLostReason, "Secret m-wireguard was deleted", "restore the Secret from a backup")
		Eventually(s.eventsOf(ctx)).Should(ContainElement(HavePrefix(infrav1.KeyLostReason + ": ")))
		Expect(s.condition(ctx, "m", infrav1.EncryptionReadyCondition)(Default)).To(beTrue(), "the host keeps its key")
		Consistently(s.published(ctx)).Should(Equal(public))
		Expect(apierrors.IsNotFound(server.Client.Get(ctx, s.key("m-wireguard"), &corev1.Secret{}))).To(BeTrue())

		By("taking back a backup")
		secret.ResourceVersion, secret.UID = "", ""
		Expect(server.Client.Create(ctx, secret)).To(Succeed())
		Eventually(s.condition(ctx, "m", infrav1.ReadyCondition)).Should(beTrue())
	})

	It("is in two Secrets and nowhere else", func(ctx context.Context) {
		s := newEncryptedSite(ctx)
		s.join(ctx, "m", "a")
		s.report(ctx, "a", proved())
		Eventually(s.condition(ctx, "m", infrav1.ReadyCondition)).Should(beTrue())
		Expect(server.Client.Delete(ctx, get(ctx, s, "edge-kubeconfig", &corev1.Secret{}))).To(Succeed())
		private, _ := s.keys(ctx)
		Expect(s.holders(ctx, private)).To(ConsistOf("Secret/m-wireguard", "Secret/m-host-config"))
		s.operator.HoldIn(s.hostName("a"), bmov1.StateDeprovisioning)
		s.deleteMachine(ctx, "m")
		Eventually(s.condition(ctx, "m", infrav1.HostProvisionedCondition)).Should(waitFor(infrav1.HostDeprovisioningReason))
		Expect(s.holders(ctx, private)).To(ConsistOf("Secret/m-wireguard", "Secret/m-host-config"))
		s.operator.LetGo(s.hostName("a"))
		s.expectGone(ctx, "m")
		Expect(s.holders(ctx, private)).To(BeEmpty())
	})
})

var _ = Describe("The key on a Node", func() {
	It("that somebody changes is set again, and reported when it is changed once more", func(ctx context.Context) {
		s := newEncryptedSite(ctx)
		s.join(ctx, "m", "a")
		_, public := s.keys(ctx)
		s.report(ctx, "a", proved())
		Eventually(s.condition(ctx, "m", infrav1.ReadyCondition)).Should(beTrue())
		foreign := base64.StdEncoding.EncodeToString([]byte("edgemetal-test-key-of-somebody-e"))
		change := func(n *corev1.Node) { n.Annotations[encryption.PublicKeyAnnotation] = foreign }

		By("leaving it for now, because it has just been published")
		s.changeNode(ctx, change)
		s.expectWaiting(ctx, "m", infrav1.EncryptionReadyCondition, infrav1.KeyNotPublishedReason, foreign, public, "find out what changes it")
		Consistently(s.published(ctx)).Should(Equal(foreign))
		s.expectQuiet()

		By("setting it with a manager that has not set it yet")
		Expect(s.manager.Stop()).To(Succeed())
		s.startManager(ctx)
		Eventually(s.published(ctx)).Should(Equal(public))
		Eventually(s.condition(ctx, "m", infrav1.ReadyCondition)).Should(beTrue())
	})

	It("that VPP really has is kept", func(ctx context.Context) {
		s := newEncryptedSite(ctx)
		s.join(ctx, "m", "a")
		s.report(ctx, "a", unproved(encryption.ReasonKeyMismatch, "VPP has a key of its own"))
		foreign := base64.StdEncoding.EncodeToString([]byte("edgemetal-test-key-made-by-agent"))
		s.changeNode(ctx, func(n *corev1.Node) { n.Annotations[encryption.PublicKeyAnnotation] = foreign })
		Expect(s.manager.Stop()).To(Succeed())
		s.startManager(ctx)
		s.expectWaiting(ctx, "m", infrav1.EncryptionReadyCondition, encryption.ReasonKeyMismatch, "VPP has a key of its own")
		Consistently(s.published(ctx)).Should(Equal(foreign))
	})
})

var _ = Describe("The pre-shared key of a cluster", func() {
	withIPsec := func(c *infrav1.EdgeCluster) {
		encrypted(infrav1.DataplaneCalicoVPP, infrav1.EncryptionRequired)(c)
		c.Spec.Dataplane.Encryption.Protocol = infrav1.ProtocolIPsec
	}

	It("is made once, and missed when it is lost while hosts have it", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, withIPsec)
		secret := &corev1.Secret{}
		Eventually(func() error { return server.Client.Get(ctx, s.key("edge-ipsec-psk"), secret) }).Should(Succeed())
		decoded, err := base64.StdEncoding.DecodeString(string(secret.Data["psk"]))
		Expect(err).NotTo(HaveOccurred())
		Expect(decoded).To(HaveLen(32))
		Expect(owners(secret)).To(Equal([]string{"EdgeCluster/edge"}))
		Expect(secret.Immutable).To(HaveValue(BeTrue()))
		Expect(secret.Labels).To(HaveKeyWithValue(clusterv1.ClusterNameLabel, clusterName))

		By("giving hosts no WireGuard key")
		s.addHost(ctx, "a", 1, nil)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectProvisioned(ctx, "m")
		Expect(apierrors.IsNotFound(server.Client.Get(ctx, s.key("m-wireguard"), &corev1.Secret{}))).To(BeTrue())
		Expect(s.operator.Boots(s.hostName("a"))[0].UserData).To(And(ContainSubstring("vhost_net"), Not(ContainSubstring("wireguard create"))))
		Expect(s.holders(ctx, string(secret.Data["psk"]))).To(ConsistOf("Secret/edge-ipsec-psk"))

		By("losing it")
		Expect(server.Client.Delete(ctx, secret)).To(Succeed())
		Eventually(s.clusterCondition(ctx, infrav1.EncryptionReadyCondition)).Should(waitFor(infrav1.KeyLostReason, "Secret edge-ipsec-psk was deleted", "restore the Secret"))
		Expect(apierrors.IsNotFound(server.Client.Get(ctx, s.key("edge-ipsec-psk"), &corev1.Secret{}))).To(BeTrue())

		By("taking it back from a user")
		restored := &corev1.Secret{ObjectMeta: s.meta("edge-ipsec-psk"), Data: secret.Data}
		Expect(server.Client.Create(ctx, restored)).To(Succeed())
		Eventually(s.clusterCondition(ctx, infrav1.EncryptionReadyCondition)).Should(waitFor(infrav1.NodesNotEncryptedReason))
		restored = get(ctx, s, "edge-ipsec-psk", &corev1.Secret{})
		Expect(owners(restored)).To(Equal([]string{"EdgeCluster/edge"}))
		Expect(restored.Labels).To(HaveKeyWithValue(clusterv1.ClusterNameLabel, clusterName))
		Expect(restored.Immutable).To(HaveValue(BeTrue()))
		Expect(restored.Data).To(Equal(secret.Data))
	})

	It("is not taken from somebody else", func(ctx context.Context) {
		s := newSite(ctx)
		foreign := &corev1.Secret{ObjectMeta: s.meta("edge-ipsec-psk"), Data: map[string][]byte{"psk": []byte("mine")}}
		Expect(server.Client.Create(ctx, foreign)).To(Succeed())
		s.startManager(ctx)
		s.addCluster(ctx, clusterName, withIPsec)
		Eventually(s.clusterCondition(ctx, infrav1.EncryptionReadyCondition)).Should(waitFor(infrav1.KeyUnavailableReason, "Secret edge-ipsec-psk exists and is not ours"))
		Expect(get(ctx, s, "edge-ipsec-psk", &corev1.Secret{}).Data).To(Equal(foreign.Data))
	})
})

var _ = Describe("A machine of an unreachable cluster", func() {
	It("is deleted without withdrawing its key", func(ctx context.Context) {
		s := newEncryptedSite(ctx)
		s.join(ctx, "m", "a")
		s.report(ctx, "a", proved())
		Eventually(s.condition(ctx, "m", infrav1.ReadyCondition)).Should(beTrue())
		_, public := s.keys(ctx)
		Expect(s.manager.Stop()).To(Succeed())
		s.gate.Shut(true)
		s.startManager(ctx)
		Eventually(func() bool {
			return conditions.IsTrue(s.edgeMachine(ctx, "m"), infrav1.NodeLinkedCondition)
		}).Should(BeFalse())
		Expect(s.condition(ctx, "m", infrav1.EncryptionReadyCondition)(Default)).To(HaveField("Status", metav1.ConditionUnknown))
		s.deleteMachine(ctx, "m")
		s.expectGone(ctx, "m")
		Expect(s.published(ctx)()).To(Equal(public))
	})
})
