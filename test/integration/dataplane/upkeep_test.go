// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/apply"
)

// withPeer adds a router to the EdgeCluster.
func withPeer(c *infrav1.EdgeCluster) {
	c.Spec.Dataplane.BGP = &infrav1.BGP{
		Peers:     []infrav1.BGPPeer{{Name: "tor", Address: "192.0.2.1", ASNumber: 65000}},
		Advertise: infrav1.Advertise{LoadBalancerIPs: []string{"198.51.100.0/24"}},
	}
}

// create an object of a user in the workload cluster.
func (s *site) create(ctx context.Context, o *unstructured.Unstructured, spec map[string]any) *unstructured.Unstructured {
	GinkgoHelper()
	o.Object["spec"] = spec
	Expect(s.workload.Client.Create(ctx, o.DeepCopy(), client.FieldOwner("user"))).To(Succeed())
	return o
}

var _ = Describe("Upkeep", func() {
	It("corrects what others change of ours, and leaves what is theirs", func(ctx context.Context) {
		s := newSite(ctx)
		s.addReadyCluster(ctx, nil)
		Eventually(s.installed(ctx)).Should(beInstalled())
		s.expectQuiet()
		felix := object(calicoAPI, "FelixConfiguration", "default")
		config := object("v1", "ConfigMap", "calico-vpp-config")
		config.SetNamespace("calico-vpp-dataplane")

		By("correcting a field")
		s.edit(ctx, felix, "user", false, "spec", "wireguardEnabled")
		Eventually(s.field(ctx, felix, "spec", "wireguardEnabled")).Should(BeTrue())
		By("making again what was deleted")
		Expect(s.workload.Client.Delete(ctx, config.DeepCopy())).To(Succeed())
		Eventually(s.exists(ctx, config)).Should(BeTrue())
		By("not taking a removed label for a change of hands")
		s.edit(ctx, felix, "user", nil, "metadata", "labels", apply.Label)
		s.edit(ctx, felix, "user", false, "spec", "wireguardEnabled")
		Eventually(s.field(ctx, felix, "spec", "wireguardEnabled")).Should(BeTrue())
		Eventually(s.field(ctx, felix, "metadata", "labels", apply.Label)).Should(Equal(apply.LabelOwned))

		By("leaving users' fields and objects")
		s.edit(ctx, felix, "user", "Debug", "spec", "logSeverityScreen")
		policy := s.create(ctx, object(calicoAPI, "GlobalNetworkPolicy", "mine"), map[string]any{"order": int64(1)})
		pool := s.create(ctx, object(calicoAPI, "IPPool", "mine"), map[string]any{"cidr": "10.244.64.0/18", "ipipMode": "Always"})
		s.change(ctx, withPeer)
		Eventually(s.exists(ctx, object(calicoAPI, "BGPPeer", "edgemetal-tor"))).Should(BeTrue())
		Eventually(s.installed(ctx)).Should(beInstalled())
		s.expectQuiet()
		Expect(s.field(ctx, felix, "spec", "logSeverityScreen")(Default)).To(Equal("Debug"))
		Expect(s.managers(ctx, policy)(Default)).To(Equal([]string{"user"}))
		Expect(s.managers(ctx, pool)(Default)).To(Equal([]string{"user"}))

		By("refusing a pool that would be outside of what is encrypted and guarded")
		outside := object(calicoAPI, "IPPool", "outside")
		outside.Object["spec"] = map[string]any{"cidr": "10.250.0.0/16", "ipipMode": "Always"}
		Expect(s.workload.Client.Create(ctx, outside)).To(MatchError(And(ContainSubstring("10.244.0.0/16"), ContainSubstring("use a part of that range"))))

		By("finding after a restart what was changed meanwhile")
		Expect(s.manager.Stop()).To(Succeed())
		s.edit(ctx, felix, "user", int64(4789), "spec", "wireguardListeningPort")
		s.startManager(ctx)
		Eventually(s.field(ctx, felix, "spec", "wireguardListeningPort")).Should(BeEquivalentTo(51820))
	})

	It("removes what a change no longer needs, and nothing else", func(ctx context.Context) {
		s := newSite(ctx)
		s.addSecret(ctx, "tor-password", map[string]string{"password": "a test password"})
		s.addReadyCluster(ctx, func(c *infrav1.EdgeCluster) {
			withPeer(c)
			c.Spec.Dataplane.BGP.Peers[0].Password = &infrav1.SecretReference{Name: "tor-password"}
		})
		Eventually(s.installed(ctx)).Should(beInstalled())
		mine := s.create(ctx, object(calicoAPI, "BGPPeer", "mine"), map[string]any{"peerIP": "192.0.2.2", "asNumber": int64(65001)})
		Expect(s.workload.Client.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "calico-vpp-dataplane", Name: "mine"}})).To(Succeed())
		var gone []client.Object
		for _, kind := range []string{"BGPPeer", "BGPFilter"} {
			gone = append(gone, object(calicoAPI, kind, "edgemetal-tor"))
		}
		gone = append(gone, object(calicoAPI, "IPPool", "edgemetal-load-balancer-198-51-100-0-24"))
		for _, o := range gone {
			Expect(s.exists(ctx, o)(Default)).To(BeTrue(), o.GetName())
		}
		secrets := func(g Gomega) []corev1.Secret {
			list := &corev1.SecretList{}
			g.Expect(s.workload.Client.List(ctx, list, client.HasLabels{apply.Label})).To(Succeed())
			return list.Items
		}
		Expect(secrets(Default)).To(HaveLen(1))
		s.change(ctx, func(c *infrav1.EdgeCluster) { c.Spec.Dataplane.BGP = nil })
		for _, o := range gone {
			Eventually(s.exists(ctx, o)).Should(BeFalse(), o.GetName())
		}
		Eventually(secrets).Should(BeEmpty())
		Eventually(s.installed(ctx)).Should(beInstalled())
		s.expectQuiet()
		Expect(s.exists(ctx, mine)(Default)).To(BeTrue())
		Expect(s.exists(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "calico-vpp-dataplane", Name: "mine"}})(Default)).To(BeTrue())
		Expect(s.exists(ctx, object(calicoAPI, "FelixConfiguration", "default"))(Default)).To(BeTrue())
		for _, name := range []string{"tigera-operator", "calico-vpp-dataplane", "edgemetal-system"} {
			Expect(s.exists(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})(Default)).To(BeTrue(), name)
		}
	})

	It("shares an object that was there before: it takes no field by force, and gives back its own", func(ctx context.Context) {
		s := newSite(ctx)
		s.addSecret(ctx, "tor-password", map[string]string{"password": "a test password"})
		const namespace, name = "calico-vpp-dataplane", "edgemetal-tor"
		Expect(s.workload.Client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, client.FieldOwner("user"))).To(Succeed())
		Expect(s.workload.Client.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, StringData: map[string]string{"password": "theirs", "note": "mine"},
		}, client.FieldOwner("user"))).To(Succeed())
		secret := object("v1", "Secret", name)
		secret.SetNamespace(namespace)
		s.addReadyCluster(ctx, func(c *infrav1.EdgeCluster) {
			withPeer(c)
			c.Spec.Dataplane.BGP.Peers[0].Password = &infrav1.SecretReference{Name: "tor-password"}
		})
		Eventually(s.installed(ctx)).Should(waitFor(infrav1.ObjectConflictReason, "Secret calico-vpp-dataplane/edgemetal-tor", `"user"`, ".data.password"))
		Expect(s.field(ctx, secret, "metadata", "labels")(Default)).To(BeNil())

		By("going on when the user gives the field up")
		s.edit(ctx, secret, "user", nil, "data", "password")
		Eventually(s.installed(ctx)).Should(beInstalled())
		Expect(s.field(ctx, secret, "metadata", "labels", apply.Label)(Default)).To(Equal(apply.LabelShared))
		Expect(s.field(ctx, secret, "data")(Default)).To(And(HaveKey("note"), HaveKey("password")))
		Expect(s.field(ctx, object("v1", "Namespace", namespace), "metadata", "labels", apply.Label)(Default)).To(Equal(apply.LabelShared))
		s.expectQuiet()

		By("giving back what is ours, and leaving the object")
		s.change(ctx, func(c *infrav1.EdgeCluster) { c.Spec.Dataplane.BGP = nil })
		Eventually(s.field(ctx, secret, "data")).Should(And(HaveKey("note"), Not(HaveKey("password"))))
		Expect(s.field(ctx, secret, "metadata", "labels", apply.Label)(Default)).To(BeNil())
	})

	It("does not fight without end over a field", func(ctx context.Context) {
		s := newSite(ctx)
		s.addReadyCluster(ctx, nil)
		Eventually(s.installed(ctx)).Should(beInstalled())
		felix := object(calicoAPI, "FelixConfiguration", "default")
		Eventually(func(g Gomega) {
			if s.field(ctx, felix, "spec", "wireguardEnabled")(g) == true {
				s.edit(ctx, felix, "stubborn", false, "spec", "wireguardEnabled")
			}
			g.Expect(s.installed(ctx)(g)).To(waitFor(infrav1.ObjectConflictReason, ".spec.wireguardEnabled of FelixConfiguration default", "stubborn"))
		}).Should(Succeed())
		By("winning when the other one stops")
		Eventually(s.field(ctx, felix, "spec", "wireguardEnabled")).Should(BeTrue())
		Eventually(s.installed(ctx)).Should(beInstalled())
	})
})
