// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
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
		{"the same, by a clock that was set back", before(corev1.ConditionTrue, "Encrypted", "m"), -2 * time.Hour, true, false},
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

// prove makes the node encrypted, refute unencrypted.
func prove(o *encryption.Observation)  { *o = provedVPP() }
func refute(o *encryption.Observation) { o.Tunnels[0].Port = 1 }

// TestOvertakenReport: a report that hangs does not hold up one that says otherwise.
func TestOvertakenReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, backend := newAPIServer(t, testNode("a", "keyA", time.Now())), newFakeBackend(provedVPP())
		startAgent(t, s, backend)
		s.awaitProved()
		backend.look(refute)
		s.hang()
		backend.look(prove)
		s.mu.Lock()
		s.hung = nil // New requests are answered; the one that hangs is not.
		s.mu.Unlock()
		backend.look(func(o *encryption.Observation) { o.Tunnels[0].PublicKey = "keyC" })
		if c := condition(s.node("a"), encryption.NodeCondition); c.Status != corev1.ConditionFalse || c.Reason != encryption.ReasonKeyMismatch {
			t.Errorf("condition %+v", c)
		}
		if taints := s.node("a").Spec.Taints; len(taints) != 1 {
			t.Errorf("taints %+v", taints)
		}
		if got, want := s.recorded(), []string{encryption.ReasonEncrypted, encryption.ReasonPortMismatch}; !slices.Equal(got, want) {
			t.Errorf("events %v, want %v", got, want)
		}
	})
}

// TestTaintComesFirst: a node that loses encryption is tainted before that is told, whatever its agent has not heard of yet.
func TestTaintComesFirst(t *testing.T) {
	for name, disturb := range map[string]func(s *apiServer, lookAt func(func(*encryption.Observation))){
		"nothing disturbs": func(*apiServer, func(func(*encryption.Observation))) {},
		"its own writes come back late": func(s *apiServer, lookAt func(func(*encryption.Observation))) {
			lookAt(refute)
			s.t.Cleanup(s.hold())
			lookAt(prove)
		},
		"others write to the Node": func(s *apiServer, _ func(func(*encryption.Observation))) {
			times := 0
			s.read = func(node string) {
				if times++; times <= 2 {
					s.change(node, func(n *corev1.Node) { n.Annotations["example.com/written"] = strconv.Itoa(times) })
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, backend := newAPIServer(t, testNode("a", "keyA", time.Now())), newFakeBackend(provedVPP())
				startAgent(t, s, backend)
				s.awaitProved()
				disturb(s, backend.look)
				s.wrote = func(node, patch string) {
					now := s.node(node)
					if strings.Contains(patch, encryption.ReasonPortMismatch) && len(now.Spec.Taints) == 0 {
						t.Error("it is told that the node is not encrypted, and there is no taint")
					}
					if strings.Contains(patch, `"taints":[]`) && condition(now, encryption.NodeCondition).Status != corev1.ConditionTrue {
						t.Error("the taint is taken away before it is told that the node is encrypted")
					}
				}
				backend.look(refute)
				c := condition(s.node("a"), encryption.NodeCondition)
				if taints := s.node("a").Spec.Taints; c.Reason != encryption.ReasonPortMismatch || len(taints) != 1 {
					t.Errorf("condition %+v, taints %+v", c, taints)
				}
				backend.look(prove)
				if taints := s.node("a").Spec.Taints; len(taints) != 0 {
					t.Errorf("proved again, taints %+v", taints)
				}
			})
		})
	}
}

// TestReportWithoutAnswer: a verdict that may have been written is written over, although the Node was last seen with the next one.
func TestReportWithoutAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, backend := newAPIServer(t, testNode("a", "keyA", time.Now())), newFakeBackend(provedVPP())
		startAgent(t, s, backend)
		s.awaitProved()
		backend.look(refute)
		t.Cleanup(s.hold())
		s.mute(true)
		backend.look(prove)
		if c := condition(s.node("a"), encryption.NodeCondition); c.Status != corev1.ConditionTrue {
			t.Fatalf("condition %+v, want the one without an answer", c)
		}
		s.mute(false)
		backend.look(refute)
		if c := condition(s.node("a"), encryption.NodeCondition); c.Reason != encryption.ReasonPortMismatch || len(s.node("a").Spec.Taints) != 1 {
			t.Errorf("condition %+v, taints %+v", c, s.node("a").Spec.Taints)
		}
	})
}

// TestTaintWithoutAnswer: a taint that may have been set is taken away, although the Node was last seen without.
func TestTaintWithoutAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, backend := newAPIServer(t, testNode("a", "keyA", time.Now())), newFakeBackend(provedVPP())
		startAgent(t, s, backend)
		s.awaitProved()
		t.Cleanup(s.hold())
		s.mute(true)
		backend.look(refute)
		if taints := s.node("a").Spec.Taints; len(taints) != 1 {
			t.Fatalf("taints %+v, want the one without an answer", taints)
		}
		s.mute(false)
		backend.look(prove)
		if taints := s.node("a").Spec.Taints; len(taints) != 0 {
			t.Errorf("taints %+v", taints)
		}
	})
}

// TestNewNode: a Node that registers again is told everything again, and keeps its taint until then.
func TestNewNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, backend := newAPIServer(t, testNode("a", "keyA", time.Now())), newFakeBackend(provedVPP())
		startAgent(t, s, backend)
		s.awaitProved()
		s.remove("a")
		time.Sleep(10 * time.Second)
		node := testNode("a", "keyA", time.Now())
		node.Spec.Taints = []corev1.Taint{{Key: encryption.NotReadyTaint, Effect: corev1.TaintEffectNoSchedule}}
		s.wrote = func(_, patch string) {
			if strings.Contains(patch, `"taints":[]`) && condition(s.node("a"), encryption.NodeCondition) == nil {
				t.Error("the taint is taken away before it is told that the node is encrypted")
			}
		}
		s.add(node)
		s.awaitProved()
		if taints := s.node("a").Spec.Taints; len(taints) != 0 {
			t.Errorf("taints %+v", taints)
		}
		if got, want := s.recorded(), []string{encryption.ReasonEncrypted, encryption.ReasonEncrypted}; !slices.Equal(got, want) {
			t.Errorf("events %v, want %v", got, want)
		}
	})
}

// TestRefusedReport: a condition that cannot be written is tried again, and is no event until it is.
func TestRefusedReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, backend := newAPIServer(t, testNode("a", "keyA", time.Now())), newFakeBackend(provedVPP())
		s.refuse(true)
		startAgent(t, s, backend)
		time.Sleep(time.Minute)
		synctest.Wait()
		if events := s.recorded(); len(events) > 0 {
			t.Errorf("events of what was not told: %v", events)
		}
		s.refuse(false)
		s.awaitProved()
		if got, want := s.recorded(), []string{encryption.ReasonEncrypted}; !slices.Equal(got, want) {
			t.Errorf("events %v, want %v", got, want)
		}
	})
}

// TestQuiet: while nothing happens an agent asks for nothing and says nothing but that it lives.
func TestQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, backend := newAPIServer(t, testNode("a", "keyA", time.Now())), newFakeBackend(provedVPP())
		startAgent(t, s, backend)
		s.awaitProved()
		s.mu.Lock()
		before := s.asked
		s.mu.Unlock()
		time.Sleep(10 * heartbeatInterval)
		synctest.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if asked := s.asked - before; asked < 9 || asked > 10 {
			t.Errorf("%d requests in %v, want one each %v", asked, 10*heartbeatInterval, heartbeatInterval)
		}
	})
}
