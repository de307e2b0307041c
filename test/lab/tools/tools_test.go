// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package tools

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestEnsureNamesTheToolsThereAre(t *testing.T) {
	_, err := Ensure(t.Context(), "minikube")
	if err == nil || !strings.Contains(err.Error(), "minikube") || !strings.Contains(err.Error(), KubeAPIServer) {
		t.Errorf("error %v, want one that names the unknown tool and the known ones", err)
	}
}

// Every tool's version comes from its go.mod, so that raising it there is all it takes.
func TestEveryToolIsPinned(t *testing.T) {
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range catalog() {
		version, err := pinned(filepath.Join(root, "test", "tools", r.module), r.requirement)
		if err != nil || !strings.HasPrefix(version, "v") {
			t.Errorf("%s: version %q, error %v", name, version, err)
		}
	}
}

// The manager installs the node agent of its own version, which is the one whose image hosts have.
func TestProgramsOfThisTreeHaveTheVersionOfTheirImages(t *testing.T) {
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	manager, err := Toolbox{Root: root}.Manager(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	info, err := buildinfo.ReadFile(manager)
	if err != nil {
		t.Fatal(err)
	}
	for _, setting := range info.Settings {
		if setting.Key == "-ldflags" && strings.Contains(setting.Value, "main.version="+EdgeMetalVersion) {
			return
		}
	}
	t.Errorf("built with %v, want the version %s", info.Settings, EdgeMetalVersion)
}

// A small module stands in for a tool: built once however many ask at once, and stamped.
func TestToolIsBuiltOnceAndStamped(t *testing.T) {
	box := Toolbox{Root: t.TempDir()}
	module := filepath.Join(box.Root, "test", "tools", "demo")
	write(t, filepath.Join(module, "go.mod"), "module example.org/demo\n\ngo 1.26\n\nrequire example.org/dep v1.2.3\n\nreplace example.org/dep => ./dep\n")
	write(t, filepath.Join(module, "dep", "go.mod"), "module example.org/dep\n\ngo 1.26\n")
	write(t, filepath.Join(module, "dep", "main.go"), "package main\n\nvar gitVersion, gitMajor, gitMinor, gitTreeState string\n\nfunc main() { println(gitVersion, gitMajor, gitMinor) }\n")
	demo := recipe{module: "demo", requirement: "example.org/dep", stamps: []stamp{{"main", []string{"gitVersion", "gitMajor", "gitMinor"}}}}

	var builds sync.WaitGroup
	paths := make([]string, 3)
	for i := range paths {
		builds.Go(func() {
			path, err := box.ensure(t.Context(), "demo", demo)
			if err != nil {
				t.Error(err)
			}
			paths[i] = path
		})
	}
	builds.Wait()
	if want := filepath.Join(box.Root, ".cache", "tools", "demo-v1.2.3"); paths[0] != want || paths[1] != want || paths[2] != want {
		t.Fatalf("paths %v, want %s", paths, want)
	}
	out, err := exec.CommandContext(t.Context(), paths[0]).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "v1.2.3 1 2" {
		t.Errorf("the tool printed %q, %v", out, err)
	}
}

func TestFailedBuildLeavesNothing(t *testing.T) {
	box := Toolbox{Root: t.TempDir()}
	module := filepath.Join(box.Root, "test", "tools", "demo")
	write(t, filepath.Join(module, "go.mod"), "module example.org/demo\n\ngo 1.26\n\nrequire example.org/dep v1.2.3\n\nreplace example.org/dep => ./dep\n")
	write(t, filepath.Join(module, "dep", "go.mod"), "module example.org/dep\n\ngo 1.26\n")
	write(t, filepath.Join(module, "dep", "main.go"), "package main\n\nfunc main() { missing() }\n")
	_, err := box.ensure(t.Context(), "demo", recipe{module: "demo", requirement: "example.org/dep"})
	if err == nil || !strings.Contains(err.Error(), "undefined: missing") {
		t.Errorf("error %v, want the compiler's", err)
	}
	left, err := os.ReadDir(box.cache())
	if err != nil || len(left) != 1 || filepath.Ext(left[0].Name()) != ".lock" {
		t.Errorf("in the cache: %v, %v; want only the lock", left, err)
	}
}

func TestWaitingForABuildEndsWithTheContext(t *testing.T) {
	box := Toolbox{Root: t.TempDir()}
	target := filepath.Join(box.cache(), "demo")
	unlock, err := box.Lock(t.Context(), target, "demo")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := box.Lock(ctx, target, "demo"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the deadline", err)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Packages of tests run at the same time, and each of them wants the same links.
func TestLinkAtTheSameTime(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "etcd")
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() {
			if err := link(fmt.Sprintf("etcd-%d", i%2), path); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if target, err := os.Readlink(path); err != nil || !strings.HasPrefix(target, "etcd-") {
		t.Errorf("linked to %q, %v", target, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
