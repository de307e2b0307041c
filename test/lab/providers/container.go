// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"context"
	"net/http"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/plane"
)

const (
	probeInterval = 500 * time.Millisecond
	probeTimeout  = 2 * time.Second
	// failureThreshold is how many probes in a row fail before a container is not ready any more: a pod's default.
	failureThreshold = 3

	backoffStep  = time.Second
	backoffLimit = 10 * time.Second
)

// state is what a container's process is doing now.
type state struct {
	running   bool
	ready     bool
	restarts  int32
	startedAt time.Time
	reason    string // why it last ended
}

// container keeps one process running until it is stopped.
type container struct {
	pod     types.UID
	process plane.Process
	probe   probe
	ports   map[int32]int
	renew   func(context.Context) error // the token
	changed func()                      // called after each change of state

	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	state   state
	current *plane.Running
}

// start runs the container until stop, whatever becomes of ctx.
func (c *container) start(ctx context.Context) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.cancel, c.done = cancel, make(chan struct{})
	go func() {
		defer close(c.done)
		for attempt := 1; ctx.Err() == nil; attempt++ {
			if wasReady := c.runOnce(ctx); wasReady {
				attempt = 1 // it can start, so there is nothing to wait for
			}
			pause(ctx, min(time.Duration(attempt)*backoffStep, backoffLimit))
		}
	}()
}

// stop returns when the process is gone.
func (c *container) stop() {
	c.cancel()
	<-c.done
}

// kill ends the process as a crash would; the container starts it again.
func (c *container) kill() {
	c.mu.Lock()
	current := c.current
	c.mu.Unlock()
	if current != nil {
		current.Kill()
	}
}

func (c *container) snapshot() state {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// runOnce starts the process and watches it until it ends or ctx does. It tells whether it was ever ready.
func (c *container) runOnce(ctx context.Context) (wasReady bool) {
	running, err := plane.Start(ctx, c.process)
	if err != nil {
		c.update(nil, func(s *state) { s.reason = err.Error() })
		return false
	}
	c.update(running, func(s *state) { s.running, s.startedAt, s.reason = true, time.Now(), "" })
	wasReady = c.watch(ctx, running)
	running.Stop()
	c.update(nil, func(s *state) {
		s.running, s.ready, s.reason = false, false, running.Err().Error()
		s.restarts++
	})
	return wasReady
}

func (c *container) watch(ctx context.Context, running *plane.Running) (wasReady bool) {
	probes := time.NewTicker(probeInterval)
	defer probes.Stop()
	renewals := time.NewTicker(tokenRenewal)
	defer renewals.Stop()
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return wasReady
		case <-running.Done():
			return wasReady
		case <-probes.C:
			ready := c.probe.ask(ctx)
			wasReady = wasReady || ready
			if ready {
				failures = 0
			} else {
				failures++
			}
			if ready != c.snapshot().ready && (ready || failures >= failureThreshold) {
				c.update(running, func(s *state) { s.ready = ready })
			}
		case <-renewals.C:
			if err := c.renew(ctx); err != nil {
				c.update(running, func(s *state) { s.reason = err.Error() })
			}
		}
	}
}

func (c *container) update(current *plane.Running, change func(*state)) {
	c.mu.Lock()
	c.current = current
	change(&c.state)
	c.mu.Unlock()
	c.changed()
}

// ask tells whether the probe succeeds, by the kubelet's rule: a status from 200 to 399.
func (p probe) ask(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode >= http.StatusOK && response.StatusCode < http.StatusBadRequest
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
