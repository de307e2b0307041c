// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package site_test

import (
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	bootstrapv1 "sigs.k8s.io/cluster-api/api/bootstrap/kubeadm/v1beta2"
	"sigs.k8s.io/cluster-api/util/secret"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap"
	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap/hostnet"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/bench/boot"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/bench/site"
)

func TestSitesShareMachinesAndHosts(t *testing.T) {
	sites, err := site.Plan{Machines: 70, PerCluster: 30}.Sites()
	if err != nil {
		t.Fatal(err)
	}
	type size struct{ machines, hosts int }
	var got []size
	names := map[string]bool{}
	for _, s := range sites {
		got = append(got, size{s.Machines, s.Hosts})
		for _, object := range s.HostObjects() {
			if host, ok := object.(*bmov1.BareMetalHost); ok {
				names[host.Spec.BootMACAddress] = true
			}
		}
	}
	if want := []size{{30, 33}, {30, 32}, {10, 12}}; !slices.Equal(got, want) {
		t.Errorf("sites %v, want %v", got, want)
	}
	if len(names) != 77 {
		t.Errorf("%d different boot MAC addresses, want one per host: 77", len(names))
	}
}

func TestPlansThatDoNotFit(t *testing.T) {
	for name, plan := range map[string]site.Plan{
		"no machines":             {PerCluster: 30},
		"clusters beyond a /24":   {Machines: 1000, PerCluster: 300},
		"fewer hosts than wanted": {Machines: 10, PerCluster: 10, Hosts: 9},
		"addresses run out":       {Machines: 10, PerCluster: 10, Hosts: 400, FromHost: true},
	} {
		if _, err := plan.Sites(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// What our manager composes from the site's bootstrap data must boot.
func TestHostBootsFromComposedDocuments(t *testing.T) {
	authorities := secret.NewCertificatesForInitialControlPlane(&bootstrapv1.ClusterConfiguration{})
	if err := authorities.Generate(); err != nil {
		t.Fatal(err)
	}
	sites, err := site.Plan{Machines: 2, PerCluster: 2, Namespace: "sites", KubernetesVersion: "v1.36.3"}.Sites()
	if err != nil {
		t.Fatal(err)
	}
	objects, err := sites[0].ClusterObjects([]byte("kubeconfig"), authorities)
	if err != nil {
		t.Fatal(err)
	}
	payloads := map[string][]byte{}
	for _, object := range objects {
		if s, ok := object.(*corev1.Secret); ok && s.Name != "edge-000-kubeconfig" {
			payloads[s.Name] = s.Data["value"]
		}
	}
	if want := []string{"edge-000-bootstrap-control-plane", "edge-000-bootstrap-worker"}; !cmp.Equal(want, slices.Sorted(maps.Keys(payloads))) {
		t.Fatalf("bootstrap data %v, want %v", slices.Sorted(maps.Keys(payloads)), want)
	}
	for name, payload := range payloads {
		endpoint, node, err := boot.Read(compose(t, payload))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if endpoint != sites[0].Endpoint() {
			t.Errorf("%s: joins %s, want %s", name, endpoint, sites[0].Endpoint())
		}
		if node.Name != "host-1" || node.Spec.ProviderID != "edgemetal://sites/host-1/m" {
			t.Errorf("%s: Node %s with provider ID %s", name, node.Name, node.Spec.ProviderID)
		}
		if last := node.Status.Addresses[len(node.Status.Addresses)-1]; last.Address != "10.100.0.20" {
			t.Errorf("%s: Node has address %s", name, last.Address)
		}
	}
}

func compose(t *testing.T, payload []byte) (userData, metaData []byte) {
	t.Helper()
	plan, err := hostnet.NewPlan(hostnet.Input{
		Links:      []infrav1.Link{{Name: "uplink0", Match: &infrav1.NICMatch{BootNIC: new(true)}}},
		Interfaces: []infrav1.Interface{{Network: "cluster", Link: "uplink0"}},
		Networks: []infrav1.Network{{
			Name: "cluster", Subnets: []infrav1.Subnet{{CIDR: "10.100.0.0/24", Gateway: "10.100.0.1"}},
			Addresses: infrav1.AddressSource{FromHost: &infrav1.FromHost{}},
		}},
		Hardware:  &bmov1.HardwareDetails{NIC: []bmov1.NIC{{Name: "eth0", MAC: "52:54:00:00:00:01"}}},
		BootMAC:   "52:54:00:00:00:01",
		Addresses: map[string]netip.Addr{"cluster": netip.MustParseAddr("10.100.0.20")},
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := bootstrap.Render(bootstrap.Input{
		Payload: bootstrap.Payload{Format: "cloud-config", Value: payload}, Cluster: "edge-000", Namespace: "sites", Machine: "m",
		InstanceID: "uid", Host: "host-1", ProviderID: "edgemetal://sites/host-1/m", Plan: plan,
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.UserData, out.MetaData
}
