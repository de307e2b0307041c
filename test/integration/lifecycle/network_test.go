// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"context"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ipamv1 "sigs.k8s.io/cluster-api/api/ipam/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

const poolName = "nodes"

func fromPool() infrav1.AddressSource {
	return infrav1.AddressSource{FromPool: &infrav1.PoolReference{APIGroup: "ipam.cluster.x-k8s.io", Kind: "InClusterIPPool", Name: poolName}}
}

// withAddresses changes where the network "cluster" has its addresses from.
func withAddresses(source infrav1.AddressSource) func(*infrav1.EdgeCluster) {
	return func(c *infrav1.EdgeCluster) { c.Spec.Networks[0].Addresses = source }
}

// annotateAddresses writes the addresses of a host into its annotation.
func annotateAddresses(value string) func(*bmov1.BareMetalHost) {
	return func(h *bmov1.BareMetalHost) { h.Annotations[infrav1.AddressesAnnotation] = value }
}

// expectUntouched checks that a host was claimed and that nothing was written to its disk.
func (s *site) expectUntouched(ctx context.Context, host string) {
	GinkgoHelper()
	Consistently(func(g Gomega) {
		found := s.host(ctx, host)
		g.Expect(found.Spec.ConsumerRef).NotTo(BeNil())
		g.Expect(found.Spec.Image).To(BeNil())
		g.Expect(found.Spec.UserData).To(BeNil())
	}).Should(Succeed())
	Expect(s.operator.Boots(s.hostName(host))).To(BeEmpty())
}

var _ = Describe("Addresses from a pool", func() {
	It("are claimed, used, reported and given back", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, withAddresses(fromPool()))
		s.addHost(ctx, "a", 1, nil)
		s.ipam.SetPool(poolName, "192.0.2.100", "192.0.2.110")
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectProvisioned(ctx, "m")

		claim := get(ctx, s, "m-cluster", &ipamv1.IPAddressClaim{})
		Expect(claim.Spec.ClusterName).To(Equal(clusterName))
		Expect(claim.Spec.PoolRef).To(Equal(ipamv1.IPPoolReference{APIGroup: "ipam.cluster.x-k8s.io", Kind: "InClusterIPPool", Name: poolName}))
		Expect(metav1.IsControlledBy(claim, s.edgeMachine(ctx, "m"))).To(BeTrue())
		Expect(s.operator.Boots(s.hostName("a"))[0].NetworkData).To(ContainSubstring("192.0.2.100"))
		Expect(internalIP(s.edgeMachine(ctx, "m"))).To(Equal("192.0.2.100"))
		Expect(s.ipam.Taken(poolName)).To(Equal(1))

		s.deleteMachine(ctx, "m")
		s.expectGone(ctx, "m")
		Expect(s.ipam.Taken(poolName)).To(BeZero())
	})

	It("are awaited while nobody answers", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, withAddresses(fromPool()))
		s.addHost(ctx, "a", 1, nil)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectWaiting(ctx, "m", infrav1.NetworkDataValidCondition, infrav1.WaitingForAddressReason,
			"InClusterIPPool "+poolName, "IPAddressClaim m-cluster", "check that the pool exists and that its IPAM provider runs")
		s.expectUntouched(ctx, "a")
		s.ipam.SetPool(poolName, "192.0.2.100", "192.0.2.110")
		s.expectProvisioned(ctx, "m")
	})

	It("are missed with the provider's own words", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, withAddresses(fromPool()))
		s.addHost(ctx, "a", 1, nil)
		s.ipam.SetPool(poolName, "192.0.2.100", "192.0.2.99")
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectWaiting(ctx, "m", infrav1.NetworkDataValidCondition, infrav1.AddressPoolReason, "InClusterIPPool "+poolName, "pool is full")
		s.expectUntouched(ctx, "a")
		s.ipam.SetPool(poolName, "192.0.2.100", "192.0.2.100")
		s.expectProvisioned(ctx, "m")
	})

	It("are taken once they are there, also when the claim has named them before", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, withAddresses(fromPool()))
		s.ipam.SetPool(poolName, "192.0.2.100", "192.0.2.100")
		s.addHost(ctx, "a", 1, nil)
		s.addMachine(ctx, clusterName, "first", nil) // from then on addresses are watched
		s.expectProvisioned(ctx, "first")
		s.addHost(ctx, "b", 2, nil)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectWaiting(ctx, "m", infrav1.NetworkDataValidCondition, infrav1.AddressPoolReason)

		By("naming an address whose event is late")
		claim := get(ctx, s, "m-cluster", &ipamv1.IPAddressClaim{})
		before := claim.DeepCopy()
		claim.Status.AddressRef.Name = "late"
		Expect(server.Client.Status().Patch(ctx, claim, client.MergeFrom(before))).To(Succeed())
		s.expectUntouched(ctx, "b")

		By("telling of the address")
		Expect(server.Client.Create(ctx, &ipamv1.IPAddress{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "late"},
			Spec: ipamv1.IPAddressSpec{
				ClaimRef: ipamv1.IPAddressClaimReference{Name: claim.Name},
				PoolRef:  claim.Spec.PoolRef, Address: "192.0.2.101", Prefix: new(int32(24)),
			},
		})).To(Succeed())
		s.expectProvisioned(ctx, "m")
	})

	It("that a pool should not have given are refused", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, withAddresses(fromPool()))
		s.addHost(ctx, "a", 1, nil)
		// The control-plane endpoint.
		s.ipam.SetPool(poolName, "192.0.2.10", "192.0.2.10")
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectWaiting(ctx, "m", infrav1.NetworkDataValidCondition, infrav1.AddressInvalidReason, "192.0.2.10", "is the control-plane endpoint", "take it out of the pool")
		s.expectUntouched(ctx, "a")
	})

	It("are released when the machine goes before it has got one", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, withAddresses(fromPool()))
		s.addHost(ctx, "a", 1, nil)
		was := s.remember(ctx, "a")
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectWaiting(ctx, "m", infrav1.NetworkDataValidCondition, infrav1.WaitingForAddressReason)
		s.deleteMachine(ctx, "m")
		s.expectGone(ctx, "m")
		s.expectFree(ctx, "a", was)
	})
})

var _ = Describe("Addresses from the host's annotation", func() {
	DescribeTable("are refused before anything is written, and taken once corrected", func(ctx context.Context, annotation, reason string, texts ...string) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, annotateAddresses(annotation))
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectWaiting(ctx, "m", infrav1.NetworkDataValidCondition, reason, append(texts, s.hostName("a"))...)
		s.expectUntouched(ctx, "a")
		update(ctx, s, s.hostName("a"), &bmov1.BareMetalHost{}, annotateAddresses("cluster=192.0.2.77"))
		s.expectProvisioned(ctx, "m")
		Expect(internalIP(s.edgeMachine(ctx, "m"))).To(Equal("192.0.2.77"))
	},
		Entry("when there is none", "", infrav1.AddressMissingReason, `network "cluster"`, "cluster=<address>", infrav1.AddressesAnnotation),
		Entry("when they are for another network", "storage=192.0.2.21", infrav1.AddressMissingReason, "cluster=<address>"),
		Entry("when they are outside the subnet", "cluster=198.51.100.21", infrav1.AddressInvalidReason, "198.51.100.21 lies outside the subnets", "192.0.2.0/24"),
		Entry("when they have a prefix length", "cluster=192.0.2.21/24", infrav1.AddressInvalidReason, "no prefix length"),
		Entry("when they name a network twice", "cluster=192.0.2.21,cluster=192.0.2.22", infrav1.AddressInvalidReason, "named twice"),
		Entry("when they are no list", "192.0.2.21", infrav1.AddressInvalidReason, "<network>=<address>"),
		Entry("when they are the gateway's", "cluster=192.0.2.1", infrav1.AddressInvalidReason, "is the gateway"),
		Entry("when they are the nameserver's", "cluster=192.0.2.53", infrav1.AddressInvalidReason, "is a nameserver"),
		Entry("when they are the endpoint's", "cluster=192.0.2.10", infrav1.AddressInvalidReason, "is the control-plane endpoint"),
		Entry("when they are the broadcast address", "cluster=192.0.2.255", infrav1.AddressInvalidReason, "is the broadcast address"),
	)

	It("that another machine has are refused, until that machine is gone", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, annotateAddresses("cluster=192.0.2.21"))
		s.addMachine(ctx, clusterName, "first", nil)
		s.expectProvisioned(ctx, "first")
		s.addHost(ctx, "b", 2, annotateAddresses("cluster=192.0.2.21"))
		s.addMachine(ctx, clusterName, "second", nil)
		s.expectWaiting(ctx, "second", infrav1.NetworkDataValidCondition, infrav1.AddressTakenReason, "192.0.2.21", "EdgeMachine first", infrav1.AddressesAnnotation)
		s.expectUntouched(ctx, "b")
		s.deleteMachine(ctx, "first")
		s.expectGone(ctx, "first")
		s.expectProvisioned(ctx, "second")
	})

	It("are given to one of two machines that come at once", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		for i, host := range []string{"a", "b"} {
			s.operator.HoldIn(s.hostName(host), bmov1.StateInspecting)
			s.addHost(ctx, host, i+1, annotateAddresses("cluster=192.0.2.21"), notAwaited)
		}
		for _, machine := range []string{"m1", "m2"} {
			s.addMachine(ctx, clusterName, machine, nil)
			s.expectWaiting(ctx, machine, infrav1.HostClaimedCondition, infrav1.NoHostMatchesReason)
		}
		s.operator.LetGo(s.hostName("a"))
		s.operator.LetGo(s.hostName("b"))
		Eventually(func() []string {
			var reasons []string
			for _, machine := range []string{"m1", "m2"} {
				reasons = append(reasons, conditions.GetReason(s.edgeMachine(ctx, machine), infrav1.NetworkDataValidCondition))
			}
			return reasons
		}).Should(ConsistOf(infrav1.NetworkDataValidReason, infrav1.AddressTakenReason))
		Consistently(func() int { return len(s.operator.Boots(s.hostName("a"))) + len(s.operator.Boots(s.hostName("b"))) }).Should(BeNumerically("<=", 1))
	})
})

var _ = Describe("A machine on DHCP", func() {
	It("reports the addresses that its Node has, also when they change", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, func(c *infrav1.EdgeCluster) {
			withAddresses(infrav1.AddressSource{DHCP: &infrav1.DHCP{}})(c)
			c.Spec.Networks[0].Subnets = nil
		})
		s.addHost(ctx, "a", 1, func(h *bmov1.BareMetalHost) { delete(h.Annotations, infrav1.AddressesAnnotation) })
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectProvisioned(ctx, "m")
		Expect(s.operator.Boots(s.hostName("a"))[0].NetworkData).To(ContainSubstring("ipv4_dhcp"))
		Expect(internalIP(s.edgeMachine(ctx, "m"))).To(BeEmpty())

		s.registerNode(ctx, "a", s.providerID("m", "a"), corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: "192.0.2.201"},
			corev1.NodeAddress{Type: corev1.NodeHostName, Address: s.hostName("a")})
		s.expectLinked(ctx, "m")
		internal := func() string { return internalIP(s.edgeMachine(ctx, "m")) }
		Eventually(internal).Should(Equal("192.0.2.201"))

		node := &corev1.Node{}
		Expect(server.Client.Get(ctx, s.key(s.hostName("a")), node)).To(Succeed())
		node.Status.Addresses[0].Address = "192.0.2.202"
		Expect(server.Client.Status().Update(ctx, node)).To(Succeed())
		Eventually(internal).Should(Equal("192.0.2.202"))
	})
})

var _ = Describe("Links that the host cannot have", func() {
	DescribeTable("are named before anything is written", func(ctx context.Context, match infrav1.NICMatch, texts ...string) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, nil)
		s.addMachine(ctx, clusterName, "m", func(_ *clusterv1.Machine, m *infrav1.EdgeMachine) { m.Spec.Links[0].Match = &match })
		s.expectWaiting(ctx, "m", infrav1.NetworkDataValidCondition, infrav1.LinkUnresolvedReason, append(texts, s.hostName("a"), "uplink0", "eno1", mac(1, 1))...)
		s.expectUntouched(ctx, "a")
	},
		Entry("by name", infrav1.NICMatch{Name: "eth9"}, "match.name eth9"),
		Entry("by MAC", infrav1.NICMatch{MAC: "52:54:00:ff:ff:ff"}, "match.mac 52:54:00:ff:ff:ff"),
		Entry("by PCI address", infrav1.NICMatch{PCIAddress: "0000:ff:00.0"}, "match.pciAddress 0000:ff:00.0"),
	)

	It("are named when two select one NIC", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, nil)
		s.addMachine(ctx, clusterName, "m", func(_ *clusterv1.Machine, m *infrav1.EdgeMachine) {
			m.Spec.Links = append(m.Spec.Links, infrav1.Link{Name: "uplink1", Match: &infrav1.NICMatch{MAC: mac(1, 1)}})
		})
		s.expectWaiting(ctx, "m", infrav1.NetworkDataValidCondition, infrav1.LinkUnresolvedReason, `"uplink0" and "uplink1" both select NIC eno1`)
		s.expectUntouched(ctx, "a")
	})

	It("wait for an inspection, and are resolved when it is done", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.createHost(ctx, "a", 1, nil)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectWaiting(ctx, "m", infrav1.NetworkDataValidCondition, infrav1.NoHardwareDataReason, s.hostName("a"), "inspect it or set the annotation "+bmov1.HardwareDetailsAnnotation)
		s.expectUntouched(ctx, "a")
		data := &bmov1.HardwareData{ObjectMeta: s.meta(s.hostName("a")), Spec: bmov1.HardwareDataSpec{HardwareDetails: hardware(1)}}
		Expect(server.Client.Create(ctx, data)).To(Succeed())
		s.expectProvisioned(ctx, "m")
	})

	It("are corrected by the user before anything is written", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, nil)
		s.addMachine(ctx, clusterName, "m", func(_ *clusterv1.Machine, m *infrav1.EdgeMachine) {
			m.Spec.Links[0].Match = &infrav1.NICMatch{Name: "eth9"}
		})
		s.expectWaiting(ctx, "m", infrav1.NetworkDataValidCondition, infrav1.LinkUnresolvedReason)
		update(ctx, s, "m", &infrav1.EdgeMachine{}, func(m *infrav1.EdgeMachine) { m.Spec.Links[0].Match = &infrav1.NICMatch{Name: "eno2"} })
		s.expectProvisioned(ctx, "m")
		Expect(s.operator.Boots(s.hostName("a"))[0].NetworkData).To(ContainSubstring(mac(1, 2)))
	})

	It("have an MTU that the network does not fit in", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, func(c *infrav1.EdgeCluster) { c.Spec.Networks[0].MTU = 9000 })
		s.addHost(ctx, "a", 1, nil)
		s.addMachine(ctx, clusterName, "m", func(_ *clusterv1.Machine, m *infrav1.EdgeMachine) { m.Spec.Links[0].MTU = 1500 })
		s.expectWaiting(ctx, "m", infrav1.NetworkDataValidCondition, infrav1.MTUInvalidReason, "1500", "9000", "uplink0")
		s.expectUntouched(ctx, "a")
	})
})

var _ = Describe("An interface on a network that the cluster does not have", func() {
	It("is named, and joined once the network is there", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, annotateAddresses("cluster=192.0.2.21,storage=198.51.100.21"))
		s.addMachine(ctx, clusterName, "m", func(_ *clusterv1.Machine, m *infrav1.EdgeMachine) {
			m.Spec.Links = append(m.Spec.Links, infrav1.Link{Name: "storage0", Match: &infrav1.NICMatch{Name: "eno2"}})
			m.Spec.Interfaces = append(m.Spec.Interfaces, infrav1.Interface{Network: "storage", Link: "storage0"})
		})
		s.expectWaiting(ctx, "m", infrav1.NetworkDataValidCondition, infrav1.NetworkUnknownReason, `no network "storage"`, "correct the name or add the network")
		s.expectUntouched(ctx, "a")
		update(ctx, s, clusterName, &infrav1.EdgeCluster{}, func(c *infrav1.EdgeCluster) {
			c.Spec.Networks = append(c.Spec.Networks, infrav1.Network{
				Name: "storage", Subnets: []infrav1.Subnet{{CIDR: "198.51.100.0/24"}}, Addresses: infrav1.AddressSource{FromHost: &infrav1.FromHost{}},
			})
		})
		s.expectProvisioned(ctx, "m")
		Expect(s.operator.Boots(s.hostName("a"))[0].NetworkData).To(And(ContainSubstring("198.51.100.21"), ContainSubstring(mac(1, 2))))
	})
})
