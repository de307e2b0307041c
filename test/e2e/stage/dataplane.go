// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// withoutDataplane gives the clusters of a manifest the dataplane type None.
func withoutDataplane(manifest string) string {
	GinkgoHelper()
	var changed strings.Builder
	for document := range strings.SplitSeq(manifest, "\n---\n") {
		object := &unstructured.Unstructured{}
		Expect(yaml.Unmarshal([]byte(document), &object.Object)).To(Succeed())
		none := map[string]any{"type": "None", "encryption": map[string]any{"mode": "Disabled"}}
		switch object.GetKind() {
		case "EdgeCluster":
			Expect(unstructured.SetNestedMap(object.Object, none, "spec", "dataplane")).To(Succeed())
		case "Cluster":
			setVariable(object, "dataplane", none)
		}
		data, err := yaml.Marshal(object.Object)
		Expect(err).NotTo(HaveOccurred())
		changed.WriteString("---\n" + string(data))
	}
	return changed.String()
}

// setVariable sets a variable of the Cluster's topology, if it has that.
func setVariable(cluster *unstructured.Unstructured, name string, value any) {
	GinkgoHelper()
	variables, _, err := unstructured.NestedSlice(cluster.Object, "spec", "topology", "variables")
	Expect(err).NotTo(HaveOccurred())
	for _, variable := range variables {
		if entry := variable.(map[string]any); entry["name"] == name {
			entry["value"] = value
		}
	}
	if len(variables) > 0 {
		Expect(unstructured.SetNestedSlice(cluster.Object, variables, "spec", "topology", "variables")).To(Succeed())
	}
}
