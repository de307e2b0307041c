// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ipamv1 "sigs.k8s.io/cluster-api/api/ipam/v1beta2"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	"sigs.k8s.io/cluster-api/util/apiwarnings"
	"sigs.k8s.io/cluster-api/util/flags"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/healthz"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/controllers"
)

// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=get;create;update,namespace=capem-system
// +kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create
// +kubebuilder:rbac:groups=authorization.k8s.io,resources=subjectaccessreviews,verbs=create

const controllerName = "cluster-api-edgemetal-manager"

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, clusterv1.AddToScheme, ipamv1.AddToScheme, bmov1.AddToScheme, infrav1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("building the scheme: %w", err)
		}
	}
	return scheme, nil
}

func newManager(restConfig *rest.Config, o *options) (ctrl.Manager, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	_, metricsOptions, err := flags.GetManagerOptions(o.manager)
	if err != nil {
		return nil, fmt.Errorf("reading flags: %w", err)
	}
	restConfig.QPS, restConfig.Burst = o.kubeAPIQPS, o.kubeAPIBurst
	restConfig.UserAgent = controllerName + "/" + buildVersion()
	restConfig.WarningHandler = apiwarnings.DefaultHandler(ctrl.Log.WithName("API Server Warning"))
	cacheOptions, err := cacheOptions(o)
	if err != nil {
		return nil, err
	}
	mgr, err := ctrl.NewManager(restConfig, ctrl.Options{
		Scheme:                        scheme,
		Controller:                    config.Controller{CacheSyncTimeout: 5 * time.Minute, UsePriorityQueue: new(true)},
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              "controller-leader-election-capem",
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &o.leaderElectLeaseDuration,
		RenewDeadline:                 &o.leaderElectRenewDeadline,
		RetryPeriod:                   &o.leaderElectRetryPeriod,
		HealthProbeBindAddress:        o.healthAddr,
		PprofBindAddress:              o.profilerAddress,
		Metrics:                       *metricsOptions,
		Cache:                         cacheOptions,
		// Secrets are read from the API server: the cache keeps their data only where noted in cacheOptions.
		Client: client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
	})
	if err != nil {
		return nil, fmt.Errorf("creating the manager: %w", err)
	}
	for name, add := range map[string]func(string, healthz.Checker) error{"healthz": mgr.AddHealthzCheck, "readyz": mgr.AddReadyzCheck} {
		if err := add(name, healthz.Ping); err != nil {
			return nil, fmt.Errorf("adding health check %s: %w", name, err)
		}
	}
	return mgr, nil
}

// cacheOptions limit the cache to what the controllers read: the Secrets of clusters, trimmed, and nothing of managed fields.
func cacheOptions(o *options) (cache.Options, error) {
	ofCluster, err := labels.NewRequirement(clusterv1.ClusterNameLabel, selection.Exists, nil)
	if err != nil {
		return cache.Options{}, fmt.Errorf("selecting the Secrets of clusters: %w", err)
	}
	options := cache.Options{
		SyncPeriod:       &o.syncPeriod,
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}:      {Label: labels.NewSelector().Add(*ofCluster), Transform: controllers.TrimSecret},
			&clusterv1.Machine{}:  {Transform: dropMachineStatus},
			&bmov1.HardwareData{}: {Transform: dropHardwareDetails},
		},
	}
	if o.namespace != "" {
		options.DefaultNamespaces = map[string]cache.Config{o.namespace: {}}
	}
	return options, nil
}

// dropMachineStatus keeps of a Machine what it asks for; how far it is comes from our own objects.
func dropMachineStatus(obj any) (any, error) {
	if machine, ok := obj.(*clusterv1.Machine); ok {
		machine.ManagedFields = nil
		machine.Status = clusterv1.MachineStatus{}
	}
	return obj, nil
}

// dropHardwareDetails leaves out of inspection results what no host is chosen by: a CPU alone has more than 100 flags.
func dropHardwareDetails(obj any) (any, error) {
	if data, ok := obj.(*bmov1.HardwareData); ok {
		data.ManagedFields = nil
		if data.Spec.HardwareDetails != nil {
			data.Spec.HardwareDetails.CPU.Flags = nil
			data.Spec.HardwareDetails.Firmware = bmov1.Firmware{}
		}
	}
	return obj, nil
}

func setupControllers(ctx context.Context, mgr ctrl.Manager, o *options) error {
	if err := controllers.AddIndexes(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	// A client that reads Secrets from the cache.
	secretCache, err := client.New(mgr.GetConfig(), client.Options{HTTPClient: mgr.GetHTTPClient(), Cache: &client.CacheOptions{Reader: mgr.GetCache()}})
	if err != nil {
		return fmt.Errorf("creating the client for cached Secrets: %w", err)
	}
	workloadCache, err := controllers.WorkloadCache()
	if err != nil {
		return err
	}
	clusterCache, err := clustercache.SetupWithManager(ctx, mgr, clustercache.Options{
		SecretClient:     secretCache,
		WatchFilterValue: o.watchFilter,
		Cache: clustercache.CacheOptions{
			DefaultTransform: cache.TransformStripManagedFields(),
			ByObject:         workloadCache,
			Indexes:          []clustercache.CacheOptionsIndex{clustercache.NodeProviderIDIndex},
		},
		Client: clustercache.ClientOptions{QPS: o.clusterCacheQPS, Burst: o.clusterCacheBurst, UserAgent: mgr.GetConfig().UserAgent},
	}, concurrency(o.clusterCacheConcurrency))
	if err != nil {
		return fmt.Errorf("setting up the ClusterCache: %w", err)
	}
	for _, c := range []struct {
		controller interface {
			SetupWithManager(context.Context, ctrl.Manager, controller.Options) error
		}
		concurrency int
	}{
		{&controllers.EdgeMachineReconciler{
			Client:             mgr.GetClient(),
			APIReader:          mgr.GetAPIReader(),
			SecretCache:        secretCache,
			ClusterCache:       clusterCache,
			Recorder:           mgr.GetEventRecorder("edgemachine-controller"),
			WatchFilterValue:   o.watchFilter,
			NodeStartupTimeout: o.nodeStartupTimeout,
			ReportTimeout:      controllers.DefaultReportTimeout,
		}, o.edgeMachineConcurrency},
		{&controllers.EdgeClusterReconciler{Client: mgr.GetClient(), SecretCache: secretCache, WatchFilterValue: o.watchFilter}, o.edgeClusterConcurrency},
		{&controllers.EdgeMachineTemplateReconciler{Client: mgr.GetClient(), WatchFilterValue: o.watchFilter}, o.edgeMachineTemplateConcurrency},
		{&controllers.DataplaneReconciler{Client: mgr.GetClient(), ClusterCache: clusterCache, WatchFilterValue: o.watchFilter, Version: imageTag()}, o.dataplaneConcurrency},
	} {
		if err := c.controller.SetupWithManager(ctx, mgr, concurrency(c.concurrency)); err != nil {
			return err
		}
	}
	return nil
}

func concurrency(n int) controller.Options { return controller.Options{MaxConcurrentReconciles: n} }
