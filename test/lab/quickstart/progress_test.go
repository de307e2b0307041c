// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package quickstart

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab"
)

func condition(name string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: name, Status: status, Reason: reason, Message: message}
}

func host(name string, state bmov1.ProvisioningState) bmov1.BareMetalHost {
	h := bmov1.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Name: name}}
	h.Status.Provisioning.State = state
	return h
}

func TestDescribeNamesTheStepThatIsAwaited(t *testing.T) {
	failing := host("host-2", bmov1.StateProvisioning)
	failing.Status.ErrorCount, failing.Status.ErrorMessage = 2, "image is gone"
	provisioned := infrav1.EdgeMachine{ObjectMeta: metav1.ObjectMeta{Name: "worker"}}
	provisioned.Status.Host = "host-3"
	provisioned.Status.Conditions = []metav1.Condition{
		condition(infrav1.HostClaimedCondition, metav1.ConditionTrue, "HostClaimed", ""),
		condition(infrav1.NetworkDataValidCondition, metav1.ConditionTrue, "NetworkDataValid", ""),
		condition(infrav1.ReleasedCondition, metav1.ConditionTrue, "Released", ""),
		condition(infrav1.BootstrapDataReadyCondition, metav1.ConditionTrue, "BootstrapDataReady", ""),
		condition(infrav1.HostProvisionedCondition, metav1.ConditionFalse, "HostProvisioning", "the host\n is busy"),
		condition(infrav1.NodeLinkedCondition, metav1.ConditionUnknown, "WaitingForEarlierStep", ""),
	}
	w := world{
		hosts:        []bmov1.BareMetalHost{host("host-1", bmov1.StateNone), failing, host("host-3", bmov1.StateProvisioned)},
		edgeMachines: []infrav1.EdgeMachine{{ObjectMeta: metav1.ObjectMeta{Name: "fresh"}}, provisioned},
		clusters: []clusterv1.Cluster{{
			ObjectMeta: metav1.ObjectMeta{Name: "edge-1"},
			Status: clusterv1.ClusterStatus{Conditions: []metav1.Condition{
				condition(clusterv1.ClusterAvailableCondition, metav1.ConditionFalse, "NotAvailable", ""),
			}},
		}},
	}
	want := []line{
		{object: "BareMetalHost/host-1", doing: "new"},
		{object: "BareMetalHost/host-2", doing: "provisioning, error 2: image is gone"},
		{object: "BareMetalHost/host-3", doing: "provisioned", done: true},
		{object: "EdgeMachine/fresh", doing: "new"},
		{object: "EdgeMachine/worker", doing: "HostProvisioned [host-3]: the host is busy"},
		{object: "Cluster/edge-1", doing: "not Available: NotAvailable"},
	}
	if diff := cmp.Diff(want, describe(w), cmp.AllowUnexported(line{})); diff != "" {
		t.Error(diff)
	}
}

func TestClusterReadyNeedsEveryMachine(t *testing.T) {
	available := clusterv1.Cluster{Status: clusterv1.ClusterStatus{Conditions: []metav1.Condition{
		condition(clusterv1.ClusterAvailableCondition, metav1.ConditionTrue, "Available", ""),
	}}}
	ready := clusterv1.Machine{Status: clusterv1.MachineStatus{Conditions: []metav1.Condition{
		condition(clusterv1.MachineReadyCondition, metav1.ConditionTrue, "Ready", ""),
	}}}
	site := infrav1.EdgeCluster{Status: infrav1.EdgeClusterStatus{Conditions: []metav1.Condition{
		condition(infrav1.ReadyCondition, metav1.ConditionTrue, "Ready", ""),
		condition(infrav1.EncryptionReadyCondition, metav1.ConditionTrue, "EncryptionReady", "3 of 3 nodes encrypted"),
	}}}
	open := infrav1.EdgeCluster{Status: infrav1.EdgeClusterStatus{Conditions: []metav1.Condition{
		condition(infrav1.ReadyCondition, metav1.ConditionTrue, "Ready", ""),
		condition(infrav1.EncryptionReadyCondition, metav1.ConditionFalse, "NodesNotEncrypted", "2 of 3 nodes encrypted"),
	}}}
	machines := []clusterv1.Machine{ready, ready, ready}
	q := &quickstart{scenario: simulatedScenario()}
	tests := map[string]struct {
		w    world
		want bool
	}{
		"nothing there":       {world{}, false},
		"too few machines":    {world{clusters: []clusterv1.Cluster{available}, machines: []clusterv1.Machine{ready, ready}}, false},
		"one not ready":       {world{clusters: []clusterv1.Cluster{available}, machines: []clusterv1.Machine{ready, {}, ready}}, false},
		"cluster unavailable": {world{clusters: []clusterv1.Cluster{{}}, machines: []clusterv1.Machine{ready, ready, ready}}, false},
		"no site":             {world{clusters: []clusterv1.Cluster{available}, machines: machines}, false},
		"not encrypted":       {world{clusters: []clusterv1.Cluster{available}, machines: machines, edgeClusters: []infrav1.EdgeCluster{open}}, false},
		"all ready":           {world{clusters: []clusterv1.Cluster{available}, machines: machines, edgeClusters: []infrav1.EdgeCluster{site}}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := q.encryptedClusterReady(tt.w); got != tt.want {
				t.Errorf("encryptedClusterReady is %v", got)
			}
		})
	}
}

// A wait that ends too early says what is not ready; what is ready is not mentioned.
func TestFollowEndsWithWhatIsNotReady(t *testing.T) {
	scheme, err := lab.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	stuck, fine := host("host-1", bmov1.StateRegistering), host("host-2", bmov1.StateAvailable)
	stuck.Namespace, fine.Namespace = metav1.NamespaceDefault, metav1.NamespaceDefault
	stuck.Status.ErrorCount, stuck.Status.ErrorMessage = 1, "BMC does not answer"
	var out bytes.Buffer
	q := &quickstart{scenario: simulatedScenario(), out: &out, begin: time.Now(), api: fake.NewClientBuilder().WithScheme(scheme).WithObjects(&stuck, &fine).Build()}
	ctx, cancel := context.WithTimeout(t.Context(), 2*pollInterval+pollInterval/2)
	defer cancel()
	err = q.follow(ctx, "hosts are available", q.hostsUsable)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error %v, want the deadline", err)
	}
	if text := err.Error(); !strings.Contains(text, "host-1") || !strings.Contains(text, "BMC does not answer") || strings.Contains(text, "host-2") {
		t.Errorf("error %q, want host-1 and why, and not host-2", text)
	}
	if n := strings.Count(out.String(), "host-1"); n != 1 {
		t.Errorf("a line that did not change was printed %d times:\n%s", n, out.String())
	}
}
