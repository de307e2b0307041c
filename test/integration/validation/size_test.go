// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"context"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/resource"
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
	// The last of each list, so that all are looked at.
	spec.Dataplane = largestDataplane(spec.Networks[7].Name, spec.FailureDomains[60:])
	return spec
}

// largestVPPCluster is the same with what only VPP is checked for.
func largestVPPCluster() infrav1.EdgeClusterSpec {
	spec := largestCluster()
	for s := range spec.Networks[7].Subnets {
		spec.Networks[7].Subnets[s] = infrav1.Subnet{CIDR: fmt.Sprintf("100.100.%d.0/24", 100+s), Gateway: fmt.Sprintf("100.100.%d.254", 100+s)}
	}
	for r := range spec.Networks[7].Routes {
		spec.Networks[7].Routes[r] = infrav1.Route{Destination: fmt.Sprintf("100.101.%d.0/24", 100+r), Gateway: "100.100.103.254"}
	}
	d := &spec.Dataplane
	d.Type, d.Encryption, d.MTU = infrav1.DataplaneCalicoVPP, infrav1.Encryption{Mode: infrav1.EncryptionRequired, Protocol: infrav1.ProtocolWireGuard, Port: 65535}, 9156
	d.KubeProxy, d.Calico.VPPVersion = infrav1.KubeProxyKeep, d.Calico.Version
	d.VPP = &infrav1.VPP{
		UplinkDriver: infrav1.UplinkAFPacket, RxMode: infrav1.RxModeInterrupt, PodRxMode: infrav1.RxModeInterrupt, HostTapRxMode: infrav1.RxModeInterrupt,
		Workers: new(int32(64)), Scheduler: &infrav1.Scheduler{Policy: infrav1.SchedulerRoundRobin, Priority: 99}, MainHeapSize: new(resource.MustParse("1048576Mi")),
		Buffers: 1048576, RingSize: 4096, GSO: new(true), ServiceAcceleration: new(true),
	}
	for i := range d.IPPools {
		d.IPPools[i].CIDR, d.IPPools[i].BlockSize, d.IPPools[i].Encapsulation = fmt.Sprintf("100.%d.128.0/17", 110+i), 32, infrav1.EncapsulationIPIP
	}
	for p := range d.BGP.Peers {
		peer := &d.BGP.Peers[p]
		peer.Address = fmt.Sprintf("100.100.100.%d", 100+p)
		for f := range peer.Import {
			peer.Import[f].CIDR, peer.Import[f].Match = fmt.Sprintf("100.%d.128.0/17", 150+f), infrav1.RouteMatchIn
			peer.Export[f] = peer.Import[f]
		}
	}
	for _, ranges := range [][]string{d.BGP.Advertise.ClusterIPs, d.BGP.Advertise.ExternalIPs, d.BGP.Advertise.LoadBalancerIPs} {
		for i := range ranges {
			ranges[i] = fmt.Sprintf("100.%d.128.0/17", 200+i)
		}
	}
	return spec
}

// largestDataplane has as many pools, peers, filters and ranges as the API allows, of IPv6, whose texts are longest.
func largestDataplane(network string, failureDomains []infrav1.FailureDomain) infrav1.Dataplane {
	d := infrav1.Dataplane{
		Type: infrav1.DataplaneCalicoEBPF, Network: network, Encryption: infrav1.Encryption{Mode: infrav1.EncryptionDisabled}, MTU: 9216,
		KubeProxy: infrav1.KubeProxyReplace, AgentImage: strings.Repeat("i", 512),
		Calico: infrav1.Calico{
			Version: "v100000.100000.100000-" + strings.Repeat("r", 42), Registry: strings.Repeat("r", 512),
			Charts: infrav1.Charts{Repository: "https://" + strings.Repeat("c", 500), Credentials: &infrav1.SecretReference{Name: strings.Repeat("s", 253)}},
		},
		BGP: &infrav1.BGP{ASNumber: 2147483647, NodeMesh: new(false)},
	}
	for i := range 4 {
		d.Calico.ImagePullSecrets = append(d.Calico.ImagePullSecrets, infrav1.SecretReference{Name: fmt.Sprintf("%0253d", i)})
	}
	for i := range 8 {
		d.IPPools = append(d.IPPools, infrav1.IPPool{
			Name: fmt.Sprintf("pool-%058d", i), CIDR: fmt.Sprintf("fd00:1111:2222:3333:4444:%d000::/84", i+1), BlockSize: 128, Encapsulation: infrav1.EncapsulationVXLANCrossSubnet, NATOutgoing: new(true),
		})
		a := &d.BGP.Advertise
		a.ClusterIPs = append(a.ClusterIPs, fmt.Sprintf("fd01:1111:2222:3333:4444:5555:6666:%d000/116", i+1))
		a.ExternalIPs = append(a.ExternalIPs, fmt.Sprintf("fd02:1111:2222:3333:4444:5555:6666:%d000/116", i+1))
		a.LoadBalancerIPs = append(a.LoadBalancerIPs, fmt.Sprintf("fd03:1111:2222:3333:4444:5555:6666:%d000/116", i+1))
	}
	for i := range 16 {
		peer := infrav1.BGPPeer{Name: fmt.Sprintf("peer-%058d", i), Address: fmt.Sprintf("fd00:1111:2222:3333:4444:5555:6666:%04d", i), ASNumber: 2147483647, Password: &infrav1.SecretReference{Name: strings.Repeat("s", 253)}}
		for _, domain := range failureDomains {
			peer.FailureDomains = append(peer.FailureDomains, domain.Name)
		}
		for f := range 32 {
			filter := infrav1.RouteFilter{CIDR: fmt.Sprintf("fd04:1111:2222:3333:4444:5555:%d000::/100", f/8+1), Match: infrav1.RouteMatchEqual, Action: infrav1.RouteReject}
			peer.Import, peer.Export = append(peer.Import, filter), append(peer.Export, filter)
		}
		d.BGP.Peers = append(d.BGP.Peers, peer)
	}
	return d
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
		Entry("clusters with VPP", clusterKinds(largestVPPCluster())),
	)
})
