// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package metal3 reads the CRDs of Metal3 that the lab serves.
package metal3

import (
	"fmt"
	"os"
	"path/filepath"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"
	"sigs.k8s.io/yaml"
)

// CRDs reads BareMetalHost and HardwareData from the unpacked source of the baremetal-operator's
// module and labels them for `clusterctl move`, as an operator of a site does: hosts move with
// everything they own.
func CRDs(source string) ([]*apiextensionsv1.CustomResourceDefinition, error) {
	moves := map[string]string{
		"metal3.io_baremetalhosts.yaml": clusterctlv1.ClusterctlMoveHierarchyLabel,
		"metal3.io_hardwaredata.yaml":   clusterctlv1.ClusterctlMoveLabel,
	}
	var crds []*apiextensionsv1.CustomResourceDefinition
	for file, move := range moves {
		data, err := os.ReadFile(filepath.Join(source, "config", "base", "crds", "bases", file))
		if err != nil {
			return nil, fmt.Errorf("read a CRD of Metal3: %w", err)
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.Unmarshal(data, crd); err != nil {
			return nil, fmt.Errorf("decode %s: %w", file, err)
		}
		if crd.Labels == nil {
			crd.Labels = map[string]string{}
		}
		crd.Labels[clusterctlv1.ClusterctlLabel] = ""
		crd.Labels[move] = ""
		crds = append(crds, crd)
	}
	return crds, nil
}
