// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"slices"
	"testing"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// A host concerns the sites that can count on it, and no others: an inventory of thousands must not wake every site.
func TestClustersOfHost(t *testing.T) {
	named := func(name, cluster string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "sites", Name: name, Labels: map[string]string{clusterv1.ClusterNameLabel: cluster}}
	}
	template := func(cluster, site string) *infrav1.EdgeMachineTemplate {
		made := &infrav1.EdgeMachineTemplate{ObjectMeta: named(cluster+"-workers", cluster)}
		made.OwnerReferences = []metav1.OwnerReference{{Kind: "Cluster", Name: cluster}}
		made.Spec.Template.Spec.HostSelector.MatchLabels = map[string]string{"site": site}
		return made
	}
	scheme := runtime.NewScheme()
	if err := infrav1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	objects := []client.Object{
		&infrav1.EdgeCluster{ObjectMeta: named("north", "north")}, template("north", "north"),
		&infrav1.EdgeCluster{ObjectMeta: named("south", "south")}, template("south", "south"),
		&infrav1.EdgeCluster{ObjectMeta: named("bare", "bare")}, // without a template: any host may do
		&infrav1.EdgeMachine{ObjectMeta: named("m", "south")},
	}
	r := &EdgeClusterReconciler{Client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()}
	held := &corev1.ObjectReference{Kind: "EdgeMachine", Namespace: "sites", Name: "m"}
	for name, test := range map[string]struct {
		site     string
		consumer *corev1.ObjectReference
		want     []string
	}{
		"selected by one site":        {"north", nil, []string{"bare", "north"}},
		"selected by none":            {"east", nil, []string{"bare"}},
		"held, but relabelled since":  {"east", held, []string{"bare", "south"}},
		"held by one, fit for others": {"north", held, []string{"bare", "north", "south"}},
	} {
		t.Run(name, func(t *testing.T) {
			host := &bmov1.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: "sites", Name: "h", Labels: map[string]string{"site": test.site}}}
			host.Spec.ConsumerRef = test.consumer
			var got []string
			for _, request := range r.clustersOfHost(t.Context(), host) {
				got = append(got, request.Name)
			}
			slices.Sort(got)
			if !slices.Equal(got, test.want) {
				t.Errorf("woken: %v, want %v", got, test.want)
			}
		})
	}
}
