// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ipamv1 "sigs.k8s.io/cluster-api/api/ipam/v1beta2"
	"sigs.k8s.io/cluster-api/util"
	"sigs.k8s.io/cluster-api/util/cache"
	"sigs.k8s.io/cluster-api/util/conditions"
	capicontroller "sigs.k8s.io/cluster-api/util/controller"
	"sigs.k8s.io/cluster-api/util/predicates"
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

// SetupWithManager starts the controller with its watches.
func (r *EdgeMachineReconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager, options controller.Options) error {
	log := ctrl.LoggerFrom(ctx).WithValues("controller", "edgemachine")
	scheme := mgr.GetScheme()
	clusterToMachines, err := util.ClusterToTypedObjectsMapper(r.Client, &infrav1.EdgeMachineList{}, scheme)
	if err != nil {
		return fmt.Errorf("setting up the EdgeMachine controller: %w", err)
	}
	r.hosts = hosts.Writer{Client: r.Client}
	r.written = cache.New[writtenVersion](ctx, writtenTTL)
	r.started = time.Now()
	r.published = cache.New[publishedNode](ctx, publishedTTL)
	r.reports = newNodeReports(ctx)
	r.controller, err = capicontroller.NewControllerManagedBy(mgr, log).
		For(&infrav1.EdgeMachine{}).
		WithOptions(options).
		Watches(&clusterv1.Machine{}, handler.EnqueueRequestsFromMapFunc(
			util.MachineToInfrastructureMapFunc(infrav1.GroupVersion.WithKind("EdgeMachine"))), machinePredicates()).
		Watches(&clusterv1.Cluster{}, handler.EnqueueRequestsFromMapFunc(clusterToMachines),
			predicates.ClusterPausedTransitionsOrInfrastructureProvisioned(scheme, log)).
		Watches(&infrav1.EdgeCluster{}, handler.EnqueueRequestsFromMapFunc(r.machinesOfEdgeCluster), edgeClusterPredicates()).
		Watches(&infrav1.EdgeMachine{}, handler.EnqueueRequestsFromMapFunc(r.machinesWaitingForAddress), networkPredicates()).
		Watches(&bmov1.BareMetalHost{}, r.inventory.before(handler.EnqueueRequestsFromMapFunc(r.machinesOfHost), hostPredicates())).
		Watches(&bmov1.HardwareData{}, handler.EnqueueRequestsFromMapFunc(r.machinesOfHardware), predicate.GenerationChangedPredicate{}).
		Owns(&ipamv1.IPAddressClaim{}).
		Watches(&ipamv1.IPAddress{}, handler.EnqueueRequestsFromMapFunc(r.machineOfAddress), creationsOnly()).
		Owns(&corev1.Secret{}, deletionsOnly()).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.machinesOfBootstrapData), creationsOnly()).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(machineOfKey), predicate.Or(creationsOnly(), deletionsOnly())).
		WatchesRawSource(r.ClusterCache.GetClusterSource("edgemachine", clusterToMachines)).
		Build(ctx, r)
	if err != nil {
		return fmt.Errorf("setting up the EdgeMachine controller: %w", err)
	}
	return nil
}

func requestFor(obj client.Object) reconcile.Request {
	return reconcile.Request{NamespacedName: client.ObjectKeyFromObject(obj)}
}

// machinesBy lists EdgeMachines by an index. An error of the cache leads to no requests: the periodic resync catches up.
func (r *EdgeMachineReconciler) machinesBy(ctx context.Context, field, value string, opts ...client.ListOption) []reconcile.Request {
	list := &infrav1.EdgeMachineList{}
	opts = append(opts, client.MatchingFields{field: value}, client.UnsafeDisableDeepCopy)
	if err := r.Client.List(ctx, list, opts...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Listing EdgeMachines", "index", field)
		return nil
	}
	requests := make([]reconcile.Request, 0, len(list.Items))
	for i := range list.Items {
		requests = append(requests, requestFor(&list.Items[i]))
	}
	return requests
}

func (r *EdgeMachineReconciler) machinesOfEdgeCluster(ctx context.Context, obj client.Object) []reconcile.Request {
	cluster, found := obj.GetLabels()[clusterv1.ClusterNameLabel]
	if !found {
		return nil
	}
	list := &infrav1.EdgeMachineList{}
	if err := r.Client.List(ctx, list, client.InNamespace(obj.GetNamespace()), client.MatchingLabels{clusterv1.ClusterNameLabel: cluster}, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Listing EdgeMachines of a cluster")
		return nil
	}
	requests := make([]reconcile.Request, 0, len(list.Items))
	for i := range list.Items {
		requests = append(requests, requestFor(&list.Items[i]))
	}
	return requests
}

func (r *EdgeMachineReconciler) machinesWaitingForAddress(ctx context.Context, obj client.Object) []reconcile.Request {
	return r.machinesBy(ctx, waitingIndex, waitingForAddress, client.InNamespace(obj.GetNamespace()))
}

// machineOfAddress is the machine that has claimed an address. Its claim may have named the address before it is seen.
func (r *EdgeMachineReconciler) machineOfAddress(ctx context.Context, obj client.Object) []reconcile.Request {
	address, ok := obj.(*ipamv1.IPAddress)
	if !ok {
		return nil
	}
	claim := &ipamv1.IPAddressClaim{}
	if err := r.Client.Get(ctx, client.ObjectKey{Namespace: address.Namespace, Name: address.Spec.ClaimRef.Name}, claim, client.UnsafeDisableDeepCopy); err != nil {
		return nil // a claim that comes later brings its machine itself
	}
	owner := metav1.GetControllerOf(claim)
	if owner == nil || owner.Kind != "EdgeMachine" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: claim.Namespace, Name: owner.Name}}}
}

// machinesOfHost are the machine that holds the host or has chosen it; for a free host all that wait for one.
func (r *EdgeMachineReconciler) machinesOfHost(ctx context.Context, obj client.Object) []reconcile.Request {
	requests := r.machinesOfHardware(ctx, obj)
	host, ok := obj.(*bmov1.BareMetalHost)
	if !ok {
		return requests
	}
	if ref := host.Spec.ConsumerRef; ref != nil && ref.Kind == "EdgeMachine" {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}})
	}
	if hosts.Unavailable(host) == "" {
		requests = append(requests, r.machinesBy(ctx, waitingIndex, waitingForHost, client.InNamespace(host.Namespace))...)
	}
	// What is written on a claimed host may settle who has an address.
	return append(requests, r.machinesWaitingForAddress(ctx, host)...)
}

func (r *EdgeMachineReconciler) machinesOfHardware(ctx context.Context, obj client.Object) []reconcile.Request {
	return r.machinesBy(ctx, hostIndex, obj.GetName(), client.InNamespace(obj.GetNamespace()))
}

// machinesOfNode finds the EdgeMachine of a Node by its provider ID, without one by the name of its host.
func (r *EdgeMachineReconciler) machinesOfNode(namespace string) handler.MapFunc {
	return func(ctx context.Context, obj client.Object) []reconcile.Request {
		node, ok := obj.(*corev1.Node)
		if !ok {
			return nil
		}
		if node.Spec.ProviderID == "" {
			return r.machinesBy(ctx, hostIndex, node.Name, client.InNamespace(namespace))
		}
		path, ours := strings.CutPrefix(node.Spec.ProviderID, infrav1.ProviderIDPrefix)
		parts := strings.Split(path, "/")
		if !ours || len(parts) != 3 {
			return nil
		}
		return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: parts[0], Name: parts[2]}}}
	}
}

// machinesOfBootstrapData are those whose Machine names the Secret. Usually the Secret is there before its name.
func (r *EdgeMachineReconciler) machinesOfBootstrapData(ctx context.Context, obj client.Object) []reconcile.Request {
	list := &clusterv1.MachineList{}
	if err := r.Client.List(ctx, list, client.InNamespace(obj.GetNamespace()), client.MatchingFields{bootstrapIndex: obj.GetName()}, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Listing Machines by their bootstrap data")
		return nil
	}
	requests := make([]reconcile.Request, 0, len(list.Items))
	for _, machine := range list.Items {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKey{Namespace: machine.Namespace, Name: machine.Spec.InfrastructureRef.Name}})
	}
	return requests
}

// creationsOnly lets through what reports that an object is there.
func creationsOnly() predicate.Predicate {
	return predicate.Funcs{
		UpdateFunc:  func(event.UpdateEvent) bool { return false },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// networkPredicates let through what may make an address free: an EdgeMachine that is gone, or whose network was judged anew.
func networkPredicates() predicate.Predicate {
	only := deletionsOnly()
	return predicate.Funcs{
		CreateFunc: only.Create, DeleteFunc: only.Delete, GenericFunc: only.Generic,
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok1 := e.ObjectOld.(*infrav1.EdgeMachine)
			after, ok2 := e.ObjectNew.(*infrav1.EdgeMachine)
			return ok1 && ok2 && conditions.GetReason(before, infrav1.NetworkDataValidCondition) != conditions.GetReason(after, infrav1.NetworkDataValidCondition)
		},
	}
}

// machinePredicates keep out what changes nothing but the status of a Machine, which is not read.
func machinePredicates() predicate.Predicate {
	return predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{})
}

// deletionsOnly lets through what reports that an object is gone.
func deletionsOnly() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		UpdateFunc:  func(event.UpdateEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// edgeClusterPredicates let through what machines read of their EdgeCluster: its specification, and whether its dataplane can work.
func edgeClusterPredicates() predicate.Predicate {
	return predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok1 := e.ObjectOld.(*infrav1.EdgeCluster)
		after, ok2 := e.ObjectNew.(*infrav1.EdgeCluster)
		return ok1 && ok2 && dataplaneProblem(before) != dataplaneProblem(after)
	}})
}

// hostPredicates let through changes of a host that can matter to a machine, and keep out timestamps and power details.
func hostPredicates() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok1 := e.ObjectOld.(*bmov1.BareMetalHost)
		after, ok2 := e.ObjectNew.(*bmov1.BareMetalHost)
		return !ok1 || !ok2 || isHostChange(before, after)
	}}
}

func isHostChange(before, after *bmov1.BareMetalHost) bool {
	return before.Generation != after.Generation ||
		!before.DeletionTimestamp.Equal(after.DeletionTimestamp) ||
		!maps.Equal(before.Labels, after.Labels) ||
		!maps.Equal(before.Annotations, after.Annotations) ||
		before.Status.OperationalStatus != after.Status.OperationalStatus ||
		before.Status.ErrorType != after.Status.ErrorType ||
		before.Status.ErrorMessage != after.Status.ErrorMessage ||
		before.Status.ErrorCount != after.Status.ErrorCount ||
		before.Status.Provisioning.State != after.Status.Provisioning.State ||
		!equality.Semantic.DeepEqual(before.Status.Provisioning.Image, after.Status.Provisioning.Image) ||
		!equality.Semantic.DeepEqual(before.Status.HardwareDetails, after.Status.HardwareDetails)
}
