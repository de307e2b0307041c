// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/cluster-api/util/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// observer plays a manager that watches one Node.
type observer struct {
	r    *EdgeMachineReconciler
	node *corev1.Node
}

func observe(t *testing.T) *observer {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	o := &observer{r: &EdgeMachineReconciler{ReportTimeout: DefaultReportTimeout, reports: newNodeReports(ctx)}}
	o.node = reportedAt(noon(), corev1.ConditionTrue, encryption.ReasonEncrypted, "2 peers")
	o.node.UID, o.node.Status.NodeInfo.BootID = "u", "first"
	o.create()
	return o
}

func (o *observer) create() {
	o.r.nodePredicates()[0].Create(event.TypedCreateEvent[client.Object]{Object: o.node})
}

func (o *observer) update(change func(*corev1.Node)) {
	before := o.node
	o.node = before.DeepCopy()
	change(o.node)
	o.r.nodePredicates()[0].Update(event.TypedUpdateEvent[client.Object]{ObjectOld: before, ObjectNew: o.node})
}

func (o *observer) heartbeat() {
	o.update(func(n *corev1.Node) {
		c := &n.Status.Conditions[1]
		c.LastHeartbeatTime.Time = c.LastHeartbeatTime.Add(2 * time.Minute)
	})
}

// look reconciles: why the report is given up, and when to look again.
func (o *observer) look() (why string, again time.Duration) {
	s := encryptedScope(infrav1.EncryptionRequired)
	o.r.checkReport(s, o.node)
	if s.givenUp == nil {
		return "", s.requeueAfter
	}
	return s.givenUp.Message, s.requeueAfter
}

func (o *observer) expect(t *testing.T, why string, again time.Duration) {
	t.Helper()
	if got, after := o.look(); (got == "") != (why == "") || !strings.Contains(got, why) || after != again {
		t.Errorf("given up because %q, looked at again in %s; want %q, %s", got, after, why, again)
	}
}

// A report counts from when it came by our clock: that of the host, here hours off, does not hide an agent that is dead, nor condemn one
// that lives.
func TestSilentAgent(t *testing.T) {
	for name, skew := range map[string]time.Duration{"right": 0, "ahead": 24 * time.Hour, "behind": -24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := observe(t)
				o.node.Status.Conditions[1].LastHeartbeatTime.Time = time.Now().Add(skew)
				o.create()
				o.expect(t, "", 5*time.Minute)
				for range 10 {
					time.Sleep(2 * time.Minute)
					o.heartbeat()
				}
				o.expect(t, "", 5*time.Minute)
				time.Sleep(4 * time.Minute)
				o.expect(t, "", time.Minute)
				time.Sleep(time.Minute)
				o.expect(t, "has not reported on Node worker-1 since 2000-01-01T00:20Z; see the pod edge-agent", 0)
				o.heartbeat()
				o.expect(t, "", 5*time.Minute)
			})
		})
	}
}

// While the API server was away nobody could report: the watch that comes back gives the agents their time.
func TestReportsAfterAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := observe(t)
		time.Sleep(20 * time.Minute)
		o.create()
		o.expect(t, "", 5*time.Minute)
	})
}

// What was proved before the host was started again is proved no longer.
func TestReportFromBeforeABoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := observe(t)
		reboot := func(id string) { o.update(func(n *corev1.Node) { n.Status.NodeInfo.BootID = id }) }
		time.Sleep(time.Minute)
		reboot("second")
		o.expect(t, "has not reported on Node worker-1 since its host was started again", 0)

		// Also when the watch broke meanwhile.
		o.create()
		o.expect(t, "since its host was started again", 0)
		o.heartbeat()
		o.expect(t, "", 5*time.Minute)

		// What this manager writes itself is no report.
		reboot("third")
		o.update(func(n *corev1.Node) { n.Status.Conditions[1].Status = corev1.ConditionUnknown })
		o.expect(t, "", 0)
		o.update(func(n *corev1.Node) { n.Status.Conditions[1].Status = corev1.ConditionTrue })
		o.expect(t, "", 5*time.Minute)
	})
}

// A silent agent's Node is tainted before its condition is taken back, each in one request, and other conditions stay.
func TestGiveUpReport(t *testing.T) {
	node := reportedAt(noon(), corev1.ConditionTrue, encryption.ReasonEncrypted, "2 peers")
	node.UID = "u"
	var writes []string
	remote := interceptor.NewClient(fake.NewClientBuilder().WithObjects(node).WithStatusSubresource(node).Build(), interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, obj client.Object, patch client.Patch, options ...client.PatchOption) error {
			writes = append(writes, "node")
			return c.Patch(ctx, obj, patch, options...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, resource string, obj client.Object, patch client.Patch, options ...client.SubResourcePatchOption) error {
			writes = append(writes, resource)
			return c.SubResource(resource).Patch(ctx, obj, patch, options...)
		},
	})
	r := &EdgeMachineReconciler{ReportTimeout: 0, reports: newNodeReports(t.Context()), published: cache.New[publishedNode](t.Context(), publishedTTL)}
	prepare := func() *machineScope {
		t.Helper()
		cached := &corev1.Node{}
		if err := remote.Get(t.Context(), client.ObjectKeyFromObject(node), cached); err != nil {
			t.Fatal(err)
		}
		s := encryptedScope(infrav1.EncryptionRequired)
		s.reached(infrav1.NodeLinkedCondition, infrav1.NodeLinkedReason, "")
		trimmed, err := TrimNode(cached)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.prepareNode(t.Context(), s, remote, trimmed.(*corev1.Node)); err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := prepare()
	if diff := cmp.Diff([]string{"node", "status"}, writes); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if _, err := r.judgeEncryption(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	written := &corev1.Node{}
	if err := remote.Get(t.Context(), client.ObjectKeyFromObject(node), written); err != nil {
		t.Fatal(err)
	}
	reported := nodeEncryption(written)
	if len(written.Spec.Taints) != 1 || !isGivenUp(written) || reported.Reason != infrav1.WaitingForAgentReason || !reported.LastHeartbeatTime.Time.Equal(noon()) {
		t.Errorf("taints %v, condition %+v", written.Spec.Taints, reported)
	}
	if len(written.Status.Conditions) != 2 || written.Status.Conditions[0].Status != corev1.ConditionTrue && written.Status.Conditions[1].Status != corev1.ConditionTrue {
		t.Errorf("the kubelet's condition is gone: %+v", written.Status.Conditions)
	}
	prepare()
	if len(writes) != 2 {
		t.Errorf("written again: %v", writes)
	}
}
