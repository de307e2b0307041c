// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Prune what was applied and is not among the wanted objects any more, in the reverse order of Sort: workloads first. Objects that were there before keep all that
// others have set. Never deleted are namespaces, definitions of kinds that have objects, and what lacks our label.
func (a Applier) Prune(ctx context.Context, s *State, wanted []Object) error {
	keep := make(map[Key]bool, len(wanted))
	for _, object := range wanted {
		keep[object.Key] = true
	}
	var gone []Key
	for key := range s.records {
		if !keep[key] {
			gone = append(gone, key)
		}
	}
	slices.SortFunc(gone, func(x, y Key) int {
		return cmp.Or(cmp.Compare(rank(y.Kind), rank(x.Kind)), cmp.Compare(x.String(), y.String()))
	})
	for _, key := range gone {
		if err := a.remove(ctx, s, key); err != nil {
			return fmt.Errorf("removing %s, which is no longer wanted: %w", key, err)
		}
		delete(s.records, key)
	}
	return nil
}

func (a Applier) remove(ctx context.Context, s *State, key Key) error {
	if s.isMoved(key) {
		return nil
	}
	live := &metav1.PartialObjectMetadata{}
	live.SetGroupVersionKind(key.GroupVersionKind)
	err := a.Live.Get(ctx, client.ObjectKey{Namespace: key.Namespace, Name: key.Name}, live)
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return nil
	}
	if err != nil {
		return err
	}
	switch live.Labels[Label] {
	case LabelShared:
		return a.release(ctx, key)
	case LabelOwned:
	default:
		return nil
	}
	kept, err := a.isKept(ctx, key)
	if err != nil || kept {
		return err
	}
	err = a.Live.Delete(ctx, live, client.Preconditions{UID: &live.UID}, client.PropagationPolicy(metav1.DeletePropagationBackground))
	return client.IgnoreNotFound(err)
}

// isMoved tells whether the object is still wanted under another version of its API.
func (s *State) isMoved(key Key) bool {
	for other := range s.records {
		if other != key && other.GroupKind() == key.GroupKind() && other.Namespace == key.Namespace && other.Name == key.Name {
			return true
		}
	}
	return false
}

// release a shared object: an apply without fields gives up all that are ours.
func (a Applier) release(ctx context.Context, key Key) error {
	empty := &unstructured.Unstructured{}
	empty.SetGroupVersionKind(key.GroupVersionKind)
	empty.SetNamespace(key.Namespace)
	empty.SetName(key.Name)
	data, err := empty.MarshalJSON()
	if err != nil {
		return err
	}
	target := &metav1.PartialObjectMetadata{}
	target.SetGroupVersionKind(key.GroupVersionKind)
	target.Namespace, target.Name = key.Namespace, key.Name
	return a.Live.Patch(ctx, target, client.RawPatch(applyPatch, data), client.FieldOwner(FieldOwner))
}

// isKept tells whether users would lose something together with the object.
func (a Applier) isKept(ctx context.Context, key Key) (bool, error) {
	switch key.Kind {
	case "Namespace":
		return true, nil
	case "CustomResourceDefinition":
	default:
		return false, nil
	}
	definition := &unstructured.Unstructured{}
	definition.SetGroupVersionKind(key.GroupVersionKind)
	if err := a.Live.Get(ctx, client.ObjectKey{Name: key.Name}, definition); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	served, err := servedKind(definition)
	if err != nil {
		return false, err
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(served)
	if err := a.Live.List(ctx, list, client.Limit(1)); err != nil {
		if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
			return false, nil
		}
		return false, err
	}
	return len(list.Items) > 0, nil
}

// servedKind is a kind that a CustomResourceDefinition serves, as a list.
func servedKind(definition *unstructured.Unstructured) (schema.GroupVersionKind, error) {
	data, err := json.Marshal(definition.Object["spec"])
	if err != nil {
		return schema.GroupVersionKind{}, err
	}
	spec := struct {
		Group string `json:"group"`
		Names struct {
			Kind string `json:"kind"`
		} `json:"names"`
		Versions []struct {
			Name   string `json:"name"`
			Served bool   `json:"served"`
		} `json:"versions"`
	}{}
	if err := json.Unmarshal(data, &spec); err != nil {
		return schema.GroupVersionKind{}, err
	}
	for _, version := range spec.Versions {
		if version.Served {
			return schema.GroupVersionKind{Group: spec.Group, Version: version.Name, Kind: spec.Names.Kind + "List"}, nil
		}
	}
	return schema.GroupVersionKind{}, fmt.Errorf("%s serves no version", definition.GetName())
}
