// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cluster-api/util/conditions"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// A host that comes free must wake the machines that found none, and no others.
func TestIndexWaiting(t *testing.T) {
	machine := func(host, condition, reason string) *infrav1.EdgeMachine {
		m := &infrav1.EdgeMachine{}
		if host != "" {
			m.Annotations = map[string]string{infrav1.HostAnnotation: host}
		}
		if condition != "" {
			conditions.Set(m, metav1.Condition{Type: condition, Status: metav1.ConditionFalse, Reason: reason})
		}
		return m
	}
	provisioned := machine("", infrav1.HostClaimedCondition, infrav1.NoHostMatchesReason)
	provisioned.Spec.ProviderID = "edgemetal://ns/h/m"
	for name, test := range map[string]struct {
		machine *infrav1.EdgeMachine
		want    []string
	}{
		"new":                    {machine("", "", ""), nil},
		"waiting for its owner":  {machine("", infrav1.HostClaimedCondition, infrav1.WaitingForClusterReason), nil},
		"found no host":          {machine("", infrav1.HostClaimedCondition, infrav1.NoHostMatchesReason), []string{waitingForHost}},
		"has a host":             {machine("h", infrav1.HostClaimedCondition, infrav1.NoHostMatchesReason), nil},
		"its address is taken":   {machine("h", infrav1.NetworkDataValidCondition, infrav1.AddressTakenReason), []string{waitingForAddress}},
		"was provisioned before": {provisioned, nil},
	} {
		if got := indexWaiting(test.machine); !slices.Equal(got, test.want) {
			t.Errorf("%s: indexed as %v, want %v", name, got, test.want)
		}
	}
}
