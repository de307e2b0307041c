// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

var _ = Describe("A machine on a host with a fixed address", func() {
	It("claims the host, has it provisioned, links its Node and gives the host back", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, nil)
		was := s.remember(ctx, "a")
		s.addMachine(ctx, clusterName, "m", func(_ *clusterv1.Machine, m *infrav1.EdgeMachine) {
			m.Spec.AutomatedCleaning = infrav1.CleaningMetadata
		})

		s.expectProvisioned(ctx, "m")
		By("writing to the host what it needs")
		host := s.host(ctx, "a")
		Expect(host.Spec.ConsumerRef).To(Equal(&corev1.ObjectReference{
			APIVersion: infrav1.GroupVersion.String(), Kind: "EdgeMachine", Namespace: s.namespace, Name: "m",
		}))
		Expect(host.Spec.Online).To(BeTrue())
		Expect(host.Spec.AutomatedCleaningMode).To(BeEquivalentTo("metadata"))
		Expect(host.Spec.Image.URL).To(Equal("https://images.example/node.qcow2"))
		Expect(host.Spec.Image.Checksum).To(Equal("0123"))
		Expect(host.Spec.Image.ChecksumType).To(BeEquivalentTo("sha256"))
		Expect(host.Spec.Image.DiskFormat).To(HaveValue(Equal("qcow2")))
		Expect(host.Spec.BMC).To(Equal(was.spec.BMC))

		By("booting it with our documents")
		boots := s.operator.Boots(s.hostName("a"))
		Expect(boots).To(HaveLen(1))
		Expect(boots[0].UserData).To(And(ContainSubstring(cloudConfig), ContainSubstring(s.providerID("m", "a"))))
		Expect(boots[0].NetworkData).To(And(ContainSubstring("192.0.2.21"), ContainSubstring(mac(1, 1)), ContainSubstring("192.0.2.53")))
		Expect(boots[0].MetaData).To(ContainSubstring(s.hostName("a")))

		By("telling Cluster API")
		machine := s.edgeMachine(ctx, "m")
		Expect(machine.Spec.ProviderID).To(Equal(s.providerID("m", "a")))
		Expect(machine.Status.Host).To(Equal(s.hostName("a")))
		Expect(machine.Status.Addresses).To(ConsistOf(
			clusterv1.MachineAddress{Type: clusterv1.MachineHostName, Address: s.hostName("a")},
			clusterv1.MachineAddress{Type: clusterv1.MachineInternalIP, Address: "192.0.2.21"},
		))
		s.expectWaiting(ctx, "m", infrav1.NodeLinkedCondition, infrav1.WaitingForNodeReason, s.providerID("m", "a"), "look at the console")

		By("linking the Node")
		s.registerNode(ctx, "a", s.providerID("m", "a"))
		s.expectLinked(ctx, "m")
		Eventually(s.eventsOf(ctx)).Should(ContainElement("HostClaimed: Claimed BareMetalHost " + s.hostName("a")))

		By("giving everything back")
		s.deleteMachine(ctx, "m")
		s.expectGone(ctx, "m")
		s.expectFree(ctx, "a", was)
		Expect(s.operator.Boots(s.hostName("a"))).To(HaveLen(1))
		Expect(s.operator.Deprovisionings(s.hostName("a"))).To(Equal(1))
		Eventually(s.eventsOf(ctx)).Should(ContainElement("HostReleased: Released BareMetalHost " + s.hostName("a")))
	})

	It("says on every condition what comes next", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.createMachine(ctx, clusterName, "m", nil)
		s.expectWaiting(ctx, "m", infrav1.HostClaimedCondition, infrav1.NoHostMatchesReason)
		for _, later := range []string{
			infrav1.NetworkDataValidCondition, infrav1.ReleasedCondition, infrav1.BootstrapDataReadyCondition,
			infrav1.HostProvisionedCondition, infrav1.NodeLinkedCondition,
		} {
			Expect(s.condition(ctx, "m", later)(Default)).To(And(
				HaveField("Status", metav1.ConditionUnknown), HaveField("Reason", infrav1.WaitingForEarlierStepReason),
			), later)
		}
	})
})
