// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package quickstart

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/image"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

// What clusterctl generates, as far as the patches see it.
const generated = `
apiVersion: infrastructure.cluster.x-k8s.io/v1alpha1
kind: EdgeCluster
metadata: {name: edge-1, namespace: default}
spec:
  controlPlaneVIP: {mode: ARP}
  dataplane:
    type: CalicoVPP
    encryption: {mode: Required}
    calico: {charts: {repository: "https://charts.example.com"}}
---
apiVersion: controlplane.cluster.x-k8s.io/v1beta2
kind: KubeadmControlPlane
metadata: {name: edge-1-control-plane, namespace: default}
spec:
  kubeadmConfigSpec:
    initConfiguration:
      timeouts: {kubeletHealthCheckSeconds: 600, kubernetesAPICallSeconds: 300}
---
apiVersion: infrastructure.cluster.x-k8s.io/v1alpha1
kind: EdgeMachineTemplate
metadata: {name: edge-1-control-plane, namespace: default}
spec: {template: {spec: {image: {format: qcow2}}}}
---
apiVersion: infrastructure.cluster.x-k8s.io/v1alpha1
kind: EdgeMachineTemplate
metadata: {name: edge-1-workers, namespace: default}
spec: {template: {spec: {image: {format: qcow2}}}}
---
apiVersion: cluster.x-k8s.io/v1beta2
kind: Cluster
metadata: {name: edge-1, namespace: default}
spec: {}
`

func TestPatchesChangeOnlyWhatTheyAreFor(t *testing.T) {
	withNetwork := virtualScenario()
	own := withoutDataplane()
	tests := map[string]struct {
		scenario  scenario
		dataplane map[string]any
	}{
		"own network plugin": {own, map[string]any{"type": "None", "encryption": map[string]any{"mode": "Disabled"}}},
		"Calico": {withNetwork, map[string]any{
			"type": "CalicoVPP", "encryption": map[string]any{"mode": "Required"},
			"calico": map[string]any{"charts": map[string]any{"repository": "https://charts.example.com"}},
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			objects := build(t, tt.scenario)
			hosts := map[string]any{"EdgeMachineTemplate edge-1-control-plane": map[string]any{"hardware": map[string]any{"minCPUs": float64(2)}}, "EdgeMachineTemplate edge-1-workers": nil}
			for template, selector := range hosts {
				if diff := cmp.Diff(selector, machineSpec(objects[template])["hostSelector"]); diff != "" {
					t.Errorf("hostSelector of %s (-want +got):\n%s", template, diff)
				}
			}
			wantSite := map[string]any{"controlPlaneVIP": map[string]any{"mode": "ARP"}, "dataplane": tt.dataplane}
			if diff := cmp.Diff(wantSite, objects["EdgeCluster edge-1"]); diff != "" {
				t.Errorf("EdgeCluster (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(map[string]any{}, objects["Cluster edge-1"]); diff != "" {
				t.Errorf("Cluster (-want +got):\n%s", diff)
			}
			config, ok := objects["KubeadmControlPlane edge-1-control-plane"]["kubeadmConfigSpec"].(map[string]any)
			if !ok || config["clusterConfiguration"] == nil || config["preKubeadmCommands"] == nil {
				t.Fatalf("KubeadmControlPlane: %v", objects["KubeadmControlPlane edge-1-control-plane"])
			}
			wantInit := map[string]any{
				"timeouts": map[string]any{"kubeletHealthCheckSeconds": float64(600), "kubernetesAPICallSeconds": float64(900)},
				"patches":  map[string]any{"directory": "/etc/kubernetes/patches"},
			}
			if diff := cmp.Diff(wantInit, config["initConfiguration"]); diff != "" {
				t.Errorf("time-outs (-want +got):\n%s", diff)
			}
		})
	}
}

// machineSpec is that of a template.
func machineSpec(spec map[string]any) map[string]any {
	template, _ := spec["template"].(map[string]any)
	machine, _ := template["spec"].(map[string]any)
	return machine
}

// build is what kubectl apply -k would apply: specs by kind and name.
func build(t *testing.T, s scenario) map[string]map[string]any {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "edge-1")
	if err := s.writeKustomization(dir, generated); err != nil {
		t.Fatal(err)
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	specs := map[string]map[string]any{}
	for _, resource := range built.Resources() {
		document, err := resource.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		var object struct {
			Spec map[string]any `json:"spec"`
		}
		if err := yaml.Unmarshal(document, &object); err != nil {
			t.Fatal(err)
		}
		specs[resource.GetKind()+" "+resource.GetName()] = object.Spec
	}
	return specs
}

// Nothing can be pulled on virtual hosts: what their manifests name must be in the image.
func TestManifestsNameImagesThatAreOnTheHosts(t *testing.T) {
	root, err := tools.Root()
	if err != nil {
		t.Fatal(err)
	}
	flannel, err := image.FlannelImage(tools.Toolbox{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range []string{"flannel.yaml", "names.yaml"} {
		manifest, err := os.ReadFile(filepath.Join(root, virtualFile(name)))
		if err != nil {
			t.Fatal(err)
		}
		for _, reference := range regexp.MustCompile(`(?m)^\s+image: (\S+)$`).FindAllStringSubmatch(string(manifest), -1) {
			found++
			if reference[1] != flannel && reference[1] != image.ShellImage {
				t.Errorf("%s: image %s is not in the node image", name, reference[1])
			}
		}
		if n := strings.Count(string(manifest), "imagePullPolicy: IfNotPresent"); n != strings.Count(string(manifest), " image: ") {
			t.Errorf("%s: an image would be pulled although it is there", name)
		}
	}
	if found != 4 {
		t.Errorf("%d images found, want 4", found)
	}
}

// The patch for emulated hosts edits what the provider has written.
func TestEmulatedHostsKeepTheirAddressLonger(t *testing.T) {
	root, err := tools.Root()
	if err != nil {
		t.Fatal(err)
	}
	userData, err := os.ReadFile(filepath.Join(root, "bootstrap", "testdata", "kubeadm-init-static", "user_data"))
	if err != nil {
		t.Fatal(err)
	}
	manifest := filepath.Join(t.TempDir(), "kube-vip.yaml")
	if err := os.WriteFile(manifest, userData, 0o600); err != nil {
		t.Fatal(err)
	}
	config, ok := build(t, virtualScenario())["KubeadmControlPlane edge-1-control-plane"]["kubeadmConfigSpec"].(map[string]any)
	if !ok {
		t.Fatal("no kubeadmConfigSpec")
	}
	commands, ok := config["preKubeadmCommands"].([]any)
	if !ok {
		t.Fatal("no preKubeadmCommands")
	}
	const path = "/etc/kubernetes/manifests/kube-vip.yaml"
	for _, command := range commands {
		if text, ok := command.(string); ok && strings.Contains(text, path) {
			if out, err := exec.Command("sh", "-c", strings.ReplaceAll(text, path, manifest)).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
	}
	edited, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"vip_leaseduration": "150", "vip_renewdeadline": "120", "vip_retryperiod": "10"} {
		if !regexp.MustCompile(`name: ` + name + `\n +value: "` + value + `"`).Match(edited) {
			t.Errorf("%s is not %s", name, value)
		}
	}
}
