// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Command bench measures what machines cost the management cluster: it starts the lab's control plane with Cluster
// API, the in-cluster IPAM provider and our manager as it is shipped, gives it instant hosts and workload clusters
// in memory, applies many clusters at once and watches the manager's requests, CPU time and memory.
//
// The exit code tells whether the measurement worked: machines that are not linked in time are a failure, a missed
// target is not.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/bench/micro"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/bench/result"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/bench/site"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

type options struct {
	machines   string
	perCluster int
	atOnce     int
	hosts      int
	addresses  string
	steady     time.Duration
	timeout    time.Duration
	json       string
	keep       string
	profiles   string
	micro      bool
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	o := options{}
	flag.StringVar(&o.machines, "n", "300", "Numbers of machines, each measured in a lab of its own, separated by commas.")
	flag.IntVar(&o.perCluster, "per-cluster", 30, "Machines of a cluster: one control plane, the others in a MachineDeployment.")
	flag.IntVar(&o.atOnce, "at-once", 4, "Clusters that may be on their way at the same time.")
	flag.IntVar(&o.hosts, "hosts", 0, "Hosts in the inventory; 0 for one in ten more than machines.")
	flag.StringVar(&o.addresses, "addresses", "pool", "Where nodes get addresses from: pool (the in-cluster IPAM provider) or host (annotation).")
	flag.DurationVar(&o.steady, "steady", time.Minute, "How long the steady state is watched.")
	flag.DurationVar(&o.timeout, "timeout", time.Hour, "How long each number of machines may take, the start of the lab included.")
	flag.StringVar(&o.json, "json", "", "File for the report as JSON; out/bench.json of the repository when empty.")
	flag.StringVar(&o.keep, "keep", "", "Folder in which logs and state stay; a temporary one that is removed when empty.")
	flag.StringVar(&o.profiles, "profiles", "", "Folder for CPU and heap profiles of the manager, which then runs with its profiler; none when empty.")
	flag.BoolVar(&o.micro, "micro", true, "Run the Go benchmarks of rendering and host choice too.")
	flag.Parse()
	// Libraries of the lab log through these; what matters is returned as errors.
	klog.SetLogger(logr.Discard())
	ctrl.SetLogger(logr.Discard())

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return o.measure(ctx)
}

func (o options) measure(ctx context.Context) error {
	root, err := tools.Root()
	if err != nil {
		return err
	}
	plans, err := o.plans()
	if err != nil {
		return err
	}
	report := &result.Report{CPUs: runtime.NumCPU()}
	if o.micro {
		progress("Go benchmarks")
		report.Benchmarks, err = micro.Run(ctx, root, "^Benchmark(Choose|Render)$", "./bootstrap", "./internal/hosts")
		if err != nil {
			return err
		}
	}
	for _, plan := range plans {
		measured, err := o.one(ctx, plan)
		if err != nil {
			return fmt.Errorf("%d machines: %w", plan.Machines, err)
		}
		report.Runs = append(report.Runs, measured)
	}
	report.Finish()
	path := o.json
	if path == "" {
		path = filepath.Join(root, "out", "bench.json")
	}
	if err := report.Save(path); err != nil {
		return err
	}
	return report.Print(os.Stdout)
}

// plans reads the numbers of machines and checks them all before anything is started.
func (o options) plans() ([]site.Plan, error) {
	if o.addresses != "pool" && o.addresses != "host" {
		return nil, fmt.Errorf("-addresses must be pool or host, not %q", o.addresses)
	}
	var plans []site.Plan
	for text := range strings.SplitSeq(o.machines, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("-n: %q is not a number", text)
		}
		plan := site.Plan{
			Machines: n, PerCluster: min(o.perCluster, n), Hosts: o.hosts, FromHost: o.addresses == "host",
			Namespace: "sites", KubernetesVersion: "v1.36.3",
		}
		if _, err := plan.Sites(); err != nil {
			return nil, err
		}
		plans = append(plans, plan)
	}
	return plans, nil
}

// one measures a number of machines in a lab of its own.
func (o options) one(ctx context.Context, plan site.Plan) (result.Run, error) {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	dir := o.keep
	if dir == "" {
		temporary, err := os.MkdirTemp("", "edgemetal-bench-")
		if err != nil {
			return result.Run{}, fmt.Errorf("create a folder for the lab: %w", err)
		}
		defer os.RemoveAll(temporary)
		dir = temporary
	}
	t := &trial{plan: plan, dir: filepath.Join(dir, strconv.Itoa(plan.Machines)), atOnce: max(1, o.atOnce), steady: o.steady, profiles: o.profiles}
	// What runs outlives ctx, so that it is stopped in order whatever ended the trial.
	defer t.stop()
	return t.run(ctx)
}

// progress tells a person what happens now; the table alone goes to stdout.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format(time.TimeOnly)+" "+format+"\n", args...)
}
