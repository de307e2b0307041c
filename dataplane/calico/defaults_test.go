// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package calico_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/resource"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/calico"
)

func TestDefaultsOfTheShortForm(t *testing.T) {
	want := infrav1.Dataplane{
		Type: infrav1.DataplaneCalicoVPP, Network: "cluster",
		Encryption: infrav1.Encryption{Mode: infrav1.EncryptionRequired, Protocol: infrav1.ProtocolWireGuard, Port: 51820},
		Calico:     infrav1.Calico{Version: "v3.32.1", VPPVersion: "v3.32.0", Charts: infrav1.Charts{Repository: "https://docs.tigera.io/calico/charts"}},
		VPP: &infrav1.VPP{
			UplinkDriver: infrav1.UplinkAFPacket, RxMode: infrav1.RxModeInterrupt, PodRxMode: infrav1.RxModeInterrupt, HostTapRxMode: infrav1.RxModeInterrupt,
			Workers: new(int32(0)), MainHeapSize: new(resource.MustParse("1Gi")), MaxPodsPerNode: 110, Buffers: 65536, RingSize: 256, GSO: new(true), ServiceAcceleration: new(true),
		},
		IPPools:    []infrav1.IPPool{{Name: "default-ipv4-ippool", CIDR: "10.244.0.0/16", BlockSize: 26, Encapsulation: infrav1.EncapsulationIPIP, NATOutgoing: new(true)}},
		MTU:        1440,
		BGP:        &infrav1.BGP{ASNumber: 64512, NodeMesh: new(true)},
		KubeProxy:  infrav1.KubeProxyKeep,
		AgentImage: "ghcr.io/edgemetal/edge-agent:v0.1.0",
	}
	if diff := cmp.Diff(want, calico.Defaults(input(nil))); diff != "" {
		t.Errorf("defaults differ (-want +got):\n%s", diff)
	}
	again := input(nil)
	again.Dataplane = calico.Defaults(again)
	if diff := cmp.Diff(want, calico.Defaults(again)); diff != "" {
		t.Errorf("defaults of what has defaults differ (-want +got):\n%s", diff)
	}
}

func TestDefaultsFollowWhatIsSet(t *testing.T) {
	tests := []struct {
		name   string
		input  calico.Input
		choose func(infrav1.Dataplane) any
		want   any
	}{
		{"IPsec has no port", of(infrav1.DataplaneCalicoVPP, infrav1.EncryptionRequired, infrav1.ProtocolIPsec), func(d infrav1.Dataplane) any { return d.Encryption.Port }, int32(0)},
		{"type None has no Calico", of(infrav1.DataplaneNone, infrav1.EncryptionDisabled, ""), func(d infrav1.Dataplane) any { return d.Calico }, infrav1.Calico{}},
		{"charts from a Secret have no repository", input(airGapped), func(d infrav1.Dataplane) any { return d.Calico.Charts.Repository }, ""},
		{"kernel dataplanes have no VPP", of(infrav1.DataplaneCalicoEBPF, "", ""), func(d infrav1.Dataplane) any { return d.VPP }, (*infrav1.VPP)(nil)},
		{"kernel dataplanes use VXLAN", of(infrav1.DataplaneCalicoEBPF, "", ""), func(d infrav1.Dataplane) any { return d.IPPools[0].Encapsulation }, infrav1.EncapsulationVXLAN},
		{"kernel dataplanes need no BGP for VXLAN", of(infrav1.DataplaneCalicoEBPF, "", ""), func(d infrav1.Dataplane) any { return d.BGP }, (*infrav1.BGP)(nil)},
		{"kernel dataplanes need BGP for IPIP", input(func(d *infrav1.Dataplane) {
			d.Type, d.IPPools = infrav1.DataplaneCalicoIptables, []infrav1.IPPool{{Name: "p", CIDR: "10.244.0.0/16", Encapsulation: infrav1.EncapsulationIPIP}}
		}), func(d infrav1.Dataplane) any { return d.BGP != nil }, true},
		{"IPv6 uses VXLAN", dualStack(infrav1.DataplaneCalicoVPP), func(d infrav1.Dataplane) any { return d.IPPools[1].Encapsulation }, infrav1.EncapsulationVXLAN},
		{"the MTU in clear over both families", dualStack(infrav1.DataplaneCalicoVPP), func(d infrav1.Dataplane) any { return d.MTU }, int32(1430)},
		{"the MTU of jumbo frames", jumbo(), func(d infrav1.Dataplane) any { return d.MTU }, int32(8940)},
		{"an MTU that is set stays", input(func(d *infrav1.Dataplane) { d.MTU = 1300 }), func(d infrav1.Dataplane) any { return d.MTU }, int32(1300)},
		{"a small pool is one block", input(func(d *infrav1.Dataplane) { d.IPPools = []infrav1.IPPool{{Name: "p", CIDR: "10.244.0.0/28"}} }),
			func(d infrav1.Dataplane) any { return d.IPPools[0].BlockSize }, int32(28)},
		{"buffers that are set stay", input(func(d *infrav1.Dataplane) { d.VPP = &infrav1.VPP{Buffers: 16384} }),
			func(d infrav1.Dataplane) any { return []int32{d.VPP.Buffers, d.VPP.MaxPodsPerNode} }, []int32{16384, 0}},
		{"only the default route is taken from a router", input(withBGP), func(d infrav1.Dataplane) any { return d.BGP.Peers[0].Import },
			[]infrav1.RouteFilter{{CIDR: "0.0.0.0/0", Match: infrav1.RouteMatchEqual, Action: infrav1.RouteAccept}}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.choose(calico.Defaults(tc.input))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
