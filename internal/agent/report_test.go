// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

func TestWantedCondition(t *testing.T) {
	start := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	before := func(status corev1.ConditionStatus, reason, message string) *corev1.NodeCondition {
		return &corev1.NodeCondition{
			Type: encryption.NodeCondition, Status: status, Reason: reason, Message: message,
			LastHeartbeatTime: metav1.NewTime(start), LastTransitionTime: metav1.NewTime(start.Add(-time.Hour)),
		}
	}
	verdict := encryption.Verdict{Encrypted: true, Reason: "Encrypted", Message: "m"}
	for _, c := range []struct {
		name         string
		before       *corev1.NodeCondition
		after        time.Duration
		write, moved bool
	}{
		{"none yet", nil, 0, true, true},
		{"the same", before(corev1.ConditionTrue, "Encrypted", "m"), time.Minute, false, false},
		{"the same, for long", before(corev1.ConditionTrue, "Encrypted", "m"), 2 * time.Minute, true, false},
		{"another message", before(corev1.ConditionTrue, "Encrypted", "n"), time.Second, true, false},
		{"gained", before(corev1.ConditionFalse, "PeerMissing", "m"), time.Second, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := start.Add(c.after)
			wanted := wantedCondition(c.before, verdict, now.Add(300*time.Millisecond))
			if got := needsWrite(c.before, wanted); got != c.write {
				t.Errorf("write %v, want %v", got, c.write)
			}
			if wanted.Status != corev1.ConditionTrue || wanted.Reason != "Encrypted" || wanted.Message != "m" || !wanted.LastHeartbeatTime.Time.Equal(now) {
				t.Errorf("condition: %+v", wanted)
			}
			if got := wanted.LastTransitionTime.Time.Equal(now); got != c.moved {
				t.Errorf("transition at %v", wanted.LastTransitionTime)
			}
		})
	}
	long := wantedCondition(nil, encryption.Verdict{Reason: "PeerMissing", Message: strings.Repeat("x", 5000)}, start)
	if long.Status != corev1.ConditionFalse || len(long.Message) != maxMessage {
		t.Errorf("%s, %d bytes", long.Status, len(long.Message))
	}
}
