// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"context"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// padded makes names that are as long as a device's may be.
func padded(prefix string, i int) string {
	return fmt.Sprintf("%s%0*d", prefix, 15-len(prefix), i)
}

// largestMachine has as many links, interfaces and selectors as the API allows, with names as long as they may be: full
// bonds, and VLANs on them.
func largestMachine() infrav1.EdgeMachineSpec {
	spec := machineSpec()
	spec.Links, spec.Interfaces = nil, nil
	for b := range 3 {
		var members []string
		for m := range 8 {
			name := padded(fmt.Sprintf("nic%d", b), m)
			members = append(members, name)
			spec.Links = append(spec.Links, withMTU(infrav1.Link{Name: name, Match: &infrav1.NICMatch{MAC: fmt.Sprintf("52:54:00:ab:%02d:%02d", b, m)}}, 9216))
		}
		spec.Links = append(spec.Links, withMTU(withBond(bond(fmt.Sprintf("bond%d", b), infrav1.BondModeActiveBackup, members...), func(bond *infrav1.Bond) { bond.Primary = members[7] }), 9216))
	}
	for id := int32(1000); len(spec.Links) < 32; id++ {
		spec.Links = append(spec.Links, withMTU(vlan(fmt.Sprintf("bond2.%d", id), "bond2", id), 9216))
	}
	for i := range 8 {
		spec.Interfaces = append(spec.Interfaces, infrav1.Interface{Network: fmt.Sprintf("network-%024d", i), Link: spec.Links[31].Name})
	}
	spec.HostSelector.MatchLabels = map[string]string{}
	for i := range 64 {
		spec.HostSelector.MatchLabels[fmt.Sprintf("example.org/%060d", i)] = strings.Repeat("v", 63)
		spec.HostSelector.MatchExpressions = append(spec.HostSelector.MatchExpressions, metav1.LabelSelectorRequirement{
			Key: fmt.Sprintf("example.org/%060d", i), Operator: metav1.LabelSelectorOpIn, Values: []string{strings.Repeat("a", 63), strings.Repeat("b", 63)},
		})
	}
	spec.Image.URL = "https://images.example/" + strings.Repeat("u", 2000)
	spec.Image.Checksum = "https://images.example/" + strings.Repeat("c", 2000)
	return spec
}

// largestCluster has as many networks, subnets, routes, nameservers, failure domains and peers as the API allows.
func largestCluster() infrav1.EdgeClusterSpec {
	spec := clusterSpec()
	spec.Networks, spec.FailureDomains = nil, nil
	for n := range 8 {
		network := infrav1.Network{Name: fmt.Sprintf("network-%024d", n), MTU: 9216, Addresses: infrav1.AddressSource{FromHost: &infrav1.FromHost{}}}
		for s := range 4 {
			base := fmt.Sprintf("fd00:1111:2222:%d%d00:", n+1, s+1)
			network.Subnets = append(network.Subnets, infrav1.Subnet{CIDR: base + ":/64", Gateway: base + "ffff:ffff:ffff:ffff"})
		}
		for i := range 8 {
			network.Nameservers = append(network.Nameservers, fmt.Sprintf("fd00:1111:2222:3333:4444:5555:6666:%04d", i))
		}
		for i := range 32 {
			// The last subnet, so that all are looked at.
			network.Routes = append(network.Routes, infrav1.Route{Destination: fmt.Sprintf("fd11:1111:2222:%d%03d::/64", n+1, i), Gateway: network.Subnets[3].Gateway})
		}
		spec.Networks = append(spec.Networks, network)
	}
	for i := range 100 {
		spec.FailureDomains = append(spec.FailureDomains, infrav1.FailureDomain{Name: fmt.Sprintf("domain-%056d", i)})
	}
	speaker := &infrav1.VIPBGP{ASNumber: 4294967295}
	for i := range 8 {
		speaker.Peers = append(speaker.Peers, infrav1.VIPBGPPeer{Address: fmt.Sprintf("fd00:1111:2222:3333:4444:5555:6666:%04d", i), ASNumber: 4294967295})
	}
	spec.ControlPlaneVIP = infrav1.ControlPlaneVIP{Mode: infrav1.VIPModeBGP, BGP: speaker}
	return spec
}

var _ = Describe("The largest objects stay inside the cost budget of their rules", func() {
	DescribeTable("when created and when changed", func(ctx context.Context, objects []client.Object) {
		for _, object := range objects {
			mustCreate(ctx, object)
			Expect(server.Client.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
			object.SetLabels(map[string]string{"changed": "true"})
			Expect(server.Client.Update(ctx, object)).To(Succeed(), "%T", object)
		}
	},
		Entry("machines", machineKinds(largestMachine())),
		Entry("a provisioned machine", []client.Object{&infrav1.EdgeMachine{ObjectMeta: meta(), Spec: func() infrav1.EdgeMachineSpec {
			spec := largestMachine()
			spec.ProviderID = "edgemetal://" + strings.Repeat("p", 500)
			return spec
		}()}}),
		Entry("clusters", clusterKinds(largestCluster())),
	)
})
