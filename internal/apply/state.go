// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// inventoryKey of the ConfigMap's data.
const inventoryKey = "objects.json"

// applyPatch is server-side apply; JSON is YAML.
const applyPatch = types.ApplyYAMLPatchType

// record of an object that was applied, or is about to be.
type record struct {
	// hash of what was wanted; empty when it was not applied yet, or when it is not known any more.
	hash string
	// seen is the state that the API server gave the object; see fingerprint.
	seen string
	// shared objects were there before.
	shared bool

	// cachedVersion is the resource version that the cache had when the object was applied. As long as it has the same, it does not
	// know of the write yet. Not stored.
	cachedVersion string
	// applied since the state was read, and when; observed when the cache has shown it since. Not stored.
	applied, observed bool
	appliedAt         time.Time
	// corrections made one after the other, and when the last was. Not stored.
	corrections int
	correctedAt time.Time
}

// stored form of a record.
type stored struct {
	Group     string `json:"group,omitempty"`
	Version   string `json:"version"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	Hash      string `json:"hash,omitempty"`
	Seen      string `json:"seen,omitempty"`
	Shared    bool   `json:"shared,omitempty"`
}

// State is what was applied to one cluster. It is not safe for use by several goroutines.
type State struct {
	// Inventory is the ConfigMap that holds the state.
	inventory client.ObjectKey
	records   map[Key]*record
	// saved is what the ConfigMap holds.
	saved   string
	version string
}

// Load the state of a cluster from the ConfigMap; empty when there is none.
func Load(ctx context.Context, reader client.Reader, inventory client.ObjectKey) (*State, error) {
	s := &State{inventory: inventory, records: map[Key]*record{}}
	found := &corev1.ConfigMap{}
	err := reader.Get(ctx, inventory, found)
	if apierrors.IsNotFound(err) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading what was applied from ConfigMap %s: %w", inventory, err)
	}
	s.version, s.saved = found.ResourceVersion, found.Data[inventoryKey]
	var list []stored
	// An inventory that cannot be read is made anew: everything that is wanted is applied again.
	if err := json.Unmarshal([]byte(s.saved), &list); err != nil {
		return s, nil //nolint:nilerr // See above.
	}
	for _, e := range list {
		key := Key{GroupVersionKind: schema.GroupVersionKind{Group: e.Group, Version: e.Version, Kind: e.Kind}, Namespace: e.Namespace, Name: e.Name}
		s.records[key] = &record{hash: e.Hash, seen: e.Seen, shared: e.Shared}
	}
	return s, nil
}

// Knows tells whether all objects have been applied at some time.
func (s *State) Knows(objects []Object) bool {
	return !slices.ContainsFunc(objects, func(o Object) bool {
		r := s.records[o.Key]
		return r == nil || r.seen == ""
	})
}

// IsShown tells whether an object as the cache has it shows what was applied of it last; objects that were not applied here always do.
// Until then its status tells of an older version.
func (s *State) IsShown(key Key, cached client.Object) bool {
	r := s.records[key]
	return r == nil || r.seen == fingerprint(meta.AsPartialObjectMetadata(cached))
}

// announce objects that are about to be applied, so that they are found and removed even if nothing more is written.
func (s *State) announce(objects []Object) (isNew bool) {
	for _, o := range objects {
		if s.records[o.Key] == nil {
			s.records[o.Key] = &record{}
			isNew = true
		}
	}
	return isNew
}

// marshal the records in a stable order.
func (s *State) marshal() (string, error) {
	list := make([]stored, 0, len(s.records))
	for key, r := range s.records {
		e := stored{Group: key.Group, Version: key.Version, Kind: key.Kind, Namespace: key.Namespace, Name: key.Name, Hash: r.hash, Seen: r.seen, Shared: r.shared}
		if key.Group == "" && key.Kind == "Secret" {
			e.Hash = ""
		}
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b stored) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version))
	})
	data, err := json.Marshal(list)
	return string(data), err
}

// Save the state in the ConfigMap if it has changed. The namespace is created when it is missing.
func (s *State) Save(ctx context.Context, c client.Client) error {
	data, err := s.marshal()
	if err != nil {
		return fmt.Errorf("writing what was applied: %w", err)
	}
	if data == s.saved {
		return nil
	}
	inventory := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.inventory.Namespace, Name: s.inventory.Name, ResourceVersion: s.version},
		Data:       map[string]string{inventoryKey: data},
	}
	if err := store(ctx, c, inventory); err != nil {
		return fmt.Errorf("writing what was applied to ConfigMap %s: %w", s.inventory, err)
	}
	s.version, s.saved = inventory.ResourceVersion, data
	return nil
}

// store updates the ConfigMap, or creates it together with its namespace.
func store(ctx context.Context, c client.Client, inventory *corev1.ConfigMap) error {
	if inventory.ResourceVersion != "" {
		if err := c.Update(ctx, inventory, client.FieldOwner(FieldOwner)); !apierrors.IsNotFound(err) {
			return err
		}
		inventory.ResourceVersion = ""
	}
	err := c.Create(ctx, inventory, client.FieldOwner(FieldOwner))
	if !apierrors.IsNotFound(err) {
		return err
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: inventory.Namespace, Labels: map[string]string{Label: LabelOwned}}}
	if err := c.Create(ctx, namespace, client.FieldOwner(FieldOwner)); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return c.Create(ctx, inventory, client.FieldOwner(FieldOwner))
}

// fingerprint tells states of an object apart. Where the API server counts changes of the specification, changes of the status
// leave it the same.
func fingerprint(object *metav1.PartialObjectMetadata) string {
	state := "v" + object.ResourceVersion
	if object.Generation != 0 {
		state = "g" + strconv.FormatInt(object.Generation, 10)
	}
	sum := fnv.New64a()
	// Maps are marshalled in the order of their keys, and these cannot fail.
	data, _ := json.Marshal([]any{object.UID, state, object.Labels, object.Annotations, object.DeletionTimestamp.IsZero()})
	_, _ = sum.Write(data)
	return strconv.FormatUint(sum.Sum64(), 36)
}
