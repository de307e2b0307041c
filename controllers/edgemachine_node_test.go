// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"strings"
	"testing"
	"time"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/cluster-api/util/index"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
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

// connecting are connections to workload clusters, the first of which is made right after somebody was told that there is none.
type connecting struct {
	clustercache.ClusterCache
	workload client.Client
	asked    int
}

func (c *connecting) GetClient(context.Context, client.ObjectKey) (client.Client, error) {
	if c.asked++; c.asked == 1 {
		return nil, clustercache.ErrClusterNotConnected
	}
	return c.workload, nil
}

func (c *connecting) GetHealthCheckingState(context.Context, client.ObjectKey) clustercache.HealthCheckingState {
	if c.asked == 0 {
		return clustercache.HealthCheckingState{}
	}
	return clustercache.HealthCheckingState{LastProbeTime: time.Now(), LastProbeSuccessTime: time.Now()}
}

// TestConnectedMeanwhile has a manager that has just started ask for a connection, and get it when it has just been told that there is
// none: a linked machine is not out of reach then, and one that is deleted still has its key withdrawn.
func TestConnectedMeanwhile(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "h", Annotations: map[string]string{encryption.PublicKeyAnnotation: "key"}}}
	node.Spec.ProviderID = "edgemetal://n/h/m"
	newScope := func(age time.Duration) (*EdgeMachineReconciler, *machineScope) {
		workload := fake.NewClientBuilder().WithObjects(node.DeepCopy()).WithIndex(node, index.NodeProviderIDField, index.NodeByProviderID).Build()
		s := &machineScope{edgeMachine: &infrav1.EdgeMachine{}, cluster: &clusterv1.Cluster{}}
		s.edgeMachine.Spec.ProviderID = node.Spec.ProviderID
		s.edgeMachine.Status.WireGuardPublicKey = "key"
		s.reached(infrav1.NodeLinkedCondition, infrav1.NodeLinkedReason, "Node h")
		return &EdgeMachineReconciler{ClusterCache: &connecting{workload: workload}, started: time.Now().Add(-age)}, s
	}
	for age, again := range map[time.Duration]time.Duration{0: probeInterval, time.Hour: probeTimeout} {
		r, s := newScope(age)
		if goesOn, err := r.linkNode(t.Context(), s); err != nil || !goesOn {
			t.Errorf("a linked machine goes on: %t, %v", goesOn, err)
		}
		if reason := conditions.GetReason(s.edgeMachine, infrav1.NodeLinkedCondition); reason != infrav1.NodeLinkedReason || s.requeueAfter != again {
			t.Errorf("a linked machine is %s, and looked at again after %v, want %v", reason, s.requeueAfter, again)
		}
	}
	r, s := newScope(0)
	if goesOn, err := r.withdrawKey(t.Context(), s); err != nil || bool(goesOn) || s.requeueAfter != probeInterval {
		t.Errorf("a deleted machine goes on: %t, %v, and is looked at again after %v", goesOn, err, s.requeueAfter)
	}
	if goesOn, err := r.withdrawKey(t.Context(), s); err != nil || !goesOn || s.edgeMachine.Status.WireGuardPublicKey != "" {
		t.Errorf("a deleted machine goes on: %t, %v, with key %q", goesOn, err, s.edgeMachine.Status.WireGuardPublicKey)
	}
	workload, err := r.ClusterCache.GetClient(t.Context(), client.ObjectKey{})
	if err != nil {
		t.Fatal(err)
	}
	if err := workload.Get(t.Context(), client.ObjectKeyFromObject(node), node); err != nil || node.Annotations[encryption.PublicKeyAnnotation] != "" || !node.Spec.Unschedulable {
		t.Errorf("%v; the Node has annotations %v, unschedulable %t", err, node.Annotations, node.Spec.Unschedulable)
	}
}
