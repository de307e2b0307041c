// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path"
	"slices"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

// exec is `kubectl exec`.
func (s *server) exec(w http.ResponseWriter, r *http.Request) {
	pod := s.k.pods.find(r.PathValue("namespace"), r.PathValue("pod"))
	if pod == nil {
		http.Error(w, "pod does not exist", http.StatusNotFound)
		return
	}
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeExec(w, r, executor{pod}, pod.pod.Name, string(pod.pod.UID), r.PathValue("container"), r.URL.Query()["command"], options,
		4*time.Hour, 30*time.Second, remotecommand.SupportedStreamingProtocols)
}

// executor runs commands in a pod's containers.
type executor struct {
	pod *runningPod
}

// ExecInContainer runs the command to its end. There is no terminal.
func (e executor) ExecInContainer(ctx context.Context, _, _, name string, command []string, in io.Reader, out, errOut io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize, _ time.Duration) error {
	c := e.pod.container(name)
	if c == nil {
		return fmt.Errorf("container %s not found", name)
	}
	// With a terminal there is one stream for both.
	stderr := io.Writer(errOut)
	if errOut == nil {
		stderr = out
	}
	err := c.command(ctx, command, in, out, stderr)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return utilexec.CodeExitError{Err: err, Code: exit.ExitCode()}
	}
	return err
}

// command runs a command in the container. The only program that a container has is its own.
func (c *container) command(ctx context.Context, command []string, in io.Reader, out, errOut io.Writer) error {
	program, ok := c.k.Images[imageKey(c.spec.Image)].(Executable)
	if !ok || len(command) == 0 || path.Base(command[0]) != c.executableName() {
		return fmt.Errorf("exec: %q: executable file not found in $PATH", slices.Concat(command, []string{""})[0])
	}
	view, err := c.view(ctx)
	if err != nil {
		return err
	}
	args, err := view.localArgs(command)
	if err == nil {
		args, err = program.CommandArgs(view, args)
	}
	if err != nil {
		return err
	}
	process := exec.CommandContext(ctx, program.Path(), args...)
	process.Env, process.Stdin, process.Stdout, process.Stderr = view.environ(), in, out, errOut
	return process.Run()
}

// executableName is what the container calls its program: the name in its command, or the last word of its image.
func (c *container) executableName() string {
	if len(c.spec.Command) > 0 {
		return path.Base(c.spec.Command[0])
	}
	return imageName(c.spec.Image)
}
