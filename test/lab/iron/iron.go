// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package iron is the lab's hardware: it plays Metal3's baremetal-operator for the BareMetalHosts of a
// management cluster, and the machines behind them, which are simulated (package machine) or virtual (package qemu).
//
// Hosts are steered by annotations: "lab.edgemetal.io/hardware" (package hardware) says what is in a machine,
// "lab.edgemetal.io/fault" (package faults) what goes wrong with it.
package iron

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/bmo"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/hardware"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/kubelet"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/machine"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/qemu"
)

// Config says how an Iron works.
type Config struct {
	// REST is how to reach the management cluster, with all rights on BareMetalHosts, HardwareData, Secrets
	// and events. Its client limits are not used.
	REST *rest.Config
	// StateDir keeps the machines: <StateDir>/<namespace>/<host> with root/, drive/, logs/ and console.log.
	StateDir string
	// Programs are the paths of the programs etcd, kube-apiserver, kube-controller-manager and kube-scheduler that
	// control-plane hosts run, by these names.
	Programs map[string]string
	// Images finds what stands in for other container images on hosts, by the last two words of their names
	// without tag, e.g. "calico/node".
	Images map[string]kubelet.Program
	// KubernetesVersion is the version of the image's kubelet and kubeadm, e.g. "v1.36.3".
	KubernetesVersion string
	// DHCP is the range from which hosts without a static address get one; without it DHCP fails.
	DHCP *machine.DHCPRange
	// Latencies of healthy hosts; DefaultLatencies, or VirtualLatencies of virtual ones, when nil.
	Latencies *bmo.Latencies
	// Instant has no machines at all, for tests of scale: operations take no time.
	Instant bool
	// OnPower is called in Instant mode when a host with an image on its disk is switched on or off; it can
	// play the node. It may be nil. An error makes the operation be tried again.
	OnPower func(ctx context.Context, host types.NamespacedName, on bool) error
	// Rack holds the machines. Two Irons of two management clusters can share one, so that "clusterctl move"
	// moves hosts while their machines run. When nil, the Iron makes one in StateDir, restores it in Run and
	// closes it at the end.
	Rack *machine.Rack
	// Virtual makes the hosts virtual machines: it holds them, and then Rack, Programs, Images, KubernetesVersion and
	// DHCP are not used. The caller restores it before Run and closes it afterwards.
	Virtual *qemu.Rack
	// Concurrency is how many hosts are worked on at once; 10 when zero.
	Concurrency int
	// Log is where the Iron tells what it does; nothing is logged by default.
	Log logr.Logger
}

// Iron plays the hardware of one management cluster.
type Iron struct {
	config  Config
	manager ctrl.Manager
	rack    *machine.Rack
}

// DefaultLatencies are those of a fast machine room: a host is available after about a second.
func DefaultLatencies() bmo.Latencies {
	return bmo.Latencies{
		Register: 200 * time.Millisecond, Inspect: 500 * time.Millisecond, Prepare: 200 * time.Millisecond, Provision: time.Second,
		Deprovision: 300 * time.Millisecond, Clean: 300 * time.Millisecond, Power: 100 * time.Millisecond, Retry: 2 * time.Second,
	}
}

// VirtualLatencies are those of virtual hosts: what is really done for them takes its own time, and is not made
// longer.
func VirtualLatencies() bmo.Latencies {
	return bmo.Latencies{Register: 200 * time.Millisecond, Inspect: 500 * time.Millisecond, Prepare: 200 * time.Millisecond, Retry: 5 * time.Second}
}

// New checks the configuration and connects to the management cluster, whose BareMetalHost and HardwareData
// CRDs must be installed.
func New(c Config) (*Iron, error) {
	if c.REST == nil {
		return nil, errors.New("iron: Config.REST is required")
	}
	if !c.Instant && c.Rack == nil && c.Virtual == nil {
		if err := checkMachines(c); err != nil {
			return nil, err
		}
	}
	known := runtime.NewScheme()
	if err := errors.Join(scheme.AddToScheme(known), bmov1.AddToScheme(known)); err != nil {
		return nil, fmt.Errorf("iron: registering types: %w", err)
	}
	limitless := rest.CopyConfig(c.REST)
	limitless.QPS = -1
	manager, err := ctrl.NewManager(limitless, ctrl.Options{
		Scheme: known, Logger: c.Log, Metrics: server.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
		Controller: config.Controller{SkipNameValidation: new(true)},
		Cache: cache.Options{ByObject: map[client.Object]cache.ByObject{
			// As the operator does: it watches Secrets that it has labelled.
			&corev1.Secret{}: {Label: labels.SelectorFromSet(labels.Set{"environment.metal3.io": "baremetal"})},
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("iron: making the manager: %w", err)
	}
	iron := &Iron{config: c, manager: manager}
	options := bmo.Options{Latencies: iron.latencies(), Concurrency: c.Concurrency}
	if c.Virtual != nil {
		options.Inspect = hardware.InspectVirtual
	}
	reconciler := bmo.New(manager.GetClient(), manager.GetAPIReader(), iron.metal(), options)
	return iron, reconciler.SetupWithManager(manager)
}

func checkMachines(c Config) error {
	if c.StateDir == "" || !filepath.IsAbs(c.StateDir) {
		return errors.New("iron: Config.StateDir must be an absolute path")
	}
	if c.KubernetesVersion == "" {
		return errors.New("iron: Config.KubernetesVersion is required")
	}
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		if c.Programs[name] == "" {
			return fmt.Errorf("iron: Config.Programs lacks %s", name)
		}
	}
	return nil
}

func (i *Iron) latencies() bmo.Latencies {
	switch {
	case i.config.Latencies != nil:
		return *i.config.Latencies
	case i.config.Instant:
		return bmo.Latencies{Retry: time.Second}
	case i.config.Virtual != nil:
		return VirtualLatencies()
	default:
		return DefaultLatencies()
	}
}

// metal is what stands behind the hosts.
func (i *Iron) metal() bmo.Metal {
	if i.config.Instant {
		return newInstant(i.config.OnPower)
	}
	if i.config.Virtual != nil {
		return virtualMetal{i.config.Virtual}
	}
	if i.config.Rack != nil {
		return rackMetal{i.config.Rack}
	}
	i.rack = NewRack(i.config)
	return rackMetal{i.rack}
}

// NewRack makes a rack that several Irons can share. The caller restores it before and closes it after them.
func NewRack(c Config) *machine.Rack {
	return machine.NewRack(machine.Config{
		Dir: c.StateDir, Programs: c.Programs, Images: c.Images, KubernetesVersion: c.KubernetesVersion,
		DHCP: machine.NewDHCP(c.DHCP, filepath.Join(c.StateDir, "dhcp.json")), Log: c.Log,
	})
}

// Run works until the context ends. Machines of an earlier run that were on are started from their disks;
// at the end all machines are stopped, and stay on for the next run.
func (i *Iron) Run(ctx context.Context) error {
	if i.rack != nil {
		if err := i.rack.Restore(); err != nil {
			return fmt.Errorf("iron: restoring machines: %w", err)
		}
		defer i.rack.Close()
	}
	if err := i.manager.Start(ctx); err != nil {
		return fmt.Errorf("iron: %w", err)
	}
	return nil
}
