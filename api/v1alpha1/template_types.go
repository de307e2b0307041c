// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
)

// EdgeClusterTemplateSpec holds what a ClusterClass makes EdgeClusters from.
type EdgeClusterTemplateSpec struct {
	// template of the EdgeCluster.
	// +required
	Template EdgeClusterTemplateResource `json:"template,omitzero"`
}

// EdgeClusterTemplateResource is metadata and spec of the EdgeClusters to be made.
type EdgeClusterTemplateResource struct {
	// metadata of the EdgeClusters.
	// +optional
	ObjectMeta clusterv1.ObjectMeta `json:"metadata,omitempty,omitzero"`

	// spec of the EdgeClusters.
	// +required
	Spec EdgeClusterSpec `json:"spec,omitzero"`
}

// EdgeClusterTemplate is what a ClusterClass makes EdgeClusters from. Its spec cannot change.
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=edgeclustertemplates,scope=Namespaced,categories=cluster-api,shortName=eclt
// +kubebuilder:metadata:labels="cluster.x-k8s.io/v1beta2=v1alpha1"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp",description="Age"
type EdgeClusterTemplate struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`

	// spec holds the template.
	// +required
	Spec EdgeClusterTemplateSpec `json:"spec,omitempty,omitzero"`
}

// EdgeClusterTemplateList is a list of EdgeClusterTemplates.
// +kubebuilder:object:root=true
type EdgeClusterTemplateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty,omitzero"`
	Items           []EdgeClusterTemplate `json:"items"`
}

// EdgeMachineTemplateSpec holds what EdgeMachines are made from.
type EdgeMachineTemplateSpec struct {
	// template of the EdgeMachine.
	// +required
	Template EdgeMachineTemplateResource `json:"template,omitzero"`
}

// EdgeMachineTemplateResource is metadata and spec of the EdgeMachines to be made.
// +kubebuilder:validation:XValidation:rule="!has(self.spec.providerID)",message="spec.providerID is set by the controller on each EdgeMachine; remove it from the template"
type EdgeMachineTemplateResource struct {
	// metadata of the EdgeMachines.
	// +optional
	ObjectMeta clusterv1.ObjectMeta `json:"metadata,omitempty,omitzero"`

	// spec of the EdgeMachines.
	// +required
	Spec EdgeMachineSpec `json:"spec,omitzero"`
}

// EdgeMachineTemplateStatus lets the cluster autoscaler scale from zero.
type EdgeMachineTemplateStatus struct {
	// capacity of the smallest host that the template's selector matches: cpu, memory, ephemeral-storage.
	// +optional
	Capacity corev1.ResourceList `json:"capacity,omitempty"`

	// nodeInfo of the hosts that the template's selector matches.
	// +optional
	NodeInfo NodeInfo `json:"nodeInfo,omitempty,omitzero"`
}

// NodeInfo tells what kind of Nodes a template makes.
// +kubebuilder:validation:MinProperties=1
type NodeInfo struct {
	// architecture of the hosts; empty when they differ.
	// +optional
	// +kubebuilder:validation:Enum=amd64;arm64;s390x;ppc64le
	Architecture string `json:"architecture,omitempty"`

	// operatingSystem of the Nodes; always linux.
	// +optional
	// +kubebuilder:validation:Enum=linux
	OperatingSystem string `json:"operatingSystem,omitempty"`
}

// EdgeMachineTemplate is what EdgeMachines are made from. Its spec cannot change: make a new template and refer to it.
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=edgemachinetemplates,scope=Namespaced,categories=cluster-api,shortName=emt
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels="cluster.x-k8s.io/v1beta2=v1alpha1"
// +kubebuilder:printcolumn:name="Image",type="string",JSONPath=".spec.template.spec.image.url",description="Image"
// +kubebuilder:printcolumn:name="CPU",type="string",JSONPath=".status.capacity.cpu",description="CPUs of the smallest matching host"
// +kubebuilder:printcolumn:name="Memory",type="string",JSONPath=".status.capacity.memory",description="Memory of the smallest matching host"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp",description="Age"
type EdgeMachineTemplate struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`

	// spec holds the template.
	// +required
	Spec EdgeMachineTemplateSpec `json:"spec,omitempty,omitzero"`

	// status lets the cluster autoscaler scale from zero.
	// +optional
	Status EdgeMachineTemplateStatus `json:"status,omitempty,omitzero"`
}

// EdgeMachineTemplateList is a list of EdgeMachineTemplates.
// +kubebuilder:object:root=true
type EdgeMachineTemplateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty,omitzero"`
	Items           []EdgeMachineTemplate `json:"items"`
}
