// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util"
	"sigs.k8s.io/cluster-api/util/annotations"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

const (
	// mostNames is how many nodes are named that are not encrypted.
	mostNames = 5
	// mostText is how much of each node's message is repeated, in bytes.
	mostText = 300
)

// judgeClusterEncryption counts the machines whose traffic is proved to be encrypted. Those count that have a host: a machine that finds
// none has no traffic, and a running cluster that asks for one more than there are hosts has not become insecure.
func judgeClusterEncryption(s *clusterScope) metav1.Condition {
	const condition = infrav1.EncryptionReadyCondition
	if s.keyProblem != nil {
		return *s.keyProblem
	}
	missing, total := s.unencrypted()
	switch {
	case total == 0:
		return verdict(condition, false, infrav1.NodesNotEncryptedReason, "No machine has a host yet")
	case len(missing) == 0:
		return verdict(condition, true, infrav1.EncryptionReadyReason, "%d of %d nodes encrypted", total, total)
	}
	slices.Sort(missing)
	message := fmt.Sprintf("%d of %d nodes encrypted; %s", total-len(missing), total, strings.Join(missing[:min(len(missing), mostNames)], "; "))
	if len(missing) > mostNames {
		message += fmt.Sprintf("; and %d more", len(missing)-mostNames)
	}
	return verdict(condition, false, infrav1.NodesNotEncryptedReason, "%s", message)
}

// unencrypted describes the machines with a host that are not proved to encrypt, of so many that have one.
func (s *clusterScope) unencrypted() (missing []string, total int) {
	for i := range s.members {
		machine := &s.members[i]
		if machine.Status.Host == "" || !machine.DeletionTimestamp.IsZero() {
			continue
		}
		total++
		found := conditions.Get(machine, infrav1.EncryptionReadyCondition)
		if found == nil || found.Status != metav1.ConditionTrue || annotations.HasPaused(machine) {
			missing = append(missing, describeUnencrypted(machine, found))
		}
	}
	return missing, total
}

// describeUnencrypted names a node, and why and since when it is not proved to be encrypted.
func describeUnencrypted(machine *infrav1.EdgeMachine, found *metav1.Condition) string {
	switch {
	case annotations.HasPaused(machine):
		// What it says of itself is from before. With a paused Cluster nothing is judged at all.
		return fmt.Sprintf("%s: %s by the annotation %s of EdgeMachine %s, so that nobody looks at what it reports", machine.Status.Host, clusterv1.PausedReason,
			clusterv1.PausedAnnotation, machine.Name)
	case found == nil:
		return fmt.Sprintf("%s: %s", machine.Status.Host, infrav1.WaitingForEarlierStepReason)
	}
	return fmt.Sprintf("%s: %s since %s (%s)", machine.Status.Host, found.Reason, timeOfDay(found.LastTransitionTime), shorten(found.Message, mostText))
}

// mostPatience is for how long a site that was ready stays so with one node that is not proved to be encrypted. A MachineHealthCheck of
// half an hour acts within it.
const mostPatience = time.Hour

// siteConditions are those that a site needs to be ready.
//
// Cluster API's health checks replace no machine while the site is not ready. So a site that was ready stays ready for an hour while the
// trouble is that of one node among others: its machine is not ready, EncryptionReady and DataplaneInstalled tell why, and a
// MachineHealthCheck can replace it. Two nodes without encryption are the site's trouble: a key that is missing shows on every node.
func siteConditions(s *clusterScope) []string {
	c := s.edgeCluster
	// HostsAvailable is left out: a running cluster that asks for one more machine than there are hosts, as a rolling update
	// does, has not become unavailable.
	needed := []string{infrav1.NetworksValidCondition, infrav1.ControlPlaneEndpointReadyCondition}
	missing, total := s.unencrypted()
	bears := conditions.IsTrue(c, infrav1.ReadyCondition) && len(missing) <= 1 && total > 1 && s.keyProblem == nil && s.patienceLeft() > 0
	if hasDataplane(c) && (!bears || !isSettling(c)) {
		needed = append(needed, infrav1.DataplaneInstalledCondition)
	}
	if encryptionMode(c) == infrav1.EncryptionRequired && !bears {
		needed = append(needed, infrav1.EncryptionReadyCondition)
	}
	return needed
}

// patienceLeft with nodes that are not encrypted. It is counted since EncryptionReady of the site turned, by this manager's clock: what a
// machine says of the time comes from its host.
func (s *clusterScope) patienceLeft() time.Duration {
	judged := conditions.Get(s.edgeCluster, infrav1.EncryptionReadyCondition)
	if judged == nil || judged.Status == metav1.ConditionTrue {
		return mostPatience
	}
	return mostPatience - s.now.Sub(judged.LastTransitionTime.Time)
}

// summarizeSite makes the Ready condition of a site, which tells of a node that it bears with.
func summarizeSite(s *clusterScope) metav1.Condition {
	c := s.edgeCluster
	ready := summarize(c, siteConditions(s), !c.DeletionTimestamp.IsZero())
	if missing, total := s.unencrypted(); len(missing) > 0 && ready.Status == metav1.ConditionTrue && encryptionMode(c) == infrav1.EncryptionRequired {
		ready.Message = fmt.Sprintf("%d of %d nodes not encrypted; see %s", len(missing), total, infrav1.EncryptionReadyCondition)
		s.requeueAfter = s.patienceLeft()
	}
	return ready
}

// isSettling tells whether all of the dataplane is applied, and its pods are awaited.
func isSettling(c *infrav1.EdgeCluster) bool {
	reason := conditions.GetReason(c, infrav1.DataplaneInstalledCondition)
	return reason == infrav1.WaitingForDataplaneReason || reason == infrav1.RollingOutReason
}

// hasProvisioned tells whether a machine of the cluster has been installed.
func (s *clusterScope) hasProvisioned() bool {
	return slices.ContainsFunc(s.members, func(m infrav1.EdgeMachine) bool { return m.Spec.ProviderID != "" })
}

// clusterOfMachine is the site of a machine.
func (r *EdgeClusterReconciler) clusterOfMachine(ctx context.Context, obj client.Object) []reconcile.Request {
	cluster, err := util.GetClusterByName(ctx, r.Client, obj.GetNamespace(), obj.GetLabels()[clusterv1.ClusterNameLabel])
	if err != nil || !cluster.Spec.InfrastructureRef.IsDefined() {
		return nil
	}
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: cluster.Namespace, Name: cluster.Spec.InfrastructureRef.Name}}}
}

// encryptionPredicates let through what changes the encryption of a cluster: machines of clusters without encryption never do.
func encryptionPredicates() predicate.Predicate {
	reports := func(obj client.Object) bool {
		machine, ok := obj.(*infrav1.EdgeMachine)
		return ok && conditions.Has(machine, infrav1.EncryptionReadyCondition)
	}
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return reports(e.Object) },
		DeleteFunc: func(e event.DeleteEvent) bool { return reports(e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok1 := e.ObjectOld.(*infrav1.EdgeMachine)
			after, ok2 := e.ObjectNew.(*infrav1.EdgeMachine)
			return ok1 && ok2 && reports(after) && isEncryptionChange(before, after)
		},
	}
}

func isEncryptionChange(before, after *infrav1.EdgeMachine) bool {
	of := func(m *infrav1.EdgeMachine) metav1.Condition {
		found := cmp.Or(conditions.Get(m, infrav1.EncryptionReadyCondition), &metav1.Condition{})
		return metav1.Condition{Status: found.Status, Reason: found.Reason, Message: found.Message, LastTransitionTime: found.LastTransitionTime}
	}
	return of(before) != of(after) || annotations.HasPaused(before) != annotations.HasPaused(after) || before.Status.Host != after.Status.Host || before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero()
}
