// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"slices"
	"time"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap/hostnet"
)

// machineScope is what one reconciliation of an EdgeMachine knows. Plain data: steps fill it, the status function reads it.
type machineScope struct {
	edgeMachine *infrav1.EdgeMachine
	machine     *clusterv1.Machine
	cluster     *clusterv1.Cluster
	edgeCluster *infrav1.EdgeCluster

	// host is nil until one has been chosen, or when it has vanished.
	host *bmov1.BareMetalHost
	// hardware is what the inspection of the host found.
	hardware *bmov1.HardwareDetails
	// plan of the host's network; set when plan is valid.
	plan *hostnet.Plan
	// node is the Node with our provider ID, nil until it exists.
	node *corev1.Node

	// givenUp is what to say on the Node instead of a report that does not count any more; nil while it does.
	givenUp *corev1.NodeCondition
	// disputed is true when the Node is not as it was published, and is left so for now.
	disputed bool
	// requeueAfter is when to look again although nothing has happened; 0 for never.
	requeueAfter time.Duration

	// paused is true when nothing but the Paused condition may change.
	paused bool
	// judged are the conditions that this reconciliation has set.
	judged []string
}

// proceed tells whether the next step may run.
type proceed bool

// wait records what is awaited and stops. It is the only way for a step to stop without an error.
func (s *machineScope) wait(condition, reason, format string, args ...any) proceed {
	s.judge(condition, metav1.ConditionFalse, reason, fmt.Sprintf(format, args...))
	return false
}

// reached records that a step has reached its goal.
func (s *machineScope) reached(condition, reason, format string, args ...any) proceed {
	s.judge(condition, metav1.ConditionTrue, reason, fmt.Sprintf(format, args...))
	return true
}

// judgeUnknown records that nothing is known of a condition any more.
func (s *machineScope) judgeUnknown(condition, reason, message string) {
	s.judge(condition, metav1.ConditionUnknown, reason, message)
}

// lookAgainIn asks for another reconciliation after a delay at most.
func (s *machineScope) lookAgainIn(delay time.Duration) {
	if s.requeueAfter == 0 || delay < s.requeueAfter {
		s.requeueAfter = delay
	}
}

func (s *machineScope) judge(condition string, status metav1.ConditionStatus, reason, message string) {
	s.judged = append(s.judged, condition)
	conditions.Set(s.edgeMachine, metav1.Condition{
		Type: condition, Status: status, Reason: reason, Message: message, ObservedGeneration: s.edgeMachine.Generation,
	})
}

func (s *machineScope) hasJudged(condition string) bool { return slices.Contains(s.judged, condition) }

// isProvisioned tells whether provisioning was completed once. The provider ID is the record of it: unlike the status it
// survives a move to another management cluster.
func (s *machineScope) isProvisioned() bool { return s.edgeMachine.Spec.ProviderID != "" }
