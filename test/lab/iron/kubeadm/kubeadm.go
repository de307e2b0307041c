// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	kubeadmv1 "sigs.k8s.io/cluster-api/bootstrap/kubeadm/pkg/types/upstreamv1beta4"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/netdata"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/rootfs"
)

// Host is the machine that kubeadm runs on.
type Host struct {
	Disk       rootfs.FS
	Hostname   string
	Interfaces []netdata.Interface
	CPUs       int
	// MemoryMiB is the machine's memory in MiB.
	MemoryMiB int
	// Version is kubeadm's own, e.g. "v1.36.3".
	Version string
	// RestartKubelet does what "systemctl restart kubelet" does.
	RestartKubelet func(ctx context.Context) error
}

// Run is the kubeadm program: args without its name, messages to out. It returns the exit status.
func Run(ctx context.Context, host Host, args []string, out io.Writer) uint8 {
	if err := run(ctx, host, args, out); err != nil {
		fmt.Fprintf(out, "error: %v\n", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, host Host, args []string, out io.Writer) error {
	command, config, err := parseArgs(args)
	if err != nil {
		return err
	}
	r := &runner{Host: host, out: out}
	switch command {
	case "version":
		fmt.Fprintf(out, "kubeadm version: %s\n", host.Version)
		return nil
	case "reset":
		return r.reset()
	case "init", "join":
	default:
		return fmt.Errorf("unknown command %q for \"kubeadm\" (the simulated one has init, join, reset and version)", command)
	}
	if config == "" {
		return errors.New("the simulated kubeadm needs --config")
	}
	content, err := host.Disk.Read(config)
	if err != nil {
		return fmt.Errorf("unable to read config from %q: %w", config, err)
	}
	docs, err := parseDocuments(content)
	if err != nil {
		return err
	}
	if command == "init" {
		return r.init(ctx, docs)
	}
	return r.join(ctx, docs)
}

// parseArgs takes the subcommand and --config; verbosity and flags that change nothing here are ignored.
func parseArgs(args []string) (command, config string, err error) {
	for i := 0; i < len(args); i++ {
		name, value, hasValue := strings.Cut(args[i], "=")
		switch {
		case !strings.HasPrefix(name, "-"):
			if command != "" {
				return "", "", fmt.Errorf("unexpected argument %q", name)
			}
			command = name
		case name == "--config":
			if !hasValue {
				if i++; i >= len(args) {
					return "", "", errors.New("flag needs an argument: --config")
				}
				value = args[i]
			}
			config = value
		case name == "-v" || name == "--v":
			if !hasValue {
				i++
			}
		case slices.Contains([]string{"--upload-certs", "-f", "--force", "-o", "--skip-token-print"}, name):
		case strings.HasPrefix(name, "-v"):
		default:
			return "", "", fmt.Errorf("unknown flag: %s", name)
		}
	}
	return command, config, nil
}

// runner is one run of kubeadm.
type runner struct {
	Host
	out io.Writer
}

func (r *runner) say(phase, format string, args ...any) {
	fmt.Fprintf(r.out, "[%s] %s\n", phase, fmt.Sprintf(format, args...))
}

// reset removes what init and join made, but leaves the network's configuration alone.
func (r *runner) reset() error {
	var errs []error
	for _, name := range []string{manifestDir, defaultPKI, "/var/lib/etcd", "/var/lib/kubelet"} {
		real, err := r.Disk.Real(name)
		if err == nil {
			err = rootfs.New(real).Wipe()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// nodeName is the name the Node will have, if the kubelet's own arguments do not say otherwise.
func (r *runner) nodeName(registration kubeadmv1.NodeRegistrationOptions) string {
	return strings.ToLower(strings.TrimSpace(cmp.Or(registration.Name, r.Hostname)))
}

// defaultEndpoint fills in this host's own API endpoint: the address of the interface with the default
// route, or else of the first one.
func (r *runner) defaultEndpoint(endpoint *kubeadmv1.APIEndpoint) error {
	endpoint.BindPort = cmp.Or(endpoint.BindPort, 6443)
	if endpoint.AdvertiseAddress != "" {
		if _, err := netip.ParseAddr(endpoint.AdvertiseAddress); err != nil {
			return fmt.Errorf("localAPIEndpoint.advertiseAddress: %w", err)
		}
		return nil
	}
	first := ""
	for _, candidate := range r.Interfaces {
		if len(candidate.Addresses) == 0 {
			continue
		}
		address := candidate.Addresses[0].Addr().String()
		if candidate.DefaultGateway.IsValid() {
			endpoint.AdvertiseAddress = address
			return nil
		}
		first = cmp.Or(first, address)
	}
	if first == "" {
		return errors.New("unable to select an IP from default routes: no interface has an address")
	}
	endpoint.AdvertiseAddress = first
	return nil
}

func bufioReader(content []byte) *bufio.Reader {
	return bufio.NewReader(bytes.NewReader(content))
}

// poll tries a step until it works, the time is up or the context ends. The error is the last one.
func poll(ctx context.Context, limit time.Duration, what string, step func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := step(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%s: timed out: %w", what, err)
		}
	}
}
