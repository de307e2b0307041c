// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package site

import (
	"context"
	"maps"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/runtime"
	capie2e "sigs.k8s.io/cluster-api/test/e2e"
	"sigs.k8s.io/cluster-api/test/framework"
	"sigs.k8s.io/cluster-api/test/framework/clusterctl"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/e2e/stage"
	lablib "github.com/edgemetal/cluster-api-provider-edgemetal/test/lab"
)

// Cluster API's own spec, unchanged, with the lab as the management cluster. Nothing in it needs containers: its means to make
// a management cluster in kind, to load images and to collect logs from containers are not used.
var _ = Describe("Cluster API's quick start", Label("capi"), func() {
	capie2e.QuickStartSpec(context.Background(), func() capie2e.QuickStartSpecInput {
		scheme := runtime.NewScheme()
		framework.TryAddDefaultSchemes(scheme)
		proxy := framework.NewClusterProxy("lab", lab.Kubeconfig, scheme)
		DeferCleanup(proxy.Dispose)
		variables := maps.Clone(lab.Site.Variables())
		return capie2e.QuickStartSpecInput{
			E2EConfig: &clusterctl.E2EConfig{
				Variables: map[string]string{capie2e.KubernetesVersion: lablib.KubernetesVersion},
				Intervals: map[string][]string{
					"default/wait-cluster":        {"2m", "1s"},
					"default/wait-control-plane":  {"4m", "1s"},
					"default/wait-worker-nodes":   {"4m", "1s"},
					"default/wait-delete-cluster": {"4m", "1s"},
				},
			},
			ClusterctlConfigPath:   lab.ClusterctlConfig,
			BootstrapClusterProxy:  proxy,
			ArtifactFolder:         filepath.Join(lab.Dir, "artifacts"),
			InfrastructureProvider: new("edgemetal"),
			ClusterctlVariables:    variables,
			PostNamespaceCreated: func(_ framework.ClusterProxy, namespace string) {
				ctx, cancel := context.WithTimeout(context.Background(), stage.Limit)
				defer cancel()
				s := lab.SiteIn(namespace)
				s.AddHosts(ctx, 1, 2)
				maps.Copy(variables, s.Variables())
			},
			PostMachinesProvisioned: func(_ framework.ClusterProxy, namespace, _ string) {
				provisioned := 0
				for _, host := range lab.HostsIn(context.Background(), namespace) {
					if host.Spec.ConsumerRef != nil {
						provisioned++
					}
				}
				Expect(provisioned).To(Equal(2), "both hosts are the cluster's")
			},
		}
	})
})
