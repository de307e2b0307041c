// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Command flanneld is flannel with its host-gw backend alone: on each node it routes the other nodes' pod
// ranges to these nodes, and writes the node's own range, which kube-controller-manager gave it, to a
// file of the form that flannel's has.
//
// It is built here rather than taken as flannel's own command because that needs the SDK of a cloud, of
// which Go's module proxy does not serve the wanted version.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	_ "github.com/flannel-io/flannel/pkg/backend/hostgw" // registers the backend

	"github.com/flannel-io/flannel/pkg/backend"
	"github.com/flannel-io/flannel/pkg/ipmatch"
	"github.com/flannel-io/flannel/pkg/subnet/kube"
	"k8s.io/klog/v2"
)

const (
	backendType = "host-gw"
	// annotations of the Node, by which the nodes know of each other.
	annotations = "flannel.alpha.coreos.com"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil && !errors.Is(err, context.Canceled) {
		klog.ErrorS(err, "flanneld ends")
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	config := flag.String("net-config-path", "/etc/kube-flannel/net-conf.json", "file with the cluster's pod range: {\"Network\": \"10.244.0.0/16\", \"Backend\": {\"Type\": \"host-gw\"}}")
	subnet := flag.String("subnet-file", "/run/flannel/subnet.env", "file to write, with the node's pod range and the MTU of pods")
	uplinkName := flag.String("iface", "", "name or address of the interface to the other nodes; that of the default route when empty")
	flag.Parse()
	// The name of the node comes from NODE_NAME, else from the pod that POD_NAME and POD_NAMESPACE name.
	manager, err := kube.NewSubnetManager(ctx, "", "", annotations, *config, true)
	if err != nil {
		return fmt.Errorf("watch the nodes: %w", err)
	}
	network, err := manager.GetNetworkConfig(ctx)
	if err != nil {
		return fmt.Errorf("read the network: %w", err)
	}
	if network.BackendType != backendType {
		return fmt.Errorf("backend %q of the network: only %s is there", network.BackendType, backendType)
	}
	stack, err := ipmatch.GetIPFamily(network.EnableIPv4, network.EnableIPv6)
	if err != nil {
		return fmt.Errorf("read the network: %w", err)
	}
	uplink, err := ipmatch.LookupExtIface(*uplinkName, "", "", stack, ipmatch.PublicIPOpts{})
	if err != nil {
		return fmt.Errorf("find the interface to the other nodes: %w", err)
	}
	hostGateway, err := backend.NewManager(ctx, manager, uplink).GetBackend(backendType)
	if err != nil {
		return fmt.Errorf("start the backend: %w", err)
	}
	var running sync.WaitGroup
	defer running.Wait()
	routes, err := hostGateway.RegisterNetwork(ctx, &running, network)
	if err != nil {
		return fmt.Errorf("register the node: %w", err)
	}
	own := routes.Lease()
	if err := manager.HandleSubnetFile(*subnet, network, false, own.Subnet, own.IPv6Subnet, routes.MTU()); err != nil {
		return fmt.Errorf("write %s: %w", *subnet, err)
	}
	klog.InfoS("Pods are connected", "pods", own.Subnet.String(), "uplink", uplink.IfaceName, "address", uplink.ExtAddr)
	routes.Run(ctx)
	return ctx.Err()
}
