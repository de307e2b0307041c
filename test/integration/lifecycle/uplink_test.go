// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
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
