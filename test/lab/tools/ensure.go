// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package tools

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	progressEvery = 30 * time.Second
	noticeAfter   = 5 * time.Second
	lockRetry     = 200 * time.Millisecond
)

// Paths maps the names of tools to their executables.
type Paths map[string]string

// Toolbox builds tools into a repository's cache.
type Toolbox struct {
	// Root of the repository.
	Root string
	// Out receives a line for what takes long; nil is silent.
	Out io.Writer
}

// Ensure builds the named tools that are missing, with progress on stderr. See Toolbox.Ensure.
func Ensure(ctx context.Context, names ...string) (Paths, error) {
	root, err := Root()
	if err != nil {
		return nil, err
	}
	return Toolbox{Root: root, Out: os.Stderr}.Ensure(ctx, names...)
}

// Ensure returns the executables of the named tools, all that the lab runs when none is named, and builds
// those that are missing. Several processes may ask for the same tool at once: one builds, the others wait.
func (b Toolbox) Ensure(ctx context.Context, names ...string) (Paths, error) {
	if len(names) == 0 {
		names = labNames()
	}
	recipes := catalog()
	paths := Paths{}
	for _, name := range names {
		r, known := recipes[name]
		if !known {
			return nil, fmt.Errorf("unknown tool %q; there are %s", name, strings.Join(Names(), ", "))
		}
		path, err := b.ensure(ctx, name, r)
		if err != nil {
			return nil, err
		}
		paths[name] = path
	}
	return paths, nil
}

// EdgeMetalVersion is the version that this repository's programs and its release have in the lab: the images in hosts are named by it, and
// the manager installs the node agent of its own version.
const EdgeMetalVersion = "v0.1.0"

// Tree are the programs that are built from this repository.
type Tree struct {
	Manager, EdgeAgent, FakeVPP string
}

// Manager builds this repository's own manager from the tree, which Go's build cache makes quick when
// nothing has changed.
func (b Toolbox) Manager(ctx context.Context) (string, error) {
	return b.fromTree(ctx, "manager", b.Root, "./cmd/manager", "2 minutes")
}

// Tree builds everything that hosts and the management cluster run of this repository, like Manager.
func (b Toolbox) Tree(ctx context.Context) (Tree, error) {
	manager, managerErr := b.Manager(ctx)
	agent, agentErr := b.fromTree(ctx, "edge-agent", b.Root, "./cmd/edge-agent", "1 minute")
	vpp, vppErr := b.fromTree(ctx, "fakevpp", filepath.Join(b.Root, "test"), "./fakevpp/cmd/fakevpp", "1 minute")
	return Tree{Manager: manager, EdgeAgent: agent, FakeVPP: vpp}, errors.Join(managerErr, agentErr, vppErr)
}

func (b Toolbox) fromTree(ctx context.Context, name, dir, pkg, cold string) (string, error) {
	target := filepath.Join(b.cache(), "edgemetal-"+name)
	unlock, err := b.Lock(ctx, target, name)
	if err != nil {
		return "", err
	}
	defer unlock()
	// Mostly quick, and then not worth a line.
	notice := time.AfterFunc(noticeAfter, func() { b.say("building %s from the tree, about %s when cold", name, cold) })
	defer notice.Stop()
	defer b.remind(name)()
	// Neither -trimpath nor CGO_ENABLED=0: what the program has in common with the lab and the tools is
	// then taken from Go's build cache.
	if err := b.build(ctx, dir, pkg, target, "-s -w -X main.version="+EdgeMetalVersion); err != nil {
		return "", fmt.Errorf("build %s: %w", name, err)
	}
	return target, nil
}

// Assets returns the folder to set as KUBEBUILDER_ASSETS: kube-apiserver, etcd and kubectl.
func (b Toolbox) Assets(ctx context.Context) (string, error) {
	paths, err := b.Ensure(ctx, Etcd, KubeAPIServer, Kubectl)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(b.cache(), "envtest")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("create the envtest folder: %w", err)
	}
	for name, path := range paths {
		if err := link(path, filepath.Join(dir, name)); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// Version that test/tools pins of a tool: "v1.36.3".
func (b Toolbox) Version(name string) (string, error) {
	r, known := catalog()[name]
	if !known {
		return "", fmt.Errorf("unknown tool %q; there are %s", name, strings.Join(Names(), ", "))
	}
	return pinned(filepath.Join(b.Root, "test", "tools", r.module), r.requirement)
}

// Pause builds the program that keeps a pod's namespaces, like Manager.
func (b Toolbox) Pause(ctx context.Context) (string, error) {
	return b.fromTree(ctx, "pause", filepath.Join(b.Root, "test"), "./lab/image/pause", "10 seconds")
}

// Flannel builds flannel's daemon with the backend that the lab uses, like Manager.
func (b Toolbox) Flannel(ctx context.Context) (string, error) {
	return b.fromTree(ctx, "flanneld", filepath.Join(b.Root, "test", "tools", "flannel"), ".", "1 minute")
}

// FlannelVersion is the version that Flannel has: "v0.28.10".
func (b Toolbox) FlannelVersion() (string, error) {
	return pinned(filepath.Join(b.Root, "test", "tools", "flannel"), "github.com/flannel-io/flannel")
}

func (b Toolbox) cache() string { return filepath.Join(b.Root, ".cache", "tools") }

func (b Toolbox) ensure(ctx context.Context, name string, r recipe) (string, error) {
	dir := filepath.Join(b.Root, "test", "tools", r.module)
	version, err := pinned(dir, r.requirement)
	if err != nil {
		return "", err
	}
	target := filepath.Join(b.cache(), name+"-"+version)
	if exists(target) {
		return target, nil
	}
	title := name + " " + version
	unlock, err := b.Lock(ctx, target, title)
	if err != nil {
		return "", err
	}
	defer unlock()
	if exists(target) { // built while we waited
		return target, nil
	}
	b.say("building %s, about %s when cold", title, r.cold)
	stop := b.remind(title)
	err = b.build(ctx, dir, r.importPath(), target, r.ldflags(version))
	took := stop()
	if err != nil {
		return "", fmt.Errorf("build %s: %w", title, err)
	}
	b.say("built %s in %s", title, took)
	return target, nil
}

// build compiles pkg in the module dir; target appears complete or not at all.
func (b Toolbox) build(ctx context.Context, dir, pkg, target, ldflags string) error {
	partial := target + ".partial"
	cmd := exec.CommandContext(ctx, "go", "build", "-o", partial, "-ldflags", ldflags, pkg)
	cmd.Dir = dir
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return errors.Join(err, errors.New(strings.TrimSpace(output.String())), os.RemoveAll(partial))
	}
	if err := os.Rename(partial, target); err != nil {
		return fmt.Errorf("put the built file in place: %w", err)
	}
	return nil
}

// Lock takes the file lock beside target, and waits for another process that has it; title says in
// messages what is built. The returned function gives the lock back.
func (b Toolbox) Lock(ctx context.Context, target, title string) (func(), error) {
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return nil, fmt.Errorf("create the tools' cache: %w", err)
	}
	file, err := os.OpenFile(target+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the lock of %s: %w", title, err)
	}
	for told := false; ; told = true {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil // closing unlocks
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", title, err), file.Close())
		}
		if !told {
			b.say("another process is building %s; waiting for it", title)
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("wait for the build of %s: %w", title, context.Cause(ctx)), file.Close())
		case <-time.After(lockRetry):
		}
	}
}

// remind says every half minute that a build goes on; the returned function ends that and tells how
// long it took.
func (b Toolbox) remind(title string) func() time.Duration {
	begin := time.Now()
	since := func() time.Duration { return time.Since(begin).Round(time.Second) }
	tick := time.NewTicker(progressEvery)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-tick.C:
				b.say("still building %s, %s", title, since())
			case <-done:
				return
			}
		}
	}()
	return func() time.Duration {
		tick.Stop()
		close(done)
		return since()
	}
}

func (b Toolbox) say(format string, args ...any) {
	if b.Out != nil {
		fmt.Fprintf(b.Out, format+"\n", args...)
	}
}

// link makes path a symbolic link to target, atomically and whatever it was before. Others may do the same at the same time.
func link(target, path string) error {
	if is, err := os.Readlink(path); err == nil && is == target {
		return nil
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".link-")
	if err != nil {
		return fmt.Errorf("link %s: %w", path, err)
	}
	defer os.RemoveAll(dir)
	fresh := filepath.Join(dir, "new")
	if err := os.Symlink(target, fresh); err != nil {
		return fmt.Errorf("link %s: %w", path, err)
	}
	if err := os.Rename(fresh, path); err != nil {
		return fmt.Errorf("link %s: %w", path, err)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
