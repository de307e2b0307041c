// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Command calicoagent plays the Calico-VPP agent of one node.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/calicoagent"
)

// lookInterval at the file of withheld keys.
const lookInterval = time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "calicoagent:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := pflag.NewFlagSet("calicoagent", pflag.ContinueOnError)
	name := flags.String("node-name", os.Getenv("NODENAME"), "Name of the Node. Default: the variable NODENAME.")
	socket := flags.String("vpp-socket", "/var/run/vpp/vpp-api.sock", "VPP's API socket.")
	kubeconfig := flags.String("kubeconfig", "", "Kubeconfig file. Default: the pod's service account.")
	port := flags.Uint16("port", encryption.DefaultPort, "UDP port of WireGuard on every node.")
	sleep := flags.Duration("startup-sleep", calicoagent.DefaultStartupSleep, "Time to wait after VPP answers.")
	delay := flags.Duration("bgp-delay", calicoagent.DefaultBGPDelay, "Time until routes come.")
	withheld := flags.String("withhold-file", "", "File that names, one a line, nodes whose keys are kept from the agent.")
	health := flags.String("health-address", "", "Address of /liveness and /readiness; empty for none.")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return nil
		}
		return err
	}
	if *name == "" {
		return errors.New("--node-name is not set")
	}
	rest, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return err
	}
	agent := calicoagent.New(calicoagent.Config{
		Node: *name, Socket: *socket, Client: client, Port: *port, StartupSleep: *sleep, BGPDelay: *delay,
		Withheld: calicoagent.WithheldFile(*withheld).Has, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if *health != "" {
		if err := serveHealth(ctx, *health, agent); err != nil {
			return err
		}
	}
	go look(ctx, agent)
	return agent.Run(ctx)
}

// look makes the agent read the file of withheld keys again.
func look(ctx context.Context, agent *calicoagent.Agent) {
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			agent.Poke()
		}
	}
}

// serveHealth answers the kubelet's probes as the real agent does.
func serveHealth(ctx context.Context, address string, agent *calicoagent.Agent) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/liveness", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/readiness", func(w http.ResponseWriter, _ *http.Request) {
		if !agent.Ready() {
			http.Error(w, "not connected to VPP", http.StatusServiceUnavailable)
		}
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() { _ = server.Serve(listener) }()
	return nil
}
