// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

func noon() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

// reportedAt is a Node on which the agent has reported.
func reportedAt(heartbeat time.Time, status corev1.ConditionStatus, reason, message string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "worker-1"},
		Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}, {
			Type: encryption.NodeCondition, Status: status, Reason: reason, Message: message,
			LastHeartbeatTime: metav1.NewTime(heartbeat), LastTransitionTime: metav1.NewTime(noon().Add(-time.Hour)),
		}}},
	}
}

func TestMirrorEncryption(t *testing.T) {
	hourAgo := metav1.NewTime(noon().Add(-time.Hour))
	for name, test := range map[string]struct {
		node *corev1.Node
		want metav1.Condition
	}{
		"no report": {&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker-1"}}, metav1.Condition{
			Status: metav1.ConditionUnknown, Reason: infrav1.WaitingForAgentReason,
			Message: "The node agent has not reported on Node worker-1 yet; see DataplaneInstalled of the EdgeCluster, and the pod edge-agent on the node in namespace edgemetal-system",
		}},
		"fresh": {reportedAt(noon().Add(-4*time.Minute), corev1.ConditionTrue, encryption.ReasonEncrypted, "2 peers"), metav1.Condition{
			Status: metav1.ConditionTrue, Reason: encryption.ReasonEncrypted, Message: "2 peers", LastTransitionTime: hourAgo,
		}},
		"bad": {reportedAt(noon(), corev1.ConditionFalse, encryption.ReasonPeerMissing, "no peer"), metav1.Condition{
			Status: metav1.ConditionFalse, Reason: encryption.ReasonPeerMissing, Message: "no peer", LastTransitionTime: hourAgo,
		}},
		"given up": {reportedAt(noon(), corev1.ConditionUnknown, infrav1.WaitingForAgentReason, "silent"), metav1.Condition{
			Status: metav1.ConditionUnknown, Reason: infrav1.WaitingForAgentReason, Message: "silent", LastTransitionTime: hourAgo,
		}},
		"true without a reason": {reportedAt(noon(), corev1.ConditionTrue, "", ""), metav1.Condition{
			Status: metav1.ConditionTrue, Reason: infrav1.EncryptionReadyReason, LastTransitionTime: hourAgo,
		}},
		"false with a reason that no condition may have": {reportedAt(noon(), corev1.ConditionFalse, "no peer!", ""), metav1.Condition{
			Status: metav1.ConditionFalse, Reason: infrav1.NodesNotEncryptedReason, LastTransitionTime: hourAgo,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, mirrorEncryption(test.node.Name, nodeEncryption(test.node))); diff != "" {
				t.Error(diff)
			}
		})
	}
	long := mirrorEncryption("n", nodeEncryption(reportedAt(noon(), corev1.ConditionFalse, "X", strings.Repeat("ü", 40000)))).Message
	if len(long) > 32768 || !strings.HasSuffix(long, "ü...") {
		t.Errorf("a message of %d bytes that ends in %q", len(long), long[len(long)-8:])
	}
}

func TestNodeChange(t *testing.T) {
	base := func() *corev1.Node {
		node := reportedAt(noon(), corev1.ConditionTrue, encryption.ReasonEncrypted, "2 peers")
		node.Annotations = map[string]string{encryption.PublicKeyAnnotation: "k"}
		return node
	}
	for name, test := range map[string]struct {
		change func(*corev1.Node)
		want   bool
	}{
		"nothing":                  {func(*corev1.Node) {}, false},
		"heartbeat":                {func(n *corev1.Node) { n.Status.Conditions[1].LastHeartbeatTime.Time = noon().Add(2 * time.Minute) }, false},
		"heartbeat after a pause":  {func(n *corev1.Node) { n.Status.Conditions[1].LastHeartbeatTime.Time = noon().Add(DefaultReportTimeout) }, true},
		"another condition":        {func(n *corev1.Node) { n.Status.Conditions[0].Status = corev1.ConditionFalse }, false},
		"status":                   {func(n *corev1.Node) { n.Status.Conditions[1].Status = corev1.ConditionFalse }, true},
		"reason":                   {func(n *corev1.Node) { n.Status.Conditions[1].Reason = "Other" }, true},
		"message":                  {func(n *corev1.Node) { n.Status.Conditions[1].Message = "3 peers" }, true},
		"condition gone":           {func(n *corev1.Node) { n.Status.Conditions = nil }, true},
		"key":                      {func(n *corev1.Node) { n.Annotations[encryption.PublicKeyAnnotation] = "other" }, true},
		"another annotation":       {func(n *corev1.Node) { n.Annotations["a"] = "b" }, false},
		"failure domain":           {func(n *corev1.Node) { n.Labels = map[string]string{encryption.FailureDomainLabel: "r"} }, true},
		"started again":            {func(n *corev1.Node) { n.Status.NodeInfo.BootID = "2" }, true},
		"another kernel":           {func(n *corev1.Node) { n.Status.NodeInfo.KernelVersion = "2" }, false},
		"provider ID":              {func(n *corev1.Node) { n.Spec.ProviderID = "p" }, true},
		"taints, the node agent's": {func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{{Key: encryption.NotReadyTaint}} }, false},
	} {
		after := base()
		test.change(after)
		if got := isNodeChange(base(), after); got != test.want {
			t.Errorf("%s: wakes the machine %t, want %t", name, got, test.want)
		}
	}
}

// encryptedScope is a machine of a cluster that requires encryption.
func encryptedScope(mode infrav1.EncryptionMode) *machineScope {
	s := &machineScope{edgeMachine: &infrav1.EdgeMachine{}, edgeCluster: &infrav1.EdgeCluster{}}
	s.edgeMachine.Spec.ProviderID = "edgemetal://n/h/m"
	s.edgeMachine.Status.WireGuardPublicKey = "ours"
	s.edgeMachine.Status.FailureDomain = "rack-1"
	s.edgeCluster.Spec.Dataplane.Encryption.Mode = mode
	return s
}

func TestWantedNode(t *testing.T) {
	type outcome struct {
		key, domain string
		tainted     bool
	}
	for name, test := range map[string]struct {
		mode   infrav1.EncryptionMode
		change func(*machineScope, *corev1.Node)
		want   outcome
	}{
		"new, without a taint": {infrav1.EncryptionRequired, func(*machineScope, *corev1.Node) {}, outcome{"ours", "rack-1", true}},
		"new, Preferred":       {infrav1.EncryptionPreferred, func(*machineScope, *corev1.Node) {}, outcome{"ours", "rack-1", false}},
		"new, Disabled": {infrav1.EncryptionDisabled, func(s *machineScope, _ *corev1.Node) {
			s.edgeMachine.Status.WireGuardPublicKey = ""
		}, outcome{"", "rack-1", false}},
		"new, no dataplane of ours": {infrav1.EncryptionDisabled, func(s *machineScope, _ *corev1.Node) {
			s.edgeCluster.Spec.Dataplane.Type = infrav1.DataplaneNone
		}, outcome{"", "", false}},
		"seen before": {infrav1.EncryptionRequired, func(s *machineScope, _ *corev1.Node) {
			s.reached(infrav1.NodeLinkedCondition, infrav1.NodeLinkedReason, "")
		}, outcome{"ours", "rack-1", false}},
		"reported on": {infrav1.EncryptionRequired, func(_ *machineScope, n *corev1.Node) {
			n.Status = reportedAt(noon(), corev1.ConditionFalse, encryption.ReasonTunnelMissing, "").Status
		}, outcome{"ours", "rack-1", false}},
		"given up": {infrav1.EncryptionRequired, func(s *machineScope, n *corev1.Node) {
			s.reached(infrav1.NodeLinkedCondition, infrav1.NodeLinkedReason, "")
			n.Status = reportedAt(noon(), corev1.ConditionTrue, encryption.ReasonEncrypted, "").Status
			s.givenUp = &corev1.NodeCondition{Type: encryption.NodeCondition, Status: corev1.ConditionUnknown}
		}, outcome{"ours", "rack-1", true}},
		"given up before, and the taint taken away": {infrav1.EncryptionRequired, func(s *machineScope, n *corev1.Node) {
			s.reached(infrav1.NodeLinkedCondition, infrav1.NodeLinkedReason, "")
			n.Status = reportedAt(noon(), corev1.ConditionUnknown, infrav1.WaitingForAgentReason, "").Status
		}, outcome{"ours", "rack-1", true}},
		"given up, Preferred": {infrav1.EncryptionPreferred, func(_ *machineScope, n *corev1.Node) {
			n.Status = reportedAt(noon(), corev1.ConditionUnknown, infrav1.WaitingForAgentReason, "").Status
		}, outcome{"ours", "rack-1", false}},
		"with a foreign key": {infrav1.EncryptionPreferred, func(_ *machineScope, n *corev1.Node) {
			n.Annotations = map[string]string{encryption.PublicKeyAnnotation: "theirs"}
		}, outcome{"ours", "rack-1", false}},
		"with a foreign key that VPP has": {infrav1.EncryptionPreferred, func(_ *machineScope, n *corev1.Node) {
			n.Annotations = map[string]string{encryption.PublicKeyAnnotation: "theirs"}
			n.Status = reportedAt(noon(), corev1.ConditionFalse, encryption.ReasonKeyMismatch, "").Status
		}, outcome{"theirs", "rack-1", false}},
		"of a failure domain that was taken away": {infrav1.EncryptionPreferred, func(s *machineScope, n *corev1.Node) {
			s.edgeMachine.Status.FailureDomain = ""
			n.Labels = map[string]string{encryption.FailureDomainLabel: "by hand"}
		}, outcome{"ours", "by hand", false}},
	} {
		t.Run(name, func(t *testing.T) {
			s, node := encryptedScope(test.mode), &corev1.Node{}
			test.change(s, node)
			before := node.DeepCopy()
			wanted := s.wantedNode(node)
			got := outcome{wanted.Annotations[encryption.PublicKeyAnnotation], wanted.Labels[encryption.FailureDomainLabel], len(wanted.Spec.Taints) == 1}
			if got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			if wanted.Spec.ProviderID != "edgemetal://n/h/m" {
				t.Errorf("provider ID %q", wanted.Spec.ProviderID)
			}
			if diff := cmp.Diff(before, node); diff != "" {
				t.Errorf("the Node of the cache was changed:\n%s", diff)
			}
		})
	}
}

func TestEncryptionTurned(t *testing.T) {
	good, bad := member("a", metav1.ConditionTrue, encryption.ReasonEncrypted), member("a", metav1.ConditionFalse, encryption.ReasonPeerMissing)
	for name, test := range map[string]struct {
		before, after infrav1.EdgeMachine
		want          string
	}{
		"encrypted":    {bad, good, corev1.EventTypeNormal},
		"lost":         {good, bad, corev1.EventTypeWarning},
		"still":        {good, good, ""},
		"still not":    {bad, bad, ""},
		"the first":    {member("a", "", ""), good, corev1.EventTypeNormal},
		"not the last": {member("a", "", ""), bad, ""},
	} {
		if kind, condition := encryptionTurned(&test.before, &test.after); kind != test.want || (condition != nil) != (kind != "") {
			t.Errorf("%s: event of type %q, want %q", name, kind, test.want)
		}
	}
}

func TestTrim(t *testing.T) {
	secret := func(name string, data map[string]string) *corev1.Secret {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m"}}}, Data: map[string][]byte{}}
		for key, value := range data {
			s.Data[key] = []byte(value)
		}
		return s
	}
	for name, test := range map[string]struct {
		secret *corev1.Secret
		want   map[string][]byte
	}{
		"kubeconfig":       {secret("edge-kubeconfig", map[string]string{"value": "v"}), map[string][]byte{"value": []byte("v")}},
		"key pair":         {secret("m-wireguard", map[string]string{"privateKey": "secret", "publicKey": "public"}), map[string][]byte{"publicKey": []byte("public")}},
		"host config":      {secret("m-host-config", map[string]string{"userData": "secret"}), nil},
		"pre-shared key":   {secret("edge-ipsec-psk", map[string]string{"psk": "secret"}), nil},
		"of another name":  {secret("other", map[string]string{"publicKey": "public"}), nil},
		"key pair, broken": {secret("m-wireguard", map[string]string{"privateKey": "secret"}), nil},
	} {
		trimmed, err := TrimSecret(test.secret)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: test.secret.Name}, Data: test.want}, trimmed); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	node := reportedAt(noon(), corev1.ConditionTrue, encryption.ReasonEncrypted, "")
	want := node.Status.Conditions[1:]
	node.Status.Images = []corev1.ContainerImage{{Names: []string{"i"}}}
	node.Status.Addresses = []corev1.NodeAddress{{Address: "192.0.2.1"}}
	node.Status.NodeInfo = corev1.NodeSystemInfo{BootID: "b", KernelVersion: "k"}
	trimmed, err := TrimNode(node.DeepCopy())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(corev1.NodeStatus{Addresses: node.Status.Addresses, Conditions: want, NodeInfo: corev1.NodeSystemInfo{BootID: "b"}}, trimmed.(*corev1.Node).Status); diff != "" {
		t.Error(diff)
	}
}
