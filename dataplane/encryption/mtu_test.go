// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package encryption_test

import (
	"fmt"
	"testing"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

func TestPodMTUOfEveryTunnel(t *testing.T) {
	const none = encryption.Protocol("")
	// Bytes less than the network's MTU.
	overheads := []struct {
		protocol      encryption.Protocol
		encapsulation string
		ipv4, ipv6    int32
	}{
		{none, "None", 0, 0},
		{none, "IPIP", 20, 20},
		{none, "IPIPCrossSubnet", 20, 20},
		{none, "VXLAN", 50, 70},
		{none, "VXLANCrossSubnet", 50, 70},
		{encryption.WireGuard, "None", 60, 80},
		{encryption.WireGuard, "IPIP", 60, 80},
		{encryption.WireGuard, "IPIPCrossSubnet", 60, 80},
		{encryption.WireGuard, "VXLAN", 60, 80},
		{encryption.WireGuard, "VXLANCrossSubnet", 60, 80},
		{encryption.IPsec, "None", 60, 60},
		{encryption.IPsec, "IPIP", 60, 60},
		{encryption.IPsec, "IPIPCrossSubnet", 60, 60},
		{encryption.IPsec, "VXLAN", 60, 70},
		{encryption.IPsec, "VXLANCrossSubnet", 60, 70},
	}
	for _, tc := range overheads {
		for _, network := range []int32{1500, 9000} {
			for ipv6, overhead := range map[bool]int32{false: tc.ipv4, true: tc.ipv6} {
				t.Run(fmt.Sprintf("%s-%s-ipv6=%t-%d", tc.protocol, tc.encapsulation, ipv6, network), func(t *testing.T) {
					got := encryption.PodMTU(network, tc.protocol, encryption.PoolTunnel{Encapsulation: tc.encapsulation, IPv6: ipv6})
					if want := network - overhead; got != want {
						t.Errorf("got %d, want %d", got, want)
					}
				})
			}
		}
	}
}

func TestPodMTUOfSeveralPools(t *testing.T) {
	tests := []struct {
		name     string
		protocol encryption.Protocol
		pools    []encryption.PoolTunnel
		want     int32
	}{
		{"no pool", "", nil, 1500},
		{"the larger overhead counts", "", []encryption.PoolTunnel{{Encapsulation: "IPIP"}, {Encapsulation: "VXLAN"}, {Encapsulation: "None"}}, 1450},
		{"order does not matter", "", []encryption.PoolTunnel{{Encapsulation: "None"}, {Encapsulation: "VXLAN"}, {Encapsulation: "IPIP"}}, 1450},
		{"both families", "", []encryption.PoolTunnel{{Encapsulation: "IPIP"}, {Encapsulation: "VXLAN", IPv6: true}}, 1430},
		{"WireGuard over both families", encryption.WireGuard, []encryption.PoolTunnel{{Encapsulation: "None"}, {Encapsulation: "None", IPv6: true}}, 1420},
		{"WireGuard covers encapsulation", encryption.WireGuard, []encryption.PoolTunnel{{Encapsulation: "IPIP"}, {Encapsulation: "VXLAN"}}, 1440},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if got := encryption.PodMTU(encryption.DefaultMTU, tc.protocol, tc.pools...); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}
