// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

const (
	// heartbeatInterval after which an unchanged condition is written again, so that everybody sees that the agent lives.
	heartbeatInterval = 2 * time.Minute
	// maxMessage of a condition or an event in bytes: events take 1,024.
	maxMessage = 1024
	// component names the agent in events.
	component = "edge-agent"
	// conflictInterval between two attempts to write to a Node to which others write.
	conflictInterval = 50 * time.Millisecond
	// reportTimeout of all requests of one report.
	reportTimeout = 10 * time.Second
)

// reporter writes the verdict to the agent's own Node, and keeps nobody waiting.
type reporter struct {
	client     rest.Interface
	node       string
	mode       encryption.Mode
	now        func() time.Time
	complaints *complaints
	// posted receives when there is something to report.
	posted chan struct{}
	// The goroutine that reports has what follows for itself. strays are the keys of those peers that an event has told of.
	strays map[string]bool
	// taintedAt is the version of the Node since which its taint is as it was left; empty before, and when a write may have come through.
	taintedAt string
	// unsure is true when a condition may have been written or not.
	unsure bool

	mu sync.Mutex
	// next is what to report; nil when it is being reported.
	next *posting
	// current is being reported; nil when nothing is.
	current *posting
	abort   context.CancelFunc
	// written is the condition that was last written, and writtenAt the version of the Node since which it has it. The watch brings it
	// back a moment later.
	written   *corev1.NodeCondition
	writtenAt string
}

// posting is a verdict, and the Node when it was reached.
type posting struct {
	node    *corev1.Node
	verdict encryption.Verdict
}

func newReporter(client rest.Interface, node string, mode encryption.Mode, complaints *complaints) *reporter {
	return &reporter{client: client, node: node, mode: mode, now: time.Now, complaints: complaints, posted: make(chan struct{}, 1)}
}

// post has a verdict reported in the place of any earlier one that is not yet.
func (r *reporter) post(node *corev1.Node, verdict encryption.Verdict) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = &posting{node: node, verdict: verdict}
	if r.current != nil && r.current.verdict.Encrypted != verdict.Encrypted {
		r.abort()
	}
	select {
	case r.posted <- struct{}{}:
	default: // One is waiting to be read.
	}
}

// run reports what is posted until ctx is done.
func (r *reporter) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.posted:
			r.reportNext(ctx)
		}
	}
}

func (r *reporter) reportNext(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	r.mu.Lock()
	r.current, r.next, r.abort = r.next, nil, cancel
	p := r.current
	r.mu.Unlock()
	if p == nil {
		return // It was reported in the place of an earlier one.
	}
	err := r.report(ctx, p.node, p.verdict)
	r.mu.Lock()
	r.current = nil
	r.mu.Unlock()
	if !errors.Is(ctx.Err(), context.Canceled) {
		r.complaints.note("Cannot report", err)
	}
}

// report makes the Node's condition and taint those of the verdict. A node that loses encryption is tainted before it is told; one that
// gains it is told first.
func (r *reporter) report(ctx context.Context, node *corev1.Node, verdict encryption.Verdict) error {
	before := r.latest(node)
	wanted := wantedCondition(before, verdict, r.now())
	// An agent that has just started says so at once: a rollout of agents, and the manager after a reboot, wait for it.
	write := r.unsure || !r.hasWritten() || needsWrite(before, wanted)
	steps := []func() error{
		func() error { return r.setTaint(ctx, node, r.mode == encryption.ModeRequired && !verdict.Encrypted) },
		func() error {
			if !write {
				return nil
			}
			return r.tell(ctx, node, before, wanted)
		},
	}
	if verdict.Encrypted {
		slices.Reverse(steps)
	}
	steps = append(steps, func() error { return r.tellStrays(ctx, node, verdict.Strays) })
	var failed []error
	for _, step := range steps {
		// One that fails keeps back none of the others: a loss is told, too, when the taint cannot be set.
		if ctx.Err() == nil {
			failed = append(failed, step())
		}
	}
	return errors.Join(append(failed, ctx.Err())...)
}

// tell writes the condition, and an event when it says the opposite of the one before.
func (r *reporter) tell(ctx context.Context, node *corev1.Node, before *corev1.NodeCondition, wanted corev1.NodeCondition) error {
	if err := r.writeCondition(ctx, wanted); err != nil {
		return err
	}
	if before != nil && before.Status == wanted.Status {
		return nil
	}
	kind := corev1.EventTypeWarning
	if wanted.Status == corev1.ConditionTrue {
		kind = corev1.EventTypeNormal
	}
	return r.event(ctx, node, kind, wanted.Reason, wanted.Message)
}

// tellStrays records an event when there is a stray peer that none has told of.
func (r *reporter) tellStrays(ctx context.Context, node *corev1.Node, strays []encryption.StrayPeer) error {
	told, news := map[string]bool{}, false
	for _, stray := range strays {
		told[stray.PublicKey] = true
		news = news || !r.strays[stray.PublicKey]
	}
	if news {
		if err := r.event(ctx, node, corev1.EventTypeWarning, encryption.EventStrayPeer, truncate(encryption.DescribeStrays(strays))); err != nil {
			return err
		}
	}
	r.strays = told
	return nil
}

func (r *reporter) hasWritten() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.written != nil
}

// latest is the condition that the Node has, or was given a moment ago.
func (r *reporter) latest(node *corev1.Node) *corev1.NodeCondition {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.written != nil && isBefore(node, r.writtenAt) {
		return r.written
	}
	return condition(node, encryption.NodeCondition)
}

// isBefore tells whether a Node is older than a version of it.
func isBefore(node *corev1.Node, version string) bool {
	order, err := resourceversion.CompareResourceVersion(node.ResourceVersion, version)
	return err == nil && order < 0
}

func wantedCondition(before *corev1.NodeCondition, verdict encryption.Verdict, now time.Time) corev1.NodeCondition {
	// What is written has whole seconds.
	at := metav1.NewTime(now.Truncate(time.Second))
	wanted := corev1.NodeCondition{
		Type: encryption.NodeCondition, Status: corev1.ConditionFalse, Reason: verdict.Reason, Message: truncate(verdict.Message),
		LastHeartbeatTime: at, LastTransitionTime: at,
	}
	if verdict.Encrypted {
		wanted.Status = corev1.ConditionTrue
	}
	if before != nil && before.Status == wanted.Status {
		wanted.LastTransitionTime = before.LastTransitionTime
	}
	return wanted
}

func needsWrite(before *corev1.NodeCondition, wanted corev1.NodeCondition) bool {
	if before == nil || before.Status != wanted.Status || before.Reason != wanted.Reason || before.Message != wanted.Message {
		return true
	}
	silence := wanted.LastHeartbeatTime.Sub(before.LastHeartbeatTime.Time)
	return silence >= heartbeatInterval || silence < 0 // The host's clock was set back.
}

func truncate(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	return message[:maxMessage-3] + "..."
}

func (r *reporter) writeCondition(ctx context.Context, wanted corev1.NodeCondition) error {
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": []corev1.NodeCondition{wanted}}})
	if err != nil {
		return err
	}
	r.unsure = true
	node := &corev1.Node{}
	err = r.client.Patch(types.StrategicMergePatchType).Resource("nodes").Name(r.node).SubResource("status").Body(patch).Do(ctx).Into(node)
	if err != nil {
		return fmt.Errorf("writing condition %s of Node %s: %w", encryption.NodeCondition, r.node, err)
	}
	r.unsure = false
	r.mu.Lock()
	defer r.mu.Unlock()
	r.written, r.writtenAt = &wanted, node.ResourceVersion
	return nil
}

// setTaint adds or removes the taint.
func (r *reporter) setTaint(ctx context.Context, seen *corev1.Node, want bool) error {
	if hasTaint(seen) == want && r.taintedAt != "" && !isBefore(seen, r.taintedAt) {
		return nil
	}
	return wait.PollUntilContextCancel(ctx, conflictInterval, true, func(ctx context.Context) (bool, error) {
		err := r.writeTaint(ctx, want)
		return err == nil, ignoreConflict(err)
	})
}

func ignoreConflict(err error) error {
	if apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// writeTaint makes the taint as it is wanted. Others' taints are in the same list, so that the write names the version it is based on.
func (r *reporter) writeTaint(ctx context.Context, want bool) error {
	node := &corev1.Node{}
	if err := r.client.Get().Resource("nodes").Name(r.node).Do(ctx).Into(node); err != nil {
		return fmt.Errorf("reading Node %s: %w", r.node, err)
	}
	if hasTaint(node) == want {
		r.taintedAt = node.ResourceVersion
		return nil
	}
	taints := slices.DeleteFunc(slices.Clone(node.Spec.Taints), func(t corev1.Taint) bool { return t.Key == encryption.NotReadyTaint })
	if want {
		taints = append(taints, corev1.Taint{Key: encryption.NotReadyTaint, Effect: corev1.TaintEffectNoSchedule})
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": node.ResourceVersion},
		"spec":     map[string]any{"taints": taints},
	})
	if err != nil {
		return err
	}
	r.taintedAt = ""
	if err := r.client.Patch(types.MergePatchType).Resource("nodes").Name(r.node).Body(patch).Do(ctx).Into(node); err != nil {
		return fmt.Errorf("setting taint %s of Node %s: %w", encryption.NotReadyTaint, r.node, err)
	}
	r.taintedAt = node.ResourceVersion
	return nil
}

func hasTaint(node *corev1.Node) bool {
	return slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Key == encryption.NotReadyTaint })
}

// event records one on the Node.
func (r *reporter) event(ctx context.Context, node *corev1.Node, kind, reason, message string) error {
	at := metav1.NewTime(r.now().Truncate(time.Second))
	event := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{GenerateName: r.node + ".", Namespace: metav1.NamespaceDefault},
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: r.node, UID: node.UID},
		Reason:         reason, Message: message, Type: kind, Count: 1,
		Source:              corev1.EventSource{Component: component, Host: r.node},
		ReportingController: component, ReportingInstance: r.node,
		FirstTimestamp: at, LastTimestamp: at,
	}
	err := r.client.Post().Resource("events").Namespace(event.Namespace).Body(event).Do(ctx).Error()
	if err != nil {
		return fmt.Errorf("recording an event: %w", err)
	}
	return nil
}
