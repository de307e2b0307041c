// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/netdata"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/rootfs"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/plane"
)

// stopGrace is how long a process may take to end before it is killed.
const stopGrace = 3 * time.Second

// Program stands in for a container image.
type Program interface {
	// Run is the life of a container: it returns when the container ends. A nil error is exit status 0.
	Run(ctx context.Context, c *Container) error
}

// Executable is a Program that a command can be run in beside its own process, as `kubectl exec` does.
type Executable interface {
	Program
	// Path is the executable, on the machine that runs the lab.
	Path() string
	// CommandArgs completes the arguments of a command, which have paths of this machine already: by what the
	// program would take from its own container.
	CommandArgs(c *Container, args []string) ([]string, error)
}

// Container is what a Program gets to know of its container.
type Container struct {
	Pod  *corev1.Pod
	Spec *corev1.Container
	// Env are the container's variables, with ConfigMaps, Secrets and the pod's fields filled in.
	Env map[string]string
	// NodeName and NodeIP are the host's.
	NodeName string
	NodeIP   netip.Addr
	// Interfaces are the host's.
	Interfaces []netdata.Interface
	// HostDisk is the host's file system.
	HostDisk rootfs.FS
	// LogFile takes what the container prints.
	LogFile string
	// Withheld tells whether a fault keeps the WireGuard key of a node from this one.
	Withheld func(node string) bool

	owner *container
}

// Path is where a path of the container is on the machine that runs the lab.
func (c *Container) Path(name string) (string, error) { return c.owner.files.path(c.Spec, name) }

// SetReady says what the container's readiness probe would; for programs that run in the lab itself.
func (c *Container) SetReady(ready bool) { c.owner.running(ready) }

// Kubeconfig is the path of a kubeconfig with the pod's ServiceAccount; there is none when the pod mounts
// no token.
func (c *Container) Kubeconfig() (string, error) { return c.owner.files.kubeconfig() }

// RESTConfig is a client's configuration with the pod's ServiceAccount.
func (c *Container) RESTConfig() (*rest.Config, error) {
	file, err := c.Kubeconfig()
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig of pod %s: %w", c.Pod.Name, err)
	}
	return config, nil
}

// Args are the container's arguments with paths and addresses of this machine, for a process.
func (c *Container) Args() ([]string, error) {
	return c.localArgs(slices.Concat(c.Spec.Command, c.Spec.Args))
}

// localArgs drops the program's name if there is one, leads absolute paths to the container's files and makes
// "this host" the host's own address, since all hosts share one loopback interface.
func (c *Container) localArgs(words []string) ([]string, error) {
	if len(words) > 0 && !strings.HasPrefix(words[0], "-") {
		words = words[1:]
	}
	var local []string
	for _, word := range words {
		word = expand(word, c.Env)
		name, value, isFlag := strings.Cut(word, "=")
		if !isFlag || !strings.HasPrefix(name, "-") {
			name, value = "", word
		}
		moved, err := c.localValue(value)
		if err != nil {
			return nil, fmt.Errorf("argument %s: %w", word, err)
		}
		if name != "" {
			moved = name + "=" + moved
		}
		local = append(local, moved)
	}
	return local, nil
}

func (c *Container) localValue(value string) (string, error) {
	if strings.HasPrefix(value, "/") {
		return c.Path(value)
	}
	if address, err := netip.ParseAddrPort(value); err == nil && (address.Addr().IsLoopback() || address.Addr().IsUnspecified()) {
		return netip.AddrPortFrom(c.NodeIP, address.Port()).String(), nil
	}
	if port, isPort := strings.CutPrefix(value, ":"); isPort && port != "" {
		return c.NodeIP.String() + value, nil
	}
	return value, nil
}

// environ is the container's environment for a process.
func (c *Container) environ() []string {
	variables := maps.Clone(c.Env)
	if file, err := c.Kubeconfig(); err == nil {
		variables["KUBECONFIG"] = file
	}
	variables["PATH"] = "/usr/bin:/bin"
	variables["HOSTNAME"] = c.NodeName
	var words []string
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		words = append(words, name+"="+variables[name])
	}
	return words
}

// Process runs a program until it or the context ends, and asks the container's probes meanwhile.
func (c *Container) Process(ctx context.Context, executable string, args []string) error {
	process, err := plane.Start(ctx, plane.Process{
		Name: c.Spec.Name, Path: executable, Args: args, Env: c.environ(), LogFile: c.LogFile, Grace: stopGrace,
	})
	if err != nil {
		return err
	}
	defer process.Stop()
	return c.owner.watch(ctx, process)
}

// Logf adds a line to the container's log.
func (c *Container) Logf(format string, args ...any) {
	file, err := os.OpenFile(c.LogFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		c.owner.k.Logf("kubelet: log of container %s: %v", c.Spec.Name, err)
		return
	}
	defer file.Close()
	fmt.Fprintf(file, time.Now().UTC().Format("2006-01-02T15:04:05.000Z")+" "+format+"\n", args...)
}

// imageKey is the last two words of an image's name, without tag and digest, e.g. "calico/node".
func imageKey(image string) string {
	image, _, _ = strings.Cut(image, "@")
	dir, name := path.Split(image)
	name, _, _ = strings.Cut(name, ":")
	return path.Join(path.Base(path.Clean(dir)), name)
}

// view is the container as its Program sees it.
func (c *container) view(ctx context.Context) (*Container, error) {
	env, err := c.k.environment(ctx, c.pod, c.spec)
	if err != nil {
		return nil, err
	}
	withheld := c.k.Withheld
	if withheld == nil {
		withheld = func(string) bool { return false }
	}
	return &Container{
		Pod: c.pod, Spec: c.spec, Env: env, NodeName: c.k.settings.NodeName, NodeIP: c.k.nodeIP, Interfaces: c.k.Interfaces,
		HostDisk: c.k.Disk, LogFile: c.log, Withheld: withheld, owner: c,
	}, nil
}
