// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package calico_test

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/calico"
)

type renderCase struct {
	name  string
	input calico.Input
}

// input is the short form: everything that may be left out is.
func input(change func(*infrav1.Dataplane)) calico.Input {
	in := calico.Input{
		Network: infrav1.Network{
			Name:      "cluster",
			Subnets:   []infrav1.Subnet{{CIDR: "192.0.2.0/24", Gateway: "192.0.2.1"}},
			Addresses: infrav1.AddressSource{FromHost: &infrav1.FromHost{}},
		},
		FailureDomains: []string{"rack-1", "rack-2"},
		Uplink:         "uplink0",
		Links:          []string{"uplink0", "bond0.100", "uplink0"},
		PodCIDRs:       []string{"10.244.0.0/16"},
		ServiceCIDRs:   []string{"10.96.0.0/12"},
		Endpoint:       infrav1.APIEndpoint{Host: "192.0.2.10", Port: 6443},
		AgentVersion:   "v0.1.0",
	}
	if change != nil {
		change(&in.Dataplane)
	}
	return in
}

func of(dataplane infrav1.DataplaneType, mode infrav1.EncryptionMode, protocol infrav1.EncryptionProtocol) calico.Input {
	return input(func(d *infrav1.Dataplane) {
		d.Type, d.Encryption = dataplane, infrav1.Encryption{Mode: mode, Protocol: protocol}
	})
}

// renderCases are every type with every mode and protocol, and what else changes a plan.
func renderCases() []renderCase {
	cases := []renderCase{
		{"short-form", input(nil)},
		{"none", of(infrav1.DataplaneNone, infrav1.EncryptionDisabled, "")},
	}
	for _, dataplane := range []infrav1.DataplaneType{infrav1.DataplaneCalicoVPP, infrav1.DataplaneCalicoEBPF, infrav1.DataplaneCalicoNftables, infrav1.DataplaneCalicoIptables} {
		add := func(mode infrav1.EncryptionMode, protocol infrav1.EncryptionProtocol) {
			name := strings.ToLower(fmt.Sprintf("%s-%s-%s", dataplane, protocol, mode))
			cases = append(cases, renderCase{strings.Replace(name, "--", "-", 1), of(dataplane, mode, protocol)})
		}
		for _, mode := range []infrav1.EncryptionMode{infrav1.EncryptionRequired, infrav1.EncryptionPreferred} {
			add(mode, infrav1.ProtocolWireGuard)
			if dataplane == infrav1.DataplaneCalicoVPP {
				add(mode, infrav1.ProtocolIPsec)
			}
		}
		add(infrav1.EncryptionDisabled, "")
	}
	return append(cases,
		renderCase{"vpp-bgp", input(withBGP)},
		renderCase{"nftables-bgp", input(func(d *infrav1.Dataplane) { d.Type = infrav1.DataplaneCalicoNftables; withBGP(d) })},
		renderCase{"vpp-air-gapped", input(airGapped)},
		renderCase{"vpp-tuned", input(tuned)},
		renderCase{"vpp-jumbo", jumbo()},
		renderCase{"ebpf-replaces-kube-proxy", input(func(d *infrav1.Dataplane) {
			d.Type, d.KubeProxy, d.Encryption.Port = infrav1.DataplaneCalicoEBPF, infrav1.KubeProxyReplace, 51830
		})},
		renderCase{"vpp-dual-stack-in-clear", dualStack(infrav1.DataplaneCalicoVPP)},
		renderCase{"iptables-dual-stack-in-clear", dualStack(infrav1.DataplaneCalicoIptables)},
	)
}

func withBGP(d *infrav1.Dataplane) {
	d.BGP = &infrav1.BGP{
		ASNumber: 64600, NodeMesh: new(true),
		Peers: []infrav1.BGPPeer{
			{Name: "tor-1", Address: "192.0.2.2", ASNumber: 65001, FailureDomains: []string{"rack-2", "rack-1"}, Password: &infrav1.SecretReference{Name: "tor-password"}},
			{
				Name: "tor-2", Address: "192.0.2.3", ASNumber: 65002,
				Import: []infrav1.RouteFilter{{CIDR: "198.51.100.0/24", Match: infrav1.RouteMatchIn, Action: infrav1.RouteReject}, {CIDR: "0.0.0.0/0", Match: infrav1.RouteMatchIn}},
				Export: []infrav1.RouteFilter{{CIDR: "203.0.113.0/24", Match: infrav1.RouteMatchIn}},
			},
		},
		Advertise: infrav1.Advertise{ClusterIPs: []string{"10.96.0.0/12"}, ExternalIPs: []string{"198.51.100.0/25"}, LoadBalancerIPs: []string{"203.0.113.0/24", "198.51.100.128/28"}},
	}
}

func airGapped(d *infrav1.Dataplane) {
	d.Calico = infrav1.Calico{
		Version: "v3.33.0", VPPVersion: "v3.33.1", Registry: "registry.example.com/mirror", ImagePullSecrets: []infrav1.SecretReference{{Name: "mirror"}},
		Charts: infrav1.Charts{
			Secret:         &infrav1.SecretReference{Name: "charts"},
			CRDsDigest:     "sha256:" + strings.Repeat("a", 64),
			OperatorDigest: "sha256:" + strings.Repeat("b", 64),
		},
	}
	d.AgentImage = "registry.example.com/mirror/edge-agent:v0.1.0"
}

func tuned(d *infrav1.Dataplane) {
	d.VPP = &infrav1.VPP{
		UplinkDriver: infrav1.UplinkAFXDP, Workers: new(int32(2)), Scheduler: &infrav1.Scheduler{Policy: infrav1.SchedulerRoundRobin},
		MainHeapSize: new(resource.MustParse("1536Mi")), MaxPodsPerNode: 30, RingSize: 512, GSO: new(false), ServiceAcceleration: new(false),
	}
	d.Encryption.Port = 51821
	d.IPPools = []infrav1.IPPool{
		{Name: "first", CIDR: "10.244.0.0/17", BlockSize: 28},
		{Name: "second", CIDR: "10.244.128.0/17", Encapsulation: infrav1.EncapsulationVXLAN, NATOutgoing: new(false)},
	}
}

func jumbo() calico.Input {
	in := input(nil)
	in.Network.MTU = 9000
	in.Endpoint.Port = 8443
	return in
}

func dualStack(dataplane infrav1.DataplaneType) calico.Input {
	in := of(dataplane, infrav1.EncryptionDisabled, "")
	in.Network.Subnets = append(in.Network.Subnets, infrav1.Subnet{CIDR: "2001:db8::/64"})
	in.PodCIDRs = append(in.PodCIDRs, "fd00:10:244::/56")
	in.ServiceCIDRs = append(in.ServiceCIDRs, "fd00:10:96::/112")
	return in
}
