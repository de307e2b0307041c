// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// Names of Calico's charts.
const (
	// CRDsChart holds the definitions of the operator's and Calico's kinds.
	CRDsChart = "crd.projectcalico.org.v1"
	// OperatorChart holds the Tigera operator.
	OperatorChart = "tigera-operator"
)

// Namespaces of Calico.
const (
	operatorNamespace = "tigera-operator"
	calicoNamespace   = "calico-system"
)

// servicesEndpoint is the ConfigMap from which the operator and Calico learn where the API server is when there is no kube-proxy.
const servicesEndpoint = "kubernetes-services-endpoint"

// awaitedCRDs are the kinds that later steps make, and that Calico itself needs to start.
func awaitedCRDs() []string {
	return []string{
		"installations.operator.tigera.io", "apiservers.operator.tigera.io", "tigerastatuses.operator.tigera.io",
		"felixconfigurations.crd.projectcalico.org", "bgpconfigurations.crd.projectcalico.org", "bgppeers.crd.projectcalico.org",
		"bgpfilters.crd.projectcalico.org", "ippools.crd.projectcalico.org", "ipamblocks.crd.projectcalico.org",
		"blockaffinities.crd.projectcalico.org", "clusterinformations.crd.projectcalico.org",
	}
}

// operatorValues switch off what the chart would make besides the operator: Installation and APIServer are ours, flow logs and their
// viewer do not belong on an edge cluster. CRDs come from their own chart, and the operator keeps them as it needs them.
func operatorValues(d infrav1.Dataplane) map[string]any {
	off := map[string]any{"enabled": false}
	values := map[string]any{
		"installation": map[string]any{"enabled": false, "imagePullSecrets": pullSecretValues(d)},
		"apiServer":    off, "goldmane": off, "whisker": off, "defaultFelixConfiguration": off,
		"manageCRDs": true,
		// The operator tolerates every taint, that of a cordoned node too: evicted from a node that is drained it comes back at once,
		// and the machine would never be deleted. Cluster API leaves pods with this label where they are.
		"podLabels": map[string]any{clusterv1.PodDrainLabel: "skip"},
	}
	if d.Calico.Registry != "" {
		values["tigeraOperator"] = map[string]any{"registry": d.Calico.Registry}
	}
	return values
}

func pullSecretValues(d infrav1.Dataplane) []any {
	names := []any{}
	for _, secret := range d.Calico.ImagePullSecrets {
		names = append(names, map[string]any{"name": secret.Name})
	}
	return names
}

// operatorObjects are what the operator must find: its namespace, and for eBPF where the API server is.
func operatorObjects(in Input, d infrav1.Dataplane) []any {
	objects := []any{namespace(operatorNamespace)}
	if d.Type != infrav1.DataplaneCalicoEBPF {
		return objects
	}
	return append(objects, &corev1.ConfigMap{
		TypeMeta:   typeMeta("v1", "ConfigMap"),
		ObjectMeta: metav1.ObjectMeta{Name: servicesEndpoint, Namespace: operatorNamespace},
		Data: map[string]string{
			"KUBERNETES_SERVICE_HOST": in.Endpoint.Host,
			"KUBERNETES_SERVICE_PORT": strconv.Itoa(int(in.Endpoint.Port)),
		},
	})
}

// namespace whose pods are part of the host.
func namespace(name string) any {
	return &corev1.Namespace{
		TypeMeta:   typeMeta("v1", "Namespace"),
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "privileged"}},
	}
}
