// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package repository_test

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/util/sets"
	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"
	clusterctl "sigs.k8s.io/cluster-api/cmd/clusterctl/client"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/repository"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

// clusterctl itself must accept the repository: it reads the configuration, the metadata and the
// components, substitutes their variables and checks its rules.
func TestClusterctlReadsTheRepository(t *testing.T) {
	root, err := tools.Root()
	if err != nil {
		t.Fatal(err)
	}
	config, err := repository.Build(t.Context(), repository.Options{Dir: t.TempDir(), Toolbox: tools.Toolbox{Root: root}})
	if err != nil {
		t.Fatal(err)
	}
	client, err := clusterctl.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		kind  clusterctlv1.ProviderType
		image string
	}{
		{"cluster-api", clusterctlv1.CoreProviderType, "registry.k8s.io/cluster-api/cluster-api-controller:v1.14.2"},
		{"kubeadm", clusterctlv1.BootstrapProviderType, "registry.k8s.io/cluster-api/kubeadm-bootstrap-controller:v1.14.2"},
		{"kubeadm", clusterctlv1.ControlPlaneProviderType, "registry.k8s.io/cluster-api/kubeadm-control-plane-controller:v1.14.2"},
		{"in-cluster", clusterctlv1.IPAMProviderType, "registry.k8s.io/capi-ipam-ic/cluster-api-ipam-in-cluster-controller:v1.1.0"},
	}
	for _, tt := range tests {
		t.Run(clusterctlv1.ManifestLabel(tt.name, tt.kind), func(t *testing.T) {
			components, err := client.GetProviderComponents(t.Context(), tt.name, tt.kind, clusterctl.ComponentsOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got := components.Images(); !slices.Equal(got, []string{tt.image}) {
				t.Errorf("images %v, want %s", got, tt.image)
			}
			kinds := sets.New[string]()
			for _, o := range components.Objs() {
				kinds.Insert(o.GetKind())
			}
			wanted := sets.New("Namespace", "CustomResourceDefinition", "Deployment", "Certificate", "ValidatingWebhookConfiguration")
			if missing := wanted.Difference(kinds); missing.Len() > 0 {
				t.Errorf("no %v among the components", sets.List(missing))
			}
		})
	}
}
