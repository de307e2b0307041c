// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"context"
	"encoding/json"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// pause or unpause the Cluster, as clusterctl move does.
func (s *site) pause(ctx context.Context, paused bool) {
	GinkgoHelper()
	update(ctx, s, clusterName, &clusterv1.Cluster{}, func(c *clusterv1.Cluster) { c.Spec.Paused = &paused })
}

var _ = Describe("Pausing", func() {
	It("a Cluster parks its hosts for a move, and unpausing hands them back", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, nil)
		s.addHost(ctx, "free", 2, annotated(infrav1.MaintenanceAnnotation))
		was, free := s.remember(ctx, "a"), s.remember(ctx, "free")
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectProvisioned(ctx, "m")
		Expect(s.host(ctx, "a").Annotations).To(HaveKey(clusterctlv1.BlockMoveAnnotation))

		s.pause(ctx, true)
		Eventually(s.condition(ctx, "m", clusterv1.PausedCondition)).Should(beTrue())
		Eventually(s.clusterCondition(ctx, clusterv1.PausedCondition)).Should(beTrue())
		Eventually(func() map[string]string { return s.host(ctx, "a").Annotations }).Should(And(
			HaveKeyWithValue(bmov1.PausedAnnotation, infrav1.HostPausedValue), HaveKeyWithValue(bmov1.DetachedAnnotation, infrav1.HostDetachedValue),
			HaveKey(bmov1.StatusAnnotation), Not(HaveKey(clusterctlv1.BlockMoveAnnotation)),
		))
		saved := bmov1.BareMetalHostStatus{}
		Expect(json.Unmarshal([]byte(s.host(ctx, "a").Annotations[bmov1.StatusAnnotation]), &saved)).To(Succeed())
		Expect(saved.Provisioning.State).To(Equal(bmov1.StateProvisioned))
		Expect(saved.OperationalStatus).To(Equal(bmov1.OperationalStatusDetached), "a move deletes the host here, which must not touch the machine")
		Expect(saved.Provisioning.Image.URL).To(Equal("https://images.example/node.qcow2"))
		Expect(saved.HardwareDetails).To(BeNil(), "HardwareData moves by itself")
		s.expectFree(ctx, "free", free)

		s.pause(ctx, false)
		Eventually(s.condition(ctx, "m", clusterv1.PausedCondition)).ShouldNot(beTrue())
		Eventually(func() map[string]string { return s.host(ctx, "a").Annotations }).Should(And(
			Not(HaveKey(bmov1.PausedAnnotation)), Not(HaveKey(bmov1.DetachedAnnotation)), Not(HaveKey(bmov1.StatusAnnotation)),
			HaveKey(clusterctlv1.BlockMoveAnnotation),
		))
		s.expectProvisioned(ctx, "m")
		Expect(s.operator.Boots(s.hostName("a"))).To(HaveLen(1))
		s.deleteMachine(ctx, "m")
		s.expectGone(ctx, "m")
		s.expectFree(ctx, "a", was)
	})

	It("a Cluster keeps a host's hardware where there is no HardwareData to move", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.operator.ReportInStatus(s.hostName("a"))
		s.addHost(ctx, "a", 1, nil)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectProvisioned(ctx, "m")
		s.pause(ctx, true)
		Eventually(func() map[string]string { return s.host(ctx, "a").Annotations }).Should(HaveKey(bmov1.StatusAnnotation))
		saved := bmov1.BareMetalHostStatus{}
		Expect(json.Unmarshal([]byte(s.host(ctx, "a").Annotations[bmov1.StatusAnnotation]), &saved)).To(Succeed())
		Expect(saved.HardwareDetails).NotTo(BeNil())
		Expect(saved.HardwareDetails.NIC).To(HaveLen(2))
	})

	It("a Cluster leaves in place the pause that somebody else has set on a host", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, nil)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectProvisioned(ctx, "m")
		update(ctx, s, s.hostName("a"), &bmov1.BareMetalHost{}, func(h *bmov1.BareMetalHost) { h.Annotations[bmov1.PausedAnnotation] = "jo" })
		s.pause(ctx, true)
		Eventually(s.condition(ctx, "m", clusterv1.PausedCondition)).Should(beTrue())
		Eventually(func() map[string]string { return s.host(ctx, "a").Annotations }).Should(HaveKey(bmov1.StatusAnnotation))
		s.pause(ctx, false)
		Eventually(s.condition(ctx, "m", clusterv1.PausedCondition)).ShouldNot(beTrue())
		Consistently(func() map[string]string { return s.host(ctx, "a").Annotations }).Should(HaveKeyWithValue(bmov1.PausedAnnotation, "jo"))
	})

	It("a Cluster stops its machines where they are", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.pause(ctx, true)
		s.addHost(ctx, "a", 1, nil)
		was := s.remember(ctx, "a")
		s.addMachine(ctx, clusterName, "m", nil)
		Eventually(s.condition(ctx, "m", clusterv1.PausedCondition)).Should(beTrue())
		Consistently(s.claimants(ctx)).Should(BeEmpty())
		s.expectFree(ctx, "a", was)
		s.pause(ctx, false)
		s.expectProvisioned(ctx, "m")

		By("deleting nothing while it is paused")
		s.pause(ctx, true)
		Eventually(s.condition(ctx, "m", clusterv1.PausedCondition)).Should(beTrue())
		s.deleteMachine(ctx, "m")
		Consistently(func(g Gomega) {
			g.Expect(s.edgeMachine(ctx, "m").Finalizers).NotTo(BeEmpty())
			g.Expect(s.host(ctx, "a").Spec.Image).NotTo(BeNil())
		}).Should(Succeed())
		s.pause(ctx, false)
		s.expectGone(ctx, "m")
		s.expectFree(ctx, "a", was)
	})

	It("one machine by its annotation stops that machine and leaves its host to baremetal-operator", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, nil)
		s.operator.HoldIn(s.hostName("a"), bmov1.StateProvisioning)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectWaiting(ctx, "m", infrav1.HostProvisionedCondition, infrav1.HostProvisioningReason)
		update(ctx, s, "m", &infrav1.EdgeMachine{}, func(m *infrav1.EdgeMachine) { m.Annotations[clusterv1.PausedAnnotation] = "" })
		Eventually(s.condition(ctx, "m", clusterv1.PausedCondition)).Should(beTrue())
		s.operator.LetGo(s.hostName("a"))
		Eventually(s.stateOf(ctx, "a")).Should(Equal(bmov1.StateProvisioned))
		Consistently(func() string { return s.edgeMachine(ctx, "m").Spec.ProviderID }).Should(BeEmpty())
		Expect(s.host(ctx, "a").Annotations).NotTo(HaveKey(bmov1.PausedAnnotation))
		update(ctx, s, "m", &infrav1.EdgeMachine{}, func(m *infrav1.EdgeMachine) { delete(m.Annotations, clusterv1.PausedAnnotation) })
		s.expectProvisioned(ctx, "m")
	})

	It("an EdgeMachine without a Machine does no harm", func(ctx context.Context) {
		s := newRunningSite(ctx)
		orphan := &infrav1.EdgeMachine{ObjectMeta: s.meta("orphan")}
		orphan.Annotations = map[string]string{clusterv1.PausedAnnotation: ""}
		orphan.Spec = infrav1.EdgeMachineSpec{
			Image:      infrav1.Image{URL: "oci://a/b"},
			Links:      []infrav1.Link{{Name: "uplink0", Match: &infrav1.NICMatch{BootNIC: new(true)}}},
			Interfaces: []infrav1.Interface{{Network: "cluster", Link: "uplink0"}},
		}
		Expect(server.Client.Create(ctx, orphan)).To(Succeed())
		Eventually(s.condition(ctx, "orphan", clusterv1.PausedCondition)).Should(beTrue())
		update(ctx, s, "orphan", orphan, func(m *infrav1.EdgeMachine) { delete(m.Annotations, clusterv1.PausedAnnotation) })
		s.expectWaiting(ctx, "orphan", infrav1.HostClaimedCondition, infrav1.WaitingForClusterReason, "Waiting for a Machine to own this EdgeMachine")
		s.deleteMachine(ctx, "orphan")
		s.expectGone(ctx, "orphan")
	})
})
