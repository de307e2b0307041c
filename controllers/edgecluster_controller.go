// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/util/workqueue"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util"
	"sigs.k8s.io/cluster-api/util/annotations"
	capicontroller "sigs.k8s.io/cluster-api/util/controller"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/hosts"
)

// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=edgeclusters,verbs=get;list;watch
// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=edgeclusters/status,verbs=patch
// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=edgeclusters/finalizers,verbs=update

// EdgeClusterReconciler validates a site and tells Cluster API when machines may be created.
type EdgeClusterReconciler struct {
	// Client reads from the cache, except Secrets.
	Client client.Client
	// SecretCache reads the existence of Secrets from the cache; their data is dropped there.
	SecretCache client.Reader
	// WatchFilterValue limits the controller to objects whose label cluster.x-k8s.io/watch-filter has this value.
	WatchFilterValue string

	inventory inventory
}

// clusterScope is what one reconciliation of an EdgeCluster knows.
type clusterScope struct {
	edgeCluster *infrav1.EdgeCluster
	cluster     *clusterv1.Cluster
	// hosts of the namespace, shared with the cache: not to be changed.
	hosts []*bmov1.BareMetalHost
	// selectors of the templates that the cluster's machines are made from.
	selectors []infrav1.HostSelector
	// machines are the names of the cluster's EdgeMachines.
	machines map[string]bool
	// members are the cluster's EdgeMachines, shared with the cache: not to be changed.
	members []infrav1.EdgeMachine
	// keyProblem is what is wrong with the cluster's pre-shared key; nil when nothing is.
	keyProblem *metav1.Condition
	// now is the time of the reconciliation.
	now time.Time
	// requeueAfter is when to look again although nothing has happened; 0 for never.
	requeueAfter time.Duration
}

// Reconcile validates one EdgeCluster.
func (r *EdgeClusterReconciler) Reconcile(ctx context.Context, req ctrl.Request) (result ctrl.Result, reterr error) {
	edgeCluster := &infrav1.EdgeCluster{}
	if err := r.Client.Get(ctx, req.NamespacedName, edgeCluster); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !isWatched(edgeCluster, r.WatchFilterValue) || annotations.IsExternallyManaged(edgeCluster) {
		return ctrl.Result{}, nil
	}
	before := edgeCluster.DeepCopy()
	s := &clusterScope{edgeCluster: edgeCluster, now: time.Now()}
	defer func() {
		result, reterr = afterConflict(ctx, errors.Join(reterr, r.patchStatus(ctx, before, edgeCluster)))
		if result.IsZero() {
			result.RequeueAfter = s.requeueAfter
		}
	}()
	cluster, err := util.GetOwnerCluster(ctx, r.Client, edgeCluster.ObjectMeta)
	if client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, fmt.Errorf("reading the Cluster that owns EdgeCluster %s: %w", edgeCluster.Name, err)
	}
	s.cluster = cluster
	paused := annotations.HasPaused(edgeCluster) || cluster != nil && isTrue(cluster.Spec.Paused)
	setPaused(edgeCluster, paused)
	if paused {
		return ctrl.Result{}, nil
	}
	if cluster != nil {
		if err := r.readInventory(ctx, s); err != nil {
			return ctrl.Result{}, err
		}
		if err := r.ensurePSK(ctx, s); err != nil {
			return ctrl.Result{}, err
		}
	}
	updateClusterStatus(ctx, s, hardwareReader(ctx, r.Client))
	return ctrl.Result{}, nil
}

// readInventory reads hosts, templates and machines of the cluster from the cache.
func (r *EdgeClusterReconciler) readInventory(ctx context.Context, s *clusterScope) error {
	namespace := client.InNamespace(s.edgeCluster.Namespace)
	templates := &infrav1.EdgeMachineTemplateList{}
	if err := r.Client.List(ctx, templates, namespace, client.MatchingFields{templateClusterIndex: s.cluster.Name}, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("listing EdgeMachineTemplates: %w", err)
	}
	machines := &infrav1.EdgeMachineList{}
	if err := r.Client.List(ctx, machines, namespace, client.MatchingLabels{clusterv1.ClusterNameLabel: s.cluster.Name}, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("listing EdgeMachines: %w", err)
	}
	s.hosts = r.inventory.hosts(s.edgeCluster.Namespace)
	for _, template := range templates.Items {
		s.selectors = append(s.selectors, template.Spec.Template.Spec.HostSelector)
	}
	s.members = machines.Items
	s.machines = make(map[string]bool, len(machines.Items))
	for _, machine := range machines.Items {
		s.machines[machine.Name] = true
	}
	return nil
}

// patchStatus writes the status, with an optimistic lock: a patch replaces the list of conditions, in which others have theirs.
func (r *EdgeClusterReconciler) patchStatus(ctx context.Context, before, after *infrav1.EdgeCluster) error {
	if equality.Semantic.DeepEqual(before.Status, after.Status) {
		return nil
	}
	if err := r.Client.Status().Patch(ctx, after.DeepCopy(), client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("writing the status of EdgeCluster %s: %w", after.Name, err)
	}
	return nil
}

// SetupWithManager starts the controller with its watches.
func (r *EdgeClusterReconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager, options controller.Options) error {
	log := ctrl.LoggerFrom(ctx).WithValues("controller", "edgecluster")
	kind := infrav1.GroupVersion.WithKind("EdgeCluster")
	err := capicontroller.NewControllerManagedBy(mgr, log).
		For(&infrav1.EdgeCluster{}).
		WithOptions(options).
		Watches(&clusterv1.Cluster{}, handler.EnqueueRequestsFromMapFunc(
			util.ClusterToInfrastructureMapFunc(ctx, kind, r.Client, &infrav1.EdgeCluster{})), clusterPredicates()).
		Watches(&bmov1.BareMetalHost{}, r.inventory.before(r.gathered(r.clustersOfHost), inventoryPredicates())).
		Watches(&infrav1.EdgeMachine{}, handler.EnqueueRequestsFromMapFunc(r.clusterOfMachine), encryptionPredicates()).
		Owns(&corev1.Secret{}, deletionsOnly()).
		Watches(&infrav1.EdgeMachineTemplate{}, handler.EnqueueRequestsFromMapFunc(r.clustersOfTemplate)).
		Complete(ctx, r)
	if err != nil {
		return fmt.Errorf("setting up the EdgeCluster controller: %w", err)
	}
	return nil
}

// A site waits for more changes of hosts before it counts them again, the longer the more hosts there are. While a large inventory is
// being claimed, every claim would otherwise have every site count every host.
const (
	inventoryDelay        = 2 * time.Second
	inventoryDelayPerHost = 10 * time.Millisecond
)

// gathered is like handler.EnqueueRequestsFromMapFunc, but lets a delay pass in which further events cost nothing.
func (r *EdgeClusterReconciler) gathered(requests handler.MapFunc) handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	add := func(ctx context.Context, obj client.Object, q queue) {
		delay := inventoryDelay + time.Duration(r.inventory.size(obj.GetNamespace()))*inventoryDelayPerHost
		for _, request := range requests(ctx, obj) {
			q.AddAfter(request, delay)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) { add(ctx, e.Object, q) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) { add(ctx, e.ObjectNew, q) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { add(ctx, e.Object, q) },
	}
}

// clusterPredicates let through what an EdgeCluster reads of its Cluster.
func clusterPredicates() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok1 := e.ObjectOld.(*clusterv1.Cluster)
		after, ok2 := e.ObjectNew.(*clusterv1.Cluster)
		return !ok1 || !ok2 || before.Generation != after.Generation || wantedMachines(before) != wantedMachines(after)
	}}
}

// inventoryPredicates let through what changes the number of hosts that a cluster can count on. Claiming a host of the
// cluster's own does not.
func inventoryPredicates() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok1 := e.ObjectOld.(*bmov1.BareMetalHost)
		after, ok2 := e.ObjectNew.(*bmov1.BareMetalHost)
		return !ok1 || !ok2 || isInventoryChange(before, after)
	}}
}

// clustersOfHost are the sites that may count on the host: those with a template that selects its labels, those without
// templates, and the one whose machine holds it.
func (r *EdgeClusterReconciler) clustersOfHost(ctx context.Context, obj client.Object) []reconcile.Request {
	list := &infrav1.EdgeClusterList{}
	if err := r.Client.List(ctx, list, client.InNamespace(obj.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Listing EdgeClusters")
		return nil
	}
	selecting, err := r.clustersSelecting(ctx, obj)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Looking for the clusters of a host")
	}
	holder := r.clusterHolding(ctx, obj)
	var requests []reconcile.Request
	for i := range list.Items {
		cluster := list.Items[i].Labels[clusterv1.ClusterNameLabel]
		if selects, hasTemplates := selecting[cluster]; !hasTemplates || selects || cluster == holder {
			requests = append(requests, requestFor(&list.Items[i]))
		}
	}
	return requests
}

// clustersSelecting tells of each Cluster with templates in the host's namespace whether one of them selects its labels.
func (r *EdgeClusterReconciler) clustersSelecting(ctx context.Context, host client.Object) (map[string]bool, error) {
	templates := &infrav1.EdgeMachineTemplateList{}
	if err := r.Client.List(ctx, templates, client.InNamespace(host.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing EdgeMachineTemplates: %w", err)
	}
	selecting := map[string]bool{}
	for i := range templates.Items {
		selector, err := hosts.Selector(templates.Items[i].Spec.Template.Spec.HostSelector)
		selects := err == nil && selector.Matches(labels.Set(host.GetLabels()))
		for _, cluster := range indexTemplateCluster(&templates.Items[i]) {
			selecting[cluster] = selecting[cluster] || selects
		}
	}
	return selecting, nil
}

// clusterHolding names the Cluster whose machine has claimed the host; "" when none has.
func (r *EdgeClusterReconciler) clusterHolding(ctx context.Context, obj client.Object) string {
	host, ok := obj.(*bmov1.BareMetalHost)
	if !ok || host.Spec.ConsumerRef == nil || host.Spec.ConsumerRef.Kind != "EdgeMachine" {
		return ""
	}
	machine := &infrav1.EdgeMachine{}
	if err := r.Client.Get(ctx, client.ObjectKey{Namespace: host.Namespace, Name: host.Spec.ConsumerRef.Name}, machine); err != nil {
		return ""
	}
	return machine.Labels[clusterv1.ClusterNameLabel]
}

func (r *EdgeClusterReconciler) clustersOfTemplate(ctx context.Context, obj client.Object) []reconcile.Request {
	owners := indexTemplateCluster(obj)
	if len(owners) == 0 {
		return nil
	}
	cluster, err := util.GetClusterByName(ctx, r.Client, obj.GetNamespace(), owners[0])
	if err != nil || !cluster.Spec.InfrastructureRef.IsDefined() {
		return nil
	}
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: cluster.Namespace, Name: cluster.Spec.InfrastructureRef.Name}}}
}
