// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	bootstrapv1 "sigs.k8s.io/cluster-api/api/bootstrap/kubeadm/v1beta2"
	"sigs.k8s.io/cluster-api/util/secret"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/bench/audit"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/bench/result"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/bench/site"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/bench/workload"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab"
)

const (
	// user is as whom our manager acts.
	user     = "system:serviceaccount:capem-system:capem-manager"
	provider = "infrastructure-edgemetal"
	// stopTimeout bounds how long the workload clusters' API servers may take to stop.
	stopTimeout = 5 * time.Second
	// quiet is how long a manager makes no request and hardly uses a CPU before it counts as done.
	quiet = 5 * time.Second
	// idleCPU in seconds is what an idle manager uses in a second at most, for garbage collection and health checks.
	idleCPU = 0.05
)

// trial measures one number of machines.
type trial struct {
	plan     site.Plan
	dir      string
	atOnce   int
	steady   time.Duration
	profiles string

	sites       []site.Site
	authorities secret.Certificates
	log         *audit.Log
	lab         *lab.Lab
	servers     *workload.Servers
	api         client.Client
	cache       cache.Cache
	profiler    *profiler

	// parts run until cancel.
	parts  sync.WaitGroup
	cancel context.CancelFunc
	failed chan error
}

func (t *trial) run(ctx context.Context) (result.Run, error) {
	var measured result.Run
	for _, step := range []func(context.Context, *result.Run) error{
		t.prepare, t.startLab, t.startParts, t.stockHosts, t.bringUp, t.watchSteadyState, t.restart,
	} {
		if err := step(ctx, &measured); err != nil {
			return result.Run{}, errors.Join(err, t.early())
		}
	}
	return measured, nil
}

// early is why a part of the trial has ended by itself, if one has.
func (t *trial) early() error {
	select {
	case err := <-t.failed:
		return err
	default:
	}
	if t.lab != nil {
		return t.lab.Err()
	}
	return nil
}

func (t *trial) prepare(_ context.Context, measured *result.Run) error {
	var err error
	if t.sites, err = t.plan.Sites(); err != nil {
		return err
	}
	t.authorities = secret.NewCertificatesForInitialControlPlane(&bootstrapv1.ClusterConfiguration{})
	if err := t.authorities.Generate(); err != nil {
		return fmt.Errorf("make the workload clusters' authorities: %w", err)
	}
	if t.log, err = audit.New(filepath.Join(t.dir, "audit"), user); err != nil {
		return err
	}
	measured.Machines, measured.Clusters, measured.PerClust = t.plan.Machines, len(t.sites), t.plan.PerCluster
	for _, s := range t.sites {
		measured.Hosts += s.Hosts
	}
	measured.AtOnce = min(t.atOnce, len(t.sites))
	measured.Addresses = "pool, in-cluster IPAM"
	if t.plan.FromHost {
		measured.Addresses = "host annotation"
	}
	measured.ControlPlanePayload, measured.WorkerPayload, err = t.sites[0].PayloadSizes(t.authorities)
	return err
}

func (t *trial) startLab(ctx context.Context, _ *result.Run) error {
	progress("%d machines: starting the management cluster", t.plan.Machines)
	components, err := lab.FindRelease()
	if err != nil {
		return err
	}
	if t.profiles != "" {
		if t.profiler, components, err = newProfiler(components, filepath.Join(t.dir, "release")); err != nil {
			return err
		}
	}
	t.lab, err = lab.Start(ctx, lab.Options{
		Dir: filepath.Join(t.dir, "lab"), EdgeMetal: components, APIServerArgs: t.log.Args(), Out: os.Stderr,
	})
	if err != nil {
		return err
	}
	_, err = t.lab.Clusterctl(ctx, "init", "--infrastructure", "edgemetal", "--ipam", "in-cluster",
		"--bootstrap", "-", "--control-plane", "-", "--wait-providers")
	return err
}

// watchSteadyState counts what the manager does when there is nothing to do.
func (t *trial) watchSteadyState(ctx context.Context, measured *result.Run) error {
	progress("watching the steady state for %s", t.steady)
	before, err := t.usage()
	if err != nil {
		return err
	}
	start := time.Now()
	if err := pause(ctx, t.steady); err != nil {
		return err
	}
	after, err := t.usage()
	if err != nil {
		return err
	}
	measured.SteadyCPU = after.cpu - before.cpu
	measured.PeakRSS = after.peakRSS
	measured.Steady, err = t.requestsSince(start)
	return err
}

// restart kills the manager, which must then find that all is as it should be.
func (t *trial) restart(ctx context.Context, measured *result.Run) error {
	progress("killing the manager and waiting until it has looked at everything again")
	old, err := t.lab.Node().Pid(provider)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := t.lab.Node().Kill(provider); err != nil {
		return err
	}
	if err := t.untilQuiet(ctx, func() bool {
		pid, err := t.lab.Node().Pid(provider)
		return err == nil && pid != old
	}); err != nil {
		return fmt.Errorf("wait for the restarted manager: %w", err)
	}
	now, err := t.usage()
	if err != nil {
		return err
	}
	measured.RestartPeakRSS = now.peakRSS
	measured.Restart, err = t.requestsSince(start)
	return err
}

// untilQuiet waits until the condition holds and then until the manager has been idle for a while. A manager that
// never stops is not waited for longer than a minute.
func (t *trial) untilQuiet(ctx context.Context, holds func() bool) error {
	for !holds() {
		if err := pause(ctx, pollInterval); err != nil {
			return err
		}
	}
	requests, cpu, busy, since := 0, 0.0, time.Now(), time.Now()
	for time.Since(busy) < quiet && time.Since(since) < time.Minute {
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
		all, err := t.log.Read()
		if err != nil {
			return err
		}
		now, err := t.usage()
		if err != nil {
			return err
		}
		if len(all) != requests || now.cpu-cpu > idleCPU {
			busy = time.Now()
		}
		requests, cpu = len(all), now.cpu
	}
	return nil
}

func (t *trial) requestsSince(start time.Time) (result.Requests, error) {
	end := time.Now()
	all, err := t.log.Read()
	if err != nil {
		return result.Requests{}, err
	}
	return result.Summarize(audit.Between(all, start, end), end.Sub(start)), nil
}

// stop ends everything that the trial has started, in order.
func (t *trial) stop() {
	if t.cancel != nil {
		t.cancel()
	}
	t.parts.Wait()
	if t.lab != nil {
		t.lab.Stop()
	}
	if t.servers != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := t.servers.Stop(ctx); err != nil {
			progress("stopping the workload API servers: %v", err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
