// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package images

import (
	"context"
	"slices"
	"strings"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/kubelet"
)

// edgeAgent is the real node agent as a process.
type edgeAgent struct {
	executable string
}

// Path implements kubelet.Executable.
func (a edgeAgent) Path() string { return a.executable }

// CommandArgs implements kubelet.Executable: where the agent would look in its container, unless it was told.
func (a edgeAgent) CommandArgs(c *kubelet.Container, args []string) ([]string, error) {
	defaults := map[string]string{
		"--run-dir": "/run/edgemetal",
	}
	if len(args) == 0 || args[0] != "status" {
		defaults["--key-file"] = encryption.VPPExecFile
		defaults["--vpp-stats-socket"] = "/var/run/vpp/stats.sock"
	}
	return withDefaults(c, args, defaults)
}

// withDefaults adds flags that were not given, with paths of the container.
func withDefaults(c *kubelet.Container, args []string, defaults map[string]string) ([]string, error) {
	args = slices.Clone(args)
	for flag, value := range defaults {
		if slices.ContainsFunc(args, func(arg string) bool { return arg == flag || strings.HasPrefix(arg, flag+"=") }) {
			continue
		}
		real, err := c.Path(value)
		if err != nil {
			return nil, err
		}
		args = append(args, flag+"="+real)
	}
	return args, nil
}

// Run implements kubelet.Program.
func (a edgeAgent) Run(ctx context.Context, c *kubelet.Container) error {
	args, err := c.Args()
	if err != nil {
		return err
	}
	if args, err = a.CommandArgs(c, args); err != nil {
		return err
	}
	// The cluster's own address for the API server leads nowhere here.
	kubeconfig, err := c.Kubeconfig()
	if err != nil {
		return err
	}
	return c.Process(ctx, a.executable, append(args, "--kubeconfig="+kubeconfig))
}
