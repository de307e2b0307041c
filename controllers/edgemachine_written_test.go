// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/cluster-api/util/cache"
	"sigs.k8s.io/cluster-api/util/conditions"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

func TestOutdatedMachineIsNoticed(t *testing.T) {
	r := &EdgeMachineReconciler{written: cache.New[writtenVersion](t.Context(), writtenTTL)}
	machine := func(uid types.UID, version string) *infrav1.EdgeMachine {
		return &infrav1.EdgeMachine{ObjectMeta: metav1.ObjectMeta{Name: "m", UID: uid, ResourceVersion: version}}
	}
	r.remember(machine("ours", "100"))
	for name, test := range map[string]struct {
		read *infrav1.EdgeMachine
		want bool
	}{
		"older than what was written":      {machine("ours", "99"), true},
		"just what was written":            {machine("ours", "100"), false},
		"newer":                            {machine("ours", "1000"), false},
		"another machine of the same name": {machine("other", "7"), false},
	} {
		if got := r.isOutdated(test.read); got != test.want {
			t.Errorf("%s: outdated %v, want %v", name, got, test.want)
		}
	}
}

func TestJudgedConditionsObserveTheNewestGeneration(t *testing.T) {
	s := &machineScope{edgeMachine: &infrav1.EdgeMachine{ObjectMeta: metav1.ObjectMeta{Generation: 1}}}
	setPaused(s.edgeMachine, false)
	s.reached(infrav1.HostClaimedCondition, infrav1.HostClaimedReason, "")
	// Setting the provider ID makes a new generation in the middle of a reconciliation.
	s.edgeMachine.Generation = 2
	s.reached(infrav1.HostProvisionedCondition, infrav1.HostProvisionedReason, "")
	updateMachineStatus(s)
	for _, condition := range s.edgeMachine.Status.Conditions {
		if condition.ObservedGeneration != 2 {
			t.Errorf("condition %s observed generation %d, so the next reconciliation would write it again", condition.Type, condition.ObservedGeneration)
		}
	}
	if conditions.Get(s.edgeMachine, infrav1.ReadyCondition) == nil {
		t.Error("no Ready condition")
	}
}
