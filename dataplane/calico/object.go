// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// API groups of objects for which Kubernetes has no Go types.
const (
	// operatorAPI is the Tigera operator's.
	operatorAPI = "operator.tigera.io/v1"
	// calicoAPI is how Calico stores its objects. It is there before Calico's API server, and what that one stores too.
	calicoAPI = "crd.projectcalico.org/v1"
)

// object is something with a spec, of a kind for which Kubernetes has no Go type.
type object[Spec any] struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	Spec Spec `json:"spec"`
}

func newObject[Spec any](apiVersion, kind, name string, spec Spec) *object[Spec] {
	return &object[Spec]{
		TypeMeta:   metav1.TypeMeta{APIVersion: apiVersion, Kind: kind},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       spec,
	}
}

// manifests converts typed objects to what is applied, with the labels of their step. An applied object names only fields that are
// ours: no status, and no empty time of creation.
func manifests(step string, objects []any) ([]*unstructured.Unstructured, error) {
	converted := make([]*unstructured.Unstructured, 0, len(objects))
	for _, typed := range objects {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
		if err != nil {
			return nil, fmt.Errorf("converting %T: %w", typed, err)
		}
		manifest := &unstructured.Unstructured{Object: content}
		if manifest.GetAPIVersion() == "" || manifest.GetKind() == "" || manifest.GetName() == "" {
			return nil, fmt.Errorf("%T has no apiVersion, kind or name", typed)
		}
		unstructured.RemoveNestedField(content, "status")
		unstructured.RemoveNestedField(content, "metadata", "creationTimestamp")
		unstructured.RemoveNestedField(content, "spec", "template", "metadata", "creationTimestamp")
		labels := manifest.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		labels[ManagedByLabel], labels[StepLabel] = ManagedBy, step
		manifest.SetLabels(labels)
		converted = append(converted, manifest)
	}
	return converted, nil
}

// typeMeta of Kubernetes' own kinds.
func typeMeta(apiVersion, kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: apiVersion, Kind: kind}
}
