// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"

	"github.com/sirupsen/logrus"
	"go.fd.io/govpp/adapter/socketclient"
	"go.fd.io/govpp/core"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/agent"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/agent/hostkey"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/agent/kernel"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/agent/vpp"
)

// run is the agent until ctx is done.
func run(ctx context.Context, o *options, log *slog.Logger) error {
	config, err := o.config()
	if err != nil {
		return err
	}
	restConfig, err := clusterConfig(o.kubeconfig)
	if err != nil {
		return err
	}
	restConfig.UserAgent = "edge-agent/" + buildVersion()
	client, err := agent.NewClient(restConfig)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.runDir, 0o700); err != nil {
		return fmt.Errorf("--run-dir: %w", err)
	}
	key := hostkey.NewFile(o.keyPath())
	backend, err := o.newBackend(key, log)
	if err != nil {
		return err
	}
	log.Info("Starting edge-agent", "version", buildVersion(), "node", o.nodeName, "mode", o.mode, "protocol", o.protocol, "backend", o.backend)
	a := agent.New(config, backend, client, key.PublicKey, log)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.Run(ctx) })
	group.Go(func() error { return a.ServeStatus(ctx, statusSocket(o.runDir)) })
	if o.metricsAddress != "" {
		group.Go(func() error { return a.ServeMetrics(ctx, o.metricsAddress) })
	}
	return group.Wait()
}

// config checks the flags and says what is expected of the node.
func (o *options) config() (agent.Config, error) {
	pods, services, announced, err := o.prefixes()
	if err != nil {
		return agent.Config{}, err
	}
	config := agent.Config{
		Node: o.nodeName, Mode: encryption.Mode(o.mode), Protocol: encryption.Protocol(o.protocol), Port: o.port,
		PodCIDRs: pods, ServiceCIDRs: services, AnnouncedCIDRs: announced, RxMode: o.rxMode, HugepagesForbidden: o.hugepages == "forbidden",
	}
	if o.rxMode == "any" {
		config.RxMode = ""
	}
	return config, nil
}

// newBackend makes the dataplane that the flags name.
func (o *options) newBackend(key *hostkey.File, log *slog.Logger) (agent.Backend, error) {
	if o.backend == string(encryption.Kernel) {
		return kernel.New(key, log)
	}
	pages, err := agent.NewHugepages(o.hostRoot, o.runDir, func() bool { return answers(o.vppSocket) })
	if err != nil {
		return nil, err
	}
	// The client library's own log tells nothing that the agent does not tell.
	silent := logrus.New()
	silent.SetOutput(io.Discard)
	core.SetLogger(silent)
	socketclient.SetLogger(silent)
	return vpp.New(o.vppSocket, o.vppStatsSocket, pages.Observe, log), nil
}

// answers tells whether somebody listens on a Unix socket.
func answers(socket string) bool {
	conn, err := net.Dial("unix", socket) //nolint:noctx // A local socket answers or refuses at once.
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

func clusterConfig(kubeconfig string) (*rest.Config, error) {
	var config *rest.Config
	var err error
	if kubeconfig == "" {
		config, err = rest.InClusterConfig()
	} else {
		config, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	}
	if err != nil {
		return nil, fmt.Errorf("finding the cluster (give --kubeconfig outside a pod): %w", err)
	}
	return config, nil
}
