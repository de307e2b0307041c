// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/cluster-api/util/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

const (
	// DefaultReportTimeout is for how long a node agent may be silent: it renews its report every two minutes.
	DefaultReportTimeout = 5 * time.Minute
	// reportTTL is how long it is remembered when a report came that nobody has looked at since.
	reportTTL = time.Hour
)

// seenReport is when a node agent's report came, by this manager's clock: a host's may be wrong.
type seenReport struct {
	node types.UID
	// status and heartbeat tell a report from the one before.
	status    corev1.ConditionStatus
	heartbeat time.Time
	// at is when it was seen first, or again by a watch that had been broken.
	at time.Time
	// boot ID of the host; rebooted when it is another one than when the report came.
	boot     string
	rebooted bool
}

// Key identifies the Node.
func (s seenReport) Key() string { return string(s.node) }

// nodeReports remembers the last report on each Node. A manager that has just started begins anew.
type nodeReports struct {
	mu   sync.Mutex
	seen cache.Cache[seenReport]
}

func newNodeReports(ctx context.Context) *nodeReports {
	return &nodeReports{seen: cache.New[seenReport](ctx, reportTTL)}
}

// see notes what is reported on a Node now. With renewed its time counts from now, whenever it came: nobody could report while the API
// server was away.
func (r *nodeReports) see(node *corev1.Node, now time.Time, renewed bool) seenReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	reported := nodeEncryption(node)
	next := seenReport{node: node.UID, status: reported.Status, heartbeat: reported.LastHeartbeatTime.Time, at: now, boot: node.Status.NodeInfo.BootID}
	if last, found := r.seen.Has(next.Key()); found && last.status == next.status && last.heartbeat.Equal(next.heartbeat) {
		next.rebooted = last.rebooted || last.boot != "" && last.boot != next.boot
		if !renewed {
			next.at = last.at
		}
	}
	r.seen.Add(next)
	return next
}

// nodePredicates let through what matters of a Node, and note its reports, most of which do not.
func (r *EdgeMachineReconciler) nodePredicates() []predicate.TypedPredicate[client.Object] {
	return []predicate.TypedPredicate[client.Object]{predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool {
			if node, ok := e.Object.(*corev1.Node); ok {
				r.reports.see(node, time.Now(), true)
			}
			return true
		},
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok1 := e.ObjectOld.(*corev1.Node)
			after, ok2 := e.ObjectNew.(*corev1.Node)
			if !ok1 || !ok2 {
				return true
			}
			r.reports.see(after, time.Now(), false)
			return isNodeChange(before, after)
		},
	}}
}

// checkReport finds out whether the report on the Node still counts. If not, s.givenUp is what to say instead.
func (r *EdgeMachineReconciler) checkReport(s *machineScope, node *corev1.Node) {
	now := time.Now()
	seen := r.reports.see(node, now, false)
	if !s.isEncrypted() || seen.status == "" || seen.status == corev1.ConditionUnknown {
		return
	}
	since := timeOfDay(metav1.NewTime(seen.at))
	switch left := r.ReportTimeout - now.Sub(seen.at); {
	case seen.rebooted:
		since = "its host was started again"
	case left > 0:
		s.lookAgainIn(left)
		return
	}
	// The heartbeat stays the agent's, which knows by it that somebody else has written.
	given := nodeEncryption(node)
	given.Status, given.Reason, given.LastTransitionTime = corev1.ConditionUnknown, infrav1.WaitingForAgentReason, metav1.NewTime(now.Truncate(time.Second))
	given.Message = fmt.Sprintf("The node agent has not reported on Node %s since %s; see the pod %s on the node in namespace %s", node.Name, since, encryption.AgentName, encryption.AgentNamespace)
	s.givenUp = &given
}

// isGivenUp tells whether a Node says that its report does not count any more. The node agent itself never says so.
func isGivenUp(node *corev1.Node) bool { return nodeEncryption(node).Status == corev1.ConditionUnknown }

// giveUpReport writes the condition of a Node whose agent is silent, for everybody who looks at Nodes, such as health checks. Named is the
// version of the Node: a report that has come meanwhile is not overwritten.
func giveUpReport(ctx context.Context, remote client.Client, node *corev1.Node, condition corev1.NodeCondition) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": node.ResourceVersion},
		"status":   map[string]any{"conditions": []corev1.NodeCondition{condition}},
	})
	if err != nil {
		return fmt.Errorf("writing condition %s of Node %s: %w", condition.Type, node.Name, err)
	}
	// A strategic merge leaves the other conditions as they are, which the cache does not have.
	if err := remote.Status().Patch(ctx, node, client.RawPatch(types.StrategicMergePatchType, patch)); err != nil {
		return fmt.Errorf("writing condition %s of Node %s: %w", condition.Type, node.Name, err)
	}
	return nil
}
