// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/image/run"
)

const (
	// kubernetesNamespace of containerd is where the kubelet looks.
	kubernetesNamespace = "k8s.io"
	containerdStart     = time.Minute
	containerdStop      = 30 * time.Second
	containerdPoll      = 100 * time.Millisecond
)

// load imports an archive of container images into root, the folder of a host's containerd, by a containerd
// that runs here for as long. It mounts what it unpacks to in a mount namespace of its own.
func load(ctx context.Context, containerd, ctr, work, root, archive string) error {
	state, err := os.MkdirTemp("", "edgemetal-containerd-") // short: sockets are in it
	if err != nil {
		return fmt.Errorf("create a folder for containerd: %w", err)
	}
	defer func() { _ = os.RemoveAll(state) }()
	config := filepath.Join(work, "containerd.toml")
	// Its CRI service is not needed, and would change the folder.
	if err := os.WriteFile(config, []byte("version = 3\ndisabled_plugins = ['io.containerd.grpc.v1.cri', 'io.containerd.cri.v1.images', 'io.containerd.cri.v1.runtime', 'io.containerd.nri.v1.nri']\n"), 0o600); err != nil {
		return fmt.Errorf("configure containerd: %w", err)
	}
	address := filepath.Join(state, "containerd.sock")
	var output bytes.Buffer
	daemon := exec.CommandContext(ctx, containerd, "--config", config, "--root", root, "--state", filepath.Join(state, "state"), "--address", address)
	daemon.Stdout, daemon.Stderr = &output, &output
	daemon.Cancel = func() error { return daemon.Process.Signal(syscall.SIGTERM) }
	daemon.WaitDelay = containerdStop
	daemon.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGTERM}
	if err := daemon.Start(); err != nil {
		return fmt.Errorf("start containerd: %w", err)
	}
	control := []string{ctr, "--address", address, "--namespace", kubernetesNamespace}
	err = await(ctx, control)
	if err == nil {
		err = run.Command{Args: append(control, "images", "import", "--local", "--snapshotter", "overlayfs", archive)}.Do(ctx)
	}
	stopped := errors.Join(daemon.Process.Signal(syscall.SIGTERM), daemon.Wait())
	if err != nil || stopped != nil {
		return fmt.Errorf("import container images: %w: containerd's last words: %s", errors.Join(err, stopped), tail(output.Bytes()))
	}
	// Each host's containerd makes an identity of its own.
	if err := os.RemoveAll(filepath.Join(root, "io.containerd.grpc.v1.introspection")); err != nil {
		return fmt.Errorf("remove containerd's identity: %w", err)
	}
	return nil
}

// await returns when containerd answers.
func await(ctx context.Context, control []string) error {
	ctx, cancel := context.WithTimeout(ctx, containerdStart)
	defer cancel()
	for {
		err := run.Command{Args: append(slices.Clip(control), "version")}.Do(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for containerd: %w", err)
		case <-time.After(containerdPoll):
		}
	}
}

// tail of a log.
func tail(log []byte) []byte {
	const kept = 2000
	return bytes.TrimSpace(log[max(0, len(log)-kept):])
}
