// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/image/debian"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// wantedImages are those of kubeadm v1.36.3.
func wantedImages() []string {
	return []string{
		"registry.k8s.io/kube-apiserver:v1.36.3", "registry.k8s.io/kube-controller-manager:v1.36.3", "registry.k8s.io/kube-scheduler:v1.36.3",
		"registry.k8s.io/kube-proxy:v1.36.3", "registry.k8s.io/coredns/coredns:v1.14.2", "registry.k8s.io/pause:3.10.2", "registry.k8s.io/etcd:3.6.8-0",
	}
}

func somePrograms() programs {
	paths := tools.Paths{}
	for _, name := range tools.Names() {
		paths[name] = "/built/" + name
	}
	return programs{Paths: paths, manager: "/built/manager", agent: "/built/edge-agent", pause: "/built/pause", flannel: "/built/flanneld", flannelImage: "ghcr.io/edgemetal/lab-flannel:v1"}
}

func listing(files []debian.File) string {
	var out strings.Builder
	for _, f := range files {
		if f.Link != "" {
			fmt.Fprintf(&out, "=== %s -> %s\n", f.Path, f.Link)
			continue
		}
		fmt.Fprintf(&out, "=== %s %s\n%s", f.Path, f.Mode, f.Content)
	}
	return out.String()
}

func TestFilesOfTheSystems(t *testing.T) {
	golden(t, "base.txt", listing(slices.Concat(earlyFiles(), baseFiles())))
	pause, err := pauseImage(wantedImages())
	if err != nil {
		t.Fatal(err)
	}
	files, err := nodeFiles(pause)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "node.txt", listing(files))
}

func TestContainerImages(t *testing.T) {
	p := somePrograms()
	specs, err := p.genuine(wantedImages())
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(specs, p.own())
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(specs)) {
		s := specs[name]
		fmt.Fprintf(&out, "=== %s entrypoint %v user %q\n", name, s.Entrypoint, s.User)
		for _, at := range slices.Sorted(maps.Keys(s.Programs)) {
			fmt.Fprintf(&out, "%s from %s\n", at, s.Programs[at])
		}
		for _, at := range s.System {
			fmt.Fprintf(&out, "%s from Debian\n", at)
		}
		fmt.Fprintf(&out, "%d links\n", len(s.Links))
	}
	golden(t, "containers.txt", out.String())
	if names := slices.Sorted(maps.Keys(specs)); !slices.Equal(names, p.names(wantedImages())) {
		t.Errorf("recorded %v, made %v", p.names(wantedImages()), names)
	}
	if _, known := specs[bootstrap.DefaultKubeVIPImage]; !known {
		t.Errorf("no %s", bootstrap.DefaultKubeVIPImage)
	}
	if _, err := p.genuine([]string{"registry.k8s.io/novelty:v1"}); err == nil || !strings.Contains(err.Error(), "novelty") {
		t.Errorf("error %v, want one that names the unknown image", err)
	}
}

func TestTagsMustHoldWhatTheySay(t *testing.T) {
	root, err := tools.Root()
	if err != nil {
		t.Fatal(err)
	}
	box := tools.Toolbox{Root: root}
	if err := pinned(wantedImages(), box); err != nil {
		t.Errorf("pinned versions: %v", err)
	}
	for _, reference := range []string{"registry.k8s.io/etcd:3.7.1-0", "registry.k8s.io/coredns/coredns:v1.99.0", "registry.k8s.io/kube-proxy:v1.36.4"} {
		if err := pinned([]string{reference}, box); err == nil || !strings.Contains(err.Error(), reference) {
			t.Errorf("%s: error %v, want one that names it", reference, err)
		}
	}
}

func TestImageIsMadeOnceAndFoundAgain(t *testing.T) {
	root := t.TempDir()
	var made atomic.Int32
	build := func() (Image, error) {
		b := builder{box: tools.Toolbox{Root: root}, dir: filepath.Join(root, "images")}
		return b.cached(t.Context(), Image{Name: Base, Packages: []string{"libc6 2.36"}}, key(strings.Repeat("a", 64)), func(_ context.Context, _, target string) error {
			made.Add(1)
			return os.WriteFile(target, []byte("abc"), 0o600)
		})
	}
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			image, err := build()
			want := Image{
				Name: Base, Disk: filepath.Join(root, "images", "base-aaaaaaaaaaaaaaaa.qcow2"), Packages: []string{"libc6 2.36"},
				SHA256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
			}
			if diff := cmp.Diff(want, image); diff != "" || err != nil {
				t.Errorf("error %v, image (-want +got):\n%s", err, diff)
			}
		})
	}
	all.Wait()
	if made.Load() != 1 {
		t.Errorf("made %d times", made.Load())
	}
}

func TestFailedBuildLeavesNoImage(t *testing.T) {
	root := t.TempDir()
	b := builder{box: tools.Toolbox{Root: root}, dir: filepath.Join(root, "images")}
	broken := errors.New("no space left on device")
	_, err := b.cached(t.Context(), Image{Name: Node}, key(strings.Repeat("b", 64)), func(_ context.Context, work, target string) error {
		return errors.Join(broken, os.WriteFile(target, nil, 0o600), os.WriteFile(filepath.Join(work, "tree"), nil, 0o600))
	})
	if !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
	left, err := filepath.Glob(filepath.Join(root, "images", "*[^k]"))
	if err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestOlderImagesGo(t *testing.T) {
	b := builder{dir: t.TempDir()}
	now := time.Now()
	for i, name := range []string{"base-1", "base-2", "base-3", "node-1"} {
		for _, suffix := range []string{".qcow2", ".json"} {
			path := filepath.Join(b.dir, name+suffix)
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, now, now.Add(time.Duration(i)*time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := b.prune(Base, ".qcow2"); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	want := []string{"base-2.json", "base-2.qcow2", "base-3.json", "base-3.qcow2", "node-1.json", "node-1.qcow2"}
	if diff := cmp.Diff(want, left); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

func TestKeyFollowsEveryInput(t *testing.T) {
	root, err := tools.Root()
	if err != nil {
		t.Fatal(err)
	}
	b := builder{box: tools.Toolbox{Root: root}}
	one, err1 := b.rootfsKey(baseSystem(), []string{"libc6 2.36"})
	same, err2 := b.rootfsKey(baseSystem(), []string{"libc6 2.36"})
	upgraded, err3 := b.rootfsKey(baseSystem(), []string{"libc6 2.37"})
	changed := baseSystem()
	changed.Files[0].Content += "# changed\n"
	edited, err4 := b.rootfsKey(changed, []string{"libc6 2.36"})
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	if one != same || one == upgraded || one == edited {
		t.Errorf("keys %s, again %s, other package %s, other file %s", one, same, upgraded, edited)
	}
}

func TestUnknownSourcesAreAnError(t *testing.T) {
	if _, err := (builder{box: tools.Toolbox{Root: t.TempDir()}}).sources("disk"); err == nil {
		t.Error("no error without sources: all images would have the same key")
	}
}

// TestAgentIsInPath: users run "kubectl exec daemonset/edge-agent -- edge-agent status", so each image has the agent in PATH.
func TestAgentIsInPath(t *testing.T) {
	root, err := tools.Root()
	if err != nil {
		t.Fatal(err)
	}
	dockerfile, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	_, stage, _ := strings.Cut(string(dockerfile), " AS edge-agent\n")
	stage, _, _ = strings.Cut(stage, "\nFROM ")
	_, released, _ := strings.Cut(stage, "\nENTRYPOINT ")
	if want := fmt.Sprintf("[%q]", agentPath); strings.TrimSpace(released) != want {
		t.Errorf("the Dockerfile's entrypoint is %s, the lab's %s", released, want)
	}
	spec := somePrograms().own()[AgentImage]
	if spec.Entrypoint[0] != agentPath || spec.Programs[agentPath] == "" || path.Dir(agentPath) != "/usr/bin" || path.Base(agentPath) != "edge-agent" {
		t.Errorf("the agent is not in PATH: %+v", spec)
	}
}
