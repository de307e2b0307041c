// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap_test

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap"
	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap/hostnet"
)

const kubeVIPPath = "/etc/kubernetes/manifests/kube-vip.yaml"

func TestKubeVIPIsRenderedOnlyWhereItIsWanted(t *testing.T) {
	arp := infrav1.ControlPlaneVIP{Mode: infrav1.VIPModeARP}
	for name, tc := range map[string]struct {
		controlPlane *bootstrap.ControlPlane
		want         bool
	}{
		"worker":                 {nil, false},
		"mode not set":           {&bootstrap.ControlPlane{Endpoint: endpoint()}, false},
		"mode External":          {&bootstrap.ControlPlane{Endpoint: endpoint(), VIP: infrav1.ControlPlaneVIP{Mode: infrav1.VIPModeExternal}}, false},
		"mode External by name":  {&bootstrap.ControlPlane{Endpoint: infrav1.APIEndpoint{Host: "api.example.com", Port: 443}}, false},
		"mode ARP":               {&bootstrap.ControlPlane{Endpoint: endpoint(), VIP: arp}, true},
		"mode ARP, init machine": {&bootstrap.ControlPlane{Endpoint: endpoint(), VIP: arp, Init: true}, true},
	} {
		t.Run(name, func(t *testing.T) {
			in := input(t, []byte("#!/bin/sh\n"), staticNetwork())
			in.ControlPlane = tc.controlPlane
			if _, got := writtenFiles(t, in)[kubeVIPPath]; got != tc.want {
				t.Errorf("kube-vip is rendered: %t, want %t", got, tc.want)
			}
		})
	}
}

func TestKubeVIPSettings(t *testing.T) {
	bgp := infrav1.ControlPlaneVIP{Mode: infrav1.VIPModeBGP, BGP: &infrav1.VIPBGP{ASNumber: 64512, Peers: []infrav1.VIPBGPPeer{
		{Address: "192.0.2.1", ASNumber: 64500, MultiHop: new(false)}, {Address: "2001:db8::1", ASNumber: 4200000000, MultiHop: new(true)},
	}}}
	arp := infrav1.ControlPlaneVIP{Mode: infrav1.VIPModeARP}
	bgpWant := map[string]string{
		"bgp_enable": "true", "vip_arp": "false", "vip_interface": "lo", "bgp_as": "64512", "vip_leaderelection": "true", "kubernetes_addr": "kubernetes:6443",
		"bgp_peers": "192.0.2.1:64500::false,[2001:db8::1]:4200000000::true",
	}
	for name, tc := range map[string]struct {
		network hostnet.Input
		vip     infrav1.ControlPlaneVIP
		init    bool
		want    map[string]string
		config  string
		image   string
	}{
		"ARP, joining": {staticNetwork(), arp, false, map[string]string{"vip_arp": "true", "vip_interface": "uplink0", "address": "192.0.2.10", "port": "6443", "kubernetes_addr": "kubernetes:6443"},
			"/etc/kubernetes/admin.conf", bootstrap.DefaultKubeVIPImage},
		"ARP on a VLAN, init": {bondNetwork(), arp, true, map[string]string{"vip_arp": "true", "vip_interface": "bond0.10"},
			"/etc/kubernetes/super-admin.conf", bootstrap.DefaultKubeVIPImage},
		"image of the user": {staticNetwork(), infrav1.ControlPlaneVIP{Mode: infrav1.VIPModeARP, Image: "mirror.example/kube-vip:x"}, false, nil,
			"/etc/kubernetes/admin.conf", "mirror.example/kube-vip:x"},
		"BGP, static":  {staticNetwork(), bgp, false, with(bgpWant, "bgp_routerid", "192.0.2.21"), "/etc/kubernetes/admin.conf", bootstrap.DefaultKubeVIPImage},
		"BGP and DHCP": {dhcpNetwork(), bgp, false, with(bgpWant, "bgp_routerinterface", "uplink0"), "/etc/kubernetes/admin.conf", bootstrap.DefaultKubeVIPImage},
	} {
		t.Run(name, func(t *testing.T) {
			in := input(t, []byte("#!/bin/sh\n"), tc.network)
			in.ControlPlane = &bootstrap.ControlPlane{Endpoint: endpoint(), VIP: tc.vip, Init: tc.init}
			var pod corev1.Pod
			if err := yaml.UnmarshalStrict([]byte(writtenFiles(t, in)[kubeVIPPath]), &pod); err != nil {
				t.Fatal(err)
			}
			container := pod.Spec.Containers[0]
			got := map[string]string{}
			for _, variable := range container.Env {
				if _, checked := tc.want[variable.Name]; checked {
					got[variable.Name] = variable.Value
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" && tc.want != nil {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
			if path := pod.Spec.Volumes[0].HostPath.Path; path != tc.config || container.Image != tc.image {
				t.Errorf("kubeconfig %s and image %s, want %s and %s", path, container.Image, tc.config, tc.image)
			}
		})
	}
}

func with(settings map[string]string, name, value string) map[string]string {
	out := map[string]string{name: value}
	maps.Copy(out, settings)
	return out
}
