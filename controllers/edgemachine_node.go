// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	"sigs.k8s.io/cluster-api/util"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/cluster-api/util/index"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// linkNode finds the Node of the machine in the workload cluster, and publishes on it what other nodes need to know.
func (r *EdgeMachineReconciler) linkNode(ctx context.Context, s *machineScope) (proceed, error) {
	untried := r.isUntried(ctx, s)
	remote, err := r.remoteClient(ctx, s)
	if errors.Is(err, clustercache.ErrClusterNotConnected) {
		if !s.wasLinked() {
			return s.awaitNode("the API server of the workload cluster to answer", r.NodeStartupTimeout, time.Now()), nil
		}
		if untried {
			// What was linked stays so until a connection fails. Nobody tells when a first one does, so it is looked at again.
			s.lookAgainIn(r.probeRetry())
			return true, nil
		}
		return s.waitForNode(infrav1.WorkloadClusterUnreachableReason, "The API server of the workload cluster does not answer"), nil
	}
	if err != nil {
		return false, fmt.Errorf("connecting to the workload cluster: %w", err)
	}
	node, err := r.findNode(ctx, s, remote)
	switch {
	case err != nil:
		return false, err
	case node == nil:
		return s.awaitNode("a Node with provider ID "+s.edgeMachine.Spec.ProviderID, r.NodeStartupTimeout, time.Now()), nil
	case node.Spec.ProviderID != "" && node.Spec.ProviderID != s.edgeMachine.Spec.ProviderID:
		return s.waitForNode(infrav1.NodeProviderIDConflictReason,
			"Node %s has provider ID %s instead of %s; it belongs to an earlier machine or to a kubelet argument: delete the Node or remove the argument", node.Name, node.Spec.ProviderID, s.edgeMachine.Spec.ProviderID), nil
	}
	if err := r.prepareNode(ctx, s, remote, node); err != nil {
		if s.givenUp == nil {
			return false, err
		}
		_, judging := r.judgeEncryption(ctx, s)
		return false, errors.Join(err, judging)
	}
	return s.reached(infrav1.NodeLinkedCondition, infrav1.NodeLinkedReason, "Node %s", s.node.Name), nil
}

const (
	// probeInterval is when to look again whether the first connection to a workload cluster was made or has failed.
	probeInterval = 2 * time.Second
	// probeTimeout is how long that may take after this manager has started.
	probeTimeout = time.Minute
)

// probeRetry is when to look again: often while the manager starts, for a cluster that it is given later as often as its start may take.
func (r *EdgeMachineReconciler) probeRetry() time.Duration {
	if time.Since(r.started) < probeTimeout {
		return probeInterval
	}
	return probeTimeout
}

// isUntried tells whether this manager has not tried to connect to the workload cluster yet. It is to be asked before the connection is
// asked for: one that is made in between would pass for one that was lost.
func (r *EdgeMachineReconciler) isUntried(ctx context.Context, s *machineScope) bool {
	return r.ClusterCache.GetHealthCheckingState(ctx, util.ObjectKey(s.cluster)).LastProbeTime.IsZero()
}

// awaitNode waits for what a booted host brings. What goes wrong inside of it nobody tells but its console, so a wait that takes longer
// than the timeout says that; it goes on all the same.
func (s *machineScope) awaitNode(what string, timeout time.Duration, now time.Time) proceed {
	look := fmt.Sprintf("look at the console of BareMetalHost %s", s.edgeMachine.Annotations[infrav1.HostAnnotation])
	if s.host != nil && s.host.Spec.BMC.Address != "" {
		look += ", through its BMC " + s.host.Spec.BMC.Address
	}
	left := timeout
	if linked := conditions.Get(s.edgeMachine, infrav1.NodeLinkedCondition); linked != nil && linked.Status == metav1.ConditionFalse {
		left -= now.Sub(linked.LastTransitionTime.Time)
	}
	if left > 0 {
		s.lookAgainIn(left)
		return s.waitForNode(infrav1.WaitingForNodeReason, "Waiting for %s; if that takes more than %s, %s", what, timeout, look)
	}
	return s.waitForNode(infrav1.NodeStartupTimeoutReason,
		"Waited more than %s for %s: the host does not boot or has no network, or cloud-init or kubeadm has failed on it; %s", timeout, what, look)
}

// waitForNode also takes back what was known of the Node's encryption: it is proved for as long as the Node is seen.
func (s *machineScope) waitForNode(reason, format string, args ...any) proceed {
	if s.isEncrypted() {
		s.judgeUnknown(infrav1.EncryptionReadyCondition, reason, fmt.Sprintf(format, args...))
	}
	return s.wait(infrav1.NodeLinkedCondition, reason, format, args...)
}

// findNode finds the Node with the machine's provider ID; failing that the one with the host's name, nil when there is none either. The
// latter may have no provider ID, when its kubelet was started by something that does not read the arguments we leave for it.
func (r *EdgeMachineReconciler) findNode(ctx context.Context, s *machineScope, remote client.Client) (*corev1.Node, error) {
	nodes := &corev1.NodeList{}
	if err := remote.List(ctx, nodes, client.MatchingFields{index.NodeProviderIDField: s.edgeMachine.Spec.ProviderID}); err != nil {
		return nil, fmt.Errorf("listing Nodes of the workload cluster: %w", err)
	}
	if len(nodes.Items) > 0 {
		return &nodes.Items[0], nil
	}
	node := &corev1.Node{}
	err := remote.Get(ctx, client.ObjectKey{Name: s.edgeMachine.Annotations[infrav1.HostAnnotation]}, node)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the Node of the workload cluster: %w", err)
	}
	return node, nil
}

// publishedTTL is for how long a Node is not written again to say the same. Somebody who keeps changing it back is reported instead.
const publishedTTL = 10 * time.Minute

// publishedNode remembers what this manager has written to a Node.
type publishedNode struct {
	machine types.UID
	node    types.UID
	// version of the Node as written.
	version string
	key     string
	domain  string
	// silence is the heartbeat of the report that was given up; zero for none.
	silence time.Time
}

// Key identifies the EdgeMachine.
func (p publishedNode) Key() string { return string(p.machine) }

// prepareNode publishes on the Node, in one request, the machine's public key and failure domain, and sets the provider ID and the
// start-up taint where the kubelet has not. Other nodes must know the key before the Node's first route reaches them. When the node agent
// has fallen silent, the Node gets the taint, and its condition says that nothing is known.
func (r *EdgeMachineReconciler) prepareNode(ctx context.Context, s *machineScope, remote client.Client, node *corev1.Node) error {
	s.node = node
	r.checkReport(s, node)
	wanted := s.wantedNode(node)
	if equality.Semantic.DeepEqual(node, wanted) {
		return nil
	}
	next := publishedNode{machine: s.edgeMachine.UID, node: node.UID, key: s.edgeMachine.Status.WireGuardPublicKey, domain: s.failureDomain()}
	if isGivenUp(wanted) {
		next.silence = nodeEncryption(wanted).LastHeartbeatTime.Time
	}
	last, written := r.published.Has(next.Key())
	if written && last.node == node.UID {
		if order, err := resourceversion.CompareResourceVersion(node.ResourceVersion, last.version); err == nil && order < 0 {
			return apierrors.NewConflict(schema.GroupResource{Resource: "nodes"}, node.Name, errors.New("the cache has not seen our patch yet"))
		}
		if last.key == next.key && last.domain == next.domain && last.silence.Equal(next.silence) {
			s.disputed = true
			s.lookAgainIn(publishedTTL)
			return nil
		}
	}
	if err := writeNode(ctx, remote, node, wanted); err != nil {
		return err
	}
	s.node, next.version = wanted, wanted.ResourceVersion
	r.published.Add(next)
	return nil
}

// writeNode makes a Node as it is wanted: what a node loses is taken from it before that is told.
func writeNode(ctx context.Context, remote client.Client, node, wanted *corev1.Node) error {
	condition := nodeEncryption(wanted)
	isToldAnew := !equality.Semantic.DeepEqual(nodeEncryption(node), condition)
	wanted.Status = *node.Status.DeepCopy()
	if !equality.Semantic.DeepEqual(node, wanted) {
		from := client.MergeFrom(node.DeepCopy())
		if node.Spec.ProviderID != wanted.Spec.ProviderID || len(node.Spec.Taints) != len(wanted.Spec.Taints) {
			// A merge patch replaces the list of taints, and a provider ID can be set only once.
			from = client.MergeFromWithOptions(node.DeepCopy(), client.MergeFromWithOptimisticLock{})
		}
		if err := remote.Patch(ctx, wanted, from); err != nil {
			return fmt.Errorf("preparing Node %s: %w", node.Name, err)
		}
	}
	if !isToldAnew {
		return nil
	}
	return giveUpReport(ctx, remote, wanted, condition)
}

// wantedNode is the Node as it should be.
func (s *machineScope) wantedNode(node *corev1.Node) *corev1.Node {
	wanted := node.DeepCopy()
	wanted.Spec.ProviderID = s.edgeMachine.Spec.ProviderID
	// A key of its own that VPP really has is kept: with ours nobody could talk to the node. The node agent reports it.
	if key := s.edgeMachine.Status.WireGuardPublicKey; key != "" && s.usesWireGuard() && nodeEncryption(node).Reason != encryption.ReasonKeyMismatch {
		wanted.Annotations = withEntry(wanted.Annotations, encryption.PublicKeyAnnotation, key)
	}
	if domain := s.failureDomain(); domain != "" && hasDataplane(s.edgeCluster) {
		wanted.Labels = withEntry(wanted.Labels, encryption.FailureDomainLabel, domain)
	}
	if s.givenUp != nil {
		wanted.Status.Conditions = withCondition(wanted.Status.Conditions, *s.givenUp)
	}
	if s.needsTaint(wanted) {
		wanted.Spec.Taints = append(wanted.Spec.Taints, corev1.Taint{Key: encryption.NotReadyTaint, Effect: corev1.TaintEffectNoSchedule})
	}
	return wanted
}

// needsTaint tells whether the Node lacks the taint although nothing proves that its traffic is encrypted: because it has registered
// without, which kubelets do that were not started by kubeadm, or because its agent is silent. Otherwise the taint is the agent's: of a
// Node that has been seen before a report may be on its way.
func (s *machineScope) needsTaint(node *corev1.Node) bool {
	isNew := nodeEncryption(node).Type == "" && !s.wasLinked()
	return s.requiresEncryption() && (isNew || isGivenUp(node)) &&
		!slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Key == encryption.NotReadyTaint })
}

func withCondition(conditions []corev1.NodeCondition, one corev1.NodeCondition) []corev1.NodeCondition {
	others := slices.DeleteFunc(slices.Clone(conditions), func(c corev1.NodeCondition) bool { return c.Type == one.Type })
	return append(others, one)
}

func withEntry(entries map[string]string, key, value string) map[string]string {
	if entries[key] == value {
		return entries
	}
	entries = maps.Clone(entries)
	if entries == nil {
		entries = map[string]string{}
	}
	entries[key] = value
	return entries
}

func (s *machineScope) failureDomain() string {
	if s.host == nil {
		return s.edgeMachine.Status.FailureDomain
	}
	return s.host.Labels[infrav1.FailureDomainLabel]
}

// withdrawTimeout is for how long a workload cluster that refuses to have a key withdrawn keeps a machine from being deleted.
const withdrawTimeout = time.Minute

// withdrawKey takes the machine's key off its Node and cordons it, before anything else is given back, so that the other nodes stop
// expecting it at once. It happens once: the dataplane, which runs on for a while, may publish the key again. A cluster that is being
// deleted or cannot be reached is not waited for, but a manager that has just started tries to reach it.
func (r *EdgeMachineReconciler) withdrawKey(ctx context.Context, s *machineScope) (proceed, error) {
	if s.edgeMachine.Status.WireGuardPublicKey == "" || !s.isProvisioned() || s.cluster == nil || !s.cluster.DeletionTimestamp.IsZero() {
		return true, nil
	}
	untried := r.isUntried(ctx, s)
	err := r.withdrawKeyFromNode(ctx, s)
	switch {
	case errors.Is(err, clustercache.ErrClusterNotConnected):
		if !untried || time.Since(r.started) >= probeTimeout {
			return true, nil
		}
		s.lookAgainIn(r.probeRetry())
		return s.wait(infrav1.EncryptionReadyCondition, infrav1.DeletingReason, "Waiting for the API server of the workload cluster, to withdraw the key from the Node"), nil
	case err != nil && time.Since(s.edgeMachine.DeletionTimestamp.Time) < withdrawTimeout:
		return false, err
	case err != nil:
		r.Recorder.Eventf(s.edgeMachine, nil, corev1.EventTypeWarning, "KeyNotWithdrawn", "Withdraw", "%s", err)
	}
	s.edgeMachine.Status.WireGuardPublicKey = ""
	return true, nil
}

func (r *EdgeMachineReconciler) withdrawKeyFromNode(ctx context.Context, s *machineScope) error {
	remote, err := r.ClusterCache.GetClient(ctx, util.ObjectKey(s.cluster))
	if err != nil {
		return fmt.Errorf("connecting to the workload cluster: %w", err)
	}
	node, err := r.findNode(ctx, s, remote)
	if err != nil || node == nil || node.Spec.ProviderID != s.edgeMachine.Spec.ProviderID {
		return err
	}
	before := node.DeepCopy()
	delete(node.Annotations, encryption.PublicKeyAnnotation)
	node.Spec.Unschedulable = true
	if equality.Semantic.DeepEqual(before, node) {
		return nil
	}
	if err := remote.Patch(ctx, node, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("withdrawing the key from Node %s: %w", node.Name, err)
	}
	return nil
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
		Predicates:   r.nodePredicates(),
	}))
}

// wasLinked tells whether the Node has been seen before.
func (s *machineScope) wasLinked() bool {
	reason := conditions.GetReason(s.edgeMachine, infrav1.NodeLinkedCondition)
	return reason == infrav1.NodeLinkedReason || reason == infrav1.WorkloadClusterUnreachableReason
}
