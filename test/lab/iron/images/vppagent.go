// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package images

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/calicoagent"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/kubelet"
)

const (
	// felixPlugin is what the agent leaves for Felix, which crashes until it is there (vpp-dataplane #476).
	felixPlugin = "/var/lib/calico/felix-plugins/felix-api-proxy"
	// felixSocket is where the agent talks to Felix.
	felixSocket = "/var/run/calico/felix-dataplane.sock"

	// felixPatience is how long the agent waits for Felix' configuration before it ends.
	felixPatience = 30 * time.Second
	agentInterval = 500 * time.Millisecond
)

// vppAgent plays the Calico-VPP agent.
type vppAgent struct{}

// Run implements kubelet.Program.
func (vppAgent) Run(ctx context.Context, c *kubelet.Container) error {
	config, err := c.RESTConfig()
	if err != nil {
		return err
	}
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	if err := leave(c, felixPlugin); err != nil {
		return err
	}
	port, err := awaitFelix(ctx, c, config)
	if err != nil {
		return err
	}
	socket, err := c.Path(apiSocket)
	if err != nil {
		return err
	}
	sleep, err := startupSleep(c.Env["CALICOVPP_INITIAL_CONFIG"])
	if err != nil {
		return err
	}
	wanted, found, err := findUplink(c)
	if err != nil {
		return err
	}
	agent := calicoagent.New(calicoagent.Config{
		Node: c.Env["NODENAME"], Socket: socket, Client: clients, Port: port, StartupSleep: sleep, Withheld: c.Withheld,
		Log: slog.New(slog.NewTextHandler(lines{c}, nil)),
		// Only after the start-up sleep, as vpp-manager does: until then VPP has no way out.
		Uplink: &calicoagent.Uplink{
			HostInterface: wanted.InterfaceName, Address: found.Addresses[0], Gateway: found.DefaultGateway,
			MTU: uint32(cmp.Or(wanted.MTU, found.MTU)),
		},
	})
	var group sync.WaitGroup
	defer group.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group.Go(func() { report(ctx, c, agent) })
	return agent.Run(ctx)
}

// leave puts a file where another container looks for it.
func leave(c *kubelet.Container, name string) error {
	real, err := c.Path(name)
	if err != nil {
		return err
	}
	if err := os.WriteFile(real, nil, 0o755); err != nil {
		return fmt.Errorf("copying %s: %w", name, err)
	}
	return nil
}

// awaitFelix waits for the configuration that Felix passes on: WireGuard and its port.
func awaitFelix(ctx context.Context, c *kubelet.Container, config *rest.Config) (uint16, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return 0, err
	}
	configurations := client.Resource(schema.GroupVersionResource{Group: "crd.projectcalico.org", Version: "v1", Resource: "felixconfigurations"})
	deadline := time.Now().Add(felixPatience)
	for {
		found, err := configurations.Get(ctx, "default", metav1.GetOptions{})
		if err == nil {
			enabled, _, _ := unstructured.NestedBool(found.Object, "spec", "wireguardEnabled")
			port, _, _ := unstructured.NestedInt64(found.Object, "spec", "wireguardListeningPort")
			if enabled {
				return uint16(port), nil
			}
			err = errors.New("wireguardEnabled is not true")
		}
		if time.Now().After(deadline) {
			return 0, fmt.Errorf("WatchDog timed out waiting for config from felix: %w", err)
		}
		c.Logf("waiting for config from felix: %v", err)
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(agentInterval):
		}
	}
}

// startupSleep is how long vpp-manager lets VPP run before anybody may use it.
func startupSleep(config string) (time.Duration, error) {
	var initial struct {
		Seconds int `json:"vppStartupSleepSeconds"`
	}
	if err := json.Unmarshal([]byte(config), &initial); err != nil {
		return 0, fmt.Errorf("error parsing CALICOVPP_INITIAL_CONFIG: %w", err)
	}
	// Zero would be the player's own default.
	return max(time.Duration(initial.Seconds)*time.Second, time.Millisecond), nil
}

// report tells the kubelet and Felix whether the agent serves, and makes it look at withheld keys again.
func report(ctx context.Context, c *kubelet.Container, agent *calicoagent.Agent) {
	var listener net.Listener
	defer func() {
		if listener != nil {
			_ = listener.Close()
		}
	}()
	tick := time.NewTicker(agentInterval)
	defer tick.Stop()
	for {
		ready := agent.Ready()
		c.SetReady(ready)
		switch {
		case ready && listener == nil:
			var err error
			if listener, err = listen(ctx, c); err != nil {
				c.Logf("felix server: %v", err)
				listener = nil
			}
		case !ready && listener != nil:
			_ = listener.Close()
			listener = nil
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			agent.Poke()
		}
	}
}

// listen answers Felix: by taking its connection.
func listen(ctx context.Context, c *kubelet.Container) (net.Listener, error) {
	real, err := c.Path(felixSocket)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(real); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return (&net.ListenConfig{}).Listen(ctx, "unix", real)
}

// lines writes to a container's log.
type lines struct {
	c *kubelet.Container
}

// Write implements io.Writer.
func (l lines) Write(p []byte) (int, error) {
	l.c.Logf("%s", p[:max(len(p)-1, 0)])
	return len(p), nil
}
