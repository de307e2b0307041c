// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/plane"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/providers"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/services"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

// Options of a lab.
type Options struct {
	// Dir keeps the lab's state and logs. A lab started in a folder that was used before continues with
	// what is there.
	Dir string
	// EdgeMetal is the components file of this repository's provider, as `make release` writes it (see
	// FindRelease). Without it clusterctl does not know the provider, and its programs are not built.
	EdgeMetal string
	// Manager is the executable to run for this repository's provider; when empty it is built from the
	// tree.
	Manager string
	// ChartsDir holds Calico's genuine charts (see package charts); stand-ins are served when it is empty.
	ChartsDir string
	// Site is the hosts' network; the zero Site takes the one of the last start in Dir, or the first free
	// one.
	Site Site
	// Hosts is the kind of hosts: SimulatedHosts or VirtualHosts; that of the last start in Dir, or simulated ones, when
	// empty.
	Hosts string
	// Image is the one that virtual hosts boot: "node", which is also the default, or "base", which is smaller and has no
	// Kubernetes.
	Image string
	// Disk is a qcow2 file to boot instead of that image, which is then not built.
	Disk string
	// Capture writes what each NIC of a virtual host sends and receives into a file beside its console.
	Capture bool
	// WithoutIron leaves BareMetalHosts alone: nothing plays baremetal-operator and the machines.
	WithoutIron bool
	// Iron may change how the hosts work: latencies, instant hosts, a rack shared with another
	// lab.
	Iron func(*iron.Config)
	// APIServerArgs are added to kube-apiserver's own.
	APIServerArgs []string
	// Out receives a line for what takes long; nil is silent.
	Out io.Writer
	// Log for what the lab itself does; the zero Logger is silent.
	Log logr.Logger
}

// Lab is a running lab.
type Lab struct {
	Access

	plane   *plane.Plane
	node    *providers.Node
	api     client.Client
	virtual *virtual // nil with simulated hosts

	stop    context.CancelFunc
	running sync.WaitGroup
	guard   io.Closer

	mu     sync.Mutex
	failed error
	broken chan struct{}
}

// Start builds the tools that are missing, starts the management cluster and what plays the parts around it, and
// returns when clusterctl can install providers. ctx bounds only the start. On an error nothing is left
// running.
func Start(ctx context.Context, o Options) (*Lab, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("find the lab's folder: %w", err)
	}
	o.Dir = dir
	for _, sub := range []string{"logs", "home"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("create the lab's folder: %w", err)
		}
	}
	if o.Hosts, err = Hosts(dir, o.Hosts); err != nil {
		return nil, err
	}
	if earlier, err := Open(dir); err == nil && !o.Site.Network.IsValid() {
		o.Site = earlier.Site // hosts and clusters that are still there have its addresses
	}
	site, guard, err := reserveSite(ctx, o.Site)
	if err != nil {
		return nil, err
	}
	l := &Lab{
		Access: Access{Dir: dir, LogDir: filepath.Join(dir, "logs"), Site: site, Hosts: o.Hosts, Pid: os.Getpid()},
		guard:  guard,
		stop:   func() {},
		broken: make(chan struct{}),
	}
	if err := l.start(ctx, o); err != nil {
		l.Stop()
		return nil, fmt.Errorf("start the lab: %w", err)
	}
	return l, nil
}

func (l *Lab) start(ctx context.Context, o Options) error {
	materials, err := gather(ctx, o)
	if err != nil {
		return err
	}
	if l.Hosts == VirtualHosts {
		if err := l.prepareVirtual(ctx, o); err != nil {
			return err
		}
	}
	proxy, err := services.Listen(ctx)
	if err != nil {
		return err
	}
	l.plane, err = plane.Boot(ctx, plane.Config{
		Dir:               filepath.Join(l.Dir, "plane"),
		LogDir:            l.LogDir,
		Etcd:              materials.paths[tools.Etcd],
		APIServer:         materials.paths[tools.KubeAPIServer],
		ControllerManager: materials.paths[tools.KubeControllerManager],
		ServiceProxy:      proxy.Addr(),
		APIServerArgs:     o.APIServerArgs,
	})
	if err != nil {
		proxy.Close()
		return err
	}
	l.Kubeconfig = l.plane.Kubeconfig()
	l.ClusterctlConfig = materials.clusterctlConfig
	l.ClusterctlPath = materials.paths[tools.Clusterctl]
	l.KubectlPath = materials.paths[tools.Kubectl]
	if err := l.play(ctx, o, materials, proxy); err != nil {
		return err
	}
	return l.save()
}

// Client reads and writes the management cluster without a cache. Its scheme is Scheme's.
func (l *Lab) Client() client.Client { return l.api }

// Node runs the providers' pods.
func (l *Lab) Node() *providers.Node { return l.node }

// Broken is closed when a part of the lab has failed by itself; Err tells which.
func (l *Lab) Broken() <-chan struct{} { return l.broken }

// Err is what failed; nil while all is well.
func (l *Lab) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// Stop ends everything that the lab runs, in order, and returns when it is gone. The state stays.
func (l *Lab) Stop() {
	l.stop()
	l.running.Wait()
	if l.node != nil {
		l.node.Stop()
	}
	if l.plane != nil {
		l.plane.Stop()
	}
	if l.virtual != nil {
		l.virtual.network.Close()
	}
	if l.guard != nil {
		_ = l.guard.Close()
	}
}

// run runs a part of the lab until the lab stops; its early end breaks the lab.
func (l *Lab) run(ctx context.Context, name string, part func(context.Context) error) {
	l.running.Go(func() {
		err := part(ctx)
		if ctx.Err() == nil {
			l.fail(fmt.Errorf("%s ended: %w", name, errors.Join(err, errEarly)))
		}
	})
}

func (l *Lab) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = err
		close(l.broken)
	}
}
