// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

const (
	// FieldOwner of everything that is applied.
	FieldOwner = "edgemetal"

	// Label on every applied object: LabelOwned or LabelShared.
	Label = "edgemetal.infrastructure.cluster.x-k8s.io/dataplane"
	// LabelOwned is the value on objects that were created here, and are deleted here.
	LabelOwned = "owned"
	// LabelShared is the value on objects that were there before, and stay.
	LabelShared = "shared"
)

// Key identifies an object.
type Key struct {
	schema.GroupVersionKind
	Namespace, Name string
}

// String is kind and name, for messages.
func (k Key) String() string {
	if k.Namespace == "" {
		return k.Kind + " " + k.Name
	}
	return k.Kind + " " + k.Namespace + "/" + k.Name
}

// Object that is wanted. Objects are shared between clusters and never changed.
type Object struct {
	Key
	// data is the object without label, as JSON.
	data []byte
	// hash of data.
	hash string
	// isSecret keeps the hash out of the ConfigMap: a password may be guessed from it.
	isSecret bool
}

// NewObject takes a typed or unstructured object. The status and what only the API server sets are left out.
func NewObject(from client.Object, scheme *runtime.Scheme) (Object, error) {
	gvk, err := apiutil.GVKForObject(from, scheme)
	if err != nil {
		return Object{}, fmt.Errorf("finding the kind of %T %s: %w", from, from.GetName(), err)
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(from)
	if err != nil {
		return Object{}, fmt.Errorf("converting %s %s: %w", gvk.Kind, from.GetName(), err)
	}
	object := &unstructured.Unstructured{Object: content}
	object.SetGroupVersionKind(gvk)
	unstructured.RemoveNestedField(content, "status")
	for _, path := range [][]string{{"metadata"}, {"spec", "template", "metadata"}} {
		unstructured.RemoveNestedField(content, append(path, "creationTimestamp")...)
	}
	data, err := json.Marshal(content)
	if err != nil {
		return Object{}, fmt.Errorf("writing %s %s: %w", gvk.Kind, from.GetName(), err)
	}
	sum := sha256.Sum256(data)
	return Object{
		Key:      Key{GroupVersionKind: gvk, Namespace: from.GetNamespace(), Name: from.GetName()},
		data:     data,
		hash:     hex.EncodeToString(sum[:16]),
		isSecret: gvk.Group == "" && gvk.Kind == "Secret",
	}, nil
}

// Hash of what is wanted.
func (o Object) Hash() string { return o.hash }

// Content is a copy of the object.
func (o Object) Content() (map[string]any, error) {
	content := map[string]any{}
	if err := json.Unmarshal(o.data, &content); err != nil {
		return nil, fmt.Errorf("reading %s: %w", o.Key, err)
	}
	return content, nil
}

// labelled is the object with our label.
func (o Object) labelled(shared bool) (*unstructured.Unstructured, error) {
	content, err := o.Content()
	if err != nil {
		return nil, err
	}
	object := &unstructured.Unstructured{Object: content}
	object.SetNamespace(o.Namespace)
	labels := object.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[Label] = LabelOwned
	if shared {
		labels[Label] = LabelShared
	}
	object.SetLabels(labels)
	return object, nil
}

// Sort objects in the order in which they can be applied, and in the reverse of which they can be removed: namespaces, definitions,
// accounts and roles, configuration, everything else, what refers to that by name, and workloads last. Objects of the same rank keep
// their order.
func Sort(objects []Object) {
	slices.SortStableFunc(objects, func(a, b Object) int { return cmp.Compare(rank(a.Kind), rank(b.Kind)) })
}

// rank of a kind in the order of Sort.
func rank(kind string) int {
	switch kind {
	case "Namespace":
		return 0
	case "CustomResourceDefinition", "PriorityClass":
		return 1
	case "ServiceAccount", "ClusterRole", "Role":
		return 2
	case "ClusterRoleBinding", "RoleBinding":
		return 3
	case "ValidatingAdmissionPolicy":
		return 4
	case "ValidatingAdmissionPolicyBinding":
		return 5
	case "Secret", "ConfigMap":
		return 6
	case "BGPPeer":
		// It names BGPFilters: without them it would have none, and exchange every route.
		return 8
	case "Deployment", "DaemonSet", "StatefulSet", "Job":
		return 9
	default:
		return 7
	}
}
