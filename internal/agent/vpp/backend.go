// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vpp

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

const (
	// retryInterval between attempts to connect. A socket that nobody listens on costs next to nothing.
	retryInterval = 500 * time.Millisecond
	// pingInterval between checks that VPP still answers: the socket's end is not told by the client library.
	pingInterval = time.Second
	// replyTimeout of a request. VPP answers within a millisecond, unless it is held up.
	replyTimeout = 2 * time.Second
	// observeTimeout of a whole observation.
	observeTimeout = 5 * time.Second
)

// Backend is VPP on this node.
type Backend struct {
	socket, statsSocket string
	hugepages           func() encryption.Hugepages
	log                 *slog.Logger
	changed             chan struct{}

	mu      sync.Mutex
	session *session
	// problem says why there is no session.
	problem string
}

// New makes a backend of the VPP that listens at socket, and whose counters are shared at statsSocket (none when empty). The function
// hugepages counts those of the host.
func New(socket, statsSocket string, hugepages func() encryption.Hugepages, log *slog.Logger) *Backend {
	return &Backend{
		socket:      socket,
		statsSocket: statsSocket,
		hugepages:   hugepages,
		log:         log,
		changed:     make(chan struct{}, 1),
		problem:     fmt.Sprintf("VPP is not running: its API socket %s does not answer yet; see the pod calico-vpp-node of this node", socket),
	}
}

// Changed receives when VPP was connected or lost, and when it tells of an interface or a peer.
func (b *Backend) Changed() <-chan struct{} { return b.changed }

func (b *Backend) notify() {
	select {
	case b.changed <- struct{}{}:
	default: // One is waiting to be read.
	}
}

// Run keeps a session with VPP, and makes another one when VPP restarts.
func (b *Backend) Run(ctx context.Context) error {
	defer b.drop(nil, "the node agent ends")
	for ctx.Err() == nil {
		s, err := connect(ctx, b.socket, b.statsSocket, b.notify)
		if err != nil {
			b.drop(nil, fmt.Sprintf("VPP's API socket %s: %v; see the pod calico-vpp-node of this node", b.socket, err))
			wait(ctx, retryInterval)
			continue
		}
		b.log.Info("Connected to VPP", "version", s.version)
		b.mu.Lock()
		b.session, b.problem = s, ""
		b.mu.Unlock()
		b.notify()
		err = s.keepAlive(ctx)
		b.drop(s, fmt.Sprintf("VPP at %s stopped answering: %v; see the pod calico-vpp-node of this node", b.socket, err))
		s.close()
		if ctx.Err() == nil {
			b.log.Warn("Lost VPP", "reason", err)
			b.notify()
		}
	}
	return nil
}

// drop forgets a session.
func (b *Backend) drop(s *session, problem string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.session == s {
		b.session = nil
	}
	b.problem = problem
}

// current is the session with VPP; nil with the reason when there is none.
func (b *Backend) current() (*session, string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.session, b.problem
}

// Observe asks VPP for everything that the verdict needs.
func (b *Backend) Observe(ctx context.Context, e encryption.Expectation) encryption.Observation {
	s, problem := b.current()
	if s == nil {
		return encryption.Observation{Backend: encryption.VPP, Unreachable: problem}
	}
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	o, err := s.observe(ctx, e)
	if err != nil {
		return encryption.Observation{Backend: encryption.VPP, Unreachable: fmt.Sprintf("VPP at %s cannot be asked: %v", b.socket, err)}
	}
	pages := b.hugepages()
	pages.VPPPageSize = s.pageSize
	o.Hugepages = pages
	return o
}

// Act completes the tunnel and the guard.
func (b *Backend) Act(ctx context.Context, e encryption.Expectation, actions []encryption.Action) error {
	s, problem := b.current()
	if s == nil {
		return fmt.Errorf("%s", problem)
	}
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	for _, action := range actions {
		if err := s.act(ctx, e, action); err != nil {
			return fmt.Errorf("%s %s: %w", action.Kind, action.Interface.Name, err)
		}
		b.log.Info("Done", "action", action.Kind, "interface", action.Interface.Name)
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
