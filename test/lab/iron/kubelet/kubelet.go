// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/netdata"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/rootfs"
)

// Port is where the kubelet serves, on the Node's address.
const Port = 10250

// retry is how long a kubelet that failed waits before systemd would have started it again.
const retry = time.Second

// Host is the machine that a kubelet runs on.
type Host struct {
	Disk       rootfs.FS
	Hostname   string
	Interfaces []netdata.Interface
	Hardware   *bmov1.HardwareDetails
	// Programs are the paths of the control plane's programs by name: etcd, kube-apiserver,
	// kube-controller-manager and kube-scheduler.
	Programs map[string]string
	// Images finds what stands in for other container images, by the last two words of their names without
	// tag, e.g. "calico/node". Pods with an image that is not there stay in ImagePullBackOff.
	Images map[string]Program
	// Withheld tells whether a fault keeps the WireGuard key of a node from the others; nil when there is none.
	Withheld func(node string) bool
	// LogDir takes the logs of containers.
	LogDir string
	// MachineID identifies the machine, e.g. the host's UID.
	MachineID string
	// Version is the kubelet's, e.g. "v1.36.3".
	Version string
	// Logf writes to the host's console.
	Logf func(format string, args ...any)
}

// Kubelet is a running kubelet.
type Kubelet struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// Start starts a kubelet with the arguments of its unit. It never fails at once: like a service that systemd
// restarts it tries again until it is stopped, and says on the console why.
func Start(host Host, args []string) *Kubelet {
	ctx, cancel := context.WithCancel(context.Background())
	k := &Kubelet{cancel: cancel}
	k.done.Go(func() { supervise(ctx, host, args) })
	return k
}

// Stop stops the kubelet and everything that it runs, and returns when it is gone.
func (k *Kubelet) Stop() {
	k.cancel()
	k.done.Wait()
}

func supervise(ctx context.Context, host Host, args []string) {
	last := ""
	for ctx.Err() == nil {
		err := run(ctx, host, args)
		if err != nil && ctx.Err() == nil && err.Error() != last {
			last = err.Error()
			host.Logf("kubelet: %v", err)
		}
		select {
		case <-time.After(retry):
		case <-ctx.Done():
		}
	}
}

// instance is one life of the kubelet.
type instance struct {
	Host
	settings *Settings
	nodeIP   netip.Addr
	pods     *podManager
	client   kubernetes.Interface
	// config is how the kubelet reaches the API server, without a time limit.
	config *rest.Config
	// registered is closed when the Node is in the API.
	registered chan struct{}
}

// run is one life of the kubelet: it ends with an error or with the context.
func run(ctx context.Context, host Host, args []string) error {
	settings, err := ParseArgs(args, host.Disk, host.Hostname)
	if err != nil {
		return err
	}
	k := &instance{Host: host, settings: settings, registered: make(chan struct{})}
	if k.nodeIP, err = chooseNodeIP(settings.NodeIP, host.Interfaces); err != nil {
		return err
	}
	if err := os.MkdirAll(host.LogDir, 0o755); err != nil {
		return fmt.Errorf("making the directory of containers' logs: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	k.pods = newPodManager(k)
	var group sync.WaitGroup
	defer group.Wait()
	// Static pods come first: the API server that the kubelet wants may be one of them.
	group.Go(func() { k.pods.run(ctx) })
	if err := k.connect(ctx); err != nil {
		cancel(err)
		return err
	}
	server, err := k.listen()
	if err != nil {
		cancel(err)
		return err
	}
	group.Go(func() { cancel(server.serve(ctx)) })
	group.Go(func() { k.keepNode(ctx) })
	group.Go(func() { k.keepPodStatus(ctx) })
	group.Go(func() { k.followPods(ctx) })
	host.Logf("kubelet: started as node %s with address %s", settings.NodeName, k.nodeIP)
	<-ctx.Done()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// chooseNodeIP is --node-ip, which an interface must have, or else the first address of the interface with
// the default route, or else the first address there is.
func chooseNodeIP(wanted netip.Addr, interfaces []netdata.Interface) (netip.Addr, error) {
	var first, routed netip.Addr
	for _, candidate := range interfaces {
		for _, prefix := range candidate.Addresses {
			if prefix.Addr() == wanted {
				return wanted, nil
			}
			if !first.IsValid() {
				first = prefix.Addr()
			}
			if candidate.DefaultGateway.IsValid() && !routed.IsValid() {
				routed = prefix.Addr()
			}
		}
	}
	switch {
	case wanted.IsValid():
		return netip.Addr{}, fmt.Errorf("node IP: %q not found in the host's network interfaces", wanted)
	case routed.IsValid():
		return routed, nil
	case first.IsValid():
		return first, nil
	default:
		return netip.Addr{}, fmt.Errorf("no interface of this host has an address")
	}
}

// everyUntil tries a step in intervals until it succeeds or the context ends.
func (k *instance) everyUntil(ctx context.Context, interval time.Duration, what string, step func(context.Context) error) {
	trying, stop := context.WithCancel(ctx)
	defer stop()
	k.every(trying, interval, what, func(ctx context.Context) error {
		err := step(ctx)
		if err == nil {
			stop()
		}
		return err
	})
}

// every runs a step at once and then in intervals until the context ends. A step that fails is tried again
// after a second at most; its error is told once, until it changes.
func (k *instance) every(ctx context.Context, interval time.Duration, what string, step func(context.Context) error) {
	last := ""
	for {
		pause := interval
		if err := step(ctx); err != nil && ctx.Err() == nil {
			pause = min(interval, retry)
			if text := err.Error(); text != last {
				last = text
				k.Logf("kubelet: %s: %s", what, text)
			}
		} else {
			last = ""
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}
