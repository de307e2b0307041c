// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"context"
	"fmt"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// selecting gives a machine a host selector.
func selecting(selector infrav1.HostSelector) func(*clusterv1.Machine, *infrav1.EdgeMachine) {
	return func(_ *clusterv1.Machine, m *infrav1.EdgeMachine) { m.Spec.HostSelector = selector }
}

// labelled gives a host labels: key, value, key, value.
func labelled(pairs ...string) func(*bmov1.BareMetalHost) {
	return func(h *bmov1.BareMetalHost) {
		h.Labels = map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			h.Labels[pairs[i]] = pairs[i+1]
		}
	}
}

func annotated(key string) func(*bmov1.BareMetalHost) {
	return func(h *bmov1.BareMetalHost) { h.Annotations[key] = "" }
}

func inDomain(domain string) func(*clusterv1.Machine, *infrav1.EdgeMachine) {
	return func(m *clusterv1.Machine, _ *infrav1.EdgeMachine) { m.Spec.FailureDomain = domain }
}

var _ = Describe("Choosing a host", func() {
	It("waits until the infrastructure of the cluster is provisioned", func(ctx context.Context) {
		s := newRunningSite(ctx)
		cluster := s.createCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, nil)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectWaiting(ctx, "m", infrav1.HostClaimedCondition, infrav1.WaitingForClusterReason, "create it or correct spec.infrastructureRef")
		s.createEdgeCluster(ctx, cluster, nil)
		s.expectWaiting(ctx, "m", infrav1.HostClaimedCondition, infrav1.WaitingForClusterReason, "EdgeCluster "+clusterName+" to be provisioned")
		Consistently(s.claimants(ctx)).Should(BeEmpty())
		updateStatus(ctx, s, clusterName, cluster, func(c *clusterv1.Cluster) { c.Status.Initialization.InfrastructureProvisioned = new(true) })
		s.expectProvisioned(ctx, "m")
	})

	It("says that the inventory is empty", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectWaiting(ctx, "m", infrav1.HostClaimedCondition, infrav1.NoHostMatchesReason, "there is no BareMetalHost in the namespace; add one to the inventory")
	})

	It("counts why no host fits, and takes one as soon as it does", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		labels := labelled("site", "x")
		s.addHost(ctx, "other", 1, labelled("site", "y"))
		s.addHost(ctx, "paused", 2, func(h *bmov1.BareMetalHost) { labels(h); annotated(bmov1.PausedAnnotation)(h) }, notAwaited)
		s.addHost(ctx, "unhealthy", 3, func(h *bmov1.BareMetalHost) { labels(h); annotated(infrav1.UnhealthyAnnotation)(h) })
		s.addHost(ctx, "capm3", 4, func(h *bmov1.BareMetalHost) { labels(h); annotated("capm3.metal3.io/unhealthy")(h) })
		s.addHost(ctx, "maintenance", 5, func(h *bmov1.BareMetalHost) { labels(h); annotated(infrav1.MaintenanceAnnotation)(h) })
		s.addHost(ctx, "detached", 6, func(h *bmov1.BareMetalHost) { labels(h); annotated(bmov1.DetachedAnnotation)(h) })
		s.addHost(ctx, "taken", 7, func(h *bmov1.BareMetalHost) {
			labels(h)
			h.Spec.ConsumerRef = &corev1.ObjectReference{Kind: "Metal3Machine", Namespace: s.namespace, Name: "else"}
		})
		s.operator.HoldIn(s.hostName("inspecting"), bmov1.StateInspecting)
		s.addHost(ctx, "inspecting", 8, labels, notAwaited)
		s.operator.Break(s.hostName("broken"), bmov1.RegistrationError, "no BMC answers")
		s.addHost(ctx, "broken", 9, labels, notAwaited)
		Eventually(s.stateOf(ctx, "inspecting")).Should(Equal(bmov1.StateInspecting))
		Eventually(func() string { return s.host(ctx, "broken").Status.ErrorMessage }).ShouldNot(BeEmpty())
		s.addMachine(ctx, clusterName, "m", selecting(infrav1.HostSelector{MatchLabels: map[string]string{"site": "x"}}))

		for _, count := range []string{
			"9 seen", "1 in use", "1 without the labels asked for", "1 paused", "1 detached", "2 marked unhealthy", "1 in maintenance", "1 in error", "1 not yet available",
		} {
			s.expectWaiting(ctx, "m", infrav1.HostClaimedCondition, infrav1.NoHostMatchesReason, count)
		}
		Expect(s.claimants(ctx)(Default)).To(Equal(map[string]int{"else": 1}))
		Eventually(s.eventsOf(ctx)).Should(ContainElement(MatchRegexp("^NoHostMatches: Waiting for a BareMetalHost: no host matches: [1-9] seen")))

		s.operator.Repair(s.hostName("broken"))
		s.expectProvisioned(ctx, "m")
		Expect(s.edgeMachine(ctx, "m").Status.Host).To(Equal(s.hostName("broken")))
	})

	DescribeTable("takes the host that comes back by", func(ctx context.Context, spoil, heal func(*bmov1.BareMetalHost)) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, spoil, notAwaited)
		s.addMachine(ctx, clusterName, "m", selecting(infrav1.HostSelector{MatchLabels: map[string]string{"site": "x"}}))
		s.expectWaiting(ctx, "m", infrav1.HostClaimedCondition, infrav1.NoHostMatchesReason, "1 seen")
		update(ctx, s, s.hostName("a"), &bmov1.BareMetalHost{}, heal)
		s.expectProvisioned(ctx, "m")
	},
		Entry("getting the labels", func(*bmov1.BareMetalHost) {}, labelled("site", "x")),
		Entry("leaving maintenance", func(h *bmov1.BareMetalHost) { labelled("site", "x")(h); annotated(infrav1.MaintenanceAnnotation)(h) },
			func(h *bmov1.BareMetalHost) { delete(h.Annotations, infrav1.MaintenanceAnnotation) }),
		Entry("being unpaused", func(h *bmov1.BareMetalHost) { labelled("site", "x")(h); annotated(bmov1.PausedAnnotation)(h) },
			func(h *bmov1.BareMetalHost) { delete(h.Annotations, bmov1.PausedAnnotation) }),
		Entry("being freed by another consumer", func(h *bmov1.BareMetalHost) {
			labelled("site", "x")(h)
			h.Spec.ConsumerRef = &corev1.ObjectReference{Kind: "Metal3Machine", Namespace: h.Namespace, Name: "else"}
		}, func(h *bmov1.BareMetalHost) { h.Spec.ConsumerRef = nil }),
	)

	It("looks at labels and hardware, from HardwareData or the host's status", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		small := hardware(1)
		small.CPU.Count = 2
		s.operator.Install(s.hostName("small"), small)
		s.createHost(ctx, "small", 1, labelled("site", "x"))
		s.createHost(ctx, "unknown", 2, labelled("site", "x"))
		s.addHost(ctx, "elsewhere", 3, labelled("site", "y"))
		s.addHost(ctx, "lab", 4, labelled("site", "x", "stage", "lab"))
		s.addMachine(ctx, clusterName, "m", selecting(infrav1.HostSelector{
			MatchLabels:      map[string]string{"site": "x"},
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "stage", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"lab"}}},
			Hardware: infrav1.HardwareRequirements{
				MinCPUs: 8, MinMemory: new(resource.MustParse("32Gi")), MinRootDisk: new(resource.MustParse("480G")),
				MinNICs: 2, MinNICSpeedGbps: 10, Vendor: "acme", Architecture: "amd64",
			},
		}))
		for _, count := range []string{"4 seen", "2 without the labels asked for", "1 without inspection results", "1 with too little or other hardware"} {
			s.expectWaiting(ctx, "m", infrav1.HostClaimedCondition, infrav1.NoHostMatchesReason, count)
		}
		s.operator.ReportInStatus(s.hostName("good"))
		s.addHost(ctx, "good", 5, labelled("site", "x"))
		s.expectProvisioned(ctx, "m")
		Expect(s.edgeMachine(ctx, "m").Status.Host).To(Equal(s.hostName("good")))
	})

	It("keeps to the failure domain of the machine", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, func(c *infrav1.EdgeCluster) {
			c.Spec.FailureDomains = []infrav1.FailureDomain{{Name: "rack-1"}, {Name: "rack-2"}}
		})
		s.addHost(ctx, "a", 1, labelled(infrav1.FailureDomainLabel, "rack-1"))
		s.addHost(ctx, "none", 2, nil)
		s.addMachine(ctx, clusterName, "m", inDomain("rack-2"))
		s.expectWaiting(ctx, "m", infrav1.HostClaimedCondition, infrav1.NoHostMatchesReason, "failure domain rack-2", "2 in another failure domain")
		Consistently(s.claimants(ctx)).Should(BeEmpty())
		s.addHost(ctx, "b", 3, labelled(infrav1.FailureDomainLabel, "rack-2"))
		s.expectProvisioned(ctx, "m")
		Expect(s.edgeMachine(ctx, "m").Status.Host).To(Equal(s.hostName("b")))
		Expect(s.edgeMachine(ctx, "m").Status.FailureDomain).To(Equal("rack-2"))
	})

	It("spreads machines without a failure domain over all of them", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, func(c *infrav1.EdgeCluster) {
			c.Spec.FailureDomains = []infrav1.FailureDomain{{Name: "rack-1"}, {Name: "rack-2"}, {Name: "rack-3"}}
		})
		for i := range 9 {
			s.addHost(ctx, fmt.Sprintf("h%d", i), i, labelled(infrav1.FailureDomainLabel, fmt.Sprintf("rack-%d", i/3+1)))
		}
		count := map[string]int{}
		for i := range 6 {
			name := fmt.Sprintf("m%d", i)
			s.addMachine(ctx, clusterName, name, nil)
			s.expectProvisioned(ctx, name)
			count[s.edgeMachine(ctx, name).Status.FailureDomain]++
		}
		Expect(count).To(Equal(map[string]int{"rack-1": 2, "rack-2": 2, "rack-3": 2}))
	})

	It("gives the last host to exactly one of two clusters", func(ctx context.Context) {
		s := newRunningSite(ctx)
		for _, cluster := range []string{"one", "two"} {
			s.addCluster(ctx, cluster, func(c *infrav1.EdgeCluster) { c.Labels["cluster"] = cluster })
			s.addMachine(ctx, cluster, "m-"+cluster, nil)
			s.expectWaiting(ctx, "m-"+cluster, infrav1.HostClaimedCondition, infrav1.NoHostMatchesReason)
		}
		s.addHost(ctx, "last", 1, nil, notAwaited)
		var winner, loser string
		Eventually(func(g Gomega) {
			held := s.claimants(ctx)(g)
			g.Expect(held).To(HaveLen(1))
			winner, loser = "m-one", "m-two"
			if held["m-two"] == 1 {
				winner, loser = loser, winner
			}
		}).Should(Succeed())
		s.expectProvisioned(ctx, winner)
		s.expectWaiting(ctx, loser, infrav1.HostClaimedCondition, infrav1.NoHostMatchesReason, "1 in use")
		Expect(s.edgeMachine(ctx, loser).Annotations).NotTo(HaveKey(infrav1.HostAnnotation))
		Expect(s.operator.Boots(s.hostName("last"))).To(HaveLen(1))

		By("passing it on when the winner goes")
		s.deleteMachine(ctx, winner)
		s.expectGone(ctx, winner)
		s.expectProvisioned(ctx, loser)
		Expect(s.claimants(ctx)(Default)).To(Equal(map[string]int{loser: 1}))
	})

	It("gives many machines that come at once a host each", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		const machines = 10
		for i := range machines {
			s.addHost(ctx, fmt.Sprintf("h%d", i), i, nil)
		}
		for i := range machines {
			s.addMachine(ctx, clusterName, fmt.Sprintf("m%d", i), nil)
		}
		for i := range machines {
			s.expectProvisioned(ctx, fmt.Sprintf("m%d", i))
		}
		held := s.claimants(ctx)(Default)
		Expect(held).To(HaveLen(machines))
		for machine, hosts := range held {
			Expect(hosts).To(Equal(1), machine)
		}
		for i := range machines {
			Expect(s.operator.Boots(s.hostName(fmt.Sprintf("h%d", i)))).To(HaveLen(1))
		}
	})
})
