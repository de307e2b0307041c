// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"maps"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
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

// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=edgemachinetemplates;edgeclustertemplates,verbs=get;list;watch
// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=edgemachinetemplates/status,verbs=patch

// EdgeMachineTemplateReconciler tells the cluster autoscaler what Nodes a template would make.
type EdgeMachineTemplateReconciler struct {
	// Client reads from the cache.
	Client client.Client
	// WatchFilterValue limits the controller to objects whose label cluster.x-k8s.io/watch-filter has this value.
	WatchFilterValue string
}

// Reconcile computes the status of one EdgeMachineTemplate.
func (r *EdgeMachineTemplateReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	template := &infrav1.EdgeMachineTemplate{}
	if err := r.Client.Get(ctx, req.NamespacedName, template); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !isWatched(template, r.WatchFilterValue) || annotations.HasPaused(template) || !template.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	selector := template.Spec.Template.Spec.HostSelector
	labels, err := hosts.Selector(selector)
	if err != nil {
		ctrl.LoggerFrom(ctx).Info("The template has an invalid hostSelector", "error", err.Error())
		return ctrl.Result{}, nil
	}
	all := &bmov1.BareMetalHostList{}
	err = r.Client.List(ctx, all, client.InNamespace(template.Namespace), client.MatchingLabelsSelector{Selector: labels}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("listing BareMetalHosts: %w", err)
	}
	before := template.DeepCopy()
	template.Status = templateStatus(hosts.Request{Labels: labels, Hardware: selector.Hardware}, all.Items, hardwareReader(ctx, r.Client))
	if equality.Semantic.DeepEqual(before.Status, template.Status) {
		return ctrl.Result{}, nil
	}
	if err := r.Client.Status().Patch(ctx, template, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, fmt.Errorf("writing the status of EdgeMachineTemplate %s: %w", template.Name, err)
	}
	return ctrl.Result{}, nil
}

// templateStatus is what every host that the request matches has at least.
func templateStatus(request hosts.Request, all []bmov1.BareMetalHost, hardwareOf hosts.HardwareOf) infrav1.EdgeMachineTemplateStatus {
	status := infrav1.EdgeMachineTemplateStatus{}
	architectures := map[string]bool{}
	for i := range all {
		host := &all[i]
		found := hardwareOf(host)
		if found == nil || !request.Matches(host, hardwareOf) {
			continue
		}
		if status.Capacity == nil {
			status.Capacity = corev1.ResourceList{}
		}
		keepSmaller(status.Capacity, corev1.ResourceCPU, *resource.NewQuantity(int64(found.CPU.Count), resource.DecimalSI))
		keepSmaller(status.Capacity, corev1.ResourceMemory, *resource.NewQuantity(int64(found.RAMMebibytes)<<20, resource.BinarySI))
		keepSmaller(status.Capacity, corev1.ResourceEphemeralStorage, *resource.NewQuantity(hosts.RootDiskBytes(host.Spec.RootDeviceHints, found.Storage), resource.BinarySI))
		architectures[hosts.Architecture(found.CPU.Arch)] = true
	}
	if status.Capacity == nil {
		return status
	}
	status.NodeInfo.OperatingSystem = "linux"
	for architecture := range maps.Keys(architectures) {
		if len(architectures) == 1 && (architecture == "amd64" || architecture == "arm64") {
			status.NodeInfo.Architecture = architecture
		}
	}
	return status
}

func keepSmaller(capacity corev1.ResourceList, name corev1.ResourceName, have resource.Quantity) {
	if smallest, found := capacity[name]; !found || have.Cmp(smallest) < 0 {
		capacity[name] = have
	}
}

// SetupWithManager starts the controller with its watches.
func (r *EdgeMachineTemplateReconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager, options controller.Options) error {
	log := ctrl.LoggerFrom(ctx).WithValues("controller", "edgemachinetemplate")
	err := capicontroller.NewControllerManagedBy(mgr, log).
		For(&infrav1.EdgeMachineTemplate{}).
		WithOptions(options).
		Watches(&bmov1.BareMetalHost{}, handler.EnqueueRequestsFromMapFunc(r.templatesOfNamespace), hardwarePredicates()).
		Watches(&bmov1.HardwareData{}, handler.EnqueueRequestsFromMapFunc(r.templatesOfNamespace), predicate.GenerationChangedPredicate{}).
		Complete(ctx, r)
	if err != nil {
		return fmt.Errorf("setting up the EdgeMachineTemplate controller: %w", err)
	}
	return nil
}

// hardwarePredicates let through changes of a host's labels, hardware and root disk.
func hardwarePredicates() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok1 := e.ObjectOld.(*bmov1.BareMetalHost)
		after, ok2 := e.ObjectNew.(*bmov1.BareMetalHost)
		return !ok1 || !ok2 || !maps.Equal(before.Labels, after.Labels) ||
			!equality.Semantic.DeepEqual(before.Status.HardwareDetails, after.Status.HardwareDetails) ||
			!equality.Semantic.DeepEqual(before.Spec.RootDeviceHints, after.Spec.RootDeviceHints)
	}}
}

func (r *EdgeMachineTemplateReconciler) templatesOfNamespace(ctx context.Context, obj client.Object) []reconcile.Request {
	list := &infrav1.EdgeMachineTemplateList{}
	if err := r.Client.List(ctx, list, client.InNamespace(obj.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Listing EdgeMachineTemplates")
		return nil
	}
	requests := make([]reconcile.Request, 0, len(list.Items))
	for i := range list.Items {
		requests = append(requests, requestFor(&list.Items[i]))
	}
	return requests
}
