// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"time"

	"github.com/spf13/pflag"
	"k8s.io/component-base/logs"
	logsv1 "k8s.io/component-base/logs/api/v1"
	"sigs.k8s.io/cluster-api/util/flags"
)

// options are the flags of the manager. Names and defaults are those of Cluster API's own managers.
type options struct {
	leaderElect              bool
	leaderElectLeaseDuration time.Duration
	leaderElectRenewDeadline time.Duration
	leaderElectRetryPeriod   time.Duration
	namespace                string
	watchFilter              string
	syncPeriod               time.Duration
	kubeAPIQPS               float32
	kubeAPIBurst             int
	clusterCacheQPS          float32
	clusterCacheBurst        int
	healthAddr               string
	profilerAddress          string
	nodeStartupTimeout       time.Duration

	edgeClusterConcurrency         int
	edgeMachineConcurrency         int
	edgeMachineTemplateConcurrency int
	dataplaneConcurrency           int
	clusterCacheConcurrency        int

	manager flags.ManagerOptions
	logs    *logs.Options
}

func newOptions() *options { return &options{logs: logs.NewOptions()} }

func (o *options) addFlags(fs *pflag.FlagSet) {
	logsv1.AddFlags(o.logs, fs)
	flags.AddManagerOptions(fs, &o.manager)
	fs.BoolVar(&o.leaderElect, "leader-elect", false, "Run the controllers only while holding a lease, so that several managers can stand by.")
	fs.DurationVar(&o.leaderElectLeaseDuration, "leader-elect-lease-duration", 15*time.Second, "How long a lease is respected that is not renewed.")
	fs.DurationVar(&o.leaderElectRenewDeadline, "leader-elect-renew-deadline", 10*time.Second, "How long the leader tries to renew its lease before it gives up.")
	fs.DurationVar(&o.leaderElectRetryPeriod, "leader-elect-retry-period", 2*time.Second, "How often the lease is tried for.")
	fs.StringVar(&o.namespace, "namespace", "", "Namespace to watch. All when not set.")
	fs.StringVar(&o.watchFilter, "watch-filter", "", "Only objects whose label cluster.x-k8s.io/watch-filter has this value are reconciled. All when not set.")
	fs.DurationVar(&o.syncPeriod, "sync-period", 10*time.Minute, "How often every object is reconciled even if nothing changed.")
	fs.Float32Var(&o.kubeAPIQPS, "kube-api-qps", 100, "Requests a second to the management cluster.")
	fs.IntVar(&o.kubeAPIBurst, "kube-api-burst", 200, "Requests to the management cluster in one burst.")
	fs.Float32Var(&o.clusterCacheQPS, "clustercache-client-qps", 20, "Requests a second to each workload cluster.")
	fs.IntVar(&o.clusterCacheBurst, "clustercache-client-burst", 30, "Requests to each workload cluster in one burst.")
	fs.StringVar(&o.healthAddr, "health-addr", ":9440", "Address of the health endpoints /healthz and /readyz.")
	fs.StringVar(&o.profilerAddress, "profiler-address", "", "Address of the pprof profiler, for example localhost:6060. Off when not set.")
	fs.DurationVar(&o.nodeStartupTimeout, "node-startup-timeout", 20*time.Minute, "How long a machine's Node is awaited after its host was provisioned, before the machine says that something is wrong with the host.")
	fs.IntVar(&o.edgeClusterConcurrency, "edgecluster-concurrency", 10, "EdgeClusters reconciled at the same time.")
	fs.IntVar(&o.edgeMachineConcurrency, "edgemachine-concurrency", 20, "EdgeMachines reconciled at the same time.")
	fs.IntVar(&o.edgeMachineTemplateConcurrency, "edgemachinetemplate-concurrency", 5, "EdgeMachineTemplates reconciled at the same time.")
	fs.IntVar(&o.dataplaneConcurrency, "dataplane-concurrency", 10, "Dataplanes of workload clusters worked on at the same time.")
	fs.IntVar(&o.clusterCacheConcurrency, "clustercache-concurrency", 100, "Workload clusters connected to at the same time.")
}
