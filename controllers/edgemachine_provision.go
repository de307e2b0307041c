// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	"sigs.k8s.io/cluster-api/util"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/cluster-api/util/index"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/hosts"
)

// provisionHost asks for the image and waits until the host runs it.
func (r *EdgeMachineReconciler) provisionHost(ctx context.Context, s *machineScope) (proceed, error) {
	host, err := r.hosts.Provision(ctx, s.host, hosts.Order{
		Image:             wantedImage(s.edgeMachine.Spec.Image),
		ConfigSecret:      hostConfigName(s.edgeMachine),
		AutomatedCleaning: s.edgeMachine.Spec.AutomatedCleaning,
	})
	if err != nil {
		return false, err
	}
	s.host = host
	if goOn := s.observeHost(); !bool(goOn) {
		return false, nil
	}
	if err := r.patchMachine(ctx, s, func(m *infrav1.EdgeMachine) { m.Spec.ProviderID = providerID(m, host.Name) }); err != nil {
		return false, err
	}
	return true, nil
}

// observeProvisionedHost reports on a host that was provisioned, and goes on in any case: a Node may well run on a host
// whose BMC does not answer.
func (r *EdgeMachineReconciler) observeProvisionedHost(_ context.Context, s *machineScope) (proceed, error) {
	s.observeHost()
	return true, nil
}

// observeHost judges HostProvisioned from what baremetal-operator reports.
func (s *machineScope) observeHost() proceed {
	status := s.host.Status
	image := status.Provisioning.Image
	wanted := wantedImage(s.edgeMachine.Spec.Image)
	switch {
	case status.ErrorMessage != "" || status.OperationalStatus == bmov1.OperationalStatusError:
		return s.wait(infrav1.HostProvisionedCondition, infrav1.HostErrorReason, "%s", hostError(s.host))
	case status.Provisioning.State != bmov1.StateProvisioned:
		return s.wait(infrav1.HostProvisionedCondition, infrav1.HostProvisioningReason, "BareMetalHost %s is %s", s.host.Name, hostState(s.host))
	case image.URL != wanted.URL || image.Checksum != wanted.Checksum:
		return s.wait(infrav1.HostProvisionedCondition, infrav1.HostProvisioningReason, "BareMetalHost %s runs image %s instead of %s", s.host.Name, image.URL, wanted.URL)
	default:
		return s.reached(infrav1.HostProvisionedCondition, infrav1.HostProvisionedReason, "")
	}
}

// hostError is baremetal-operator's own text.
func hostError(host *bmov1.BareMetalHost) string {
	status := host.Status
	return fmt.Sprintf("BareMetalHost %s (%s): %s: %s (%d errors; baremetal-operator tries again)",
		host.Name, hostState(host), status.ErrorType, status.ErrorMessage, status.ErrorCount)
}

// hostState names the state of the host, and what keeps it from changing.
func hostState(host *bmov1.BareMetalHost) string {
	state := string(host.Status.Provisioning.State)
	switch {
	case state == "":
		state = "not registered yet"
	case hosts.IsIdle(host) && host.Spec.Image != nil:
		// The moment until baremetal-operator begins is not worth a write of its own.
		state = string(bmov1.StateProvisioning)
	}
	if _, paused := host.Annotations[bmov1.PausedAnnotation]; paused {
		state += ", and paused by the annotation " + bmov1.PausedAnnotation
	}
	if _, detached := host.Annotations[bmov1.DetachedAnnotation]; detached {
		state += ", and detached by the annotation " + bmov1.DetachedAnnotation
	}
	return state
}

func wantedImage(image infrav1.Image) bmov1.Image {
	wanted := bmov1.Image{URL: image.URL, Checksum: image.Checksum, ChecksumType: bmov1.ChecksumType(image.ChecksumType)}
	if image.Format != "" {
		wanted.DiskFormat = &image.Format
	}
	return wanted
}

// linkNode finds the Node of the machine in the workload cluster.
func (r *EdgeMachineReconciler) linkNode(ctx context.Context, s *machineScope) (proceed, error) {
	remote, err := r.remoteClient(ctx, s)
	if errors.Is(err, clustercache.ErrClusterNotConnected) {
		if s.wasLinked() {
			if r.ClusterCache.GetHealthCheckingState(ctx, util.ObjectKey(s.cluster)).LastProbeTime.IsZero() {
				// This manager has just started and not tried yet: what was linked stays so until a connection fails.
				return true, nil
			}
			return s.wait(infrav1.NodeLinkedCondition, infrav1.WorkloadClusterUnreachableReason, "The API server of the workload cluster does not answer"), nil
		}
		return s.wait(infrav1.NodeLinkedCondition, infrav1.WaitingForNodeReason, "Waiting for the API server of the workload cluster to answer"), nil
	}
	if err != nil {
		return false, fmt.Errorf("connecting to the workload cluster: %w", err)
	}
	nodes := &corev1.NodeList{}
	if err := remote.List(ctx, nodes, client.MatchingFields{index.NodeProviderIDField: s.edgeMachine.Spec.ProviderID}); err != nil {
		return false, fmt.Errorf("listing Nodes of the workload cluster: %w", err)
	}
	if len(nodes.Items) == 0 {
		return r.adoptNode(ctx, s, remote)
	}
	s.node = &nodes.Items[0]
	return s.reached(infrav1.NodeLinkedCondition, infrav1.NodeLinkedReason, "Node %s", s.node.Name), nil
}

// adoptNode sets the provider ID on a Node that registered under the host's name without one: its kubelet was started by
// something that does not read the arguments we leave for it, such as k3s or RKE2.
func (r *EdgeMachineReconciler) adoptNode(ctx context.Context, s *machineScope, remote client.Client) (proceed, error) {
	node := &corev1.Node{}
	err := remote.Get(ctx, client.ObjectKey{Name: s.edgeMachine.Annotations[infrav1.HostAnnotation]}, node)
	switch {
	case apierrors.IsNotFound(err):
		return s.wait(infrav1.NodeLinkedCondition, infrav1.WaitingForNodeReason,
			"Waiting for a Node with provider ID %s; if it does not come, look at the console of BareMetalHost %s", s.edgeMachine.Spec.ProviderID, s.edgeMachine.Annotations[infrav1.HostAnnotation]), nil
	case err != nil:
		return false, fmt.Errorf("reading the Node of the workload cluster: %w", err)
	case node.Spec.ProviderID != "":
		return s.wait(infrav1.NodeLinkedCondition, infrav1.NodeProviderIDConflictReason,
			"Node %s has provider ID %s instead of %s; it belongs to an earlier machine or to a kubelet argument: delete the Node or remove the argument", node.Name, node.Spec.ProviderID, s.edgeMachine.Spec.ProviderID), nil
	}
	before := node.DeepCopy()
	node.Spec.ProviderID = s.edgeMachine.Spec.ProviderID
	if err := remote.Patch(ctx, node, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return false, fmt.Errorf("setting the provider ID of Node %s: %w", node.Name, err)
	}
	s.node = node
	return s.reached(infrav1.NodeLinkedCondition, infrav1.NodeLinkedReason, "Node %s", node.Name), nil
}

// remoteClient connects to the workload cluster and sees to it that its Nodes are watched.
func (r *EdgeMachineReconciler) remoteClient(ctx context.Context, s *machineScope) (client.Client, error) {
	cluster := util.ObjectKey(s.cluster)
	remote, err := r.ClusterCache.GetClient(ctx, cluster)
	if err != nil {
		return nil, err
	}
	return remote, r.ClusterCache.Watch(ctx, cluster, clustercache.NewWatcher(clustercache.WatcherOptions{
		Name:         "edgemachine-nodes",
		Watcher:      r.controller,
		Kind:         &corev1.Node{},
		EventHandler: handler.EnqueueRequestsFromMapFunc(r.machinesOfNode(s.cluster.Namespace)),
		Predicates:   nodePredicates(),
	}))
}

// wasLinked tells whether the Node has been seen before.
func (s *machineScope) wasLinked() bool {
	reason := conditions.GetReason(s.edgeMachine, infrav1.NodeLinkedCondition)
	return reason == infrav1.NodeLinkedReason || reason == infrav1.WorkloadClusterUnreachableReason
}
