// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package daemon_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/daemon"
)

const holdVariable = "LAB_DAEMON_TEST_HOLD"

// TestMain lets the test binary play the background process.
func TestMain(m *testing.M) {
	if dir := os.Getenv(holdVariable); dir != "" {
		if _, err := daemon.Hold(dir); err != nil {
			os.Exit(1)
		}
		_, _ = os.Stdout.WriteString("held\n")
		time.Sleep(time.Minute) // until SIGTERM
	}
	os.Exit(m.Run())
}

func TestHoldIsForOne(t *testing.T) {
	dir := t.TempDir()
	if pid, err := daemon.Pid(dir); pid != 0 || err != nil {
		t.Fatalf("in an empty folder: pid %d, %v", pid, err)
	}
	release, err := daemon.Hold(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := daemon.Hold(dir); !errors.Is(err, daemon.ErrRunning) {
		t.Errorf("a second Hold: %v, want ErrRunning", err)
	}
	if pid, err := daemon.Pid(dir); pid != os.Getpid() || err != nil {
		t.Errorf("pid %d, %v; want %d", pid, err, os.Getpid())
	}
	release()
	if pid, err := daemon.Pid(dir); pid != 0 || err != nil {
		t.Errorf("after release: pid %d, %v", pid, err)
	}
}

func TestStopEndsTheProcess(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), holdVariable+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 8)); err != nil { // until it holds
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := daemon.Stop(ctx, dir); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "terminated") {
		t.Errorf("the process ended with %v, want SIGTERM", err)
	}
	if err := daemon.Stop(ctx, dir); err != nil {
		t.Errorf("stopping again: %v", err)
	}
}

func TestSpawnTellsWhyTheLabDidNotStart(t *testing.T) {
	dir := t.TempDir()
	// The test binary runs no test that matches, says so and ends.
	err := daemon.Spawn(t.Context(), dir, "-test.run=^$")
	if err == nil || !strings.Contains(err.Error(), "no tests to run") {
		t.Errorf("error %v, want the end of the log", err)
	}
}
