// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"strings"
	"testing"
	"time"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cluster-api/util/conditions"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// A host that never becomes a Node is named after a stated time, with the way to its console; before, that time is stated.
func TestAwaitNodeLosesPatience(t *testing.T) {
	const timeout = 20 * time.Minute
	begin := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	s := &machineScope{
		edgeMachine: &infrav1.EdgeMachine{},
		host:        &bmov1.BareMetalHost{Spec: bmov1.BareMetalHostSpec{BMC: bmov1.BMCDetails{Address: "redfish://192.0.2.201/redfish/v1/Systems/1"}}},
	}
	s.edgeMachine.Annotations = map[string]string{infrav1.HostAnnotation: "host-4"}
	conditions.Set(s.edgeMachine, metav1.Condition{
		Type: infrav1.NodeLinkedCondition, Status: metav1.ConditionUnknown, Reason: infrav1.WaitingForEarlierStepReason,
		LastTransitionTime: metav1.NewTime(begin.Add(-time.Hour)),
	})
	look := func(now time.Time) (reason, message string, again time.Duration) {
		s.requeueAfter = 0
		if s.awaitNode("a Node with provider ID edgemetal://default/host-4/m", timeout, now) {
			t.Error("a Node that is not there is awaited no longer")
		}
		c := conditions.Get(s.edgeMachine, infrav1.NodeLinkedCondition)
		return c.Reason, c.Message, s.requeueAfter
	}
	reason, message, again := look(begin)
	if reason != infrav1.WaitingForNodeReason || again != timeout || !strings.Contains(message, "20m0s") {
		t.Errorf("at first %s %q, again in %s", reason, message, again)
	}
	conditions.Get(s.edgeMachine, infrav1.NodeLinkedCondition).LastTransitionTime = metav1.NewTime(begin)
	if reason, _, again = look(begin.Add(15 * time.Minute)); reason != infrav1.WaitingForNodeReason || again != 5*time.Minute {
		t.Errorf("after 15 minutes %s, again in %s", reason, again)
	}
	reason, message, again = look(begin.Add(timeout))
	if reason != infrav1.NodeStartupTimeoutReason || again != 0 {
		t.Errorf("after the timeout %s, again in %s", reason, again)
	}
	for _, wanted := range []string{"more than 20m0s", "edgemetal://default/host-4/m", "console of BareMetalHost host-4", "redfish://192.0.2.201/redfish/v1/Systems/1"} {
		if !strings.Contains(message, wanted) {
			t.Errorf("%q lacks %q", message, wanted)
		}
	}
}
