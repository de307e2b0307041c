// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/event"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// member is a machine on a host, with what it says of its encryption.
func member(host string, status metav1.ConditionStatus, reason string) infrav1.EdgeMachine {
	m := infrav1.EdgeMachine{ObjectMeta: metav1.ObjectMeta{Name: "m-" + host}}
	m.Status.Host = host
	if reason != "" {
		conditions.Set(&m, metav1.Condition{Type: infrav1.EncryptionReadyCondition, Status: status, Reason: reason, Message: "because", LastTransitionTime: metav1.NewTime(noon())})
	}
	return m
}

// pausedMember is the machine with the annotation that pauses it.
func pausedMember(m infrav1.EdgeMachine) infrav1.EdgeMachine {
	paused := m.DeepCopy()
	paused.Annotations = map[string]string{clusterv1.PausedAnnotation: ""}
	return *paused
}

func TestJudgeClusterEncryption(t *testing.T) {
	good, bad := member("a", metav1.ConditionTrue, encryption.ReasonEncrypted), member("b", metav1.ConditionFalse, encryption.ReasonPeerKeyUnknown)
	deleted := *bad.DeepCopy()
	deleted.DeletionTimestamp = new(metav1.NewTime(noon()))
	paused := pausedMember(good)
	var many []infrav1.EdgeMachine
	for i := range 8 {
		many = append(many, member(fmt.Sprintf("n%d", 7-i), metav1.ConditionUnknown, infrav1.WaitingForAgentReason))
	}
	const since = " since 2026-11-22T12:00Z (because)"
	for name, test := range map[string]struct {
		members []infrav1.EdgeMachine
		ready   bool
		want    string
	}{
		"none":        {nil, false, "No machine has a host yet"},
		"without one": {[]infrav1.EdgeMachine{member("", "", "")}, false, "No machine has a host yet"},
		"all":         {[]infrav1.EdgeMachine{good, good}, true, "2 of 2 nodes encrypted"},
		"some":        {[]infrav1.EdgeMachine{good, bad}, false, "1 of 2 nodes encrypted; b: PeerKeyUnknown" + since},
		"deleted":     {[]infrav1.EdgeMachine{good, deleted, member("", "", "")}, true, "1 of 1 nodes encrypted"},
		"paused":      {[]infrav1.EdgeMachine{good, paused}, false, "1 of 2 nodes encrypted; a: Paused by the annotation cluster.x-k8s.io/paused of EdgeMachine m-a, so that nobody looks at what it reports"},
		"not judged":  {[]infrav1.EdgeMachine{good, member("c", "", "")}, false, "1 of 2 nodes encrypted; c: WaitingForEarlierStep"},
		"many": {many, false, "0 of 8 nodes encrypted; n0: WaitingForAgent" + since + "; n1: WaitingForAgent" + since + "; n2: WaitingForAgent" + since +
			"; n3: WaitingForAgent" + since + "; n4: WaitingForAgent" + since + "; and 3 more"},
	} {
		t.Run(name, func(t *testing.T) {
			got := judgeClusterEncryption(&clusterScope{members: test.members})
			if (got.Status == metav1.ConditionTrue) != test.ready || got.Message != test.want {
				t.Errorf("got %s: %s\nwant %t: %s", got.Status, got.Message, test.ready, test.want)
			}
		})
	}
}

func TestReadyWithEncryption(t *testing.T) {
	for _, mode := range []infrav1.EncryptionMode{"", infrav1.EncryptionRequired, infrav1.EncryptionPreferred, infrav1.EncryptionDisabled} {
		s := encryptedScope(mode)
		for _, condition := range machineConditions(s) {
			s.reached(condition, "Done", "")
		}
		if has := conditions.Has(s.edgeMachine, infrav1.EncryptionReadyCondition); has != (mode != infrav1.EncryptionDisabled) {
			t.Errorf("mode %q: EncryptionReady is among the conditions: %t", mode, has)
		}
		s.setEncryption(metav1.Condition{Status: metav1.ConditionFalse, Reason: encryption.ReasonTunnelDown})
		updateMachineStatus(s)
		want := mode == infrav1.EncryptionPreferred || mode == infrav1.EncryptionDisabled
		if got := conditions.IsTrue(s.edgeMachine, infrav1.ReadyCondition); got != want {
			t.Errorf("mode %q: ready %t without encryption", mode, got)
		}
	}
}

func TestSiteNeedsItsDataplane(t *testing.T) {
	c := &infrav1.EdgeCluster{}
	s := &clusterScope{edgeCluster: c}
	conditions.Set(c, metav1.Condition{Type: infrav1.NetworksValidCondition, Status: metav1.ConditionTrue, Reason: "R"})
	conditions.Set(c, metav1.Condition{Type: infrav1.ControlPlaneEndpointReadyCondition, Status: metav1.ConditionTrue, Reason: "R"})
	if got := summarize(c, siteConditions(s), false); got.Status != metav1.ConditionFalse || got.Message != "DataplaneInstalled: Not looked at yet" {
		t.Errorf("before the dataplane was looked at: %s %s", got.Status, got.Message)
	}
	c.Spec.Dataplane.Type = infrav1.DataplaneNone
	if got := summarize(c, siteConditions(s), false); got.Status != metav1.ConditionTrue {
		t.Errorf("without a dataplane: %s %s", got.Status, got.Message)
	}
}

// A node's trouble must not make the site unready: Cluster API would not replace the node then. It must not be borne in silence either,
// nor for ever.
func TestSiteThatWasReadyBearsOneNode(t *testing.T) {
	good, bad := member("a", metav1.ConditionTrue, encryption.ReasonEncrypted), member("b", metav1.ConditionFalse, encryption.ReasonTunnelDown)
	// What a host says of the time does not count.
	bad.Status.Conditions[0].LastTransitionTime = metav1.NewTime(noon().Add(24 * time.Hour))
	const told = "1 of 2 nodes not encrypted; see EncryptionReady"
	for name, test := range map[string]struct {
		wasReady  bool
		members   []infrav1.EdgeMachine
		dataplane string
		since     time.Duration
		want      bool
		message   string
	}{
		"bring-up":                     {false, []infrav1.EdgeMachine{good, bad}, infrav1.DataplaneInstalledReason, time.Minute, false, ""},
		"one of two":                   {true, []infrav1.EdgeMachine{good, bad}, infrav1.DataplaneInstalledReason, time.Minute, true, told},
		"one of two, almost an hour":   {true, []infrav1.EdgeMachine{good, bad}, infrav1.DataplaneInstalledReason, 59 * time.Minute, true, told},
		"one of two, for an hour":      {true, []infrav1.EdgeMachine{good, bad}, infrav1.DataplaneInstalledReason, time.Hour, false, ""},
		"two of three":                 {true, []infrav1.EdgeMachine{good, bad, bad}, infrav1.DataplaneInstalledReason, time.Minute, false, ""},
		"the only one":                 {true, []infrav1.EdgeMachine{bad}, infrav1.DataplaneInstalledReason, time.Minute, false, ""},
		"its pods are awaited":         {true, []infrav1.EdgeMachine{good, bad}, infrav1.WaitingForDataplaneReason, time.Minute, true, told},
		"its pods are awaited in vain": {true, []infrav1.EdgeMachine{good, bad}, infrav1.WaitingForDataplaneReason, time.Hour, false, ""},
		"a rollout":                    {true, []infrav1.EdgeMachine{good, good}, infrav1.RollingOutReason, time.Minute, true, ""},
		"a rollout of hours":           {true, []infrav1.EdgeMachine{good, good}, infrav1.RollingOutReason, 5 * time.Hour, true, ""},
		"an invalid dataplane":         {true, []infrav1.EdgeMachine{good, good}, infrav1.DataplaneInvalidReason, time.Minute, false, ""},
		"pods awaited at bring-up":     {false, []infrav1.EdgeMachine{good, good}, infrav1.WaitingForDataplaneReason, time.Minute, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := &infrav1.EdgeCluster{}
			s := &clusterScope{edgeCluster: c, members: test.members, now: noon()}
			set := func(kind string, is bool, reason string) {
				conditions.Set(c, verdict(kind, is, reason, ""))
			}
			set(infrav1.ReadyCondition, test.wasReady, "R")
			set(infrav1.NetworksValidCondition, true, "R")
			set(infrav1.ControlPlaneEndpointReadyCondition, true, "R")
			set(infrav1.DataplaneInstalledCondition, test.dataplane == infrav1.DataplaneInstalledReason, test.dataplane)
			judged := judgeClusterEncryption(s)
			judged.LastTransitionTime = metav1.NewTime(noon().Add(-test.since))
			conditions.Set(c, judged)
			got := summarizeSite(s)
			if (got.Status == metav1.ConditionTrue) != test.want || test.want && got.Message != test.message {
				t.Errorf("ready is %s: %s", got.Status, got.Message)
			}
			want := time.Duration(0)
			if test.message != "" {
				want = time.Hour - test.since
			}
			if s.requeueAfter != want {
				t.Errorf("looks again in %s, want %s", s.requeueAfter, want)
			}
		})
	}
}

func TestEncryptionEventsWakeTheCluster(t *testing.T) {
	good, bad := member("a", metav1.ConditionTrue, encryption.ReasonEncrypted), member("a", metav1.ConditionFalse, encryption.ReasonPeerMissing)
	plain, moved := member("a", "", ""), member("b", metav1.ConditionTrue, encryption.ReasonEncrypted)
	paused := pausedMember(good)
	let := encryptionPredicates()
	for name, test := range map[string]struct{ got, want bool }{
		"created with a report":     {let.Create(event.CreateEvent{Object: &good}), true},
		"created without":           {let.Create(event.CreateEvent{Object: &plain}), false},
		"deleted with a report":     {let.Delete(event.DeleteEvent{Object: &good}), true},
		"deleted without":           {let.Delete(event.DeleteEvent{Object: &plain}), false},
		"the first report":          {let.Update(event.UpdateEvent{ObjectOld: &plain, ObjectNew: &good}), true},
		"another report":            {let.Update(event.UpdateEvent{ObjectOld: &good, ObjectNew: &bad}), true},
		"the same report":           {let.Update(event.UpdateEvent{ObjectOld: &good, ObjectNew: &good}), false},
		"paused":                    {let.Update(event.UpdateEvent{ObjectOld: &good, ObjectNew: &paused}), true},
		"another host":              {let.Update(event.UpdateEvent{ObjectOld: &good, ObjectNew: &moved}), true},
		"a cluster without":         {let.Update(event.UpdateEvent{ObjectOld: &plain, ObjectNew: &plain}), false},
		"something else altogether": {let.Update(event.UpdateEvent{ObjectOld: &corev1.Node{}, ObjectNew: &corev1.Node{}}), false},
	} {
		if test.got != test.want {
			t.Errorf("%s: wakes the cluster %t, want %t", name, test.got, test.want)
		}
	}
}
