// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package inprocess runs our controllers inside a test, put together as cmd/manager does: the same indexes, the same cache
// without the data of Secrets, the same ClusterCache.
package inprocess

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/rest"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/edgemetal/cluster-api-provider-edgemetal/controllers"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/integration/wire"
)

// concurrency of the controllers; more than one, so that races have a chance.
const concurrency = 5

// Options of a manager.
type Options struct {
	// Config of the management cluster.
	Config *rest.Config
	// Scheme of all types.
	Scheme *apiruntime.Scheme
	// Namespace that the manager watches.
	Namespace string
	// WatchFilter is the value of --watch-filter.
	WatchFilter string
	// ReportTimeout of node agents; controllers.DefaultReportTimeout unless set.
	ReportTimeout time.Duration
	// Recorder of what the manager writes; may be nil.
	Recorder *wire.Recorder
	// Log of the controllers.
	Log logr.Logger
}

// Manager that is running.
type Manager struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error

	once    sync.Once
	hanging int // ClusterCaches of others when it was killed
}

// Start a manager and wait until its caches are filled.
func Start(ctx context.Context, o Options) (*Manager, error) {
	// The manager outlives the context of the step that starts it.
	ctx, cancel := context.WithCancel(ctrl.LoggerInto(context.WithoutCancel(ctx), o.Log))
	mgr, err := newManager(o)
	if err == nil {
		err = setupControllers(ctx, mgr, o)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	m := &Manager{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(m.done)
		defer cancel()
		m.err = m.run(ctx, mgr)
	}()
	if !mgr.GetCache().WaitForCacheSync(ctx) {
		return nil, errors.Join(errors.New("starting the manager: its cache does not fill"), m.Stop())
	}
	return m, nil
}

// Kill tells the manager to end and does not wait for it.
func (m *Manager) Kill() {
	m.once.Do(func() {
		m.hanging = hangingClusterCaches()
		m.cancel()
	})
}

// Wait until the manager has ended, and return why.
func (m *Manager) Wait() error {
	<-m.done
	return m.err
}

// Stop the manager and wait for its end.
func (m *Manager) Stop() error {
	m.Kill()
	return m.Wait()
}

// run until it is killed. A ClusterCache that hangs is no error of ours.
func (m *Manager) run(ctx context.Context, mgr ctrl.Manager) error {
	err := mgr.Start(ctx)
	if errors.Is(err, context.DeadlineExceeded) && hangingClusterCaches() > m.hanging {
		return nil
	}
	return err
}

// hangingClusterCaches counts those in this process that have connected to a workload cluster and want to tell a controller so
// that has ended meanwhile: nobody reads its channel any more, and a manager waits in vain for its ClusterCache to end.
func hangingClusterCaches() int {
	stacks := make([]byte, 16<<20)
	n := 0
	for stack := range bytes.SplitSeq(stacks[:runtime.Stack(stacks, true)], []byte("\n\n")) {
		if state, calls, _ := bytes.Cut(stack, []byte("\n")); bytes.Contains(state, []byte("[chan send")) && bytes.Contains(calls, []byte(").sendEventsToClusterSources(")) {
			n++
		}
	}
	return n
}

func newManager(o Options) (ctrl.Manager, error) {
	ofCluster, err := labels.NewRequirement(clusterv1.ClusterNameLabel, selection.Exists, nil)
	if err != nil {
		return nil, fmt.Errorf("selecting the Secrets of clusters: %w", err)
	}
	restConfig := rest.CopyConfig(o.Config)
	restConfig.QPS, restConfig.Burst = 100, 200
	restConfig.UserAgent = "capem-integration"
	if o.Recorder != nil {
		restConfig.Wrap(o.Recorder.Wrap)
	}
	mgr, err := ctrl.NewManager(restConfig, ctrl.Options{
		Scheme: o.Scheme,
		Logger: o.Log,
		Controller: config.Controller{
			// Every test has controllers of the same names.
			SkipNameValidation: new(true),
			CacheSyncTimeout:   time.Minute,
			UsePriorityQueue:   new(true),
		},
		Metrics: metricsserver.Options{BindAddress: "0"},
		Cache: cache.Options{
			DefaultTransform:  cache.TransformStripManagedFields(),
			DefaultNamespaces: map[string]cache.Config{o.Namespace: {}},
			ByObject: map[client.Object]cache.ByObject{
				&corev1.Secret{}: {Label: labels.NewSelector().Add(*ofCluster), Transform: controllers.TrimSecret},
			},
		},
		Client: client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
	})
	if err != nil {
		return nil, fmt.Errorf("creating the manager: %w", err)
	}
	return mgr, nil
}

func setupControllers(ctx context.Context, mgr ctrl.Manager, o Options) error {
	if err := controllers.AddIndexes(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	secretCache, err := client.New(mgr.GetConfig(), client.Options{HTTPClient: mgr.GetHTTPClient(), Cache: &client.CacheOptions{Reader: mgr.GetCache()}})
	if err != nil {
		return fmt.Errorf("creating the client for cached Secrets: %w", err)
	}
	options := controller.Options{MaxConcurrentReconciles: concurrency}
	workloadCache, err := controllers.WorkloadCache()
	if err != nil {
		return err
	}
	clusterCache, err := clustercache.SetupWithManager(ctx, mgr, clustercache.Options{
		SecretClient:     secretCache,
		WatchFilterValue: o.WatchFilter,
		Cache: clustercache.CacheOptions{
			DefaultTransform: cache.TransformStripManagedFields(),
			ByObject:         workloadCache,
			Indexes:          []clustercache.CacheOptionsIndex{clustercache.NodeProviderIDIndex},
		},
		Client: clustercache.ClientOptions{QPS: 20, Burst: 30, UserAgent: mgr.GetConfig().UserAgent},
	}, options)
	if err != nil {
		return fmt.Errorf("setting up the ClusterCache: %w", err)
	}
	machines := &controllers.EdgeMachineReconciler{
		Client:             mgr.GetClient(),
		APIReader:          mgr.GetAPIReader(),
		SecretCache:        secretCache,
		ClusterCache:       clusterCache,
		Recorder:           mgr.GetEventRecorder("edgemachine-controller"),
		WatchFilterValue:   o.WatchFilter,
		NodeStartupTimeout: 20 * time.Minute,
		ReportTimeout:      cmp.Or(o.ReportTimeout, controllers.DefaultReportTimeout),
	}
	clusters := &controllers.EdgeClusterReconciler{Client: mgr.GetClient(), SecretCache: secretCache, WatchFilterValue: o.WatchFilter}
	templates := &controllers.EdgeMachineTemplateReconciler{Client: mgr.GetClient(), WatchFilterValue: o.WatchFilter}
	dataplanes := &controllers.DataplaneReconciler{Client: mgr.GetClient(), ClusterCache: clusterCache, WatchFilterValue: o.WatchFilter, Version: "v0.0.0"}
	for _, c := range []interface {
		SetupWithManager(context.Context, ctrl.Manager, controller.Options) error
	}{machines, clusters, templates, dataplanes} {
		if err := c.SetupWithManager(ctx, mgr, options); err != nil {
			return err
		}
	}
	return nil
}
