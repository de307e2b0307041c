// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 holds the EdgeMetal API: the site (EdgeCluster), its machines (EdgeMachine) and their templates.
// It follows Cluster API's v1beta2 provider contract.
// +kubebuilder:object:generate=true
// +groupName=infrastructure.cluster.x-k8s.io
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the API group and version of every type in this package.
var GroupVersion = schema.GroupVersion{Group: "infrastructure.cluster.x-k8s.io", Version: "v1alpha1"} //nolint:gochecknoglobals // A value that Go has no constant for; users of the API expect it under this name.

// AddToScheme registers this package's types with a scheme.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&EdgeCluster{}, &EdgeClusterList{},
		&EdgeClusterTemplate{}, &EdgeClusterTemplateList{},
		&EdgeMachine{}, &EdgeMachineList{},
		&EdgeMachineTemplate{}, &EdgeMachineTemplateList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
