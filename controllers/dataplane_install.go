// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/calico"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/apply"
)

// inventoryKey is the ConfigMap in the workload cluster that holds what was applied.
func inventoryKey() client.ObjectKey {
	return client.ObjectKey{Namespace: encryption.AgentNamespace, Name: "edgemetal-dataplane"}
}

// install applies the steps in order, removes what is no longer wanted, rolls changes out, and judges readiness.
func (r *DataplaneReconciler) install(ctx context.Context, s *dataplaneScope) (proceed, error) {
	var all []apply.Object
	for i, set := range s.sets {
		goOn, err := r.applyStep(ctx, s, i)
		if err := saved(ctx, s, err); err != nil || !bool(goOn) {
			return false, err
		}
		all = slices.Concat(all, set.objects, set.kept)
	}
	if err := saved(ctx, s, s.applier.Prune(ctx, s.memory.applied, all)); err != nil {
		return false, err
	}
	for _, judge := range []func(context.Context, *dataplaneScope, int) (proceed, error){r.rollOut, r.awaitReady} {
		for i := range s.sets {
			if goOn, err := judge(ctx, s, i); err != nil || !bool(goOn) {
				return false, err
			}
		}
	}
	return true, nil
}

// applyStep applies step i. A step that was never applied waits until the one before is ready; steps that were are kept up to date
// whatever the others do, so that a change can repair what does not become ready.
func (r *DataplaneReconciler) applyStep(ctx context.Context, s *dataplaneScope, i int) (proceed, error) {
	objects := s.sets[i].objects
	if i > 0 && !s.memory.applied.Knows(objects) {
		if goOn, err := r.awaitReady(ctx, s, i-1); err != nil || !bool(goOn) {
			return false, err
		}
	}
	err := s.applier.Apply(ctx, s.memory.applied, objects)
	if err != nil {
		s.step(i)
	}
	// What was applied before an error is watched too.
	return err == nil, errors.Join(err, r.watchObjects(ctx, s, objects))
}

// saved writes down what was applied, whatever happened after it.
func saved(ctx context.Context, s *dataplaneScope, err error) error {
	if failed := s.memory.applied.Save(ctx, s.applier.Live); failed != nil && err == nil {
		return failed
	}
	return err
}

// step says in the condition where the installation stops.
func (s *dataplaneScope) step(i int) {
	s.wait(infrav1.InstallingReason, "Applying step %d of %d (%s)", i+1, len(s.sets), s.sets[i].Title)
}

// awaitReady waits for what step i has to bring about.
func (r *DataplaneReconciler) awaitReady(ctx context.Context, s *dataplaneScope, i int) (proceed, error) {
	for _, rule := range s.sets[i].Ready {
		awaited, err := r.await(ctx, s, rule)
		if err != nil {
			return false, fmt.Errorf("looking at %s %s: %w", rule.ObjectKind, rule.Name, err)
		}
		if awaited == "" {
			continue
		}
		reason, name := infrav1.WaitingForDataplaneReason, rule.Name
		if rule.Namespace != "" {
			name = rule.Namespace + "/" + rule.Name
		}
		if i+1 < len(s.sets) && !s.memory.applied.Knows(s.sets[i+1].objects) {
			reason = infrav1.InstallingReason
		}
		s.hint = rule.Hint
		return s.wait(reason, "step %d of %d (%s): waiting for %s %s: %s", i+1, len(s.sets), s.sets[i].Title, rule.ObjectKind, name, awaited), nil
	}
	return true, nil
}

// await tells what an object lacks; "" when it is ready. Everything is read from the cache.
func (r *DataplaneReconciler) await(ctx context.Context, s *dataplaneScope, rule calico.Readiness) (string, error) {
	key := client.ObjectKey{Namespace: rule.Namespace, Name: rule.Name}
	var (
		object client.Object
		judge  func() string
	)
	switch rule.Kind {
	case calico.Established:
		awaited, err := apply.AwaitDefinition(s.applier.Live.RESTMapper(), rule.Name)
		if awaited != "" {
			s.requeueAfter = retryServed // a kind is served some time after the last event of its definition
		}
		return awaited, err
	case calico.Available:
		deployment := &appsv1.Deployment{}
		object, judge = deployment, func() string { return apply.AwaitDeployment(deployment) }
	case calico.RolledOut:
		daemons := &appsv1.DaemonSet{}
		object, judge = daemons, func() string { return apply.AwaitDaemonSet(daemons) }
	case calico.TigeraAvailable:
		status := &unstructured.Unstructured{}
		status.SetGroupVersionKind(schema.FromAPIVersionAndKind(rule.APIVersion, rule.ObjectKind))
		object, judge = status, func() string { return apply.AwaitStatus(status) }
	default:
		return "", fmt.Errorf("unknown kind of readiness %q", rule.Kind)
	}
	// Watched even before it exists.
	if err := r.watchKind(ctx, s, schema.FromAPIVersionAndKind(rule.APIVersion, rule.ObjectKind)); err != nil {
		return "", err
	}
	err := s.applier.Cache.Get(ctx, key, object)
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return "it does not exist yet", nil
	}
	if err != nil {
		return "", err
	}
	if !s.isShown(schema.FromAPIVersionAndKind(rule.APIVersion, rule.ObjectKind), object) {
		return notTakenUp, nil
	}
	return judge(), nil
}

// notTakenUp is what is awaited of an object whose status is that of an older version.
const notTakenUp = "its last change has not been taken up yet"

// isShown tells whether the cache shows what was applied of an object last. Until then its status is not to be trusted; the event that
// shows it brings the next look, which is not left to chance.
func (s *dataplaneScope) isShown(gvk schema.GroupVersionKind, cached client.Object) bool {
	shown := s.memory.applied.IsShown(apply.Key{GroupVersionKind: gvk, Namespace: cached.GetNamespace(), Name: cached.GetName()}, cached)
	if !shown {
		s.requeueAfter = retryServed
	}
	return shown
}
