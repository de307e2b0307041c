// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package quickstart

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

func TestAgentsHaveReported(t *testing.T) {
	for _, c := range []struct {
		dataplane infrav1.DataplaneType
		status    metav1.ConditionStatus
		reason    string
		want      bool
	}{
		{infrav1.DataplaneCalicoNftables, metav1.ConditionUnknown, infrav1.WaitingForAgentReason, false},
		{infrav1.DataplaneCalicoNftables, metav1.ConditionFalse, infrav1.WaitingForAgentReason, false},
		{infrav1.DataplaneCalicoNftables, metav1.ConditionFalse, encryption.ReasonDataplaneUnreachable, false},
		{infrav1.DataplaneCalicoEBPF, metav1.ConditionFalse, encryption.ReasonDataplaneUnreachable, false},
		{infrav1.DataplaneCalicoNftables, metav1.ConditionFalse, encryption.ReasonTunnelDown, true},
		{infrav1.DataplaneCalicoVPP, metav1.ConditionUnknown, infrav1.WaitingForAgentReason, false},
		{infrav1.DataplaneCalicoVPP, metav1.ConditionFalse, encryption.ReasonDataplaneUnreachable, true},
		{infrav1.DataplaneCalicoVPP, metav1.ConditionFalse, encryption.ReasonTunnelDown, false},
	} {
		machine := &infrav1.EdgeMachine{}
		machine.Status.Conditions = []metav1.Condition{{Type: infrav1.EncryptionReadyCondition, Status: c.status, Reason: c.reason}}
		if got := reported(machine, c.dataplane); got != c.want {
			t.Errorf("%s, %s %s: %t", c.dataplane, c.status, c.reason, got)
		}
	}
	if reported(&infrav1.EdgeMachine{}, infrav1.DataplaneCalicoVPP) {
		t.Error("a machine without the condition")
	}
}
