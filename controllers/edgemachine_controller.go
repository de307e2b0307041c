// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package controllers reconciles EdgeClusters, EdgeMachines and EdgeMachineTemplates.
package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	"sigs.k8s.io/cluster-api/util"
	"sigs.k8s.io/cluster-api/util/annotations"
	"sigs.k8s.io/cluster-api/util/cache"
	capicontroller "sigs.k8s.io/cluster-api/util/controller"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/hosts"
)

// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=edgemachines,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=edgemachines/status,verbs=patch
// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=edgemachines/finalizers,verbs=update
// +kubebuilder:rbac:groups=cluster.x-k8s.io,resources=clusters;clusters/status;machines;machines/status,verbs=get;list;watch
// +kubebuilder:rbac:groups=metal3.io,resources=baremetalhosts,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=metal3.io,resources=hardwaredata,verbs=get;list;watch
// +kubebuilder:rbac:groups=ipam.cluster.x-k8s.io,resources=ipaddressclaims,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups=ipam.cluster.x-k8s.io,resources=ipaddresses,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch;update
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch;update

// EdgeMachineReconciler turns BareMetalHosts into the machines of clusters.
type EdgeMachineReconciler struct {
	// Client reads from the cache, except Secrets.
	Client client.Client
	// APIReader reads from the API server.
	APIReader client.Reader
	// SecretCache reads the existence of Secrets from the cache; their data is dropped there.
	SecretCache client.Reader
	// ClusterCache gives access to workload clusters.
	ClusterCache clustercache.ClusterCache
	// Recorder writes events.
	Recorder events.EventRecorder
	// WatchFilterValue limits the controller to objects whose label cluster.x-k8s.io/watch-filter has this value.
	WatchFilterValue string
	// NodeStartupTimeout is how long a Node is awaited before its machine says that something is wrong with the host.
	NodeStartupTimeout time.Duration
	// ReportTimeout is how long a node agent may be silent before its last report does not count any more.
	ReportTimeout time.Duration

	controller capicontroller.Controller
	inventory  inventory
	hosts      hosts.Writer
	written    cache.Cache[writtenVersion]
	published  cache.Cache[publishedNode]
	reports    *nodeReports
	started    time.Time
}

// ownerGrace is how long nothing is said about the owner that a new EdgeMachine still lacks: Cluster API sets it within
// moments, and a write for that would be one more per machine.
const ownerGrace = 10 * time.Second

// Reconcile brings one EdgeMachine closer to what its spec says.
func (r *EdgeMachineReconciler) Reconcile(ctx context.Context, req ctrl.Request) (result ctrl.Result, reterr error) {
	edgeMachine := &infrav1.EdgeMachine{}
	if err := r.Client.Get(ctx, req.NamespacedName, edgeMachine); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !isWatched(edgeMachine, r.WatchFilterValue) {
		return ctrl.Result{}, nil
	}
	if r.isOutdated(edgeMachine) {
		return ctrl.Result{RequeueAfter: outdatedRetry}, nil
	}
	before := edgeMachine.DeepCopy()
	s := &machineScope{edgeMachine: edgeMachine}
	if err := r.readOwners(ctx, s); err != nil {
		return ctrl.Result{}, err
	}
	if left := ownerGrace - time.Since(edgeMachine.CreationTimestamp.Time); s.machine == nil && left > 0 && edgeMachine.DeletionTimestamp.IsZero() {
		return ctrl.Result{RequeueAfter: left}, nil
	}
	if s.cluster != nil {
		ctx = ctrl.LoggerInto(ctx, ctrl.LoggerFrom(ctx).WithValues("Machine", util.ObjectKey(s.machine), "Cluster", util.ObjectKey(s.cluster)))
	}
	defer func() {
		if apierrors.IsConflict(reterr) {
			// Decided on outdated data: not worth a status.
			result, reterr = afterConflict(ctx, reterr)
			return
		}
		updateMachineStatus(s)
		r.warn(before, edgeMachine)
		err := r.patchStatus(ctx, before, edgeMachine)
		if !edgeMachine.DeletionTimestamp.IsZero() {
			err = client.IgnoreNotFound(err)
		}
		if result, reterr = afterConflict(ctx, errors.Join(reterr, err)); result.IsZero() {
			result.RequeueAfter = s.requeueAfter
		}
	}()
	return ctrl.Result{}, r.reconcile(ctx, s)
}

func (r *EdgeMachineReconciler) reconcile(ctx context.Context, s *machineScope) error {
	paused := annotations.HasPaused(s.edgeMachine) || s.cluster != nil && isTrue(s.cluster.Spec.Paused)
	setPaused(s.edgeMachine, paused)
	switch {
	case paused:
		return r.parkHost(ctx, s)
	case !s.edgeMachine.DeletionTimestamp.IsZero():
		return r.reconcileDelete(ctx, s)
	default:
		return r.reconcileNormal(ctx, s)
	}
}

// step is one part of the lifecycle. It stops by waiting (with a condition) or by an error.
type step func(ctx context.Context, s *machineScope) (proceed, error)

func (r *EdgeMachineReconciler) reconcileNormal(ctx context.Context, s *machineScope) error {
	steps := []step{
		r.waitForCluster,
		r.claimHost,
		r.readHardware,
		r.planNetwork,
		r.waitForRelease,
		r.provideKey,
		r.composeHostConfig,
		r.provisionHost,
		r.linkNode,
		r.judgeEncryption,
	}
	if s.isProvisioned() {
		// What was decided before the disk was written is not decided again.
		steps = []step{r.waitForCluster, r.findProvisionedHost, r.keepKey, r.keepHostConfig, r.observeProvisionedHost, r.linkNode, r.judgeEncryption}
	}
	for _, next := range steps {
		if goOn, err := next(ctx, s); err != nil || !bool(goOn) {
			return err
		}
	}
	return nil
}

// readOwners fills machine, cluster and edgeCluster as far as they exist.
func (r *EdgeMachineReconciler) readOwners(ctx context.Context, s *machineScope) error {
	machine, err := util.GetOwnerMachine(ctx, r.Client, s.edgeMachine.ObjectMeta)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading the Machine that owns EdgeMachine %s: %w", s.edgeMachine.Name, err)
	}
	if machine == nil {
		return nil
	}
	cluster, err := util.GetClusterByName(ctx, r.Client, machine.Namespace, machine.Spec.ClusterName)
	if err != nil {
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("reading Cluster %s: %w", machine.Spec.ClusterName, err)
	}
	s.machine, s.cluster = machine, cluster
	if !cluster.Spec.InfrastructureRef.IsDefined() {
		return nil
	}
	edgeCluster := &infrav1.EdgeCluster{}
	err = r.Client.Get(ctx, client.ObjectKey{Namespace: cluster.Namespace, Name: cluster.Spec.InfrastructureRef.Name}, edgeCluster)
	if err == nil {
		s.edgeCluster = edgeCluster
	}
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading EdgeCluster %s: %w", cluster.Spec.InfrastructureRef.Name, err)
	}
	return nil
}

func (r *EdgeMachineReconciler) waitForCluster(_ context.Context, s *machineScope) (proceed, error) {
	switch {
	case s.machine == nil || s.cluster == nil:
		return s.wait(infrav1.HostClaimedCondition, infrav1.WaitingForClusterReason, "Waiting for a Machine to own this EdgeMachine and for its Cluster to exist"), nil
	case s.edgeCluster == nil:
		return s.wait(infrav1.HostClaimedCondition, infrav1.WaitingForClusterReason, "Waiting for the EdgeCluster that Cluster %s refers to; create it or correct spec.infrastructureRef", s.cluster.Name), nil
	case !s.isProvisioned() && !isTrue(s.cluster.Status.Initialization.InfrastructureProvisioned):
		return s.wait(infrav1.HostClaimedCondition, infrav1.WaitingForClusterReason, "Waiting for EdgeCluster %s to be provisioned; see its conditions", s.edgeCluster.Name), nil
	default:
		return true, nil
	}
}

func isTrue(b *bool) bool { return b != nil && *b }

func isControlPlane(machine *clusterv1.Machine) bool { return util.IsControlPlaneMachine(machine) }

// isWatched tells whether an object is this manager's: with --watch-filter only those with the label are.
func isWatched(obj metav1.Object, watchFilter string) bool {
	return watchFilter == "" || obj.GetLabels()[clusterv1.WatchLabel] == watchFilter
}
