// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	"sigs.k8s.io/cluster-api/util"
	capicontroller "sigs.k8s.io/cluster-api/util/controller"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/apply"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/charts"
)

// WorkloadCache limits the caches of workload clusters to what the controllers read there: of Nodes what TrimNode leaves, and of kinds of
// which users may have many objects those that the dataplane consists of.
func WorkloadCache() (map[client.Object]cache.ByObject, error) {
	labelled, err := labels.NewRequirement(apply.Label, selection.Exists, nil)
	if err != nil {
		return nil, fmt.Errorf("selecting the dataplane's objects: %w", err)
	}
	ours := cache.ByObject{Label: labels.NewSelector().Add(*labelled)}
	return map[client.Object]cache.ByObject{
		&corev1.Node{}:               {Transform: TrimNode},
		&corev1.ConfigMap{}:          ours,
		&corev1.Namespace{}:          ours,
		&corev1.Secret{}:             ours,
		&corev1.ServiceAccount{}:     ours,
		&rbacv1.ClusterRole{}:        ours,
		&rbacv1.ClusterRoleBinding{}: ours,
		&rbacv1.Role{}:               ours,
		&rbacv1.RoleBinding{}:        ours,
		&appsv1.Deployment{}:         ours,
	}, nil
}

// SetupWithManager starts the controller with its watches.
func (r *DataplaneReconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager, options controller.Options) error {
	log := ctrl.LoggerFrom(ctx).WithValues("controller", "dataplane")
	kind := infrav1.GroupVersion.WithKind("EdgeCluster")
	toEdgeCluster := util.ClusterToInfrastructureMapFunc(ctx, kind, r.Client, &infrav1.EdgeCluster{})
	r.charts, r.rendered = charts.NewFetcher(), newChartObjects()
	var err error
	r.controller, err = capicontroller.NewControllerManagedBy(mgr, log).
		Named("dataplane").
		For(&infrav1.EdgeCluster{}, builder.WithPredicates(dataplanePredicates())).
		WithOptions(options).
		Watches(&clusterv1.Cluster{}, handler.EnqueueRequestsFromMapFunc(toEdgeCluster), clusterConnectionPredicates()).
		Watches(&infrav1.EdgeMachine{}, handler.EnqueueRequestsFromMapFunc(r.clusterOfLabels), machineUplinkPredicates()).
		Watches(&infrav1.EdgeMachineTemplate{}, handler.EnqueueRequestsFromMapFunc(r.clusterOfTemplate), predicate.GenerationChangedPredicate{}).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.clustersOfSecret)).
		WatchesRawSource(r.ClusterCache.GetClusterSource("dataplane", toEdgeCluster)).
		Build(ctx, r)
	if err != nil {
		return fmt.Errorf("setting up the dataplane controller: %w", err)
	}
	return nil
}

// dataplanePredicates keep out changes of an EdgeCluster's status, which is not read.
func dataplanePredicates() predicate.Predicate {
	return predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}, predicate.LabelChangedPredicate{},
		predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
			return len(e.ObjectOld.GetOwnerReferences()) != len(e.ObjectNew.GetOwnerReferences())
		}})
}

// clusterConnectionPredicates let through what the installation reads of a Cluster.
func clusterConnectionPredicates() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok1 := e.ObjectOld.(*clusterv1.Cluster)
		after, ok2 := e.ObjectNew.(*clusterv1.Cluster)
		return !ok1 || !ok2 || before.Generation != after.Generation ||
			isTrue(before.Status.Initialization.ControlPlaneInitialized) != isTrue(after.Status.Initialization.ControlPlaneInitialized)
	}}
}

// machineUplinkPredicates let through machines that come, go, or get a host.
func machineUplinkPredicates() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok1 := e.ObjectOld.(*infrav1.EdgeMachine)
		after, ok2 := e.ObjectNew.(*infrav1.EdgeMachine)
		return !ok1 || !ok2 || before.Generation != after.Generation || recordedHost(before) != recordedHost(after)
	}}
}

func (r *DataplaneReconciler) clusterOfLabels(ctx context.Context, obj client.Object) []reconcile.Request {
	return r.clusterNamed(ctx, obj.GetNamespace(), obj.GetLabels()[clusterv1.ClusterNameLabel])
}

func (r *DataplaneReconciler) clusterOfTemplate(ctx context.Context, obj client.Object) []reconcile.Request {
	owners := indexTemplateCluster(obj)
	if len(owners) == 0 {
		return nil
	}
	return r.clusterNamed(ctx, obj.GetNamespace(), owners[0])
}

// clusterNamed is the site of a Cluster.
func (r *DataplaneReconciler) clusterNamed(ctx context.Context, namespace, name string) []reconcile.Request {
	if name == "" {
		return nil
	}
	cluster, err := util.GetClusterByName(ctx, r.Client, namespace, name)
	if err != nil || !cluster.Spec.InfrastructureRef.IsDefined() {
		return nil
	}
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: namespace, Name: cluster.Spec.InfrastructureRef.Name}}}
}

// clustersOfSecret are the sites that name a Secret. Only Secrets with the label of a cluster are in the cache; others are read again
// every secretAge.
func (r *DataplaneReconciler) clustersOfSecret(ctx context.Context, obj client.Object) []reconcile.Request {
	list := &infrav1.EdgeClusterList{}
	if err := r.Client.List(ctx, list, client.InNamespace(obj.GetNamespace()), client.MatchingFields{secretIndex: obj.GetName()}, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Listing EdgeClusters by their Secrets")
		return nil
	}
	requests := make([]reconcile.Request, 0, len(list.Items))
	for i := range list.Items {
		requests = append(requests, requestFor(&list.Items[i]))
	}
	return requests
}

// indexSecrets are the names of the Secrets that an EdgeCluster's dataplane reads.
func indexSecrets(obj client.Object) []string {
	c, ok := obj.(*infrav1.EdgeCluster)
	if !ok {
		return nil
	}
	var names []string
	add := func(reference *infrav1.SecretReference) {
		if reference != nil {
			names = append(names, reference.Name)
		}
	}
	dataplane := &c.Spec.Dataplane
	add(dataplane.Calico.Charts.Credentials)
	add(dataplane.Calico.Charts.Secret)
	for i := range dataplane.Calico.ImagePullSecrets {
		add(&dataplane.Calico.ImagePullSecrets[i])
	}
	if dataplane.BGP != nil {
		for i := range dataplane.BGP.Peers {
			add(dataplane.BGP.Peers[i].Password)
		}
	}
	if name := c.Labels[clusterv1.ClusterNameLabel]; name != "" && encryptionProtocol(c) == infrav1.ProtocolIPsec {
		names = append(names, pskSecretName(&clusterv1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: name}}))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// watchObjects watches the kinds of the objects in the workload cluster, so that changes of theirs are corrected.
func (r *DataplaneReconciler) watchObjects(ctx context.Context, s *dataplaneScope, objects []apply.Object) error {
	watched := map[schema.GroupVersionKind]bool{}
	for _, object := range objects {
		if watched[object.GroupVersionKind] {
			continue
		}
		watched[object.GroupVersionKind] = true
		if err := r.watchKind(ctx, s, object.GroupVersionKind); err != nil {
			return err
		}
	}
	return nil
}

// watchKind watches a kind in the workload cluster in the form in which it is read: workloads as such, TigeraStatus as it comes, others'
// metadata. A kind that is not served yet is asked for again soon.
func (r *DataplaneReconciler) watchKind(ctx context.Context, s *dataplaneScope, gvk schema.GroupVersionKind) error {
	if _, err := s.applier.Live.RESTMapper().RESTMapping(gvk.GroupKind(), gvk.Version); err != nil {
		if meta.IsNoMatchError(err) {
			s.requeueAfter = retryServed
			return nil
		}
		return fmt.Errorf("looking for kind %s: %w", gvk.Kind, err)
	}
	var kind client.Object
	switch gvk.Kind {
	case "DaemonSet":
		kind = &appsv1.DaemonSet{}
	case "Deployment":
		kind = &appsv1.Deployment{}
	case "TigeraStatus":
		status := &unstructured.Unstructured{}
		status.SetGroupVersionKind(gvk)
		kind = status
	default:
		metadata := &metav1.PartialObjectMetadata{}
		metadata.SetGroupVersionKind(gvk)
		kind = metadata
	}
	return r.watch(ctx, s, "dataplane-"+gvk.GroupKind().String(), kind, objectPredicates())
}

// watchNodes watches what Nodes report of their encryption, which a rollout waits for.
func (r *DataplaneReconciler) watchNodes(ctx context.Context, s *dataplaneScope) error {
	return r.watch(ctx, s, "dataplane-nodes", &corev1.Node{}, predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok1 := e.ObjectOld.(*corev1.Node)
		after, ok2 := e.ObjectNew.(*corev1.Node)
		return !ok1 || !ok2 || reportOf(before).status != reportOf(after).status
	}})
}

// watch a kind in the workload cluster for the EdgeCluster.
func (r *DataplaneReconciler) watch(ctx context.Context, s *dataplaneScope, name string, kind client.Object, filter predicate.Predicate) error {
	request := requestFor(s.edgeCluster)
	return r.ClusterCache.Watch(ctx, client.ObjectKeyFromObject(s.cluster), clustercache.NewWatcher(clustercache.WatcherOptions{
		Name:    name,
		Watcher: r.controller,
		Kind:    kind,
		EventHandler: handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
			return []reconcile.Request{request}
		}),
		Predicates: []predicate.TypedPredicate[client.Object]{filter},
	}))
}

// calicoNamespace holds what the Tigera operator makes.
const calicoNamespace = "calico-system"

// objectPredicates let through what matters, also when it has lost its label. Of a DaemonSet, whose status changes with every pod, they
// let through what is read.
func objectPredicates() predicate.Predicate {
	filter := predicate.NewPredicateFuncs(matters)
	filter.UpdateFunc = func(e event.UpdateEvent) bool {
		return (matters(e.ObjectOld) || matters(e.ObjectNew)) && !isSameDaemonSet(e.ObjectOld, e.ObjectNew)
	}
	return filter
}

// matters tells whether an object of a workload cluster is ours, or Calico's own and awaited.
func matters(obj client.Object) bool {
	_, ours := obj.GetLabels()[apply.Label]
	switch obj.(type) {
	case *appsv1.DaemonSet:
		return ours || obj.GetNamespace() == calicoNamespace
	case *unstructured.Unstructured:
		return true
	default:
		return ours
	}
}

// isSameDaemonSet tells of two versions of a DaemonSet whether they have the same specification and metadata, and the same numbers of
// pods, as far as apply.AwaitDaemonSet and a rollout count them.
func isSameDaemonSet(a, b client.Object) bool {
	before, ok1 := a.(*appsv1.DaemonSet)
	after, ok2 := b.(*appsv1.DaemonSet)
	if !ok1 || !ok2 {
		return false
	}
	counted := func(d *appsv1.DaemonSet) [5]int64 {
		s := d.Status
		return [5]int64{s.ObservedGeneration, int64(s.DesiredNumberScheduled), int64(s.CurrentNumberScheduled), int64(s.UpdatedNumberScheduled), int64(s.NumberReady)}
	}
	return before.UID == after.UID && before.Generation == after.Generation && before.DeletionTimestamp.Equal(after.DeletionTimestamp) &&
		maps.Equal(before.Labels, after.Labels) && maps.Equal(before.Annotations, after.Annotations) && counted(before) == counted(after)
}
