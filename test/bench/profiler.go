// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/plane"
)

// profileLength is how much of the bring-up the CPU profile covers.
const profileLength = 30 * time.Second

// profiler reads profiles of the manager; nil reads none.
type profiler struct {
	address string
}

// newProfiler copies the release with the profiler's flag added to the manager's arguments.
func newProfiler(components, dir string) (*profiler, string, error) {
	free, err := plane.FreePorts(1)
	if err != nil {
		return nil, "", err
	}
	p := &profiler{address: fmt.Sprintf("127.0.0.1:%d", free[0])}
	version := filepath.Dir(components)
	target := filepath.Join(dir, filepath.Base(filepath.Dir(version)), filepath.Base(version))
	if err := os.CopyFS(target, os.DirFS(version)); err != nil {
		return nil, "", fmt.Errorf("copy the release: %w", err)
	}
	changed := filepath.Join(target, filepath.Base(components))
	data, err := os.ReadFile(changed)
	if err != nil {
		return nil, "", fmt.Errorf("read the release: %w", err)
	}
	const anchor = "- --leader-elect\n"
	before, after, found := strings.Cut(string(data), anchor)
	if !found {
		return nil, "", errors.New("the manager's arguments in the release do not contain --leader-elect, beside which the profiler's flag would go")
	}
	indent := before[strings.LastIndexByte(before, '\n')+1:]
	text := before + anchor + indent + "- --profiler-address=" + p.address + "\n" + after
	if err := os.WriteFile(changed, []byte(text), 0o644); err != nil {
		return nil, "", fmt.Errorf("write the release: %w", err)
	}
	return p, changed, nil
}

// start begins a CPU profile, which is written when it has ended.
func (p *profiler) start(dir string, machines int) {
	if p == nil {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*profileLength)
		defer cancel()
		p.fetch(ctx, fmt.Sprintf("profile?seconds=%.0f", profileLength.Seconds()), filepath.Join(dir, fmt.Sprintf("cpu-%d.pprof", machines)))
	}()
}

// heap writes a heap profile.
func (p *profiler) heap(ctx context.Context, dir string, machines int) {
	if p == nil {
		return
	}
	p.fetch(ctx, "heap", filepath.Join(dir, fmt.Sprintf("heap-%d.pprof", machines)))
}

// fetch tells of a failure and goes on: the measurement is worth more than its profile.
func (p *profiler) fetch(ctx context.Context, profile, path string) {
	if err := p.read(ctx, profile, path); err != nil {
		progress("no profile %s: %v", filepath.Base(path), err)
	}
}

func (p *profiler) read(ctx context.Context, profile, path string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.address+"/debug/pprof/"+profile, nil)
	if err != nil {
		return fmt.Errorf("ask for a profile: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("ask for a profile: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New("ask for a profile: " + response.Status)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("create the folder for profiles: %w", err)
	}
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("create the profile: %w", err)
	}
	_, err = io.Copy(file, response.Body)
	return errors.Join(err, file.Close())
}
