// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	"sigs.k8s.io/cluster-api/util"
	"sigs.k8s.io/cluster-api/util/annotations"
	capicontroller "sigs.k8s.io/cluster-api/util/controller"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/calico"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/apply"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/charts"
)

// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=edgeclusters,verbs=get;list;watch
// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=edgeclusters/status,verbs=patch
// +kubebuilder:rbac:groups=cluster.x-k8s.io,resources=clusters,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get

// DataplaneReconciler installs the dataplane in workload clusters, keeps it as it is wanted, and rolls changes out node by node. It
// alone writes the condition DataplaneInstalled.
type DataplaneReconciler struct {
	// Client reads from the cache, except Secrets.
	Client client.Client
	// ClusterCache gives access to workload clusters.
	ClusterCache clustercache.ClusterCache
	// WatchFilterValue limits the controller to objects whose label cluster.x-k8s.io/watch-filter has this value.
	WatchFilterValue string
	// Version of this provider, which is the tag of the node agent's image.
	Version string

	controller capicontroller.Controller
	charts     *charts.Fetcher
	rendered   *chartObjects
	sites      siteMemories
}

// dataplaneScope is what one reconciliation knows. Plain data: steps fill it.
type dataplaneScope struct {
	edgeCluster *infrav1.EdgeCluster
	cluster     *clusterv1.Cluster
	// memory of what was done before in this cluster.
	memory *siteMemory

	// access to the workload cluster; set by connect.
	applier apply.Applier
	// input and plan of the installation.
	input calico.Input
	plan  calico.Plan
	// sources of charts and contents of Secrets; set by readSecrets.
	source  charts.Source
	secrets map[secretKey][]byte
	// missing says what is not there that an installation can do without for a while; "" for nothing.
	missing string
	// sets of objects, one for each step of the plan.
	sets []stepObjects

	// condition is the judgement; zero while none was made.
	condition metav1.Condition
	// hint is what to look at when the condition stays for long.
	hint string
	// requeueAfter is when to look again although nothing has happened; 0 for never.
	requeueAfter time.Duration
}

// siteMemory is what the controller remembers of one workload cluster between reconciliations.
type siteMemory struct {
	// owner is the EdgeCluster's UID: a new one of the same name starts afresh.
	owner types.UID
	// applied is nil until it was read.
	applied *apply.State
	// version of the API server, and when it was asked for.
	version      string
	versionAsked time.Time
	// message of the condition, and since when it is the same.
	message string
	since   time.Time
}

// siteMemories by EdgeCluster. Each is used by one reconciliation at a time.
type siteMemories struct {
	mu   sync.Mutex
	byID map[types.NamespacedName]*siteMemory
}

func (m *siteMemories) get(c *infrav1.EdgeCluster) *siteMemory {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byID == nil {
		m.byID = map[types.NamespacedName]*siteMemory{}
	}
	key := client.ObjectKeyFromObject(c)
	if found := m.byID[key]; found != nil && found.owner == c.UID {
		return found
	}
	m.byID[key] = &siteMemory{owner: c.UID}
	return m.byID[key]
}

func (m *siteMemories) forget(key types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byID, key)
}

// Reconcile brings the dataplane of one workload cluster closer to what the EdgeCluster says.
func (r *DataplaneReconciler) Reconcile(ctx context.Context, req ctrl.Request) (result ctrl.Result, reterr error) {
	edgeCluster := &infrav1.EdgeCluster{}
	if err := r.Client.Get(ctx, req.NamespacedName, edgeCluster); err != nil {
		if apierrors.IsNotFound(err) {
			r.sites.forget(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !isWatched(edgeCluster, r.WatchFilterValue) || annotations.IsExternallyManaged(edgeCluster) || !hasDataplane(edgeCluster) {
		return ctrl.Result{}, nil
	}
	cluster, err := util.GetOwnerCluster(ctx, r.Client, edgeCluster.ObjectMeta)
	if client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, fmt.Errorf("reading the Cluster that owns EdgeCluster %s: %w", edgeCluster.Name, err)
	}
	switch {
	case !edgeCluster.DeletionTimestamp.IsZero() || cluster != nil && !cluster.DeletionTimestamp.IsZero():
		// Nothing is uninstalled: the hosts are wiped.
		r.sites.forget(req.NamespacedName)
		return ctrl.Result{}, nil
	case annotations.HasPaused(edgeCluster) || cluster != nil && isTrue(cluster.Spec.Paused):
		return ctrl.Result{}, nil
	}
	s := &dataplaneScope{edgeCluster: edgeCluster, cluster: cluster, memory: r.sites.get(edgeCluster)}
	err = r.reconcile(ctx, s)
	if apierrors.IsConflict(err) {
		// Somebody else wrote at the same time: read again what is there.
		s.memory.applied = nil
		return afterConflict(ctx, err)
	}
	err = s.explain(err)
	err = errors.Join(err, r.writeCondition(ctx, s))
	return ctrl.Result{RequeueAfter: s.requeueAfter}, err
}

func (r *DataplaneReconciler) reconcile(ctx context.Context, s *dataplaneScope) error {
	for _, next := range []func(context.Context, *dataplaneScope) (proceed, error){
		r.waitForOwner,
		r.checkDataplane,
		r.connect,
		r.readSecrets,
		r.planObjects,
		r.install,
	} {
		if goOn, err := next(ctx, s); err != nil || !bool(goOn) {
			return err
		}
	}
	if s.missing != "" {
		s.missSecret("%s; all else is kept up to date", s.missing)
		return nil
	}
	s.judge(metav1.ConditionTrue, infrav1.DataplaneInstalledReason, "")
	return nil
}

func (r *DataplaneReconciler) waitForOwner(_ context.Context, s *dataplaneScope) (proceed, error) {
	if s.cluster == nil {
		return s.wait(infrav1.WaitingForClusterReason, "Waiting for a Cluster to refer to this EdgeCluster"), nil
	}
	return true, nil
}

// connect finds the workload cluster and what was applied to it.
func (r *DataplaneReconciler) connect(ctx context.Context, s *dataplaneScope) (proceed, error) {
	key := client.ObjectKeyFromObject(s.cluster)
	switch {
	case s.input.Endpoint.Host == "":
		return s.wait(infrav1.WaitingForControlPlaneReason, "Waiting for spec.controlPlaneEndpoint, here or on the Cluster"), nil
	case !isTrue(s.cluster.Status.Initialization.ControlPlaneInitialized):
		return s.wait(infrav1.WaitingForControlPlaneReason, "Waiting for the control plane of Cluster %s to be initialized; see its conditions", s.cluster.Name), nil
	}
	cached, err := r.ClusterCache.GetClient(ctx, key)
	if errors.Is(err, clustercache.ErrClusterNotConnected) && r.ClusterCache.GetHealthCheckingState(ctx, key).ConsecutiveFailures == 0 {
		// Not tried yet, as right after our start: nothing is known that was not before.
		s.requeueAfter = retryConnection
		return false, nil
	}
	if err != nil {
		return false, err
	}
	live, err := r.ClusterCache.GetUncachedClient(ctx, key)
	if err != nil {
		return false, err
	}
	s.applier = apply.Applier{Live: live, Cache: cached, Now: time.Now}
	if s.memory.applied == nil {
		s.memory.applied, err = apply.Load(ctx, live, inventoryKey())
		if err != nil {
			return false, err
		}
	}
	return true, r.askVersion(ctx, s)
}
