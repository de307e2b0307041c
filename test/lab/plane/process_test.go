// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package plane_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/plane"
)

func shell(t *testing.T, script string) plane.Process {
	t.Helper()
	return plane.Process{
		Name:    "shell",
		Path:    "/bin/sh",
		Args:    []string{"-c", script},
		Env:     []string{"PATH=/usr/bin:/bin"},
		LogFile: filepath.Join(t.TempDir(), "logs", "shell.log"),
	}
}

func TestStartWaitsUntilReady(t *testing.T) {
	p := shell(t, "sleep 0.3; echo up; sleep 60")
	p.Ready = func(context.Context) error {
		if data, _ := os.ReadFile(p.LogFile); !strings.Contains(string(data), "up") {
			return errors.New("not up")
		}
		return nil
	}
	begin := time.Now()
	r, err := plane.Start(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(begin); waited < 300*time.Millisecond {
		t.Errorf("returned after %v, before the process was ready", waited)
	}
	r.Stop()
	if err := syscall.Kill(r.Pid(), 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("signal 0 to the stopped process: %v, want ESRCH", err)
	}
	r.Stop() // a second time is harmless
}

func TestStartReportsAnEarlyEnd(t *testing.T) {
	p := shell(t, "echo the reason; exit 3")
	p.Ready = func(context.Context) error { return errors.New("not up") }
	_, err := plane.Start(t.Context(), p)
	if err == nil || !strings.Contains(err.Error(), "the reason") || !strings.Contains(err.Error(), "exit status 3") {
		t.Fatalf("error %v, want the exit status and the end of the log", err)
	}
}

func TestStartLeavesNothingWhenTheContextEnds(t *testing.T) {
	p := shell(t, "echo $$; exec sleep 60")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p.Ready = func(context.Context) error {
		if data, _ := os.ReadFile(p.LogFile); bytes.HasSuffix(data, []byte("\n")) {
			cancel()
		}
		return errors.New("never")
	}
	_, err := plane.Start(ctx, p)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want that of the context", err)
	}
	data, err := os.ReadFile(p.LogFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("signal 0 to the process: %v, want ESRCH", err)
	}
}

func TestStopKillsWhatIgnoresSIGTERM(t *testing.T) {
	p := shell(t, "trap '' TERM; echo up; while :; do sleep 0.1; done")
	p.Grace = 200 * time.Millisecond
	p.Ready = func(context.Context) error {
		_, err := os.Stat(p.LogFile)
		return err
	}
	r, err := plane.Start(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond) // let the shell set its trap
	r.Stop()
	if r.Err() == nil {
		t.Error("Err is nil after the end")
	}
}

func TestNothingIsInherited(t *testing.T) {
	t.Setenv("KUBECONFIG", "/should/not/be/seen")
	p := shell(t, `echo "kubeconfig=[$KUBECONFIG]"`)
	r, err := plane.Start(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	<-r.Done()
	data, err := os.ReadFile(p.LogFile)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(data)); got != "kubeconfig=[]" {
		t.Errorf("the process saw %q", got)
	}
}
