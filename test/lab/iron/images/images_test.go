// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package images

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/calico"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/kubelet"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/netdata"
)

// rendered is what the product renders for VPP, which the images must understand.
func rendered(t *testing.T) map[string]*unstructured.Unstructured {
	t.Helper()
	plan, err := calico.Render(calico.Input{
		Dataplane: infrav1.Dataplane{Type: infrav1.DataplaneCalicoVPP, Encryption: infrav1.Encryption{Mode: infrav1.EncryptionRequired, Protocol: infrav1.ProtocolWireGuard}},
		Network:   infrav1.Network{Name: "cluster", Subnets: []infrav1.Subnet{{CIDR: "192.0.2.0/24"}}, MTU: 1500}, Uplink: "uplink0",
		PodCIDRs: []string{"10.244.0.0/16"}, ServiceCIDRs: []string{"10.96.0.0/12"}, Endpoint: infrav1.APIEndpoint{Host: "192.0.2.10", Port: 6443}, AgentVersion: "v0.1.0",
	})
	if err != nil {
		t.Fatal(err)
	}
	objects := map[string]*unstructured.Unstructured{}
	for _, step := range plan.Steps {
		for _, object := range step.Objects {
			objects[object.GetKind()+"/"+object.GetName()] = object
		}
	}
	return objects
}

func TestUplinkOfTheRenderedConfiguration(t *testing.T) {
	data, _, err := unstructured.NestedStringMap(rendered(t)["ConfigMap/calico-vpp-config"].Object, "data")
	if err != nil {
		t.Fatal(err)
	}
	nic := netdata.Interface{Name: "uplink0", MTU: 1500, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.21/24")}}
	small, bare, other := nic, nic, nic
	small.MTU, bare.Addresses, other.Name = 1400, nil, "eth0"
	for want, host := range map[string]netdata.Interface{"": nic, "exceeds the link's": small, "has no address": bare, "Link not found": other} {
		_, _, err := findUplink(&kubelet.Container{Env: data, Interfaces: []netdata.Interface{host}})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s with MTU %d: %v, want %q", host.Name, host.MTU, err, want)
		}
	}
	if !hasSmallPages(data["CALICOVPP_CONFIG_TEMPLATE"]) {
		t.Error("the rendered configuration lets VPP take hugepages")
	}
	if sleep, err := startupSleep(data["CALICOVPP_INITIAL_CONFIG"]); err != nil || sleep < 3*time.Second {
		t.Errorf("VPP is used after %s, %v: before its start-up script runs", sleep, err)
	}
}

func TestHugepages(t *testing.T) {
	for configuration, want := range map[string]bool{
		"buffers {\n  buffers-per-numa 65536\n  page-size 4K\n}": true,
		"buffers { buffers-per-numa 131072 }":                    false,
		"memory { main-heap-page-size 4K }\nbuffers { }":         false,
		"": false,
	} {
		if hasSmallPages(configuration) != want {
			t.Errorf("%q: %v", configuration, !want)
		}
	}
}

func TestPoolsOfTheInstallation(t *testing.T) {
	pools, _, err := unstructured.NestedSlice(rendered(t)["Installation/default"].Object, "spec", "calicoNetwork", "ipPools")
	if err != nil || len(pools) != 1 {
		t.Fatal(pools, err)
	}
	got := poolSpec(pools[0].(map[string]any))
	want := map[string]any{"cidr": "10.244.0.0/16", "blockSize": int64(26), "nodeSelector": "all()", "natOutgoing": true, "ipipMode": "Always", "vxlanMode": "Never"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	cross := poolSpec(map[string]any{"encapsulation": "VXLANCrossSubnet"})
	if cross["vxlanMode"] != "CrossSubnet" || cross["ipipMode"] != "Never" {
		t.Errorf("VXLANCrossSubnet: %v", cross)
	}
}

func TestCalicoNodeWaitsForVPP(t *testing.T) {
	installation := rendered(t)["Installation/default"]
	node := calicoNode(installation).Spec.Template.Spec
	found := false
	for _, variable := range node.Containers[0].Env {
		found = found || variable.Name == "FELIX_DATAPLANEDRIVER" && strings.HasPrefix(variable.Value, pluginsMount)
	}
	if !found || len(node.Volumes) != 2 {
		t.Errorf("with VPP: variables %v, volumes %v", node.Containers[0].Env, node.Volumes)
	}
	if err := unstructured.SetNestedField(installation.Object, "Nftables", "spec", "calicoNetwork", "linuxDataplane"); err != nil {
		t.Fatal(err)
	}
	if env := calicoNode(installation).Spec.Template.Spec.Containers[0].Env; len(env) != 0 {
		t.Errorf("with nftables: variables %v", env)
	}
}
