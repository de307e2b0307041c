// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"context"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// wanting sets how many machines a Cluster asks for.
func (s *site) wanting(ctx context.Context, controlPlane, workers int32) {
	GinkgoHelper()
	updateStatus(ctx, s, clusterName, &clusterv1.Cluster{}, func(c *clusterv1.Cluster) {
		c.Status.ControlPlane = &clusterv1.ClusterControlPlaneStatus{DesiredReplicas: &controlPlane}
		c.Status.Workers = &clusterv1.WorkersStatus{DesiredReplicas: &workers}
	})
}

// addTemplate makes an EdgeMachineTemplate of the cluster that selects the hosts with the labels.
func (s *site) addTemplate(ctx context.Context, cluster *clusterv1.Cluster, name string, selector infrav1.HostSelector) {
	GinkgoHelper()
	template := &infrav1.EdgeMachineTemplate{ObjectMeta: s.meta(name)}
	template.OwnerReferences = []metav1.OwnerReference{{APIVersion: clusterv1.GroupVersion.String(), Kind: "Cluster", Name: cluster.Name, UID: cluster.UID}}
	template.Spec.Template.Spec = infrav1.EdgeMachineSpec{
		Image:        infrav1.Image{URL: "oci://images.example/node"},
		HostSelector: selector,
		Links:        []infrav1.Link{{Name: "uplink0", Match: &infrav1.NICMatch{BootNIC: new(true)}}},
		Interfaces:   []infrav1.Interface{{Network: "cluster", Link: "uplink0"}},
	}
	Expect(server.Client.Create(ctx, template)).To(Succeed())
}

func (s *site) provisioned(ctx context.Context) func() *bool {
	return func() *bool {
		return get(ctx, s, clusterName, &infrav1.EdgeCluster{}).Status.Initialization.Provisioned
	}
}

var _ = Describe("A site", func() {
	It("is provisioned once its networks and its endpoint are in order", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		Eventually(s.provisioned(ctx)).Should(HaveValue(BeTrue()))
		for _, condition := range []string{infrav1.NetworksValidCondition, infrav1.ControlPlaneEndpointReadyCondition, infrav1.ReadyCondition} {
			Eventually(s.clusterCondition(ctx, condition)).Should(beTrue(), condition)
		}
	})

	It("waits for a Cluster to own it", func(ctx context.Context) {
		s := newRunningSite(ctx)
		cluster := s.createCluster(ctx, clusterName, nil)
		edge := s.createEdgeCluster(ctx, cluster, func(c *infrav1.EdgeCluster) { c.OwnerReferences = nil })
		Eventually(s.clusterCondition(ctx, infrav1.ReadyCondition)).Should(waitFor(infrav1.WaitingForClusterReason, "Waiting for a Cluster"))
		Expect(s.provisioned(ctx)()).To(BeNil())
		update(ctx, s, clusterName, edge, func(c *infrav1.EdgeCluster) { c.OwnerReferences = []metav1.OwnerReference{owner(cluster, "Cluster")} })
		Eventually(s.provisioned(ctx)).Should(HaveValue(BeTrue()))
	})

	DescribeTable("is not provisioned while the Cluster's", func(ctx context.Context, field string, overlap func(*clusterv1.Cluster)) {
		s := newRunningSite(ctx)
		cluster := s.createCluster(ctx, clusterName, overlap)
		s.createEdgeCluster(ctx, cluster, nil)
		Eventually(s.clusterCondition(ctx, infrav1.NetworksValidCondition)).Should(waitFor(infrav1.NetworksInvalidReason,
			"spec.clusterNetwork."+field+" of Cluster "+clusterName, "192.0.0.0/16", "192.0.2.0/24", `network "cluster"`, "use another range"))
		Eventually(s.clusterCondition(ctx, infrav1.ReadyCondition)).Should(waitFor(infrav1.NetworksInvalidReason))
		Expect(s.provisioned(ctx)()).To(BeNil())
		update(ctx, s, clusterName, &clusterv1.Cluster{}, func(c *clusterv1.Cluster) {
			c.Spec.ClusterNetwork.Pods.CIDRBlocks, c.Spec.ClusterNetwork.Services.CIDRBlocks = []string{"10.1.0.0/16"}, []string{"10.2.0.0/16"}
		})
		Eventually(s.provisioned(ctx)).Should(HaveValue(BeTrue()))
	},
		Entry("pods overlap a network", "pods", func(c *clusterv1.Cluster) { c.Spec.ClusterNetwork.Pods.CIDRBlocks = []string{"192.0.0.0/16"} }),
		Entry("services overlap a network", "services", func(c *clusterv1.Cluster) { c.Spec.ClusterNetwork.Services.CIDRBlocks = []string{"192.0.0.0/16"} }),
	)

	DescribeTable("is not provisioned while its endpoint", func(ctx context.Context, host, reason string, texts ...string) {
		s := newRunningSite(ctx)
		cluster := s.createCluster(ctx, clusterName, nil)
		s.createEdgeCluster(ctx, cluster, func(c *infrav1.EdgeCluster) { c.Spec.ControlPlaneEndpoint.Host = host })
		Eventually(s.clusterCondition(ctx, infrav1.ControlPlaneEndpointReadyCondition)).Should(waitFor(reason, append(texts, host)...))
		Eventually(s.clusterCondition(ctx, infrav1.ReadyCondition)).Should(waitFor(reason))
		Consistently(s.provisioned(ctx)).Should(BeNil())
	},
		Entry("lies outside the networks", "198.51.100.10", infrav1.EndpointOutsideNetworksReason, "lies in no subnet", "use an address inside one, or mode BGP"),
		Entry("is a gateway", "192.0.2.1", infrav1.EndpointTakenReason, `gateway of network "cluster"`, "use a free address"),
		Entry("is a nameserver", "192.0.2.53", infrav1.EndpointTakenReason, `nameserver of network "cluster"`, "use a free address"),
	)

	It("takes the endpoint that the control-plane provider sets on the Cluster", func(ctx context.Context) {
		s := newRunningSite(ctx)
		cluster := s.createCluster(ctx, clusterName, nil)
		s.createEdgeCluster(ctx, cluster, func(c *infrav1.EdgeCluster) {
			c.Spec.ControlPlaneEndpoint, c.Spec.ControlPlaneVIP = infrav1.APIEndpoint{}, infrav1.ControlPlaneVIP{}
		})
		Eventually(s.clusterCondition(ctx, infrav1.ReadyCondition)).Should(waitFor(infrav1.WaitingForEndpointReason, "set it, or use a control-plane provider that sets it"))
		Expect(s.provisioned(ctx)()).To(BeNil())
		update(ctx, s, clusterName, cluster, func(c *clusterv1.Cluster) {
			c.Spec.ControlPlaneEndpoint = clusterv1.APIEndpoint{Host: "192.0.2.10", Port: 6443}
		})
		Eventually(s.provisioned(ctx)).Should(HaveValue(BeTrue()))
	})

	It("counts the hosts that its templates select against the machines that are wanted", func(ctx context.Context) {
		s := newRunningSite(ctx)
		cluster := s.addCluster(ctx, clusterName, nil)
		s.addTemplate(ctx, cluster, "workers", infrav1.HostSelector{MatchLabels: map[string]string{"role": "worker"}})
		s.addTemplate(ctx, cluster, "control-plane", infrav1.HostSelector{MatchLabels: map[string]string{"role": "cp"}})
		s.wanting(ctx, 1, 2)
		available := s.clusterCondition(ctx, infrav1.HostsAvailableCondition)
		Eventually(available).Should(waitFor(infrav1.NotEnoughHostsReason, "0 hosts for 3 machines", "add or free hosts that the templates' hostSelector matches, or scale down"))
		s.addHost(ctx, "cp", 1, labelled("role", "cp"))
		s.addHost(ctx, "other", 2, labelled("role", "storage"))
		s.addHost(ctx, "w1", 3, labelled("role", "worker"))
		Eventually(available).Should(waitFor(infrav1.NotEnoughHostsReason, "2 hosts for 3 machines"))
		Expect(s.clusterCondition(ctx, infrav1.ReadyCondition)(Default)).To(beTrue(), "a site that wants more hosts works")
		s.addHost(ctx, "w2", 4, labelled("role", "worker"))
		Eventually(available).Should(And(beTrue(), HaveField("Message", "3 hosts for 3 machines")))

		By("counting a host that it has claimed still")
		s.addMachine(ctx, clusterName, "m", selecting(infrav1.HostSelector{MatchLabels: map[string]string{"role": "worker"}}))
		s.expectProvisioned(ctx, "m")
		Consistently(available).Should(And(beTrue(), HaveField("Message", "3 hosts for 3 machines")))

		By("noticing a host that somebody else takes")
		update(ctx, s, s.hostName("cp"), &bmov1.BareMetalHost{}, annotated(infrav1.MaintenanceAnnotation))
		Eventually(available).Should(waitFor(infrav1.NotEnoughHostsReason, "2 hosts for 3 machines"))
	})

	It("publishes its failure domains and misses hosts in them", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, func(c *infrav1.EdgeCluster) {
			c.Spec.FailureDomains = []infrav1.FailureDomain{{Name: "rack-2", ControlPlane: new(false)}, {Name: "rack-1"}}
		})
		Eventually(func() []clusterv1.FailureDomain {
			return get(ctx, s, clusterName, &infrav1.EdgeCluster{}).Status.FailureDomains
		}).Should(Equal(
			[]clusterv1.FailureDomain{{Name: "rack-1", ControlPlane: new(true)}, {Name: "rack-2", ControlPlane: new(false)}},
		))
		s.addHost(ctx, "a", 1, labelled(infrav1.FailureDomainLabel, "rack-1"))
		available := s.clusterCondition(ctx, infrav1.HostsAvailableCondition)
		Eventually(available).Should(waitFor(infrav1.FailureDomainWithoutHostsReason, infrav1.FailureDomainLabel+"=rack-2", "label one or remove the failure domain"))
		s.addHost(ctx, "b", 2, labelled(infrav1.FailureDomainLabel, "rack-2"))
		Eventually(available).Should(beTrue())
	})

	It("that is managed externally is left alone", func(ctx context.Context) {
		s := newRunningSite(ctx)
		cluster := s.createCluster(ctx, clusterName, nil)
		s.createEdgeCluster(ctx, cluster, func(c *infrav1.EdgeCluster) {
			c.Annotations = map[string]string{clusterv1.ManagedByAnnotation: "terraform"}
		})
		Consistently(func() infrav1.EdgeClusterStatus { return get(ctx, s, clusterName, &infrav1.EdgeCluster{}).Status }).Should(BeZero())
	})

	It("that is paused is not judged", func(ctx context.Context) {
		s := newRunningSite(ctx)
		cluster := s.createCluster(ctx, clusterName, func(c *clusterv1.Cluster) { c.Spec.Paused = new(true) })
		s.createEdgeCluster(ctx, cluster, nil)
		Eventually(s.clusterCondition(ctx, clusterv1.PausedCondition)).Should(beTrue())
		Consistently(s.provisioned(ctx)).Should(BeNil())
		s.pause(ctx, false)
		Eventually(s.provisioned(ctx)).Should(HaveValue(BeTrue()))
	})
})

var _ = Describe("A template", func() {
	status := func(ctx context.Context, s *site) func() infrav1.EdgeMachineTemplateStatus {
		return func() infrav1.EdgeMachineTemplateStatus {
			return get(ctx, s, "workers", &infrav1.EdgeMachineTemplate{}).Status
		}
	}
	quantity := func(status infrav1.EdgeMachineTemplateStatus) map[string]string {
		found := map[string]string{}
		for name, q := range status.Capacity {
			found[string(name)] = q.String()
		}
		return found
	}

	It("tells the autoscaler what the smallest host has that it selects", func(ctx context.Context) {
		s := newRunningSite(ctx)
		cluster := s.addCluster(ctx, clusterName, nil)
		s.addTemplate(ctx, cluster, "workers", infrav1.HostSelector{
			MatchLabels: map[string]string{"role": "worker"}, Hardware: infrav1.HardwareRequirements{MinMemory: new(resource.MustParse("8Gi"))},
		})
		Consistently(status(ctx, s)).Should(BeZero())
		s.addHost(ctx, "large", 1, labelled("role", "worker"))
		Eventually(func() map[string]string { return quantity(status(ctx, s)()) }).Should(Equal(map[string]string{"cpu": "8", "memory": "32Gi", "ephemeral-storage": "468750000Ki"}))
		Expect(status(ctx, s)().NodeInfo).To(Equal(infrav1.NodeInfo{Architecture: "amd64", OperatingSystem: "linux"}))

		By("not counting what it does not select")
		tiny := hardware(2)
		tiny.RAMMebibytes = 4 << 10
		s.operator.Install(s.hostName("tiny"), tiny)
		s.createHost(ctx, "tiny", 2, labelled("role", "worker"))
		s.addHost(ctx, "other", 3, nil)

		By("counting a smaller host of another architecture")
		small := hardware(4)
		small.CPU, small.RAMMebibytes = bmov1.CPU{Arch: "aarch64", Count: 4}, 16<<10
		s.operator.Install(s.hostName("small"), small)
		s.createHost(ctx, "small", 4, labelled("role", "worker"))
		Eventually(func() map[string]string { return quantity(status(ctx, s)()) }).Should(Equal(map[string]string{"cpu": "4", "memory": "16Gi", "ephemeral-storage": "468750000Ki"}))
		Eventually(func() infrav1.NodeInfo { return status(ctx, s)().NodeInfo }).Should(Equal(infrav1.NodeInfo{OperatingSystem: "linux"}))

		By("forgetting it when it leaves")
		update(ctx, s, s.hostName("small"), &bmov1.BareMetalHost{}, func(h *bmov1.BareMetalHost) { h.Labels = nil })
		Eventually(func() map[string]string { return quantity(status(ctx, s)()) }).Should(HaveKeyWithValue("cpu", "8"))
	})
})

var _ = Describe("A manager with --watch-filter", func() {
	It("leaves alone what does not carry its label", func(ctx context.Context) {
		s := newSite(ctx)
		s.filter = "blue"
		s.startManager(ctx)
		cluster := s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, nil)
		was := s.remember(ctx, "a")
		s.addTemplate(ctx, cluster, "workers", infrav1.HostSelector{})
		s.addMachine(ctx, clusterName, "m", nil)
		Consistently(func(g Gomega) {
			g.Expect(s.edgeMachine(ctx, "m").Status).To(BeZero())
			g.Expect(get(ctx, s, clusterName, &infrav1.EdgeCluster{}).Status).To(BeZero())
			g.Expect(get(ctx, s, "workers", &infrav1.EdgeMachineTemplate{}).Status).To(BeZero())
		}).Should(Succeed())
		s.expectFree(ctx, "a", was)
		Expect(s.recorder.Writes()).To(BeEmpty())

		label := map[string]string{clusterv1.WatchLabel: "blue", clusterv1.ClusterNameLabel: clusterName}
		update(ctx, s, clusterName, &clusterv1.Cluster{}, func(c *clusterv1.Cluster) { c.Labels = label })
		update(ctx, s, clusterName, &infrav1.EdgeCluster{}, func(c *infrav1.EdgeCluster) { c.Labels = label })
		update(ctx, s, "m", &infrav1.EdgeMachine{}, func(m *infrav1.EdgeMachine) { m.Labels = label })
		s.expectProvisioned(ctx, "m")
		s.registerNode(ctx, "a", s.providerID("m", "a"))
		s.expectLinked(ctx, "m")
	})
})
