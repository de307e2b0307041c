// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"context"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

type dataplaneChange func(*infrav1.Dataplane)

// vpp is the default dataplane with changes.
func vpp(changes ...dataplaneChange) clusterChange { return of(infrav1.DataplaneCalicoVPP, changes...) }

func of(dataplane infrav1.DataplaneType, changes ...dataplaneChange) clusterChange {
	return func(s *infrav1.EdgeClusterSpec) {
		s.Dataplane = infrav1.Dataplane{Type: dataplane}
		for _, change := range changes {
			change(&s.Dataplane)
		}
	}
}

func both(changes ...clusterChange) clusterChange {
	return func(s *infrav1.EdgeClusterSpec) {
		for _, change := range changes {
			change(s)
		}
	}
}

func inClear(d *infrav1.Dataplane) { d.Encryption.Mode = infrav1.EncryptionDisabled }

func ipsec(d *infrav1.Dataplane) { d.Encryption.Protocol = infrav1.ProtocolIPsec }

func pools(pools ...infrav1.IPPool) dataplaneChange {
	return func(d *infrav1.Dataplane) { d.IPPools = pools }
}

func pool(cidr string, encapsulation infrav1.Encapsulation) infrav1.IPPool {
	return infrav1.IPPool{Name: "p" + strings.NewReplacer(".", "-", ":", "-", "/", "-").Replace(cidr), CIDR: cidr, Encapsulation: encapsulation}
}

func tuned(vpp infrav1.VPP) dataplaneChange {
	return func(d *infrav1.Dataplane) { d.VPP = &vpp }
}

func charts(charts infrav1.Charts) dataplaneChange {
	return func(d *infrav1.Dataplane) { d.Calico.Charts = charts }
}

func bgp(bgp infrav1.BGP) dataplaneChange {
	return func(d *infrav1.Dataplane) { d.BGP = &bgp }
}

func router(address string, change func(*infrav1.BGPPeer)) dataplaneChange {
	peer := infrav1.BGPPeer{Name: "tor", Address: address, ASNumber: 65001}
	if change != nil {
		change(&peer)
	}
	return bgp(infrav1.BGP{Peers: []infrav1.BGPPeer{peer}})
}

func dhcp(n *infrav1.Network) {
	n.Subnets, n.Addresses = nil, infrav1.AddressSource{DHCP: &infrav1.DHCP{}}
}

func six(n *infrav1.Network) { n.Subnets = []infrav1.Subnet{{CIDR: "2001:db8::/64"}} }

func dual(n *infrav1.Network) {
	n.Subnets = []infrav1.Subnet{{CIDR: "192.0.2.0/24"}, {CIDR: "2001:db8::/64"}}
}

func mtu(network, pods int32) clusterChange {
	return both(onNetwork(func(n *infrav1.Network) { n.MTU = network }), vpp(func(d *infrav1.Dataplane) { d.MTU = pods }))
}

var _ = DescribeTable("A dataplane is accepted with",
	func(ctx context.Context, change clusterChange) {
		spec := clusterSpec()
		change(&spec)
		for _, object := range clusterKinds(spec) {
			Expect(tryCreate(ctx, object)).To(Succeed(), "%T", object)
		}
	},
	Entry("VPP and nothing else", vpp()),
	Entry("eBPF", of(infrav1.DataplaneCalicoEBPF)),
	Entry("nftables", of(infrav1.DataplaneCalicoNftables)),
	Entry("iptables", of(infrav1.DataplaneCalicoIptables)),
	Entry("none", of(infrav1.DataplaneNone, inClear)),
	Entry("encryption that is preferred", vpp(func(d *infrav1.Dataplane) { d.Encryption.Mode = infrav1.EncryptionPreferred })),
	Entry("IPsec with VPP", vpp(ipsec, pools(pool("10.244.0.0/16", infrav1.EncapsulationIPIP)))),
	Entry("another port of WireGuard", vpp(func(d *infrav1.Dataplane) { d.Encryption.Port = 51830 })),
	Entry("VXLAN with VPP's WireGuard", vpp(pools(pool("10.244.0.0/16", infrav1.EncapsulationVXLAN)))),
	Entry("any encapsulation with the kernel's WireGuard", of(infrav1.DataplaneCalicoNftables,
		pools(pool("10.244.0.0/17", infrav1.EncapsulationNone), pool("10.244.128.0/18", infrav1.EncapsulationVXLANCrossSubnet), pool("10.244.192.0/18", infrav1.EncapsulationIPIPCrossSubnet)))),
	Entry("any pool in clear", vpp(inClear, pools(pool("10.244.0.0/16", infrav1.EncapsulationNone), pool("fd00::/64", infrav1.EncapsulationVXLAN)))),
	Entry("block sizes", vpp(pools(infrav1.IPPool{Name: "a", CIDR: "10.244.0.0/16", BlockSize: 20}, infrav1.IPPool{Name: "b", CIDR: "10.245.0.0/26", BlockSize: 26}))),
	Entry("block sizes of IPv6", of(infrav1.DataplaneCalicoEBPF, inClear, pools(infrav1.IPPool{Name: "a", CIDR: "fd00::/64", BlockSize: 116}))),
	Entry("DHCP with the kernel's WireGuard", both(onNetwork(dhcp), of(infrav1.DataplaneCalicoEBPF))),
	Entry("DHCP in clear", both(onNetwork(dhcp), vpp(inClear))),
	Entry("subnets of both families with the kernel's WireGuard", both(onNetwork(dual), of(infrav1.DataplaneCalicoEBPF))),
	Entry("IPv6 subnets in clear", both(onNetwork(six), vpp(inClear))),
	Entry("one network of several", both(second(fromHost("pods", "198.51.100.0/24")), vpp(func(d *infrav1.Dataplane) { d.Network = "pods" }))),
	Entry("type None and several networks", second(fromHost("storage", "198.51.100.0/24"))),
	Entry("the largest MTU", mtu(9216, 9156)),
	Entry("the largest MTU in clear", both(mtu(9216, 0), vpp(inClear, func(d *infrav1.Dataplane) { d.MTU = 9216 }))),
	Entry("AF_XDP and adaptive mode", vpp(tuned(infrav1.VPP{UplinkDriver: infrav1.UplinkAFXDP, RxMode: infrav1.RxModeAdaptive}))),
	Entry("a real-time scheduler", vpp(tuned(infrav1.VPP{Scheduler: &infrav1.Scheduler{Policy: infrav1.SchedulerFIFO, Priority: 99}, RxMode: infrav1.RxModeInterrupt}))),
	Entry("all of VPP's sizes", vpp(tuned(infrav1.VPP{Workers: new(int32(64)), MainHeapSize: new(resource.MustParse("1Gi")), Buffers: 8192, RingSize: 4096, GSO: new(false), ServiceAcceleration: new(false)}))),
	Entry("eBPF in the place of kube-proxy", of(infrav1.DataplaneCalicoEBPF, func(d *infrav1.Dataplane) { d.KubeProxy = infrav1.KubeProxyReplace })),
	Entry("Calico of another minor version", vpp(func(d *infrav1.Dataplane) { d.Calico.Version, d.Calico.VPPVersion = "v3.33.4", "v3.33.0-rc.1" })),
	Entry("a private registry", vpp(func(d *infrav1.Dataplane) {
		d.Calico.Registry, d.Calico.ImagePullSecrets = "registry.example.com:5000/mirror", []infrav1.SecretReference{{Name: "mirror"}}
	})),
	Entry("charts from a registry", vpp(charts(infrav1.Charts{
		Repository: "oci://registry.example.com/charts", Credentials: &infrav1.SecretReference{Name: "mirror"}, CRDsDigest: "sha256:" + strings.Repeat("0", 64), OperatorDigest: "sha256:" + strings.Repeat("f", 64),
	}))),
	Entry("charts from a Secret", vpp(charts(infrav1.Charts{Secret: &infrav1.SecretReference{Name: "charts"}}))),
	Entry("a router for a failure domain", both(func(s *infrav1.EdgeClusterSpec) { s.FailureDomains = []infrav1.FailureDomain{{Name: "rack-1"}} },
		vpp(router("192.0.2.1", func(p *infrav1.BGPPeer) {
			p.FailureDomains, p.Password = []string{"rack-1"}, &infrav1.SecretReference{Name: "tor"}
			p.Import = []infrav1.RouteFilter{{CIDR: "0.0.0.0/0"}, {CIDR: "198.51.100.0/24", Match: infrav1.RouteMatchIn}}
		})))),
	Entry("routers without mesh", vpp(router("192.0.2.1", nil), func(d *infrav1.Dataplane) { d.BGP.NodeMesh = new(false) })),
	Entry("IPv6 routers and exact filters of kernel dataplanes", of(infrav1.DataplaneCalicoNftables, router("2001:db8::1", func(p *infrav1.BGPPeer) {
		p.Export = []infrav1.RouteFilter{{CIDR: "2001:db8:1::/64", Match: infrav1.RouteMatchEqual, Action: infrav1.RouteReject}}
	}))),
	Entry("announced services", vpp(bgp(infrav1.BGP{ASNumber: 2147483647, Advertise: infrav1.Advertise{
		ClusterIPs: []string{"10.96.0.0/12"}, ExternalIPs: []string{"198.51.100.0/25"}, LoadBalancerIPs: []string{"203.0.113.0/24"},
	}}))),
)

var _ = DescribeTable("A dataplane is refused with",
	func(ctx context.Context, change clusterChange, texts ...string) {
		spec := clusterSpec()
		change(&spec)
		for _, object := range clusterKinds(spec) {
			Expect(tryCreate(ctx, object)).To(haveCauses(texts), "%T", object)
		}
	},
	Entry("an unknown type", of("Cilium"), "spec.dataplane.type", "CalicoVPP"),
	Entry("an unknown mode", vpp(func(d *infrav1.Dataplane) { d.Encryption.Mode = "Always" }), "spec.dataplane.encryption.mode", "Required"),
	Entry("an unknown protocol", vpp(func(d *infrav1.Dataplane) { d.Encryption.Protocol = "MACsec" }), "spec.dataplane.encryption.protocol", "WireGuard"),

	// What leaks.
	Entry("type None and encryption", of(infrav1.DataplaneNone), "spec.dataplane.encryption", "set encryption.mode Disabled, or choose another type"),
	Entry("IPsec with eBPF", of(infrav1.DataplaneCalicoEBPF, ipsec), "spec.dataplane.encryption.protocol", "protocol IPsec is only for type CalicoVPP; use WireGuard"),
	Entry("an IPv6 pool with VPP", vpp(pools(pool("fd00::/64", infrav1.EncapsulationVXLAN))), "spec.dataplane.ipPools", "an IPv6 pool would stay in clear"),
	Entry("an IPv6 pool with eBPF", of(infrav1.DataplaneCalicoEBPF, pools(pool("10.244.0.0/16", ""), pool("fd00::/64", ""))), "spec.dataplane.ipPools", "an IPv6 pool would stay in clear"),
	Entry("encapsulation None with VPP", vpp(pools(pool("10.244.0.0/16", infrav1.EncapsulationNone))), "spec.dataplane.ipPools", "leave traffic in clear; use IPIP, or VXLAN with WireGuard"),
	Entry("IPIPCrossSubnet with VPP", vpp(pools(pool("10.244.0.0/16", infrav1.EncapsulationIPIPCrossSubnet))), "spec.dataplane.ipPools", "leave traffic in clear"),
	Entry("VXLANCrossSubnet with VPP that prefers encryption", vpp(pools(pool("10.244.0.0/16", infrav1.EncapsulationVXLANCrossSubnet)), func(d *infrav1.Dataplane) { d.Encryption.Mode = infrav1.EncryptionPreferred }),
		"spec.dataplane.ipPools", "leave traffic in clear"),
	Entry("VXLAN with IPsec", vpp(ipsec, pools(pool("10.244.0.0/16", infrav1.EncapsulationVXLAN))), "spec.dataplane.ipPools", "IPsec encrypts IPIP tunnels only"),
	Entry("DHCP with VPP", both(onNetwork(dhcp), vpp()), "spec.dataplane.network", "use addresses fromPool or fromHost and IPv4 subnets only"),
	Entry("subnets of both families with VPP", both(onNetwork(dual), vpp()), "spec.dataplane.network", "IPv4 subnets only"),
	Entry("IPv6 subnets with eBPF", both(onNetwork(six), of(infrav1.DataplaneCalicoEBPF)), "spec.dataplane.network", "choose a network with an IPv4 subnet"),
	Entry("VXLAN's port", vpp(func(d *infrav1.Dataplane) { d.Encryption.Port = 4789 }), "spec.dataplane.encryption.port", "use another port, for example 51820"),

	// What has no effect.
	Entry("VPP's settings with eBPF", of(infrav1.DataplaneCalicoEBPF, tuned(infrav1.VPP{RingSize: 256})), "spec.dataplane.vpp", "vpp is only for type CalicoVPP; remove it"),
	Entry("VPP's version with eBPF", of(infrav1.DataplaneCalicoEBPF, func(d *infrav1.Dataplane) { d.Calico.VPPVersion = "v3.32.0" }), "spec.dataplane.calico", "calico.vppVersion is only for type CalicoVPP; remove it"),
	Entry("pools with type None", of(infrav1.DataplaneNone, inClear, pools(pool("10.244.0.0/16", ""))), "spec.dataplane", "calico, ipPools, bgp, mtu and kubeProxy have no effect; remove them"),
	Entry("a port with IPsec", vpp(ipsec, func(d *infrav1.Dataplane) { d.Encryption.Port = 51820 }), "spec.dataplane.encryption.port", "port is only for protocol WireGuard; remove it"),
	Entry("kube-proxy replaced by VPP", vpp(func(d *infrav1.Dataplane) { d.KubeProxy = infrav1.KubeProxyReplace }), "spec.dataplane.kubeProxy", "only type CalicoEBPF can replace kube-proxy; use Keep"),

	// Networks and ranges.
	Entry("no network of several", both(second(fromHost("storage", "198.51.100.0/24")), vpp()), "spec.dataplane.network", "may be left out only when there is exactly one"),
	Entry("an unknown network", vpp(func(d *infrav1.Dataplane) { d.Network = "pods" }), "spec.dataplane.network", "must name one of spec.networks"),
	Entry("a pool that is no range", vpp(pools(infrav1.IPPool{Name: "p", CIDR: "10.244.0.0"})), "spec.dataplane.ipPools[0].cidr", "for example 10.244.0.0/16"),
	Entry("a pool with host bits", vpp(pools(infrav1.IPPool{Name: "p", CIDR: "10.244.0.1/16"})), "spec.dataplane.ipPools[0].cidr", "for example 10.244.0.0/16"),
	Entry("two pools of one name", vpp(pools(infrav1.IPPool{Name: "p", CIDR: "10.244.0.0/17"}, infrav1.IPPool{Name: "p", CIDR: "10.244.128.0/17"})), "spec.dataplane.ipPools[1]", "Duplicate value"),
	Entry("pools that overlap", vpp(pools(pool("10.244.0.0/16", ""), pool("10.244.1.0/24", ""))), "spec.dataplane.ipPools", "two pools overlap; give each its own range"),
	Entry("a range twice", vpp(pools(infrav1.IPPool{Name: "a", CIDR: "10.244.0.0/16"}, infrav1.IPPool{Name: "b", CIDR: "10.244.0.0/16"})), "spec.dataplane.ipPools", "two pools overlap"),
	Entry("blocks larger than their pool", vpp(pools(infrav1.IPPool{Name: "p", CIDR: "10.244.0.0/24", BlockSize: 22})), "spec.dataplane.ipPools[0].blockSize", "at least the prefix length of cidr"),
	Entry("blocks of 33 bits", vpp(pools(infrav1.IPPool{Name: "p", CIDR: "10.244.0.0/24", BlockSize: 33})), "spec.dataplane.ipPools[0].blockSize", "20 to 32 for IPv4, 116 to 128 for IPv6"),
	Entry("IPv6 blocks of 64 bits", of(infrav1.DataplaneCalicoEBPF, inClear, pools(infrav1.IPPool{Name: "p", CIDR: "fd00::/56", BlockSize: 64})), "spec.dataplane.ipPools[0].blockSize", "116 to 128 for IPv6"),
	Entry("IPIP for IPv6", of(infrav1.DataplaneCalicoEBPF, inClear, pools(pool("fd00::/64", infrav1.EncapsulationIPIP))), "spec.dataplane.ipPools[0].encapsulation", "IPIP carries IPv4 only; use VXLAN"),
	Entry("an MTU without room for encryption", mtu(0, 1441), "spec.dataplane.mtu", "at most the network's mtu less 60"),
	Entry("an MTU without room for encryption on jumbo frames", mtu(9000, 8941), "spec.dataplane.mtu", "at most the network's mtu less 60"),
	Entry("an MTU below 576", mtu(0, 575), "spec.dataplane.mtu", "576"),

	// VPP.
	Entry("adaptive packet sockets", vpp(tuned(infrav1.VPP{RxMode: infrav1.RxModeAdaptive})), "spec.dataplane.vpp.rxMode", "use Interrupt or Polling, or the AFXDP driver"),
	Entry("a real-time scheduler and polling", vpp(tuned(infrav1.VPP{Scheduler: &infrav1.Scheduler{Policy: infrav1.SchedulerRoundRobin}, PodRxMode: infrav1.RxModePolling})),
		"spec.dataplane.vpp.scheduler", "use Interrupt everywhere"),
	Entry("a scheduler without policy", vpp(tuned(infrav1.VPP{Scheduler: &infrav1.Scheduler{Priority: 20}})), "spec.dataplane.vpp.scheduler.policy"),
	Entry("buffers and pods", vpp(tuned(infrav1.VPP{Buffers: 65536, MaxPodsPerNode: 110})), "spec.dataplane.vpp.buffers", "set one of them"),
	Entry("a ring of 300", vpp(tuned(infrav1.VPP{RingSize: 300})), "spec.dataplane.vpp.ringSize", "a power of two from 64 to 4096"),
	Entry("a heap of 512 MiB", vpp(tuned(infrav1.VPP{MainHeapSize: new(resource.MustParse("512Mi"))})), "spec.dataplane.vpp.mainHeapSize", "must be 1Gi or more"),
	Entry("65 workers", vpp(tuned(infrav1.VPP{Workers: new(int32(65))})), "spec.dataplane.vpp.workers", "64"),
	Entry("AF_XDP and jumbo frames", both(onNetwork(func(n *infrav1.Network) { n.MTU = 9000 }), vpp(tuned(infrav1.VPP{UplinkDriver: infrav1.UplinkAFXDP}))),
		"spec.dataplane.vpp.uplinkDriver", "AFXDP takes an MTU of at most 3072"),

	// Calico.
	Entry("a version without v", vpp(func(d *infrav1.Dataplane) { d.Calico.Version = "3.32.1" }), "spec.dataplane.calico.version", "should match"),
	Entry("versions that do not fit", vpp(func(d *infrav1.Dataplane) { d.Calico.Version, d.Calico.VPPVersion = "v3.33.0", "v3.32.0" }), "spec.dataplane.calico.vppVersion", "set both to the same minor version"),
	Entry("a registry with scheme", vpp(func(d *infrav1.Dataplane) { d.Calico.Registry = "https://registry.example.com" }), "spec.dataplane.calico.registry", "without scheme and trailing slash"),
	Entry("a registry with a slash at the end", vpp(func(d *infrav1.Dataplane) { d.Calico.Registry = "registry.example.com/" }), "spec.dataplane.calico.registry", "without scheme and trailing slash"),
	Entry("charts from two places", vpp(charts(infrav1.Charts{Repository: "https://charts.example.com", Secret: &infrav1.SecretReference{Name: "charts"}})), "spec.dataplane.calico.charts", "set repository or secret, not both"),
	Entry("credentials for nothing", vpp(charts(infrav1.Charts{Credentials: &infrav1.SecretReference{Name: "mirror"}})), "spec.dataplane.calico.charts.credentials", "credentials belong to a repository"),
	Entry("charts from a directory", vpp(charts(infrav1.Charts{Repository: "/srv/charts"})), "spec.dataplane.calico.charts.repository", "must start with https://, http:// or oci://"),
	Entry("a digest that is none", vpp(charts(infrav1.Charts{CRDsDigest: "sha256:abc"})), "spec.dataplane.calico.charts.crdsDigest", "should match"),

	// BGP.
	Entry("an AS number of 32 bits", vpp(bgp(infrav1.BGP{ASNumber: 4200000000})), "spec.dataplane.bgp.asNumber", "2147483647"),
	Entry("a router's AS number of 32 bits", vpp(router("192.0.2.1", func(p *infrav1.BGPPeer) { p.ASNumber = 4200000000 })), "spec.dataplane.bgp.peers[0].asNumber", "2147483647"),
	Entry("no mesh and no router", vpp(bgp(infrav1.BGP{NodeMesh: new(false)})), "spec.dataplane.bgp.nodeMesh", "can only be switched off when there are peers"),
	Entry("a router that is no address", vpp(router("tor", nil)), "spec.dataplane.bgp.peers[0].address", "for example 192.0.2.1"),
	Entry("an IPv6 router with VPP", vpp(router("2001:db8::1", nil)), "spec.dataplane.bgp.peers", "IPv4 only; use IPv4 addresses"),
	Entry("a router of an unknown failure domain", vpp(router("192.0.2.1", func(p *infrav1.BGPPeer) { p.FailureDomains = []string{"rack-9"} })), "spec.dataplane.bgp.peers", "failureDomains must be among spec.failureDomains"),
	Entry("an exact filter with VPP", vpp(router("192.0.2.1", func(p *infrav1.BGPPeer) { p.Import = []infrav1.RouteFilter{{CIDR: "198.51.100.0/24"}} })), "spec.dataplane.bgp.peers", "use match In"),
	Entry("an exact export filter with VPP", vpp(router("192.0.2.1", func(p *infrav1.BGPPeer) {
		p.Export = []infrav1.RouteFilter{{CIDR: "198.51.100.0/24", Match: infrav1.RouteMatchEqual}}
	})), "spec.dataplane.bgp.peers", "use match In"),
	Entry("a filter with host bits", vpp(router("192.0.2.1", func(p *infrav1.BGPPeer) {
		p.Export = []infrav1.RouteFilter{{CIDR: "198.51.100.1/24", Match: infrav1.RouteMatchIn}}
	})), "spec.dataplane.bgp.peers[0].export[0].cidr", "for example 198.51.100.0/24"),
	Entry("IPv6 addresses to announce with VPP", vpp(bgp(infrav1.BGP{Advertise: infrav1.Advertise{LoadBalancerIPs: []string{"2001:db8:1::/64"}}})), "spec.dataplane.bgp.advertise", "IPv4 only; use IPv4 ranges"),
	Entry("cluster IPs with host bits", vpp(bgp(infrav1.BGP{Advertise: infrav1.Advertise{ClusterIPs: []string{"10.96.0.1/12"}}})), "spec.dataplane.bgp.advertise.clusterIPs", "must be CIDRs with the network address"),
	Entry("external IPs with host bits", vpp(bgp(infrav1.BGP{Advertise: infrav1.Advertise{ExternalIPs: []string{"198.51.100.1/24"}}})), "spec.dataplane.bgp.advertise.externalIPs", "must be CIDRs with the network address"),
	Entry("load balancers that are no range", vpp(bgp(infrav1.BGP{Advertise: infrav1.Advertise{LoadBalancerIPs: []string{"203.0.113.1"}}})), "spec.dataplane.bgp.advertise.loadBalancerIPs", "must be CIDRs with the network address"),
)

var _ = DescribeTable("A live dataplane",
	func(ctx context.Context, before, after clusterChange, texts ...string) {
		cluster := &infrav1.EdgeCluster{ObjectMeta: meta(), Spec: clusterSpec()}
		cluster.Spec.Networks = append(cluster.Spec.Networks, fromHost("other", "198.51.100.0/24"))
		before(&cluster.Spec)
		if cluster.Spec.Dataplane.Network == "" && cluster.Spec.Dataplane.Type != infrav1.DataplaneNone {
			cluster.Spec.Dataplane.Network = "cluster"
		}
		mustCreate(ctx, cluster)
		changed := cluster.DeepCopy()
		after(&changed.Spec)
		err := server.Client.Update(ctx, changed, client.DryRunAll)
		if len(texts) == 0 {
			Expect(err).NotTo(HaveOccurred())
			return
		}
		Expect(err).To(haveCauses(texts))
	},
	Entry("keeps its type", vpp(), changed(func(d *infrav1.Dataplane) { d.Type = infrav1.DataplaneCalicoEBPF }), "spec.dataplane.type", "create a new cluster"),
	Entry("keeps its network", vpp(), changed(func(d *infrav1.Dataplane) { d.Network = "other" }), "spec.dataplane.network", "create a new cluster"),
	Entry("stays encrypted", vpp(), changed(inClear), "spec.dataplane.encryption.mode", "cannot be switched on or off on a live cluster"),
	Entry("stays in clear", vpp(inClear), changed(func(d *infrav1.Dataplane) { d.Encryption.Mode = infrav1.EncryptionRequired }), "spec.dataplane.encryption.mode", "cannot be switched on or off"),
	Entry("keeps its protocol", vpp(), changed(ipsec), "spec.dataplane.encryption.protocol", "create a new cluster"),
	Entry("keeps its port", vpp(), changed(func(d *infrav1.Dataplane) { d.Encryption.Port = 51821 }), "spec.dataplane.encryption.port", "every host is provisioned with it"),
	Entry("keeps the ranges of its pools", vpp(pools(infrav1.IPPool{Name: "p", CIDR: "10.244.0.0/16"})), changed(func(d *infrav1.Dataplane) { d.IPPools[0].CIDR = "10.245.0.0/16" }),
		"spec.dataplane.ipPools[0].cidr", "add another pool"),
	Entry("keeps the encapsulation of its pools", vpp(pools(infrav1.IPPool{Name: "p", CIDR: "10.244.0.0/16"})), changed(func(d *infrav1.Dataplane) { d.IPPools[0].Encapsulation = infrav1.EncapsulationVXLAN }),
		"spec.dataplane.ipPools[0].encapsulation", "add another pool"),
	Entry("can be held to encryption more strictly", vpp(func(d *infrav1.Dataplane) { d.Encryption.Mode = infrav1.EncryptionPreferred }),
		changed(func(d *infrav1.Dataplane) { d.Encryption.Mode = infrav1.EncryptionRequired })),
	Entry("can be held to encryption less strictly", vpp(), changed(func(d *infrav1.Dataplane) { d.Encryption.Mode = infrav1.EncryptionPreferred })),
	Entry("takes another pool, version, size and router", vpp(pools(infrav1.IPPool{Name: "p", CIDR: "10.244.0.0/17"})), changed(
		func(d *infrav1.Dataplane) {
			d.IPPools = append(d.IPPools, infrav1.IPPool{Name: "q", CIDR: "10.244.128.0/17"})
		},
		func(d *infrav1.Dataplane) { d.Calico.Version, d.Calico.VPPVersion = "v3.32.2", "v3.32.1" },
		tuned(infrav1.VPP{MaxPodsPerNode: 200}), router("192.0.2.1", nil))),
)

// changed changes what is there.
func changed(changes ...dataplaneChange) clusterChange {
	return func(s *infrav1.EdgeClusterSpec) {
		for _, change := range changes {
			change(&s.Dataplane)
		}
	}
}

var _ = Describe("A dataplane of which nothing is said", func() {
	It("is Calico with VPP, and WireGuard is required", func(ctx context.Context) {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&infrav1.EdgeCluster{ObjectMeta: meta(), Spec: clusterSpec()})
		Expect(err).NotTo(HaveOccurred())
		Expect(unstructured.SetNestedMap(content, map[string]any{}, "spec", "dataplane")).To(Succeed())
		object := &unstructured.Unstructured{Object: content}
		object.SetGroupVersionKind(infrav1.GroupVersion.WithKind("EdgeCluster"))
		Expect(tryCreate(ctx, object)).To(Succeed())
		dataplane, found, err := unstructured.NestedMap(object.Object, "spec", "dataplane")
		Expect(err).NotTo(HaveOccurred())
		Expect(found).To(BeTrue())
		Expect(dataplane).To(Equal(map[string]any{
			"type": "CalicoVPP", "encryption": map[string]any{"mode": "Required", "protocol": "WireGuard"},
		}))
	})
})
