// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"context"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// poweredOff is a host as careful owners keep it: off, and cleaned as they wish.
func poweredOff(h *bmov1.BareMetalHost) {
	h.Spec.Online = false
	h.Spec.AutomatedCleaningMode = bmov1.CleaningModeDisabled
}

// poweredOn is a host that waits under power.
func poweredOn(h *bmov1.BareMetalHost) {
	h.Spec.Online = true
	h.Spec.AutomatedCleaningMode = bmov1.CleaningModeMetadata
}

// cleaning has a machine ask for another way of cleaning than either host has.
func cleaning(mode infrav1.CleaningMode) func(*clusterv1.Machine, *infrav1.EdgeMachine) {
	return func(_ *clusterv1.Machine, m *infrav1.EdgeMachine) { m.Spec.AutomatedCleaning = mode }
}

// moment is a point in the life of a machine "m" on host "a", to which reach brings it.
type moment struct {
	reach func(ctx context.Context, s *site)
	// boots is how often the host has been provisioned by then.
	boots int
}

func moments() map[string]moment {
	return map[string]moment{
		"while it is held": {reach: func(ctx context.Context, s *site) {
			s.addMachine(ctx, clusterName, "m", func(_ *clusterv1.Machine, m *infrav1.EdgeMachine) {
				m.Spec.Hold = new(true)
				m.Spec.AutomatedCleaning = infrav1.CleaningMetadata
			})
			s.expectWaiting(ctx, "m", infrav1.ReleasedCondition, infrav1.HeldReason)
		}},
		"while it waits for bootstrap data": {reach: func(ctx context.Context, s *site) {
			s.createMachine(ctx, clusterName, "m", cleaning(infrav1.CleaningMetadata))
			s.expectWaiting(ctx, "m", infrav1.BootstrapDataReadyCondition, infrav1.WaitingForBootstrapDataReason)
		}},
		"before baremetal-operator has noticed the image": {reach: func(ctx context.Context, s *site) {
			s.operator.HoldIn(s.hostName("a"), bmov1.StateAvailable)
			s.addMachine(ctx, clusterName, "m", cleaning(infrav1.CleaningMetadata))
			Eventually(func() *bmov1.Image { return s.host(ctx, "a").Spec.Image }).ShouldNot(BeNil())
		}},
		"while its host is provisioned": {reach: func(ctx context.Context, s *site) {
			s.operator.HoldIn(s.hostName("a"), bmov1.StateProvisioning)
			s.addMachine(ctx, clusterName, "m", cleaning(infrav1.CleaningMetadata))
			s.expectWaiting(ctx, "m", infrav1.HostProvisionedCondition, infrav1.HostProvisioningReason, "is provisioning")
			Eventually(s.stateOf(ctx, "a")).Should(Equal(bmov1.StateProvisioning))
		}},
		"while its host fails to be provisioned": {reach: func(ctx context.Context, s *site) {
			s.operator.HoldIn(s.hostName("a"), bmov1.StateProvisioning)
			s.addMachine(ctx, clusterName, "m", cleaning(infrav1.CleaningMetadata))
			Eventually(s.stateOf(ctx, "a")).Should(Equal(bmov1.StateProvisioning))
			s.operator.Break(s.hostName("a"), bmov1.ProvisioningError, "no space left")
			s.expectWaiting(ctx, "m", infrav1.HostProvisionedCondition, infrav1.HostErrorReason, "no space left")
		}},
		"when it is provisioned": {boots: 1, reach: func(ctx context.Context, s *site) {
			s.addMachine(ctx, clusterName, "m", cleaning(infrav1.CleaningMetadata))
			s.expectProvisioned(ctx, "m")
		}},
		"when it is linked": {boots: 1, reach: func(ctx context.Context, s *site) {
			s.addMachine(ctx, clusterName, "m", cleaning(infrav1.CleaningMetadata))
			s.expectProvisioned(ctx, "m")
			s.registerNode(ctx, "a", s.providerID("m", "a"))
			s.expectLinked(ctx, "m")
		}},
		"when its provisioned host is in error": {boots: 1, reach: func(ctx context.Context, s *site) {
			s.addMachine(ctx, clusterName, "m", cleaning(infrav1.CleaningMetadata))
			s.expectProvisioned(ctx, "m")
			s.operator.Break(s.hostName("a"), bmov1.PowerManagementError, "BMC does not answer")
			s.expectWaiting(ctx, "m", infrav1.HostProvisionedCondition, infrav1.HostErrorReason, "BMC does not answer")
		}},
	}
}

var _ = Describe("Deleting a machine", func() {
	It("that never had a host leaves nothing", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectWaiting(ctx, "m", infrav1.HostClaimedCondition, infrav1.NoHostMatchesReason)
		s.deleteMachine(ctx, "m")
		s.expectGone(ctx, "m")
	})

	for when, at := range moments() {
		It(when+" gives its host back as it was", func(ctx context.Context) {
			s := newRunningSite(ctx)
			s.addCluster(ctx, clusterName, withAddresses(fromPool()))
			s.ipam.SetPool(poolName, "192.0.2.100", "192.0.2.110")
			s.addHost(ctx, "a", 1, poweredOff)
			was := s.remember(ctx, "a")
			at.reach(ctx, s)
			s.deleteMachine(ctx, "m")
			Eventually(func() *bmov1.Image { return s.host(ctx, "a").Spec.Image }).Should(BeNil())
			s.operator.LetGo(s.hostName("a"))
			s.operator.Repair(s.hostName("a"))
			s.expectGone(ctx, "m")
			s.expectFree(ctx, "a", was)
			Expect(s.ipam.Taken(poolName)).To(BeZero())
			Expect(s.operator.Boots(s.hostName("a"))).To(HaveLen(at.boots))

			By("which the next machine gets")
			s.addMachine(ctx, clusterName, "next", nil)
			s.expectProvisioned(ctx, "next")
		})

		It(when+" does not wait for a host that was deleted", func(ctx context.Context) {
			s := newRunningSite(ctx)
			s.addCluster(ctx, clusterName, withAddresses(fromPool()))
			s.ipam.SetPool(poolName, "192.0.2.100", "192.0.2.110")
			s.addHost(ctx, "a", 1, poweredOn)
			at.reach(ctx, s)
			Expect(server.Client.Delete(ctx, s.host(ctx, "a"))).To(Succeed())
			s.deleteMachine(ctx, "m")
			s.expectGone(ctx, "m")
			Expect(s.ipam.Taken(poolName)).To(BeZero())
		})
	}

	It("whose manager was not running when it was deleted gives everything back", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, poweredOn)
		was := s.remember(ctx, "a")
		s.addMachine(ctx, clusterName, "m", cleaning(infrav1.CleaningDisabled))
		s.expectProvisioned(ctx, "m")
		Expect(s.manager.Stop()).To(Succeed())
		s.deleteMachine(ctx, "m")
		s.startManager(ctx)
		s.expectGone(ctx, "m")
		s.expectFree(ctx, "a", was)
	})

	It("waits for its host to be cleaned and says so", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, nil)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectProvisioned(ctx, "m")
		s.operator.HoldIn(s.hostName("a"), bmov1.StateDeprovisioning)
		s.deleteMachine(ctx, "m")
		Eventually(s.condition(ctx, "m", infrav1.HostProvisionedCondition)).Should(waitFor(infrav1.HostDeprovisioningReason, s.hostName("a"), "deprovisioning"))
		Eventually(s.condition(ctx, "m", infrav1.ReadyCondition)).Should(waitFor(infrav1.DeletingReason, "Waiting for the host to be cleaned"))
		Expect(s.host(ctx, "a").Spec.ConsumerRef).NotTo(BeNil())
		s.operator.Break(s.hostName("a"), bmov1.PreparationError, "cleaning failed")
		Eventually(s.condition(ctx, "m", infrav1.ReadyCondition)).Should(waitFor(infrav1.DeletingReason, "cleaning failed"))
		s.operator.Repair(s.hostName("a"))
		s.operator.LetGo(s.hostName("a"))
		s.expectGone(ctx, "m")
	})

	It("frees its host when the annotation that names it was removed by hand", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, nil)
		was := s.remember(ctx, "a")
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectProvisioned(ctx, "m")
		Expect(s.manager.Stop()).To(Succeed())
		update(ctx, s, "m", &infrav1.EdgeMachine{}, func(m *infrav1.EdgeMachine) { delete(m.Annotations, infrav1.HostAnnotation) })
		s.deleteMachine(ctx, "m")
		s.startManager(ctx)
		s.expectGone(ctx, "m")
		s.expectFree(ctx, "a", was)
	})

	It("leaves alone a host that somebody else has taken over", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, nil)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectProvisioned(ctx, "m")
		other := corev1.ObjectReference{APIVersion: infrav1.GroupVersion.String(), Kind: "EdgeMachine", Namespace: s.namespace, Name: "thief"}
		update(ctx, s, s.hostName("a"), &bmov1.BareMetalHost{}, func(h *bmov1.BareMetalHost) { h.Spec.ConsumerRef = &other })
		s.expectWaiting(ctx, "m", infrav1.HostClaimedCondition, infrav1.HostLostReason, s.hostName("a"), "no longer claimed by this machine", "delete the Machine")
		s.deleteMachine(ctx, "m")
		s.expectGone(ctx, "m")
		host := s.host(ctx, "a")
		Expect(host.Spec.ConsumerRef).To(HaveValue(Equal(other)))
		Expect(host.Spec.Image).NotTo(BeNil())
	})
})

var _ = Describe("A machine whose host is lost", func() {
	It("takes another one before it is provisioned", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, nil)
		s.operator.HoldIn(s.hostName("a"), bmov1.StateProvisioning)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectWaiting(ctx, "m", infrav1.HostProvisionedCondition, infrav1.HostProvisioningReason)
		s.addHost(ctx, "b", 2, nil)
		Expect(server.Client.Delete(ctx, s.host(ctx, "a"))).To(Succeed())
		s.expectProvisioned(ctx, "m")
		Expect(s.edgeMachine(ctx, "m").Spec.ProviderID).To(Equal(s.providerID("m", "b")))
		Expect(s.operator.Boots(s.hostName("b"))[0].UserData).To(ContainSubstring(s.providerID("m", "b")))
		Expect(s.operator.Boots(s.hostName("b"))[0].NetworkData).To(ContainSubstring(mac(2, 1)))
		Expect(internalIP(s.edgeMachine(ctx, "m"))).To(Equal("192.0.2.22"))
	})

	It("takes another one before it is provisioned, also when somebody else takes the first", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, nil)
		s.createMachine(ctx, clusterName, "m", nil)
		s.expectWaiting(ctx, "m", infrav1.BootstrapDataReadyCondition, infrav1.WaitingForBootstrapDataReason)
		s.addHost(ctx, "b", 2, nil)
		other := corev1.ObjectReference{APIVersion: infrav1.GroupVersion.String(), Kind: "EdgeMachine", Namespace: s.namespace, Name: "thief"}
		update(ctx, s, s.hostName("a"), &bmov1.BareMetalHost{}, func(h *bmov1.BareMetalHost) { h.Spec.ConsumerRef = &other })
		s.createBootstrapData(ctx, clusterName, "m", "cloud-config", cloudConfig)
		s.publishBootstrapData(ctx)
		s.expectProvisioned(ctx, "m")
		Expect(s.edgeMachine(ctx, "m").Spec.ProviderID).To(Equal(s.providerID("m", "b")))
		Expect(s.claimants(ctx)(Default)).To(Equal(map[string]int{"m": 1, "thief": 1}))
		Expect(s.host(ctx, "a").Spec.Image).To(BeNil())
	})

	It("says so after it was provisioned, and takes no other", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, nil)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectProvisioned(ctx, "m")
		s.addHost(ctx, "b", 2, nil)
		Expect(server.Client.Delete(ctx, s.host(ctx, "a"))).To(Succeed())
		s.expectWaiting(ctx, "m", infrav1.HostClaimedCondition, infrav1.HostLostReason, s.hostName("a")+" was deleted", "delete the Machine to get another host")
		Consistently(s.claimants(ctx)).Should(BeEmpty())
		s.deleteMachine(ctx, "m")
		s.expectGone(ctx, "m")
	})

	It("finds it again when the annotation that names it was removed by hand", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, nil)
		s.addHost(ctx, "b", 2, nil)
		for _, held := range []bool{true, false} {
			s.addMachine(ctx, clusterName, "m", func(_ *clusterv1.Machine, m *infrav1.EdgeMachine) { m.Spec.Hold = &held })
			if held {
				s.expectWaiting(ctx, "m", infrav1.ReleasedCondition, infrav1.HeldReason)
			} else {
				s.expectProvisioned(ctx, "m")
			}
			host := s.edgeMachine(ctx, "m").Annotations[infrav1.HostAnnotation]
			update(ctx, s, "m", &infrav1.EdgeMachine{}, func(m *infrav1.EdgeMachine) { delete(m.Annotations, infrav1.HostAnnotation) })
			Eventually(func() map[string]string { return s.edgeMachine(ctx, "m").Annotations }).Should(HaveKeyWithValue(infrav1.HostAnnotation, host))
			Eventually(s.condition(ctx, "m", infrav1.HostClaimedCondition)).Should(beTrue())
			Expect(s.claimants(ctx)(Default)).To(Equal(map[string]int{"m": 1}))
			s.deleteMachine(ctx, "m")
			s.expectGone(ctx, "m")
			Expect(server.Client.Delete(ctx, get(ctx, s, "m", &clusterv1.Machine{}))).To(Succeed())
			Expect(server.Client.Delete(ctx, get(ctx, s, "m-bootstrap", &corev1.Secret{}))).To(Succeed())
		}
	})
})
