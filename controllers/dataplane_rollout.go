// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// rolloutRetry is how often a rollout is looked at while it waits for a node's report, beside every change of pods and reports.
const rolloutRetry = 15 * time.Second

// rolloutPod is a pod of a DaemonSet whose pods are replaced node by node.
type rolloutPod struct {
	name, node string
	// outdated pods are of an older template.
	outdated bool
	// deleting pods are on their way out.
	deleting bool
	// ready pods serve, since all their containers were started last.
	ready   bool
	started time.Time
}

// nodeReport is what a Node says of its encryption.
type nodeReport struct {
	status corev1.ConditionStatus
	// seen is when the node agent confirmed it last.
	seen            time.Time
	reason, message string
}

// rolloutDecision is what to do next. Nothing is to be done when remove and wait are both empty.
type rolloutDecision struct {
	// remove is the pod to delete.
	remove *rolloutPod
	// wait says for what, naming the node.
	wait string
	// done of total nodes have what is wanted, and work.
	done, total int
}

// decideRollout chooses the next step of a rollout in progress: one node at a time, and the next only after the one before has a pod
// that is ready and, with needsProof, has proved since then that its traffic is encrypted. Nodes that do not work anyway come first:
// replacing their pods takes nothing away, and can repair what another change broke.
func decideRollout(pods []rolloutPod, reports map[string]nodeReport, total int, needsProof bool) rolloutDecision {
	slices.SortFunc(pods, func(a, b rolloutPod) int { return cmp.Or(cmp.Compare(a.node, b.node), cmp.Compare(a.name, b.name)) })
	d := rolloutDecision{total: total}
	if !slices.ContainsFunc(pods, func(p rolloutPod) bool { return p.outdated }) {
		d.done = total
		return d
	}
	var waits []string
	var broken, suspect, next *rolloutPod
	leaving := ""
	for i := range pods {
		pod := &pods[i]
		switch {
		case pod.deleting:
			leaving = fmt.Sprintf("node %s: pod %s is being replaced", pod.node, pod.name)
		case pod.outdated && !pod.ready:
			broken = cmp.Or(broken, pod)
		case pod.outdated && needsProof && reports[pod.node].status != corev1.ConditionTrue:
			suspect = cmp.Or(suspect, pod)
		case pod.outdated:
			next = cmp.Or(next, pod)
		default:
			if missing := unproved(pod, reports, needsProof); missing != "" {
				waits = append(waits, missing)
			} else {
				d.done++
			}
		}
	}
	switch {
	case leaving != "":
		d.wait = leaving
	case len(pods) < total:
		d.wait = fmt.Sprintf("a new pod; %d of %d nodes have one", len(pods), total)
	case broken != nil:
		d.remove = broken
	case len(waits) > 0:
		d.wait = waits[0]
	default:
		d.remove = cmp.Or(suspect, next)
	}
	return d
}

// unproved tells what is still to come from a node with a new pod; "" when nothing is.
func unproved(pod *rolloutPod, reports map[string]nodeReport, needsProof bool) string {
	report := reports[pod.node]
	switch {
	case !pod.ready:
		return fmt.Sprintf("node %s: pod %s is not ready", pod.node, pod.name)
	case !needsProof:
		return ""
	case report.status == "":
		return fmt.Sprintf("node %s: it does not report whether its traffic is encrypted", pod.node)
	case report.status != corev1.ConditionTrue:
		return fmt.Sprintf("node %s: its traffic is not proved to be encrypted: %s (%s)", pod.node, report.reason, report.message)
	case !report.seen.After(pod.started):
		return fmt.Sprintf("node %s: it has not reported since its pod was replaced", pod.node)
	default:
		return ""
	}
}

// rollOut replaces pods of the DaemonSets of step i that are of an older version, node by node.
func (r *DataplaneReconciler) rollOut(ctx context.Context, s *dataplaneScope, i int) (proceed, error) {
	for _, rolling := range s.sets[i].rollouts {
		daemons := &appsv1.DaemonSet{}
		if err := s.applier.Cache.Get(ctx, rolling.key, daemons); apierrors.IsNotFound(err) {
			// Just created; the cache learns of it.
			continue
		} else if err != nil {
			return false, fmt.Errorf("reading DaemonSet %s: %w", rolling.key, err)
		}
		if !s.isShown(appsv1.SchemeGroupVersion.WithKind("DaemonSet"), daemons) {
			return s.wait(infrav1.RollingOutReason, "%s: %s", rolling.key.Name, notTakenUp), nil
		}
		status := daemons.Status
		if status.ObservedGeneration == daemons.Generation && status.UpdatedNumberScheduled == status.DesiredNumberScheduled {
			continue
		}
		decision, err := r.lookAtRollout(ctx, s, rolling, daemons)
		if err != nil {
			return false, err
		}
		if goOn, err := r.act(ctx, s, rolling, decision); err != nil || !bool(goOn) {
			return false, err
		}
	}
	return true, nil
}

func (r *DataplaneReconciler) act(ctx context.Context, s *dataplaneScope, rolling rollout, d rolloutDecision) (proceed, error) {
	progress := fmt.Sprintf("%s: %d of %d nodes", rolling.key.Name, d.done, d.total)
	s.hint = fmt.Sprintf("the rollout goes on only when that node is back: see the logs of its pod in namespace %s, repair the node or delete its Machine, or take the change back", rolling.key.Namespace)
	switch {
	case d.remove != nil:
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: rolling.key.Namespace, Name: d.remove.name}}
		if err := s.applier.Live.Delete(ctx, pod); client.IgnoreNotFound(err) != nil {
			return false, fmt.Errorf("deleting pod %s of node %s: %w", pod.Name, d.remove.node, err)
		}
		ctrl.LoggerFrom(ctx).Info("Replacing a pod of the dataplane", "DaemonSet", rolling.key.Name, "Node", d.remove.node)
		s.requeueAfter = rolloutRetry
		return s.wait(infrav1.RollingOutReason, "%s; node %s: pod %s is being replaced", progress, d.remove.node, d.remove.name), nil
	case d.wait != "":
		s.requeueAfter = rolloutRetry
		return s.wait(infrav1.RollingOutReason, "%s; waiting for %s", progress, d.wait), nil
	default:
		s.hint = ""
		return true, nil
	}
}

// lookAtRollout reads pods and Nodes from the API server: a decision must not rest on what a cache has not learned yet.
func (r *DataplaneReconciler) lookAtRollout(ctx context.Context, s *dataplaneScope, rolling rollout, daemons *appsv1.DaemonSet) (rolloutDecision, error) {
	if err := r.watchNodes(ctx, s); err != nil {
		return rolloutDecision{}, err
	}
	selector, err := metav1.LabelSelectorAsSelector(daemons.Spec.Selector)
	if err != nil {
		return rolloutDecision{}, fmt.Errorf("reading the selector of DaemonSet %s: %w", rolling.key, err)
	}
	list := &corev1.PodList{}
	if err := s.applier.Live.List(ctx, list, client.InNamespace(rolling.key.Namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return rolloutDecision{}, fmt.Errorf("listing the pods of DaemonSet %s: %w", rolling.key, err)
	}
	nodes := &corev1.NodeList{}
	if err := s.applier.Live.List(ctx, nodes); err != nil {
		return rolloutDecision{}, fmt.Errorf("listing Nodes: %w", err)
	}
	reports := map[string]nodeReport{}
	for i := range nodes.Items {
		reports[nodes.Items[i].Name] = reportOf(&nodes.Items[i])
	}
	var pods []rolloutPod
	for i := range list.Items {
		if metav1.IsControlledBy(&list.Items[i], daemons) {
			pods = append(pods, newRolloutPod(&list.Items[i], rolling.hash))
		}
	}
	return decideRollout(pods, reports, int(daemons.Status.DesiredNumberScheduled), encryptionMode(s.edgeCluster) == infrav1.EncryptionRequired), nil
}

func newRolloutPod(pod *corev1.Pod, hash string) rolloutPod {
	p := rolloutPod{
		name: pod.Name, node: pod.Spec.NodeName,
		outdated: pod.Annotations[templateHash] != hash,
		deleting: !pod.DeletionTimestamp.IsZero(),
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			p.ready = condition.Status == corev1.ConditionTrue
		}
	}
	for _, container := range pod.Status.ContainerStatuses {
		if running := container.State.Running; running != nil && running.StartedAt.After(p.started) {
			p.started = running.StartedAt.Time
		}
	}
	return p
}

// reportOf a Node; zero when there is none.
func reportOf(node *corev1.Node) nodeReport {
	for _, c := range node.Status.Conditions {
		if c.Type != encryption.NodeCondition {
			continue
		}
		report := nodeReport{status: c.Status, seen: c.LastTransitionTime.Time, reason: c.Reason, message: c.Message}
		if c.LastHeartbeatTime.After(report.seen) {
			report.seen = c.LastHeartbeatTime.Time
		}
		return report
	}
	return nodeReport{}
}
