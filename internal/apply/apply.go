// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Applier applies objects to one cluster.
type Applier struct {
	// Live writes, and reads from the API server.
	Live client.Client
	// Cache reads objects that somebody watches: Deployments and DaemonSets as such, of other kinds metadata only.
	Cache client.Reader
	// Now is the time.
	Now func() time.Time
}

// ConflictError tells that a field of a shared object has another value, which somebody else has set.
type ConflictError struct {
	Object Key
	// Causes are the API server's words for each field and its owner.
	Causes []string
}

// Error names object, fields and owners.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s was there before and is not ours: %s; remove these fields there, or give them the values that spec.dataplane asks for", e.Object, strings.Join(e.Causes, ", "))
}

// NotServedError tells that the API server does not serve a kind yet.
type NotServedError struct{ Object Key }

// Error names the kind.
func (e *NotServedError) Error() string {
	return fmt.Sprintf("the API server does not serve %s yet", e.Object.GroupVersionKind)
}

// ContestedError tells that somebody changes a field back again and again.
type ContestedError struct {
	Object Key
	// Field that is contested.
	Field string
	// Managers of the object beside us.
	Managers []string
	// RetryAfter is when the field is corrected next.
	RetryAfter time.Duration
}

// Error names object, field and the others who write the object.
func (e *ContestedError) Error() string {
	return fmt.Sprintf("field %s of %s is changed again and again by one of: %s; stop it, or leave the field to spec.dataplane", e.Field, e.Object, strings.Join(e.Managers, ", "))
}

const (
	// freeCorrections of one object are made at once; after that each one waits twice as long as the one before.
	freeCorrections = 3
	// firstDelay and lastDelay between corrections.
	firstDelay = 2 * time.Second
	lastDelay  = 5 * time.Minute
	// cacheLag is how long the cache may take to learn of an object that was created.
	cacheLag = 30 * time.Second
	// calmAfter this time without a correction all is forgotten.
	calmAfter = 15 * time.Minute
)

// Apply objects in the given order, as far as they are not as wanted, and stop at the first that fails. The error is a
// *ConflictError, *NotServedError, *ContestedError or one of the API server.
func (a Applier) Apply(ctx context.Context, s *State, objects []Object) error {
	// Written down first, so that an object is found and pruned even if we end right after it was created.
	if s.announce(objects) {
		if err := s.Save(ctx, a.Live); err != nil {
			return err
		}
	}
	var contested error
	for _, object := range objects {
		err := a.applyOne(ctx, s.records[object.Key], object)
		if _, isContested := errors.AsType[*ContestedError](err); isContested {
			// The others need not wait for it.
			contested = errors.Join(contested, err)
			continue
		}
		if err != nil {
			return err
		}
	}
	return contested
}

func (a Applier) applyOne(ctx context.Context, r *record, object Object) error {
	cached, err := a.cached(ctx, object.Key)
	if err != nil {
		return err
	}
	if r.isCurrent(object, cached, a.Now()) {
		return nil
	}
	if r.seen == "" || r.hash != "" && r.hash != object.hash {
		return a.write(ctx, r, object, cached)
	}
	return a.correct(ctx, r, object, cached)
}

// isCurrent tells whether the object is as it was applied, as far as the cache knows, and that is as it is wanted.
func (r *record) isCurrent(object Object, cached *metav1.PartialObjectMetadata, now time.Time) bool {
	if r.hash != object.hash {
		return false
	}
	if cached == nil {
		return r.applied && !r.observed && now.Sub(r.appliedAt) < cacheLag
	}
	if fingerprint(cached) == r.seen {
		r.observed = true
		return true
	}
	return r.applied && cached.ResourceVersion == r.cachedVersion
}

// cached metadata of an object; nil when the cache has none. Of many kinds it has objects with our label only.
func (a Applier) cached(ctx context.Context, key Key) (*metav1.PartialObjectMetadata, error) {
	var found client.Object
	switch {
	case key.Group == appsv1.GroupName && key.Kind == "DaemonSet":
		found = &appsv1.DaemonSet{}
	case key.Group == appsv1.GroupName && key.Kind == "Deployment":
		found = &appsv1.Deployment{}
	default:
		metadata := &metav1.PartialObjectMetadata{}
		metadata.SetGroupVersionKind(key.GroupVersionKind)
		found = metadata
	}
	err := a.Cache.Get(ctx, client.ObjectKey{Namespace: key.Namespace, Name: key.Name}, found)
	switch {
	case meta.IsNoMatchError(err):
		return nil, &NotServedError{Object: key}
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", key, err)
	}
	return meta.AsPartialObjectMetadata(found), nil
}

// correct an object that was changed since it was applied, if it lacks what is wanted.
func (a Applier) correct(ctx context.Context, r *record, object Object, cached *metav1.PartialObjectMetadata) error {
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(object.GroupVersionKind)
	err := a.Live.Get(ctx, client.ObjectKey{Namespace: object.Namespace, Name: object.Name}, live)
	if apierrors.IsNotFound(err) {
		r.shared = false
		return a.writeAs(ctx, r, object, cached, false)
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", object.Key, err)
	}
	wanted, err := object.labelled(r.shared)
	if err != nil {
		return err
	}
	field := difference("", wanted.Object, live.Object)
	if field == "" && object.isSecret && !r.shared {
		// What another version of the Secret had must not stay.
		field = difference(".data", live.Object["data"], wanted.Object["data"])
	}
	if field == "" {
		r.remember(object, meta.AsPartialObjectMetadata(live), cached, a.Now())
		return nil
	}
	if wait := r.delay(a.Now()); wait > 0 {
		return &ContestedError{Object: object.Key, Field: field, Managers: otherManagers(live), RetryAfter: wait}
	}
	// Whoever takes the label away does not make the object theirs: it still has the fields that we applied.
	return a.writeAs(ctx, r, object, cached, !r.shared && (live.GetLabels()[Label] == LabelOwned || isApplied(live)))
}

// delay of the next correction. A correction that may be made now is counted.
func (r *record) delay(now time.Time) time.Duration {
	if now.Sub(r.correctedAt) > calmAfter {
		r.corrections = 0
	}
	if over := r.corrections - freeCorrections; over >= 0 {
		wait := min(firstDelay<<min(over, 10), lastDelay)
		if left := wait - now.Sub(r.correctedAt); left > 0 {
			return left
		}
	}
	r.corrections++
	r.correctedAt = now
	return 0
}

// write an object for the first time, or as it is wanted now. One that was there before and is not ours is shared.
func (a Applier) write(ctx context.Context, r *record, object Object, cached *metav1.PartialObjectMetadata) error {
	if cached != nil && cached.Labels[Label] != "" {
		r.shared = r.shared || cached.Labels[Label] == LabelShared
		return a.writeAs(ctx, r, object, cached, !r.shared)
	}
	live := &metav1.PartialObjectMetadata{}
	live.SetGroupVersionKind(object.GroupVersionKind)
	err := a.Live.Get(ctx, client.ObjectKey{Namespace: object.Namespace, Name: object.Name}, live)
	switch {
	case apierrors.IsNotFound(err):
		r.shared = false
		return a.writeAs(ctx, r, object, cached, false)
	case meta.IsNoMatchError(err):
		return &NotServedError{Object: object.Key}
	case err != nil:
		return fmt.Errorf("reading %s: %w", object.Key, err)
	}
	isOurs := live.Labels[Label] == LabelOwned || live.Labels[Label] == "" && isApplied(live)
	r.shared = r.shared || !isOurs
	return a.writeAs(ctx, r, object, cached, !r.shared)
}

func (a Applier) writeAs(ctx context.Context, r *record, object Object, cached *metav1.PartialObjectMetadata, force bool) error {
	written, err := a.patch(ctx, object, r.shared, force)
	if err != nil {
		return err
	}
	r.remember(object, written, cached, a.Now())
	return nil
}

func (a Applier) patch(ctx context.Context, object Object, shared, force bool) (*metav1.PartialObjectMetadata, error) {
	content, err := object.labelled(shared)
	if err != nil {
		return nil, err
	}
	data, err := content.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", object.Key, err)
	}
	answer := &metav1.PartialObjectMetadata{}
	answer.SetGroupVersionKind(object.GroupVersionKind)
	answer.Namespace, answer.Name = object.Namespace, object.Name
	options := []client.PatchOption{client.FieldOwner(FieldOwner)}
	if force {
		options = append(options, client.ForceOwnership)
	}
	err = a.Live.Patch(ctx, answer, client.RawPatch(applyPatch, data), options...)
	switch {
	case err == nil:
		return answer, nil
	case meta.IsNoMatchError(err):
		return nil, &NotServedError{Object: object.Key}
	case apierrors.IsConflict(err) && len(conflicts(err)) > 0:
		return nil, &ConflictError{Object: object.Key, Causes: conflicts(err)}
	default:
		return nil, fmt.Errorf("applying %s: %w", object.Key, err)
	}
}

// conflicts of fields that an API server reports, in its words.
func conflicts(err error) []string {
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok || status.Status().Details == nil {
		return nil
	}
	var causes []string
	for _, cause := range status.Status().Details.Causes {
		if cause.Type == metav1.CauseTypeFieldManagerConflict {
			causes = append(causes, strings.TrimSuffix(cause.Message, ":"+cause.Field)+" over "+cause.Field)
		}
	}
	return causes
}

// otherManagers of an object's specification and metadata, in order.
func otherManagers(object metav1.Object) []string {
	var names []string
	for _, entry := range object.GetManagedFields() {
		if entry.Manager != FieldOwner && entry.Subresource == "" {
			names = append(names, entry.Manager)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// isApplied tells whether an object has fields that were applied here.
func isApplied(object metav1.Object) bool {
	return slices.ContainsFunc(object.GetManagedFields(), func(entry metav1.ManagedFieldsEntry) bool {
		return entry.Manager == FieldOwner && entry.Operation == metav1.ManagedFieldsOperationApply
	})
}

// remember what was written or found.
func (r *record) remember(object Object, found, cached *metav1.PartialObjectMetadata, now time.Time) {
	r.hash, r.seen, r.applied, r.appliedAt, r.observed, r.cachedVersion = object.hash, fingerprint(found), true, now, false, ""
	if cached != nil {
		r.cachedVersion = cached.ResourceVersion
	}
}
