// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Command flanneld is flannel with its host-gw backend alone: on each node it routes the other nodes' pod
// ranges to these nodes, and has the CNI plugin bridge connect the node's pods. The node's range is
// the one that kube-controller-manager gave it.
//
// It is built here rather than taken as flannel's own command because that needs the SDK of a cloud, of
// which Go's module proxy does not serve the wanted version.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
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
	config := flag.String("net-conf", "/etc/flannel/net-conf.json", "file with the cluster's network: {\"Network\": \"10.244.0.0/16\", \"Backend\": {\"Type\": \"host-gw\"}}")
	address := flag.String("address", "", "the node's address, by which the others reach it")
	cni := flag.String("cni-config", "/etc/cni/net.d/10-flannel.conflist", "file to write for the container runtime")
	flag.Parse()
	// The name of the node comes from NODE_NAME.
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
	uplink, err := ipmatch.LookupExtIface(*address, "", "", stack, ipmatch.PublicIPOpts{})
	if err != nil {
		return fmt.Errorf("find the interface with the node's address %s: %w", *address, err)
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
	if err := writeConfig(*cni, routes.Lease().Subnet.String(), routes.MTU()); err != nil {
		return err
	}
	klog.InfoS("Pods are connected", "pods", routes.Lease().Subnet.String(), "uplink", uplink.IfaceName, "address", uplink.ExtAddr)
	routes.Run(ctx)
	return ctx.Err()
}

// list is a CNI network configuration list.
type list struct {
	CNIVersion string   `json:"cniVersion"`
	Name       string   `json:"name"`
	Plugins    []bridge `json:"plugins"`
}

// bridge is the configuration of the CNI plugin of that name.
type bridge struct {
	Type             string `json:"type"`
	Bridge           string `json:"bridge"`
	IsDefaultGateway bool   `json:"isDefaultGateway"`
	// HairpinMode lets a pod reach itself through a Service.
	HairpinMode bool `json:"hairpinMode"`
	MTU         int  `json:"mtu"`
	IPAM        ipam `json:"ipam"`
}

type ipam struct {
	Type   string   `json:"type"`
	Ranges [][]span `json:"ranges"`
}

type span struct {
	Subnet string `json:"subnet"`
}

// writeConfig has the container runtime give the node's pods addresses of the subnet. The runtime reads the
// file once it is complete.
func writeConfig(path, subnet string, mtu int) error {
	data, err := json.MarshalIndent(list{
		CNIVersion: "0.4.0", Name: "flannel",
		Plugins: []bridge{{
			Type: "bridge", Bridge: "cni0", IsDefaultGateway: true, HairpinMode: true, MTU: mtu,
			IPAM: ipam{Type: "host-local", Ranges: [][]span{{{Subnet: subnet}}}},
		}},
	}, "", "  ")
	if err != nil {
		return fmt.Errorf("marshal the CNI configuration: %w", err)
	}
	fresh := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	if err := os.WriteFile(fresh, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the CNI configuration: %w", err)
	}
	if err := os.Rename(fresh, path); err != nil {
		return fmt.Errorf("write the CNI configuration: %w", err)
	}
	return nil
}
