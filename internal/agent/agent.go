// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

const (
	// interval between looks when nothing happens.
	interval = 5 * time.Second
	// hurriedInterval while the tunnel is missing or incomplete: VPP tells of no interface that it makes.
	hurriedInterval = 700 * time.Millisecond
	// settle is how long events are gathered before a look.
	settle = 100 * time.Millisecond
	// patience is how long a backend that starts is waited for before the Node is told that it cannot be reached: a restart of the
	// agent changes nothing.
	patience = 10 * time.Second
	// reportTimeout of all requests of one report.
	reportTimeout = 10 * time.Second
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
	started  time.Time
	// last is what the last look found; nil before the first.
	last atomic.Pointer[Status]
	// problem was last logged; the same is not logged twice.
	problem string
}

// New makes an agent. The function fileKey returns the public key of the host's private key, empty when there is none.
func New(config Config, backend Backend, client rest.Interface, fileKey func() (string, error), log *slog.Logger) *Agent {
	return &Agent{
		config: config, backend: backend, nodes: NewNodes(client), fileKey: fileKey, log: log, now: time.Now, memory: memory{},
		reporter: &reporter{client: client, node: config.Node, mode: config.Mode, now: time.Now},
	}
}

// Run looks after the node until ctx is done.
func (a *Agent) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.started = a.now()
	failed := make(chan error, 1)
	go func() { failed <- a.backend.Run(ctx) }()
	go a.nodes.Run(ctx)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-a.backend.Changed():
			timer.Reset(settle)
			continue
		case <-a.nodes.Changed():
			timer.Reset(settle)
			continue
		case <-timer.C:
		}
		timer.Reset(a.look(ctx))
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
			a.complain("Waiting", reason)
		}
		return hurriedInterval
	}
	fileKey, err := a.fileKey()
	if err != nil {
		a.complain("Cannot read the host's key", err.Error())
	}
	e := a.config.expectation(nodes, fileKey, a.memory, a.now())
	proved := a.reporter.latest(own)
	e.Proved = proved != nil && proved.Status == corev1.ConditionTrue
	o := a.complete(ctx, e)
	if ctx.Err() != nil {
		return interval
	}
	if o.Unreachable == "" {
		a.memory.note(&e, o, a.now())
	}
	verdict := encryption.Judge(e, o)
	a.last.Store(newStatus(e, o, verdict, a.now()))
	if o.Unreachable != "" && a.now().Sub(a.started) < patience {
		return hurriedInterval
	}
	a.tell(ctx, own, verdict)
	if verdict.Reason == encryption.ReasonTunnelMissing || verdict.Reason == encryption.ReasonTunnelDown {
		return hurriedInterval
	}
	return interval
}

// complete observes, and does what is to be done, until there is nothing left to do.
func (a *Agent) complete(ctx context.Context, e encryption.Expectation) encryption.Observation {
	o := a.backend.Observe(ctx, e)
	for range maxRounds {
		actions := encryption.Actions(e, o)
		if len(actions) == 0 {
			break
		}
		err := a.backend.Act(ctx, e, actions)
		o = a.backend.Observe(ctx, e)
		if err != nil {
			a.complain("Cannot complete the dataplane", err.Error())
			if !o.Guard.InForce && o.Guard.Problem == "" && actions[0].Kind == encryption.InstallGuard {
				o.Guard.Problem = err.Error()
			}
			break
		}
	}
	return o
}

// tell reports the verdict, and logs it when it has changed.
func (a *Agent) tell(ctx context.Context, own *corev1.Node, verdict encryption.Verdict) {
	if before := a.reporter.latest(own); before == nil || before.Reason != verdict.Reason || before.Message != truncate(verdict.Message) {
		a.log.Info("Verdict", "encrypted", verdict.Encrypted, "reason", verdict.Reason, "message", verdict.Message)
	}
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	if err := a.reporter.report(ctx, own, verdict); err != nil && ctx.Err() == nil {
		a.complain("Cannot report", err.Error())
	}
}

// complain logs a problem, once while it lasts.
func (a *Agent) complain(what, problem string) {
	if a.problem == what+problem {
		return
	}
	a.problem = what + problem
	a.log.Warn(what, "reason", problem)
}

func findNode(nodes []*corev1.Node, name string) *corev1.Node {
	for _, node := range nodes {
		if node.Name == name {
			return node
		}
	}
	return nil
}
