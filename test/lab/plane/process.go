// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	defaultGrace  = 10 * time.Second
	readyInterval = 100 * time.Millisecond
	logTailBytes  = 2048
)

// Process is a local program to run under supervision.
type Process struct {
	// Name is used in errors and progress messages.
	Name string
	// Path of the executable.
	Path string
	// Args without the program's name.
	Args []string
	// Env is the whole environment, as "KEY=value"; nothing is inherited.
	Env []string
	// Dir is the working directory; empty means the caller's.
	Dir string
	// LogFile receives stdout and stderr. It is appended to; its folder is created.
	LogFile string
	// Ready is asked every 100 ms until it returns nil. Without it the process is ready once started.
	Ready func(context.Context) error
	// Grace is how long Stop waits after SIGTERM before SIGKILL; 10 s when zero.
	Grace time.Duration
}

// Running is a started process. Its methods may be called from several goroutines.
type Running struct {
	name  string
	cmd   *exec.Cmd
	grace time.Duration
	done  chan struct{}
	err   error // written before done is closed
	stop  sync.Once
}

// Start starts the process and returns when it is ready. ctx bounds only the start: a started process
// runs until Stop, or until the calling program ends (the kernel kills it then).
// When the process ends early or ctx ends before it is ready, nothing is left running and the error
// holds the reason and the last lines of the log.
func Start(ctx context.Context, p Process) (*Running, error) {
	if err := os.MkdirAll(filepath.Dir(p.LogFile), 0o755); err != nil {
		return nil, fmt.Errorf("create the log folder of %s: %w", p.Name, err)
	}
	log, err := os.OpenFile(p.LogFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", p.Name, err)
	}
	defer log.Close()

	r := newRunning(ctx, p, log)
	if err := r.launch(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.Name, err)
	}
	if err := r.waitReady(ctx, p.Ready); err != nil {
		r.Stop()
		return nil, fmt.Errorf("%s is not ready: %w; end of %s:\n%s", p.Name, err, p.LogFile, logTail(p.LogFile))
	}
	return r, nil
}

func newRunning(ctx context.Context, p Process, log *os.File) *Running {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), p.Path, p.Args...) // it outlives its start
	cmd.Dir = p.Dir
	cmd.Env = append([]string{}, p.Env...) // not nil: nil would inherit ours
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own keeps the terminal's Ctrl-C away from it: we stop in our order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	grace := p.Grace
	if grace == 0 {
		grace = defaultGrace
	}
	return &Running{name: p.Name, cmd: cmd, grace: grace, done: make(chan struct{})}
}

// launch starts the command and waits for it on one OS thread: the kernel sends Pdeathsig when the
// thread that forked ends, and Go ends idle threads as it likes.
func (r *Running) launch() error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := r.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		r.err = r.cmd.Wait()
		close(r.done)
	}()
	return <-started
}

func (r *Running) waitReady(ctx context.Context, ready func(context.Context) error) error {
	if ready == nil {
		return nil
	}
	tick := time.NewTicker(readyInterval)
	defer tick.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-r.done:
			return fmt.Errorf("ended with %w", r.Err())
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

// Name of the process, as it was started with.
func (r *Running) Name() string { return r.name }

// Pid is the process id.
func (r *Running) Pid() int { return r.cmd.Process.Pid }

// Done is closed when the process has ended, for whatever reason.
func (r *Running) Done() <-chan struct{} { return r.done }

// Err tells how the process ended; nil while it runs. A clean exit is an error too here: what is
// supervised is not meant to end by itself.
func (r *Running) Err() error {
	select {
	case <-r.done:
		if r.err != nil {
			return r.err
		}
		return errors.New("exit status 0")
	default:
		return nil
	}
}

// Stop ends the process and returns when it is gone: SIGTERM, then SIGKILL after the grace period.
// Stopping twice, or what has already ended, is fine.
func (r *Running) Stop() {
	r.stop.Do(func() {
		_ = r.cmd.Process.Signal(syscall.SIGTERM) // fails only when it has ended
		select {
		case <-r.done:
		case <-time.After(r.grace):
			_ = r.cmd.Process.Kill()
		}
	})
	<-r.done
}

// Kill ends the process at once, as a crash would, and returns when it is gone.
func (r *Running) Kill() {
	_ = r.cmd.Process.Kill()
	<-r.done
}

func logTail(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	if len(data) > logTailBytes {
		data = data[len(data)-logTailBytes:]
	}
	return strings.TrimSpace(string(data))
}
