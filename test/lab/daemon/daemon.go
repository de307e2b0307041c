// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package daemon runs a lab in a background process of its own session. The process holds a file lock
// in the lab's folder for as long as it lives, so that a stale pid is never mistaken for it.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab"
)

const (
	lockFile     = "lab.lock"
	pollInterval = 200 * time.Millisecond
	logTailBytes = 2000
)

// LogFile is where the background process writes, in the lab's folder.
const LogFile = "logs/lab.log"

// ErrRunning says that the folder's lab runs already.
var ErrRunning = errors.New("the lab runs already")

// Hold marks this process as the one that runs the lab of a folder, until it ends or release is called.
// The error is ErrRunning when another one does.
func Hold(dir string) (release func(), err error) {
	file, err := lock(dir)
	if err != nil {
		return nil, err
	}
	if err := file.Truncate(0); err != nil {
		return nil, errors.Join(fmt.Errorf("note the lab's process: %w", err), file.Close())
	}
	if _, err := file.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		return nil, errors.Join(fmt.Errorf("note the lab's process: %w", err), file.Close())
	}
	return func() { _ = file.Close() }, nil
}

// Pid of the process that runs the lab of a folder; 0 when none does.
func Pid(dir string) (int, error) {
	file, err := lock(dir)
	if err == nil {
		return 0, file.Close()
	}
	if !errors.Is(err, ErrRunning) {
		return 0, err
	}
	data, err := os.ReadFile(filepath.Join(dir, lockFile))
	if err != nil {
		return 0, fmt.Errorf("read the lab's pid: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0, fmt.Errorf("read the lab's pid: %w", err)
	}
	return pid, nil
}

// Spawn runs this program again with the given arguments in the background and returns when its lab is
// ready. The arguments must lead to Hold and lab.Start in the same folder.
func Spawn(ctx context.Context, dir string, args ...string) error {
	path := filepath.Join(dir, LogFile)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("create the lab's log: %w", err)
	}
	log, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("create the lab's log: %w", err)
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), self, args...) // it outlives us
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the lab in the background: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return await(ctx, dir, cmd.Process.Pid, ended)
}

func await(ctx context.Context, dir string, pid int, ended <-chan error) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			return fmt.Errorf("the lab ended before it was ready: %w; end of %s:\n%s", err, filepath.Join(dir, LogFile), tail(dir))
		case <-ctx.Done():
			stopping := syscall.Kill(pid, syscall.SIGTERM)
			return errors.Join(fmt.Errorf("wait for the lab: %w", context.Cause(ctx)), stopping)
		case <-tick.C:
			if access, err := lab.Open(dir); err == nil && access.Pid == pid {
				return nil
			}
		}
	}
}

// Stop ends the lab of a folder and returns when its process and everything it ran are gone. That none
// runs is fine.
func Stop(ctx context.Context, dir string) error {
	pid, err := Pid(dir)
	if err != nil || pid == 0 {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop the lab's process %d: %w", pid, err)
	}
	for {
		current, err := Pid(dir)
		if err != nil || current != pid {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the end of the lab's process %d: %w", pid, context.Cause(ctx))
		case <-time.After(pollInterval):
		}
	}
}

func lock(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("create the lab's folder: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the lab's lock: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errors.Join(ErrRunning, file.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("take the lab's lock: %w", err), file.Close())
	}
	return file, nil
}

func tail(dir string) string {
	data, err := os.ReadFile(filepath.Join(dir, LogFile))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(data[max(0, len(data)-logTailBytes):]))
}
