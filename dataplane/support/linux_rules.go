// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package support

import (
	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// linuxRules are about the dataplanes of the Linux kernel.
func linuxRules() []Rule {
	return []Rule{
		{
			When: "kubeProxy Replace with another type than CalicoEBPF", Field: "spec.dataplane.kubeProxy",
			Why: "only eBPF does all of kube-proxy's work",
			Fix: "use Keep",
			broken: func(v Values) []string {
				return when(v.KubeProxy == infrav1.KubeProxyReplace && v.Type != infrav1.DataplaneCalicoEBPF)
			},
		},
		{
			When: "CalicoEBPF while the API server's endpoint is not known", Field: "spec.controlPlaneEndpoint",
			Why:    "Calico has to reach the API server without kube-proxy",
			Fix:    "set it",
			broken: func(v Values) []string { return when(v.Type == infrav1.DataplaneCalicoEBPF && v.Endpoint == "") },
		},
	}
}
