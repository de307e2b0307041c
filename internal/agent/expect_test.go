// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

func testNode(name, key string, readySince time.Time, change ...func(*corev1.Node)) *corev1.Node {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{}}}
	if key != "" {
		node.Annotations[encryption.PublicKeyAnnotation] = key
	}
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "2001:db8::1"}, {Type: corev1.NodeInternalIP, Address: "192.0.2.11"}}
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(readySince)}}
	for _, c := range change {
		c(node)
	}
	return node
}

func TestExpectation(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	long := now.Add(-time.Hour)
	config := Config{
		Node: "a", Mode: encryption.ModeRequired, Protocol: encryption.WireGuard, Port: 51820, PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")},
		RxMode: encryption.RxInterrupt, HugepagesForbidden: true,
	}
	nodes := []*corev1.Node{
		testNode("a", "keyA", long),
		testNode("b", "keyB", long, func(n *corev1.Node) { n.Annotations[encryption.AddressAnnotation] = "198.51.100.7/24" }),
		testNode("c", "", long, func(n *corev1.Node) { n.Spec.Unschedulable = true }),
		testNode("d", "keyD", long, func(n *corev1.Node) { n.DeletionTimestamp = &metav1.Time{Time: now} }),
		testNode("e", "keyE", long, func(n *corev1.Node) {
			n.Status.Conditions[0].Status, n.Status.Addresses = corev1.ConditionUnknown, nil
		}),
		testNode("f", "keyF", now.Add(-10*time.Second)),
	}
	address := netip.MustParseAddr("192.0.2.11")
	want := encryption.Expectation{
		Node: "a", Address: address, Mode: encryption.ModeRequired, Protocol: encryption.WireGuard, Port: 51820, FileKey: "file", PublishedKey: "keyA",
		PodCIDRs: config.PodCIDRs, RxMode: encryption.RxInterrupt, HugepagesForbidden: true,
		Peers: []encryption.ExpectedPeer{
			{Node: "b", Ready: true, Address: netip.MustParseAddr("198.51.100.7"), PublicKey: "keyB"},
			{Node: "c", Ready: true, Cordoned: true, Address: address},
			{Node: "d", Ready: true, Deleting: true, Address: address, PublicKey: "keyD"},
			{Node: "e", PublicKey: "keyE"},
			{Node: "f", Ready: true, Address: address, PublicKey: "keyF", New: true},
		},
	}
	got := config.expectation(nodes, "file", memory{}, now)
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
		t.Error("expectation (-want +got):\n" + diff)
	}
}

// step of a peer's life, as seen by a node.
type step struct {
	after       time.Duration
	key         string
	ready       time.Duration // Since when, from the start; by the other host's clock.
	established bool
	isNew       bool
	lapsed      bool
}

func TestMemory(t *testing.T) {
	start := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for name, steps := range map[string][]step{
		"joins": {
			{after: 0, isNew: true}, {after: 2 * time.Second, key: "k", isNew: true}, {after: 10 * time.Second, key: "k", isNew: true, established: false},
			{after: 63 * time.Second, key: "k"},
		},
		"joins and is established": {
			{after: 0, key: "k", isNew: true}, {after: 5 * time.Second, key: "k", established: true}, {after: 6 * time.Second, key: "k", lapsed: true},
		},
		"was there before": {{after: 0, key: "k", ready: -time.Hour}},
		"has a clock that is ahead": {
			{after: 0, key: "k", ready: time.Hour, isNew: true}, {after: 59 * time.Second, key: "k", ready: time.Hour, isNew: true}, {after: 60 * time.Second, key: "k", ready: time.Hour},
		},
		"restarts": {
			{after: 0, key: "k", ready: -time.Hour, established: true}, {after: time.Second, key: "k", ready: -time.Hour, lapsed: true},
			{after: 59 * time.Second, key: "k", ready: -time.Hour, lapsed: true}, {after: 61 * time.Second, key: "k", ready: -time.Hour},
		},
		"comes and goes": {
			{after: 0, key: "k", ready: -time.Hour, established: true}, {after: time.Second, key: "k", ready: -time.Hour, lapsed: true},
			{after: 50 * time.Second, key: "k", ready: -time.Hour, established: true, lapsed: true}, {after: 55 * time.Second, key: "k", ready: -time.Hour, lapsed: true},
			{after: 116 * time.Second, key: "k", ready: -time.Hour},
		},
		"has its key withdrawn": {
			{after: 0, key: "k", ready: -time.Hour}, {after: time.Second, key: "", ready: -time.Hour},
		},
		"has its key replaced": {
			{after: 0, key: "k", ready: -time.Hour}, {after: time.Second, key: "l", ready: -time.Hour, isNew: true}, {after: 62 * time.Second, key: "l", ready: -time.Hour},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, config := memory{}, Config{Node: "a"}
			for i, s := range steps {
				now := start.Add(s.after)
				nodes := []*corev1.Node{testNode("b", s.key, start.Add(s.ready))}
				e := config.expectation(nodes, "", m, now)
				o := encryption.Observation{Peers: []encryption.Peer{{PublicKey: s.key, Established: s.established}}}
				m.note(&e, o, now)
				if p := e.Peers[0]; p.New != s.isNew || p.Lapsed != s.lapsed {
					t.Errorf("step %d: new %v, lapsed %v; want %v, %v", i, p.New, p.Lapsed, s.isNew, s.lapsed)
				}
			}
			config.expectation(nil, "", m, start)
			if len(m) != 0 {
				t.Errorf("a Node that is gone is remembered: %v", m)
			}
		})
	}
}

func TestTrimNode(t *testing.T) {
	at := metav1.NewTime(time.Unix(1000, 0))
	node := testNode("a", "key", at.Time, func(n *corev1.Node) {
		n.Labels = map[string]string{"x": "y"}
		n.Annotations["other"] = "z"
		n.ManagedFields = []metav1.ManagedFieldsEntry{{}}
		n.Spec.Taints = []corev1.Taint{{Key: "other"}, {Key: encryption.NotReadyTaint}}
		n.Status.Images = []corev1.ContainerImage{{Names: []string{"i"}}}
		n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{Type: "Other"}, corev1.NodeCondition{Type: encryption.NodeCondition, Reason: "r", LastHeartbeatTime: at})
	})
	trimmed := trimNode(node, "a")
	want := testNode("a", "key", at.Time, func(n *corev1.Node) {
		n.Spec.Taints = []corev1.Taint{{Key: encryption.NotReadyTaint}}
		n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{Type: encryption.NodeCondition, Reason: "r", LastHeartbeatTime: at})
	})
	if diff := cmp.Diff(want, trimmed); diff != "" {
		t.Error("trimmed (-want +got):\n" + diff)
	}
	beat := want.DeepCopy()
	beat.ResourceVersion, beat.Status.Conditions[1].LastHeartbeatTime = "7", metav1.Now()
	if !sameNode(want, beat) {
		t.Error("a heartbeat is a change")
	}
	beat.Status.Conditions[1].Reason = "s"
	if sameNode(want, beat) {
		t.Error("another reason is no change")
	}
	if diff := cmp.Diff(testNode("a", "key", at.Time), trimNode(node, "b")); diff != "" {
		t.Error("trimmed for another agent (-want +got):\n" + diff)
	}
}

// TestSessionOfTwo: a session with a key that two Nodes publish counts for neither, and gives neither a grace when it ends.
func TestSessionOfTwo(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	m, config := memory{}, Config{Node: "a"}
	for i, c := range []struct {
		keyC        string
		established bool
		lapsed      []bool
	}{
		{"k", true, []bool{false, false}}, {"l", false, []bool{false, false}}, {"l", true, []bool{false, false}}, {"l", false, []bool{true, false}},
	} {
		now = now.Add(time.Second)
		e := config.expectation([]*corev1.Node{testNode("b", "k", now.Add(-time.Hour)), testNode("c", c.keyC, now.Add(-time.Hour))}, "", m, now)
		m.note(&e, encryption.Observation{Peers: []encryption.Peer{{PublicKey: "k", Established: c.established}}}, now)
		if got := []bool{e.Peers[0].Lapsed, e.Peers[1].Lapsed}; !slices.Equal(got, c.lapsed) {
			t.Errorf("step %d: lapsed %v, want %v", i, got, c.lapsed)
		}
	}
}
