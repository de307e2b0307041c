// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"
	"k8s.io/utils/lru"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/calico"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/apply"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/charts"
)

const (
	// templateHash on pods is the hash of their DaemonSet's template, by which pods of an older one are told.
	templateHash = "edgemetal.infrastructure.cluster.x-k8s.io/template-hash"
	// versionAge is how long the version of an API server is taken for granted.
	versionAge = time.Hour
	// renderedCharts are kept in memory, shared by all clusters with the same. Calico's largest takes 3 MiB.
	renderedCharts = 8
	// retryFetch is when a chart is fetched again that could not be had.
	retryFetch = time.Minute
)

// stepObjects are the objects of a step, in the order in which they are applied.
type stepObjects struct {
	calico.Step

	objects []apply.Object
	// kept are objects that stay as they are, by their names only.
	kept []apply.Object
	// rollouts are DaemonSets whose pods are replaced node by node, with the hash of their template.
	rollouts []rollout
}

// rollout of a DaemonSet.
type rollout struct {
	key  client.ObjectKey
	hash string
}

// chartObjects remembers what charts have rendered to.
type chartObjects struct{ cache *lru.Cache }

func newChartObjects() *chartObjects { return &chartObjects{cache: lru.New(renderedCharts)} }

// askVersion learns the version of the workload cluster, which charts are rendered for.
func (r *DataplaneReconciler) askVersion(ctx context.Context, s *dataplaneScope) error {
	if s.memory.version != "" && time.Since(s.memory.versionAsked) < versionAge {
		return nil
	}
	config, err := r.ClusterCache.GetRESTConfig(ctx, client.ObjectKeyFromObject(s.cluster))
	if err != nil {
		return err
	}
	asked, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return fmt.Errorf("asking the workload cluster for its version: %w", err)
	}
	version, err := asked.ServerVersion()
	if err != nil {
		return fmt.Errorf("asking the workload cluster for its version: %w", err)
	}
	s.memory.version, s.memory.versionAsked = version.GitVersion, time.Now()
	return nil
}

// planObjects turns the plan into objects.
func (r *DataplaneReconciler) planObjects(ctx context.Context, s *dataplaneScope) (proceed, error) {
	seen := map[apply.Key]string{}
	for _, step := range s.plan.Steps {
		set, err := r.objectsOf(ctx, s, step)
		_, isDigest := errors.AsType[*charts.DigestError](err)
		_, isUnavailable := errors.AsType[*charts.UnavailableError](err)
		if isDigest || isUnavailable {
			s.requeueAfter = retryFetch
			return s.wait(infrav1.ChartUnavailableReason, "%v", err), nil
		}
		if err != nil {
			return false, err
		}
		for _, object := range set.objects {
			if other := seen[object.Key]; other != "" {
				return false, fmt.Errorf("%s is in step %q and in step %q", object.Key, other, step.Name)
			}
			seen[object.Key] = step.Name
		}
		s.sets = append(s.sets, set)
	}
	return true, nil
}

func (r *DataplaneReconciler) objectsOf(ctx context.Context, s *dataplaneScope, step calico.Step) (stepObjects, error) {
	set := stepObjects{Step: step}
	scheme := r.Client.Scheme()
	for _, each := range step.Objects {
		rolling, err := stampTemplate(each)
		if err != nil {
			return stepObjects{}, err
		}
		if rolling != nil {
			set.rollouts = append(set.rollouts, *rolling)
		}
		object, err := apply.NewObject(each, scheme)
		if err != nil {
			return stepObjects{}, err
		}
		set.objects = append(set.objects, object)
	}
	for _, copied := range step.Secrets {
		if copied.From.IPsecPSK && s.missing != "" {
			set.kept = append(set.kept, apply.Object{Key: copyKey(copied)})
			continue
		}
		object, err := apply.NewObject(s.secretCopy(step.Name, copied), scheme)
		if err != nil {
			return stepObjects{}, err
		}
		set.objects = append(set.objects, object)
	}
	if step.Chart != nil {
		objects, err := r.chartObjectsOf(ctx, s, *step.Chart)
		if err != nil {
			return stepObjects{}, err
		}
		set.objects = append(set.objects, objects...)
	}
	apply.Sort(set.objects)
	return set, nil
}

// secretCopy is the copy of a Secret for the workload cluster.
func (s *dataplaneScope) secretCopy(step string, copied calico.SecretCopy) *corev1.Secret {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: copied.Namespace, Name: copied.Name,
			Labels: map[string]string{calico.ManagedByLabel: calico.ManagedBy, calico.StepLabel: step},
		},
		Type: corev1.SecretType(copied.Type),
		Data: map[string][]byte{},
	}
	for to, from := range copied.Keys {
		secret.Data[to] = s.secrets[secretKey{name: copied.From.Name, entry: from}]
	}
	return secret
}

// stampTemplate writes the hash of the template on the pods of a DaemonSet with updateStrategy OnDelete. Other objects stay as
// they are, and give nil.
func stampTemplate(object *unstructured.Unstructured) (*rollout, error) {
	if object.GetKind() != "DaemonSet" {
		return nil, nil
	}
	daemons := &appsv1.DaemonSet{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, daemons); err != nil {
		return nil, fmt.Errorf("reading DaemonSet %s: %w", object.GetName(), err)
	}
	if daemons.Spec.UpdateStrategy.Type != appsv1.OnDeleteDaemonSetStrategyType {
		return nil, nil
	}
	data, err := json.Marshal(daemons.Spec.Template)
	if err != nil {
		return nil, fmt.Errorf("hashing the template of DaemonSet %s: %w", object.GetName(), err)
	}
	sum := sha256.Sum256(data)
	hash := hex.EncodeToString(sum[:8])
	if err := unstructured.SetNestedField(object.Object, hash, "spec", "template", "metadata", "annotations", templateHash); err != nil {
		return nil, fmt.Errorf("writing the hash of the template of DaemonSet %s: %w", object.GetName(), err)
	}
	return &rollout{key: client.ObjectKeyFromObject(object), hash: hash}, nil
}

// chartObjectsOf fetches a chart and renders it, each once for all clusters that have the same.
func (r *DataplaneReconciler) chartObjectsOf(ctx context.Context, s *dataplaneScope, chart calico.Chart) ([]apply.Object, error) {
	archive, err := r.charts.Fetch(ctx, s.source, charts.Reference{Name: chart.Name, Version: chart.Version, Digest: chart.Digest})
	if err != nil {
		return nil, err
	}
	key, err := json.Marshal([]any{archive.Digest, chart.Name, chart.Namespace, chart.Values, s.memory.version})
	if err != nil {
		return nil, fmt.Errorf("reading the values of chart %s: %w", chart.Name, err)
	}
	if found, ok := r.rendered.cache.Get(string(key)); ok {
		if objects, ok := found.([]apply.Object); ok {
			return objects, nil
		}
	}
	manifests, err := charts.Render(archive, charts.Release{Name: chart.Name, Namespace: chart.Namespace, Values: chart.Values, KubeVersion: s.memory.version})
	if err != nil {
		return nil, &charts.UnavailableError{Chart: charts.Reference{Name: chart.Name, Version: chart.Version}, Source: s.source.String(), Err: err, Fix: "use the chart of a supported version of Calico"}
	}
	objects := make([]apply.Object, 0, len(manifests))
	for _, manifest := range manifests {
		object, err := apply.NewObject(manifest, r.Client.Scheme())
		if err != nil {
			return nil, err
		}
		objects = append(objects, object)
	}
	r.rendered.cache.Add(string(key), objects)
	return objects, nil
}
