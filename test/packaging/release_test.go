// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package packaging_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// settings are what a user sets for the cluster templates, besides clusterctl's own flags.
var settings = map[string]string{
	"EDGEMETAL_CONTROL_PLANE_ENDPOINT_HOST": "192.0.2.10",
	"EDGEMETAL_NETWORK_CIDR":                "192.0.2.0/24",
	"EDGEMETAL_NETWORK_GATEWAY":             "192.0.2.1",
	"EDGEMETAL_NETWORK_NAMESERVERS":         "192.0.2.53,192.0.2.54",
	"EDGEMETAL_NODE_ADDRESSES":              "192.0.2.21-192.0.2.40",
	"EDGEMETAL_IMAGE_URL":                   "https://images.example.com/node.qcow2",
	// Digits alone must stay a string.
	"EDGEMETAL_IMAGE_CHECKSUM": "1234567890123456789012345678901234567890123456789012345678901234",
}

func TestRelease(t *testing.T) {
	s := newSite(t)
	t.Run("components", s.testComponents)
	t.Run("templates", s.testTemplates)
	t.Run("class", s.testClusterClass)
	t.Run("examples", s.testExamples)
	t.Run("immutability", s.testImmutability)
}

func (s *site) testComponents(t *testing.T) {
	kinds := map[string]int{}
	for _, object := range s.components(t) {
		kinds[object.GetKind()]++
		if got := object.GetLabels()["cluster.x-k8s.io/provider"]; got != "infrastructure-edgemetal" {
			t.Errorf("%s %s: provider label is %q", object.GetKind(), object.GetName(), got)
		}
		switch object.GetKind() {
		case "Deployment":
			checkManager(t, object)
		case "CustomResourceDefinition":
			if got := object.GetLabels()["cluster.x-k8s.io/v1beta2"]; got != "v1alpha1" {
				t.Errorf("%s: contract label is %q", object.GetName(), got)
			}
		}
	}
	want := map[string]int{
		"Namespace": 1, "CustomResourceDefinition": 4, "ServiceAccount": 1, "Role": 1, "RoleBinding": 1, "ClusterRole": 1,
		"ClusterRoleBinding": 1, "Deployment": 1, "ValidatingAdmissionPolicy": 1, "ValidatingAdmissionPolicyBinding": 1,
	}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("kinds of the components (-want +got):\n%s", diff)
	}
}

// checkManager holds the Deployment to clusterctl's contract and to the restricted pod security standard.
func checkManager(t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	var deployment appsv1.Deployment
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &deployment); err != nil {
		t.Fatal(err)
	}
	if deployment.Namespace != "capem-system" {
		t.Errorf("manager is in namespace %q", deployment.Namespace)
	}
	pod := deployment.Spec.Template.Spec
	if len(pod.Containers) != 1 || pod.Containers[0].Name != "manager" {
		t.Fatalf("want one container named manager, got %d", len(pod.Containers))
	}
	c := pod.Containers[0]
	if want := "ghcr.io/edgemetal/cluster-api-edgemetal-controller:" + version; c.Image != want {
		t.Errorf("image is %s, want %s", c.Image, want)
	}
	wantArgs := []string{"--leader-elect", "--diagnostics-address=:8443", "--insecure-diagnostics=false", "--v=2"}
	if diff := cmp.Diff(wantArgs, c.Args); diff != "" {
		t.Errorf("arguments with default variables (-want +got):\n%s", diff)
	}
	security := &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false), Privileged: new(false), ReadOnlyRootFilesystem: new(true),
		RunAsUser: new(int64(65532)), RunAsGroup: new(int64(65532)),
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	if diff := cmp.Diff(security, c.SecurityContext); diff != "" {
		t.Errorf("security context (-want +got):\n%s", diff)
	}
}

func (s *site) testTemplates(t *testing.T) {
	edge := []string{"Cluster", "EdgeCluster", "EdgeMachineTemplate", "InClusterIPPool", "KubeadmControlPlane"}
	for flavor, want := range map[string][]string{
		"":            append([]string{"EdgeMachineTemplate", "KubeadmConfigTemplate", "MachineDeployment"}, edge...),
		"single-node": edge,
		"topology": {
			"Cluster", "InClusterIPPool", "ClusterClass", "EdgeClusterTemplate", "EdgeMachineTemplate", "EdgeMachineTemplate",
			"KubeadmControlPlaneTemplate", "KubeadmConfigTemplate",
		},
	} {
		t.Run("flavor "+flavor, func(t *testing.T) {
			rendered := s.generate(t, flavor)
			var kinds []string
			for _, object := range decode(t, rendered) {
				kinds = append(kinds, object.GetKind())
				switch object.GetKind() {
				case "InClusterIPPool":
					checkPool(t, object)
				case "EdgeCluster":
					checkDataplane(t, object, "spec", "dataplane")
				case "EdgeClusterTemplate":
					checkDataplane(t, object, "spec", "template", "spec", "dataplane")
				case "KubeadmControlPlane":
					checkTimeouts(t, object, "spec", "kubeadmConfigSpec")
				case "KubeadmControlPlaneTemplate":
					checkTimeouts(t, object, "spec", "template", "spec", "kubeadmConfigSpec")
				case "KubeadmConfigTemplate":
					checkTimeouts(t, object, "spec", "template", "spec")
				}
			}
			slices.Sort(want)
			slices.Sort(kinds)
			if diff := cmp.Diff(want, kinds); diff != "" {
				t.Errorf("kinds (-want +got):\n%s", diff)
			}
			s.accepted(t, rendered)
		})
	}
}

func (s *site) generate(t *testing.T, flavor string) []byte {
	t.Helper()
	var env []string
	for name, value := range settings {
		env = append(env, name+"="+value)
	}
	return s.clusterctl(t, env, "generate", "cluster", "edge-1", "--infrastructure", "edgemetal:"+version, "--flavor", flavor,
		"--target-namespace", "default", "--kubernetes-version", "v1.36.3",
		"--control-plane-machine-count", "3", "--worker-machine-count", "2")
}

// checkDataplane holds the templates to what they promise: VPP, and no pod before encryption is proved.
func checkDataplane(t *testing.T, object *unstructured.Unstructured, path ...string) {
	t.Helper()
	dataplane, _, err := unstructured.NestedMap(object.Object, path...)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"type": "CalicoVPP", "encryption": map[string]any{"mode": "Required"}}
	if object.GetKind() == "EdgeCluster" {
		want["calico"] = map[string]any{"charts": map[string]any{"repository": "https://docs.tigera.io/calico/charts"}}
	}
	if diff := cmp.Diff(want, dataplane); diff != "" {
		t.Errorf("dataplane (-want +got):\n%s", diff)
	}
}

// checkTimeouts holds the templates to the patience with slow hosts that kubeadm does not have by itself.
func checkTimeouts(t *testing.T, object *unstructured.Unstructured, path ...string) {
	t.Helper()
	config, _, err := unstructured.NestedMap(object.Object, path...)
	if err != nil {
		t.Fatal(err)
	}
	common := map[string]any{"kubeletHealthCheckSeconds": float64(600), "kubernetesAPICallSeconds": float64(300)}
	controlPlane := map[string]any{"controlPlaneComponentHealthCheckSeconds": float64(900)}
	join := map[string]any{"discoverySeconds": float64(600), "tlsBootstrapSeconds": float64(600)}
	maps.Copy(join, common)
	if object.GetKind() != "KubeadmConfigTemplate" {
		maps.Copy(controlPlane, common)
		join["controlPlaneComponentHealthCheckSeconds"], join["etcdAPICallSeconds"] = float64(900), float64(300)
		got, _, err := unstructured.NestedMap(config, "initConfiguration", "timeouts")
		if diff := cmp.Diff(controlPlane, got); err != nil || diff != "" {
			t.Errorf("%s: time-outs of init, %v (-want +got):\n%s", object.GetKind(), err, diff)
		}
	}
	got, _, err := unstructured.NestedMap(config, "joinConfiguration", "timeouts")
	if diff := cmp.Diff(join, got); err != nil || diff != "" {
		t.Errorf("%s: time-outs of join, %v (-want +got):\n%s", object.GetKind(), err, diff)
	}
}

func checkPool(t *testing.T, pool *unstructured.Unstructured) {
	t.Helper()
	want := map[string]any{
		"addresses": []any{"192.0.2.21-192.0.2.40"}, "excludedAddresses": []any{"192.0.2.10"},
		"gateway": "192.0.2.1", "prefix": float64(24), // JSON knows no integers.
	}
	if diff := cmp.Diff(want, pool.Object["spec"]); diff != "" {
		t.Errorf("pool (-want +got):\n%s", diff)
	}
}

// testClusterClass checks the rules of clusterctl's contract for the file of a class: no variables and no namespaces.
func (s *site) testClusterClass(t *testing.T) {
	file, err := os.ReadFile(filepath.Join(s.release, "clusterclass-edgemetal.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(file), "${") {
		t.Error("clusterclass-edgemetal.yaml holds variables")
	}
	for _, object := range decode(t, file) {
		if object.GetNamespace() != "" {
			t.Errorf("%s %s has a namespace", object.GetKind(), object.GetName())
		}
	}
}

func (s *site) testExamples(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(s.root, "docs", "examples", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s.accepted(t, content)
		})
	}
}

// accepted has the API server validate the documents strictly, without keeping them.
func (s *site) accepted(t *testing.T, documents []byte) {
	t.Helper()
	for _, object := range decode(t, documents) {
		if object.GetNamespace() == "" {
			object.SetNamespace("default")
		}
		err := s.Create(t.Context(), object, client.DryRunAll, client.FieldValidation("Strict"))
		// A definition is served a moment after it has been created.
		for end := time.Now().Add(time.Minute); meta.IsNoMatchError(err) && time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
			err = s.Create(t.Context(), object, client.DryRunAll, client.FieldValidation("Strict"))
		}
		if err != nil {
			t.Errorf("%s %s: %v", object.GetKind(), object.GetName(), err)
		}
	}
}

func (s *site) testImmutability(t *testing.T) {
	for _, object := range decode(t, s.generate(t, "topology")) {
		var field []string
		switch object.GetKind() {
		case "EdgeClusterTemplate":
			field = []string{"spec", "template", "spec", "controlPlaneVIP", "image"}
		case "EdgeMachineTemplate":
			field = []string{"spec", "template", "spec", "image", "url"}
		default:
			continue
		}
		t.Run(object.GetKind()+" "+object.GetName(), func(t *testing.T) { s.testImmutable(t, object, field) })
	}
}

func (s *site) testImmutable(t *testing.T, object *unstructured.Unstructured, field []string) {
	t.Helper()
	if err := s.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	object.SetLabels(map[string]string{"changed": "yes"})
	if err := s.Update(t.Context(), object); err != nil {
		t.Errorf("metadata cannot be changed: %v", err)
	}
	changed := object.DeepCopy()
	if err := unstructured.SetNestedField(changed.Object, "oci://registry.example.com/other:1", field...); err != nil {
		t.Fatal(err)
	}

	// The API server learns of new policies once a second.
	for deadline := time.Now().Add(time.Minute); s.Update(t.Context(), changed.DeepCopy(), client.DryRunAll) == nil && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond)
	}
	err := s.Update(t.Context(), changed.DeepCopy())
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "Create a new "+object.GetKind()) {
		t.Errorf("a change of the spec must be refused with the fix; got %v", err)
	}
	if err := s.Update(t.Context(), changed.DeepCopy(), client.DryRunAll); !apierrors.IsInvalid(err) {
		t.Errorf("a dry run of anybody but the topology controller must be refused; got %v", err)
	}
	changed.SetAnnotations(map[string]string{"topology.cluster.x-k8s.io/dry-run": ""})
	if err := s.Update(t.Context(), changed.DeepCopy(), client.DryRunAll); err != nil {
		t.Errorf("the topology controller's dry run must pass; got %v", err)
	}
	if err := s.Update(t.Context(), changed.DeepCopy()); !apierrors.IsInvalid(err) {
		t.Errorf("the annotation alone must not open the door; got %v", err)
	}
}
