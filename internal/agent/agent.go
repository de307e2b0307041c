// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

const (
	// interval between looks when nothing happens.
	interval = 5 * time.Second
	// hurriedInterval while the tunnel is missing or incomplete, or the guard is not in force: VPP tells of no interface that it makes.
	hurriedInterval = 700 * time.Millisecond
	// patience is how long a backend that starts is waited for before the Node is told that it cannot be reached: a restart of the
	// agent changes nothing.
	patience = 10 * time.Second
	// maxRounds of actions in one look: what one does may need another.
	maxRounds = 3
)

// Agent looks after one node.
type Agent struct {
	config   Config
	backend  Backend
	nodes    *Nodes
	fileKey  func() (string, error)
	log      *slog.Logger
	now      func() time.Time
	reporter *reporter
	memory   memory
	strays   strayMemory
	started  time.Time
	// last is what the last look found; nil before the first.
	last       atomic.Pointer[Status]
	complaints *complaints
	// told is the verdict that was last logged.
	told string
}

// New makes an agent. The function fileKey returns the public key of the host's private key, empty when there is none.
func New(config Config, backend Backend, client rest.Interface, fileKey func() (string, error), log *slog.Logger) *Agent {
	complaints := &complaints{log: log, last: map[string]string{}}
	return &Agent{
		config: config, backend: backend, nodes: NewNodes(client, config.Node), fileKey: fileKey, log: log, now: time.Now, memory: memory{}, strays: strayMemory{},
		reporter: newReporter(client, config.Node, config.Mode, complaints), complaints: complaints,
	}
}

// Run looks after the node until ctx is done.
func (a *Agent) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var background sync.WaitGroup
	defer func() {
		cancel()
		background.Wait()
	}()
	a.started = a.now()
	failed := make(chan error, 1)
	background.Go(func() { failed <- a.backend.Run(ctx) })
	background.Go(func() { a.nodes.Run(ctx) })
	background.Go(func() { a.reporter.run(ctx) })
	schedule := schedule{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-a.backend.Changed():
			timer.Reset(schedule.event(a.now()))
			continue
		case <-a.nodes.Changed():
			timer.Reset(schedule.event(a.now()))
			continue
		case <-timer.C:
		}
		timer.Reset(schedule.looked(a.now(), a.look(ctx)))
	}
}

// look observes, judges, acts and reports once, and returns how long to wait for the next look.
func (a *Agent) look(ctx context.Context) time.Duration {
	nodes, listed := a.nodes.list()
	own := findNode(nodes, a.config.Node)
	if own == nil {
		reason := "the Nodes of the cluster cannot be listed yet"
		if listed {
			reason = fmt.Sprintf("there is no Node %s", a.config.Node)
		}
		if a.now().Sub(a.started) > hurriedInterval {
			a.complaints.note("Waiting", errors.New(reason))
		}
		return hurriedInterval
	}
	a.complaints.note("Waiting", nil)
	fileKey, err := a.fileKey()
	a.complaints.note("Cannot read the host's key", err)
	e := a.config.expectation(nodes, fileKey, a.memory, a.now())
	proved := a.reporter.latest(own)
	e.Proved = proved != nil && proved.Status == corev1.ConditionTrue
	o := a.complete(ctx, e)
	if ctx.Err() != nil {
		return interval
	}
	if o.Unreachable == "" {
		a.memory.note(&e, o, a.now())
		e.Stray = a.strays.lasting(encryption.Strays(e, o), a.now())
	}
	verdict := encryption.Judge(e, o)
	a.last.Store(newStatus(e, o, verdict, a.now()))
	if o.Unreachable != "" && a.now().Sub(a.started) < patience {
		return hurriedInterval
	}
	a.tell(own, verdict)
	return pause(e, o, verdict)
}

// pause is how long to wait for the next look when nothing happens.
func pause(e encryption.Expectation, o encryption.Observation, verdict encryption.Verdict) time.Duration {
	bare := verdict.Reason == encryption.ReasonTunnelMissing || verdict.Reason == encryption.ReasonTunnelDown
	unguarded := e.Mode == encryption.ModeRequired && o.Unreachable == "" && !o.Guard.InForce && o.Guard.Problem == ""
	if bare || unguarded {
		return hurriedInterval
	}
	return interval
}

// complete observes, and does what is to be done, until there is nothing left to do.
func (a *Agent) complete(ctx context.Context, e encryption.Expectation) encryption.Observation {
	o := a.backend.Observe(ctx, e)
	var err error
	for range maxRounds {
		actions := encryption.Actions(e, o)
		if len(actions) == 0 {
			break
		}
		err = a.backend.Act(ctx, e, actions)
		o = a.backend.Observe(ctx, e)
		if err != nil {
			if !o.Guard.InForce && o.Guard.Problem == "" && actions[0].Kind == encryption.InstallGuard {
				o.Guard.Problem = err.Error()
			}
			break
		}
	}
	a.complaints.note("Cannot complete the dataplane", err)
	return o
}

// tell has the verdict reported, and logs it when it has changed. It does not wait: what the dataplane lacks must not go without because
// the API server does not answer.
func (a *Agent) tell(own *corev1.Node, verdict encryption.Verdict) {
	if told := verdict.Reason + ": " + verdict.Message; told != a.told {
		a.told = told
		a.log.Info("Verdict", "encrypted", verdict.Encrypted, "reason", verdict.Reason, "message", verdict.Message)
	}
	a.reporter.post(own, verdict)
}

// complaints logs problems, each once while it lasts.
type complaints struct {
	log  *slog.Logger
	mu   sync.Mutex
	last map[string]string
}

// note takes what is the matter with something, nil when nothing is.
func (c *complaints) note(what string, problem error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case problem == nil:
		delete(c.last, what)
	case c.last[what] != problem.Error():
		c.last[what] = problem.Error()
		c.log.Warn(what, "reason", problem)
	}
}

func findNode(nodes []*corev1.Node, name string) *corev1.Node {
	for _, node := range nodes {
		if node.Name == name {
			return node
		}
	}
	return nil
}
