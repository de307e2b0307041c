// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import "time"

const (
	// settle is how long events are gathered before a look.
	settle = 100 * time.Millisecond
	// maxSettle is the longest that events which keep coming put off a look.
	maxSettle = time.Second
)

// schedule says when to look.
type schedule struct {
	// due is when the next look is due when nothing happens.
	due time.Time
	// latest is when it is due because of the first event since the last look; zero when there was none.
	latest time.Time
}

// looked plans the next look, and returns the time until then.
func (s *schedule) looked(now time.Time, pause time.Duration) time.Duration {
	s.due, s.latest = now.Add(pause), time.Time{}
	return pause
}

// event brings the next look nearer, and returns the time until then: others that come with the event are waited for, but no look is put
// off that is due.
func (s *schedule) event(now time.Time) time.Duration {
	if s.latest.IsZero() {
		s.latest = now.Add(maxSettle)
		if s.due.Before(s.latest) {
			s.latest = s.due
		}
	}
	return min(settle, max(0, s.latest.Sub(now)))
}
