// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"strings"
	"testing"
	"time"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

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

// connecting is a cluster that gets its first connection right after somebody was told that there is none.
type connecting struct {
	clustercache.ClusterCache
	tried bool
}

func (c *connecting) GetClient(context.Context, client.ObjectKey) (client.Client, error) {
	c.tried = true
	return nil, clustercache.ErrClusterNotConnected
}

func (c *connecting) GetHealthCheckingState(context.Context, client.ObjectKey) clustercache.HealthCheckingState {
	if !c.tried {
		return clustercache.HealthCheckingState{}
	}
	return clustercache.HealthCheckingState{LastProbeTime: time.Now(), LastProbeSuccessTime: time.Now()}
}

// TestConnectedMeanwhile has a manager that has just started ask for a connection, and get it when it has just been told that there is
// none: a linked machine is not out of reach then, and one that is deleted still has its key withdrawn.
func TestConnectedMeanwhile(t *testing.T) {
	newScope := func() (*EdgeMachineReconciler, *machineScope) {
		s := &machineScope{edgeMachine: &infrav1.EdgeMachine{}, cluster: &clusterv1.Cluster{}}
		s.edgeMachine.Spec.ProviderID = "edgemetal://n/h/m"
		s.edgeMachine.Status.WireGuardPublicKey = "key"
		s.reached(infrav1.NodeLinkedCondition, infrav1.NodeLinkedReason, "Node h")
		return &EdgeMachineReconciler{ClusterCache: &connecting{}, started: time.Now()}, s
	}
	t.Run("linked", func(t *testing.T) {
		r, s := newScope()
		if goesOn, err := r.linkNode(t.Context(), s); err != nil || !goesOn {
			t.Errorf("goes on: %t, %v", goesOn, err)
		}
		if reason := conditions.GetReason(s.edgeMachine, infrav1.NodeLinkedCondition); reason != infrav1.NodeLinkedReason || s.requeueAfter != probeRetry {
			t.Errorf("it is %s, and looked at again after %v", reason, s.requeueAfter)
		}
	})
	t.Run("deleted", func(t *testing.T) {
		r, s := newScope()
		if goesOn, err := r.withdrawKey(t.Context(), s); err != nil || bool(goesOn) || s.edgeMachine.Status.WireGuardPublicKey == "" || s.requeueAfter != probeRetry {
			t.Errorf("goes on: %t, %v; with key %q, looked at again after %v", goesOn, err, s.edgeMachine.Status.WireGuardPublicKey, s.requeueAfter)
		}
	})
}
