// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	accessFile = "lab.json"
	// authorityTimeout bounds an apply that waits for the webhooks' authority, with a pause between two attempts.
	authorityTimeout = 3 * time.Minute
	authorityPause   = time.Second
)

// Access is how a running lab is used, from this process or another.
type Access struct {
	// Dir of the lab's state.
	Dir string `json:"dir"`
	// LogDir holds a log per process.
	LogDir string `json:"logDir"`
	// Kubeconfig of the management cluster's administrator.
	Kubeconfig string `json:"kubeconfig"`
	// ClusterctlConfig names the local provider repository.
	ClusterctlConfig string `json:"clusterctlConfig"`
	// ClusterctlPath and KubectlPath are the executables.
	ClusterctlPath string `json:"clusterctlPath"`
	KubectlPath    string `json:"kubectlPath"`
	// Site is the hosts' network.
	Site Site `json:"site"`
	// Hosts says what the hosts are: SimulatedHosts or VirtualHosts.
	Hosts string `json:"hosts"`
	// Proxy is the URL of the HTTP CONNECT proxy into the network of virtual hosts, which nothing else reaches; empty with
	// simulated hosts.
	Proxy string `json:"proxy,omitempty"`
	// Pid of the process that runs the lab.
	Pid int `json:"pid"`
}

// Open reads how to use the lab in a folder. Whether it runs is another question.
func Open(dir string) (Access, error) {
	data, err := os.ReadFile(filepath.Join(dir, accessFile))
	if err != nil {
		return Access{}, fmt.Errorf("open the lab: %w", err)
	}
	var a Access
	if err := json.Unmarshal(data, &a); err != nil {
		return Access{}, fmt.Errorf("open the lab: decode %s: %w", accessFile, err)
	}
	a.Hosts = cmp.Or(a.Hosts, SimulatedHosts)
	return a, nil
}

func (a Access) save() error {
	if err := a.writeWrappers(); err != nil {
		return err
	}
	data, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return fmt.Errorf("encode how to use the lab: %w", err)
	}
	if err := os.WriteFile(filepath.Join(a.Dir, accessFile), append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("keep how to use the lab: %w", err)
	}
	return nil
}

// RESTConfig is the administrator's client configuration, without client-side rate limit.
func (a Access) RESTConfig() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", a.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the lab's kubeconfig: %w", err)
	}
	config.QPS = -1
	return config, nil
}

// ClusterRESTConfig is the client configuration of a kubeconfig of a cluster on the hosts.
func (a Access) ClusterRESTConfig(kubeconfig string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig of a cluster: %w", err)
	}
	if a.Proxy == "" {
		return config, nil
	}
	proxy, err := url.Parse(a.Proxy)
	if err != nil {
		return nil, fmt.Errorf("read the address of the proxy to the hosts: %w", err)
	}
	config.Proxy = http.ProxyURL(proxy)
	return config, nil
}

// proxyVariables make programs reach the hosts through the proxy, and the lab itself directly; none without a proxy. Go's
// HTTP clients, and so Kubernetes', obey them.
func (a Access) proxyVariables() map[string]string {
	if a.Proxy == "" {
		return nil
	}
	return map[string]string{"HTTPS_PROXY": a.Proxy, "NO_PROXY": "127.0.0.0/8,localhost"}
}

// ConsolePath is what a host's console shows.
func (a Access) ConsolePath(namespace, host string) string {
	return filepath.Join(a.HostDir(), namespace, host, "console.log")
}

// ConsoleGlob matches the console logs of the hosts.
func (a Access) ConsoleGlob() string { return filepath.Join(a.HostDir(), "*", "*", "console.log") }

// HostDir keeps the disks and consoles of the hosts.
func (a Access) HostDir() string { return filepath.Join(a.Dir, "hosts") }

// Command is a run of clusterctl or kubectl against the lab.
type Command struct {
	Args []string
	// Variables are for clusterctl's templates, beside those of the site, which they override.
	Variables map[string]string
	Stdin     []byte
	// Kubeconfig of another cluster; empty for the lab's.
	Kubeconfig string
	// Progress receives what the command writes to stderr, as it writes it; nil is silent.
	Progress io.Writer
}

// Clusterctl runs clusterctl and returns what it wrote to stdout. An error holds what it wrote to
// stderr.
func (a Access) Clusterctl(ctx context.Context, args ...string) (string, error) {
	return a.RunClusterctl(ctx, Command{Args: args})
}

// RunClusterctl is Clusterctl with variables.
func (a Access) RunClusterctl(ctx context.Context, c Command) (string, error) {
	c.Args = append([]string{"--config", a.ClusterctlConfig}, c.Args...)
	return a.run(ctx, a.ClusterctlPath, c)
}

// Kubectl runs kubectl and returns what it wrote to stdout. An error holds what it wrote to stderr.
func (a Access) Kubectl(ctx context.Context, args ...string) (string, error) {
	return a.RunKubectl(ctx, Command{Args: args})
}

// RunKubectl is Kubectl with an input or for another cluster.
func (a Access) RunKubectl(ctx context.Context, c Command) (string, error) {
	return a.run(ctx, a.KubectlPath, c)
}

// Apply is `kubectl apply -f -`.
func (a Access) Apply(ctx context.Context, manifest string) error {
	_, err := a.RunApply(ctx, Command{Args: []string{"apply", "-f", "-"}, Stdin: []byte(manifest)})
	return err
}

// RunApply is RunKubectl for an apply, which may be the first after clusterctl init: on a busy machine the API server is seconds late to
// see that the webhooks' authority was put into their configurations, and does not trust them until then.
func (a Access) RunApply(ctx context.Context, c Command) (printed string, err error) {
	ctx, cancel := context.WithTimeout(ctx, authorityTimeout)
	defer cancel()
	for {
		printed, err = a.RunKubectl(ctx, c)
		if err == nil || !strings.Contains(err.Error(), "failed calling webhook") || !strings.Contains(err.Error(), "certificate signed by unknown authority") {
			return printed, err
		}
		select {
		case <-ctx.Done():
			return printed, err
		case <-time.After(authorityPause):
		}
	}
}

func (a Access) run(ctx context.Context, program string, c Command) (string, error) {
	cmd := exec.CommandContext(ctx, program, c.Args...)
	cmd.Dir = a.Dir
	cmd.Env = a.environment(c)
	cmd.Stdin = bytes.NewReader(c.Stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if c.Progress != nil {
		cmd.Stderr = io.MultiWriter(&stderr, c.Progress)
	}
	if err := cmd.Run(); err != nil {
		name, _, _ := strings.Cut(filepath.Base(program), "-v")
		return stdout.String(), fmt.Errorf("%s %s: %w: %s", name, strings.Join(c.Args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// environment is complete: nothing of the caller's, whose kubeconfig or clusterctl settings must not
// leak into the lab.
func (a Access) environment(c Command) []string {
	home := filepath.Join(a.Dir, "home")
	kubeconfig := c.Kubeconfig
	if kubeconfig == "" {
		kubeconfig = a.Kubeconfig
	}
	variables := a.Site.Variables()
	maps.Copy(variables, map[string]string{
		"PATH":            "/usr/bin:/bin",
		"HOME":            home,
		"XDG_CONFIG_HOME": filepath.Join(home, ".config"),
		"KUBECONFIG":      kubeconfig,
		// The check for a newer clusterctl would go to the internet.
		"CLUSTERCTL_DISABLE_VERSIONCHECK": "true",
		"CLUSTER_TOPOLOGY":                "true",
	})
	maps.Copy(variables, a.proxyVariables())
	maps.Copy(variables, c.Variables)
	return assignments(variables)
}

// assignments are variables as a process takes them, "KEY=value", sorted.
func assignments(variables map[string]string) []string {
	var env []string
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		env = append(env, name+"="+variables[name])
	}
	return env
}
