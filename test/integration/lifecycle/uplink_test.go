// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"context"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

var _ = Describe("The uplink of VPP", func() {
	withLink := func(link, network string) func(*clusterv1.Machine, *infrav1.EdgeMachine) {
		return func(_ *clusterv1.Machine, m *infrav1.EdgeMachine) {
			m.Spec.Links[0].Name = link
			m.Spec.Interfaces = []infrav1.Interface{{Network: network, Link: link}}
		}
	}
	twoNetworks := func(kind infrav1.DataplaneType) func(*infrav1.EdgeCluster) {
		return func(c *infrav1.EdgeCluster) {
			encrypted(kind, infrav1.EncryptionRequired)(c)
			c.Spec.Dataplane.Network = "cluster"
			c.Spec.Networks = append(c.Spec.Networks, infrav1.Network{
				Name: "storage", Subnets: []infrav1.Subnet{{CIDR: "198.51.100.0/24"}}, Addresses: infrav1.AddressSource{FromHost: &infrav1.FromHost{}},
			})
		}
	}

	It("has one name on all machines of a cluster", func(ctx context.Context) {
		s := newEncryptedSite(ctx)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectProvisioned(ctx, "m")
		s.addHost(ctx, "b", 2, nil)
		s.addMachine(ctx, clusterName, "n", withLink("lan0", "cluster"))
		s.expectWaiting(ctx, "n", infrav1.NetworkDataValidCondition, infrav1.UplinkInvalidReason, `network "cluster" is on "lan0" here and on "uplink0" of EdgeMachine m`, "the same name in all machine templates")
		s.deleteMachine(ctx, "m")
		s.expectGone(ctx, "m")
		s.expectProvisioned(ctx, "n")
	})

	It("is settled before any disk is written", func(ctx context.Context) {
		s := newRunningSite(ctx)
		cluster := s.addCluster(ctx, clusterName, encrypted(infrav1.DataplaneCalicoVPP, infrav1.EncryptionRequired))
		for _, link := range []string{"lan0", "uplink0"} {
			template := &infrav1.EdgeMachineTemplate{ObjectMeta: s.meta(link)}
			template.OwnerReferences = []metav1.OwnerReference{{APIVersion: clusterv1.GroupVersion.String(), Kind: "Cluster", Name: cluster.Name, UID: cluster.UID}}
			spec := &template.Spec.Template.Spec
			spec.Image = infrav1.Image{URL: "https://images.example/node.qcow2", Checksum: "0123", ChecksumType: "sha256", Format: "qcow2"}
			spec.Links = []infrav1.Link{{Name: link, Match: &infrav1.NICMatch{BootNIC: new(true)}}}
			spec.Interfaces = []infrav1.Interface{{Network: "cluster", Link: link}}
			Expect(server.Client.Create(ctx, template)).To(Succeed())
		}
		Eventually(s.clusterCondition(ctx, infrav1.DataplaneInstalledCondition)).Should(waitFor(infrav1.DataplaneInvalidReason))
		s.addHost(ctx, "a", 1, nil)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectWaiting(ctx, "m", infrav1.ReleasedCondition, infrav1.DataplaneInvalidReason, "No image is written while the dataplane of EdgeCluster "+clusterName+" cannot work: links: ", "give that link the same name in all machine templates")
		Expect(s.condition(ctx, "m", infrav1.NetworkDataValidCondition)(Default)).To(beTrue())
		s.expectUntouched(ctx, "a")

		By("going on when it is")
		Expect(server.Client.Delete(ctx, get(ctx, s, "lan0", &infrav1.EdgeMachineTemplate{}))).To(Succeed())
		s.expectProvisioned(ctx, "m")
	})

	It("is on a host that its images are made for", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, encrypted(infrav1.DataplaneCalicoVPP, infrav1.EncryptionRequired))
		arm := hardware(1)
		arm.CPU.Arch = "aarch64"
		s.operator.Install(s.hostName("arm"), arm)
		s.createHost(ctx, "arm", 1, nil)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectWaiting(ctx, "m", infrav1.HostClaimedCondition, infrav1.NoHostMatchesReason, "1 of an architecture that the dataplane has no images for")

		By("being refused before its disk is written when that is known only after the claim")
		s.createHost(ctx, "unknown", 2, nil)
		s.expectWaiting(ctx, "m", infrav1.NetworkDataValidCondition, infrav1.NoHardwareDataReason, s.hostName("unknown"))
		arm = hardware(2)
		arm.CPU.Arch = "aarch64"
		Expect(server.Client.Create(ctx, &bmov1.HardwareData{ObjectMeta: s.meta(s.hostName("unknown")), Spec: bmov1.HardwareDataSpec{HardwareDetails: arm}})).To(Succeed())
		s.expectWaiting(ctx, "m", infrav1.ReleasedCondition, infrav1.DataplaneInvalidReason, "No image is written ", "aarch64")
		s.expectUntouched(ctx, "unknown")

		By("going on with another host")
		s.addHost(ctx, "x86", 3, nil)
		s.deleteMachine(ctx, "m")
		s.expectGone(ctx, "m")
		s.addMachine(ctx, clusterName, "n", nil)
		s.expectProvisioned(ctx, "n")
		Expect(s.edgeMachine(ctx, "n").Status.Host).To(Equal(s.hostName("x86")))
	})

	DescribeTable("is on the dataplane's network", func(ctx context.Context, kind infrav1.DataplaneType, change func(*infrav1.EdgeMachine), texts ...string) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, twoNetworks(kind))
		s.addHost(ctx, "a", 1, annotateAddresses("cluster=192.0.2.21,storage=198.51.100.21"))
		s.addMachine(ctx, clusterName, "m", func(_ *clusterv1.Machine, m *infrav1.EdgeMachine) { change(m) })
		if len(texts) == 0 {
			s.expectProvisioned(ctx, "m")
			return
		}
		s.expectWaiting(ctx, "m", infrav1.NetworkDataValidCondition, infrav1.UplinkInvalidReason, texts...)
		Expect(s.host(ctx, "a").Spec.Image).To(BeNil())
	},
		Entry("with an interface there", infrav1.DataplaneCalicoVPP, func(m *infrav1.EdgeMachine) {
			m.Spec.Interfaces = append(m.Spec.Interfaces, infrav1.Interface{Network: "storage", Link: "uplink0"})
		}),
		Entry("and not without", infrav1.DataplaneCalicoNftables, func(m *infrav1.EdgeMachine) {
			m.Spec.Interfaces = []infrav1.Interface{{Network: "storage", Link: "uplink0"}}
		}, `none is in network "cluster"`, "add one to the machine template"),
		Entry("first of all with VPP", infrav1.DataplaneCalicoVPP, func(m *infrav1.EdgeMachine) {
			m.Spec.Interfaces = []infrav1.Interface{{Network: "storage", Link: "uplink0"}, {Network: "cluster", Link: "uplink0"}}
		}, "must be the one in network \"cluster\"", "change their order"),
		Entry("in any order without VPP", infrav1.DataplaneCalicoEBPF, func(m *infrav1.EdgeMachine) {
			m.Spec.Interfaces = []infrav1.Interface{{Network: "storage", Link: "uplink0"}, {Network: "cluster", Link: "uplink0"}}
		}),
	)
})
