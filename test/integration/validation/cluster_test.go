// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

type clusterChange func(*infrav1.EdgeClusterSpec)

func onNetwork(change func(*infrav1.Network)) clusterChange {
	return func(s *infrav1.EdgeClusterSpec) { change(&s.Networks[0]) }
}

func subnets(subnets ...infrav1.Subnet) clusterChange {
	return onNetwork(func(n *infrav1.Network) { n.Subnets = subnets })
}

func second(network infrav1.Network) clusterChange {
	return func(s *infrav1.EdgeClusterSpec) { s.Networks = append(s.Networks, network) }
}

func routes(routes ...infrav1.Route) clusterChange {
	return onNetwork(func(n *infrav1.Network) { n.Routes = routes })
}

func fromHost(name string, cidrs ...string) infrav1.Network {
	network := infrav1.Network{Name: name, Addresses: infrav1.AddressSource{FromHost: &infrav1.FromHost{}}}
	for _, cidr := range cidrs {
		network.Subnets = append(network.Subnets, infrav1.Subnet{CIDR: cidr})
	}
	return network
}

func vip(host string, vip infrav1.ControlPlaneVIP) clusterChange {
	return func(s *infrav1.EdgeClusterSpec) {
		s.ControlPlaneEndpoint, s.ControlPlaneVIP = infrav1.APIEndpoint{Host: host, Port: 6443}, vip
	}
}

func speaker(address string) *infrav1.VIPBGP {
	return &infrav1.VIPBGP{ASNumber: 64512, Peers: []infrav1.VIPBGPPeer{{Address: address, ASNumber: 4294967295}}}
}

var _ = DescribeTable("A cluster is accepted with",
	func(ctx context.Context, change clusterChange) {
		spec := clusterSpec()
		change(&spec)
		for _, object := range clusterKinds(spec) {
			Expect(tryCreate(ctx, object)).To(Succeed(), "%T", object)
		}
	},
	Entry("the short form", func(*infrav1.EdgeClusterSpec) {}),
	Entry("DHCP without subnets", onNetwork(func(n *infrav1.Network) { n.Subnets, n.Addresses = nil, infrav1.AddressSource{DHCP: &infrav1.DHCP{}} })),
	Entry("an address pool", onNetwork(func(n *infrav1.Network) {
		n.Addresses = infrav1.AddressSource{FromPool: &infrav1.PoolReference{APIGroup: "ipam.cluster.x-k8s.io", Kind: "InClusterIPPool", Name: "cluster"}}
	})),
	Entry("a DNS name and an external load balancer", vip("api.example.org", infrav1.ControlPlaneVIP{Mode: infrav1.VIPModeExternal})),
	Entry("a DNS name and no VIP mode", vip("api.example.org", infrav1.ControlPlaneVIP{})),
	Entry("a VIP announced with BGP", vip("203.0.113.1", infrav1.ControlPlaneVIP{Mode: infrav1.VIPModeBGP, BGP: speaker("192.0.2.1")})),
	Entry("an IPv6 endpoint", vip("2001:db8::10", infrav1.ControlPlaneVIP{Mode: infrav1.VIPModeARP})),
	Entry("IPv6 subnets", subnets(infrav1.Subnet{CIDR: "2001:db8::/64", Gateway: "2001:db8::1"})),
	Entry("subnets of both families", subnets(infrav1.Subnet{CIDR: "192.0.2.0/24"}, infrav1.Subnet{CIDR: "2001:db8::/64"}, infrav1.Subnet{CIDR: "198.51.100.0/25"}, infrav1.Subnet{CIDR: "198.51.100.128/25"})),
	Entry("a default of another family that contains nothing of ours", second(fromHost("six", "::/1"))),
	Entry("a route through the gateway of the subnet", routes(infrav1.Route{Destination: "10.0.0.0/8"})),
	Entry("a route through a router in the subnet", routes(infrav1.Route{Destination: "::/0", Gateway: "192.0.2.254"})),
	Entry("MTU 9216", onNetwork(func(n *infrav1.Network) { n.MTU = 9216 })),
	Entry("failure domains", func(s *infrav1.EdgeClusterSpec) {
		s.FailureDomains = []infrav1.FailureDomain{{Name: "rack-1", ControlPlane: new(false)}, {Name: "Rack_2.a"}}
	}),
)

var _ = DescribeTable("A cluster is refused with",
	func(ctx context.Context, change clusterChange, texts ...string) {
		spec := clusterSpec()
		change(&spec)
		for _, object := range clusterKinds(spec) {
			Expect(tryCreate(ctx, object)).To(haveCauses(texts), "%T", object)
		}
	},
	Entry("endpoint port 0", func(s *infrav1.EdgeClusterSpec) { s.ControlPlaneEndpoint.Port = 0 }, "spec.controlPlaneEndpoint.port"),
	Entry("endpoint port 65536", func(s *infrav1.EdgeClusterSpec) { s.ControlPlaneEndpoint.Port = 65536 }, "spec.controlPlaneEndpoint.port", "65535"),
	Entry("an endpoint without host", func(s *infrav1.EdgeClusterSpec) { s.ControlPlaneEndpoint.Host = "" }, "spec.controlPlaneEndpoint.host"),
	Entry("an unknown VIP mode", vip("192.0.2.10", infrav1.ControlPlaneVIP{Mode: "VRRP"}), "spec.controlPlaneVIP.mode", `"ARP", "BGP", "External"`),
	Entry("BGP without speaker", vip("192.0.2.10", infrav1.ControlPlaneVIP{Mode: infrav1.VIPModeBGP}), "spec.controlPlaneVIP", "bgp is needed with mode BGP"),
	Entry("a speaker without BGP", vip("192.0.2.10", infrav1.ControlPlaneVIP{Mode: infrav1.VIPModeARP, BGP: speaker("192.0.2.1")}), "spec.controlPlaneVIP", "not allowed with another"),
	Entry("a peer that is no address", vip("192.0.2.10", infrav1.ControlPlaneVIP{Mode: infrav1.VIPModeBGP, BGP: speaker("router")}), "peers[0].address", "for example 192.0.2.1"),
	Entry("an AS number of 33 bits", vip("192.0.2.10", infrav1.ControlPlaneVIP{Mode: infrav1.VIPModeBGP, BGP: &infrav1.VIPBGP{ASNumber: 1 << 32, Peers: speaker("192.0.2.1").Peers}}),
		"spec.controlPlaneVIP.bgp.asNumber", "4294967295"),
	Entry("no networks", func(s *infrav1.EdgeClusterSpec) { s.Networks = nil }, "spec.networks", "Required"),
	Entry("two networks of one name", second(fromHost("cluster", "198.51.100.0/24")), "spec.networks[1]", "Duplicate value"),
	Entry("a network name in upper case", onNetwork(func(n *infrav1.Network) { n.Name = "Cluster" }), "spec.networks[0].name", "should match"),
	Entry("a network without subnets", onNetwork(func(n *infrav1.Network) { n.Subnets = nil }), "spec.networks[0].subnets", "add the network's CIDR"),
	Entry("addresses from nowhere", onNetwork(func(n *infrav1.Network) { n.Addresses = infrav1.AddressSource{} }), "spec.networks[0].addresses", "Required"),
	Entry("addresses from two sources", onNetwork(func(n *infrav1.Network) { n.Addresses.DHCP = &infrav1.DHCP{} }), "spec.networks[0].addresses", "set exactly one of fromPool, fromHost and dhcp"),
	Entry("a pool without name", onNetwork(func(n *infrav1.Network) {
		n.Addresses = infrav1.AddressSource{FromPool: &infrav1.PoolReference{APIGroup: "ipam.cluster.x-k8s.io", Kind: "InClusterIPPool"}}
	}), "spec.networks[0].addresses.fromPool.name"),
	Entry("a CIDR with host bits", subnets(infrav1.Subnet{CIDR: "192.0.2.1/24"}), "spec.networks[0].subnets[0].cidr", "for example 192.0.2.0/24 (not 192.0.2.1/24)"),
	Entry("a CIDR without length", subnets(infrav1.Subnet{CIDR: "192.0.2.0"}), "spec.networks[0].subnets[0].cidr", "must be a CIDR"),
	Entry("a CIDR with a length of 33", subnets(infrav1.Subnet{CIDR: "192.0.2.0/33"}), "spec.networks[0].subnets[0].cidr", "must be a CIDR"),
	Entry("a gateway outside its subnet", subnets(infrav1.Subnet{CIDR: "192.0.2.0/24", Gateway: "198.51.100.1"}), "spec.networks[0].subnets[0].gateway", "use a router inside it"),
	Entry("a gateway of the other family", subnets(infrav1.Subnet{CIDR: "192.0.2.0/24", Gateway: "2001:db8::1"}), "spec.networks[0].subnets[0].gateway", "use a router inside it"),
	Entry("a gateway that is no address", subnets(infrav1.Subnet{CIDR: "192.0.2.0/24", Gateway: "192.0.2.1/24"}), "spec.networks[0].subnets[0].gateway", "must be an IP address"),
	Entry("one subnet in two networks", second(fromHost("storage", "192.0.2.0/24")), "spec.networks", "subnets overlap"),
	Entry("a subnet inside another of the network", subnets(infrav1.Subnet{CIDR: "192.0.2.0/24"}, infrav1.Subnet{CIDR: "192.0.2.128/25"}), "spec.networks", "subnets overlap"),
	Entry("a subnet inside one of another network", second(fromHost("storage", "192.0.2.64/26")), "spec.networks", "subnets overlap"),
	Entry("a subnet around one of another network", second(fromHost("storage", "192.0.0.0/16")), "spec.networks", "subnets overlap"),
	Entry("an IPv6 subnet inside another", second(fromHost("storage", "2001:db8::/64", "2001:db8::/80")), "spec.networks", "subnets overlap"),
	Entry("a subnet twice", subnets(infrav1.Subnet{CIDR: "192.0.2.0/24"}, infrav1.Subnet{CIDR: "192.0.2.0/24"}), "spec.networks", "lists the same cidr twice"),
	Entry("a network MTU that is too small", onNetwork(func(n *infrav1.Network) { n.MTU = 500 }), "spec.networks[0].mtu", "576"),
	Entry("a network MTU that is too large", onNetwork(func(n *infrav1.Network) { n.MTU = 9217 }), "spec.networks[0].mtu", "9216"),
	Entry("a nameserver that is a name", onNetwork(func(n *infrav1.Network) { n.Nameservers = []string{"dns.example.org"} }), "spec.networks[0].nameservers", "for example 192.0.2.53"),
	Entry("a route without any gateway", onNetwork(func(n *infrav1.Network) {
		n.Subnets[0].Gateway, n.Routes = "", []infrav1.Route{{Destination: "10.0.0.0/8"}}
	}), "spec.networks[0].routes", "set routes[].gateway or subnets[].gateway"),
	Entry("a route through a router outside the network", routes(infrav1.Route{Destination: "10.0.0.0/8", Gateway: "198.51.100.1"}),
		"spec.networks[0].routes", "gateway lies outside every subnet"),
	Entry("a route to an address", routes(infrav1.Route{Destination: "10.0.0.1"}), "spec.networks[0].routes[0].destination", "for example 198.51.100.0/24"),
	Entry("a route to a CIDR with host bits", routes(infrav1.Route{Destination: "10.0.0.1/8"}), "spec.networks[0].routes[0].destination", "for example 198.51.100.0/24"),
	Entry("two failure domains of one name", func(s *infrav1.EdgeClusterSpec) {
		s.FailureDomains = []infrav1.FailureDomain{{Name: "a"}, {Name: "a"}}
	}, "spec.failureDomains[1]", "Duplicate value"),
	Entry("a failure domain that no label can name", func(s *infrav1.EdgeClusterSpec) {
		s.FailureDomains = []infrav1.FailureDomain{{Name: "rack 1"}}
	}, "spec.failureDomains[0].name", "should match"),
)

var _ = DescribeTable("An EdgeCluster is refused with",
	func(ctx context.Context, change clusterChange, texts ...string) {
		spec := clusterSpec()
		change(&spec)
		Expect(tryCreate(ctx, &infrav1.EdgeCluster{ObjectMeta: meta(), Spec: spec})).To(haveCauses(texts))
	},
	Entry("VIP mode ARP and a DNS name", vip("api.example.org", infrav1.ControlPlaneVIP{Mode: infrav1.VIPModeARP}),
		"spec.controlPlaneEndpoint.host must be an IP address when spec.controlPlaneVIP.mode is ARP or BGP", "use mode External"),
	Entry("VIP mode BGP and a DNS name", vip("api.example.org", infrav1.ControlPlaneVIP{Mode: infrav1.VIPModeBGP, BGP: speaker("192.0.2.1")}),
		"spec.controlPlaneEndpoint.host must be an IP address"),
	Entry("VIP mode ARP and no endpoint", func(s *infrav1.EdgeClusterSpec) { s.ControlPlaneEndpoint = infrav1.APIEndpoint{} },
		"spec.controlPlaneEndpoint.host must be an IP address"),
)
