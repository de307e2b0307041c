// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/image/debian"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/image/disk"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/image/oci"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

// nodePackages of Debian are what kubelet, kubeadm and containerd start or check for, and busybox for ShellImage.
func nodePackages() []string {
	return []string{"runc", "containernetworking-plugins", "conntrack", "socat", "iptables", "busybox"}
}

// installed are the programs of the toolbox that hosts have, by path.
func (p programs) installed() map[string]string {
	paths := map[string]string{}
	for _, name := range []string{tools.Kubelet, tools.Kubeadm, tools.Kubectl, tools.Containerd, tools.ContainerdShim, tools.ContainerdCtr} {
		paths["/usr/bin/"+name] = p.Paths[name]
	}
	return paths
}

// node makes the image of that name.
func (b builder) node(ctx context.Context) (Image, error) {
	rootfs, err := b.rootfs(ctx)
	if err != nil {
		return Image{}, err
	}
	added, err := b.archive.Resolve(ctx, nodePackages())
	if err != nil {
		return Image{}, err
	}
	p, err := b.hostPrograms(ctx)
	if err != nil {
		return Image{}, err
	}
	version, err := b.box.Version(tools.Kubeadm)
	if err != nil {
		return Image{}, err
	}
	wanted, err := p.wanted(ctx, version)
	if err != nil {
		return Image{}, err
	}
	if err := pinned(wanted, b.box); err != nil {
		return Image{}, err
	}
	k, err := b.nodeKey(rootfs, added, p, wanted)
	if err != nil {
		return Image{}, err
	}
	packages := slices.Concat(rootfs.packages, added)
	slices.Sort(packages)
	image := Image{Name: Node, KubernetesVersion: version, Packages: slices.Compact(packages), ContainerImages: p.names(wanted)}
	return b.cached(ctx, image, k, func(ctx context.Context, work, target string) error {
		tree := filepath.Join(work, "tree")
		if err := b.populate(ctx, rootfs, p, wanted, work, tree); err != nil {
			return err
		}
		return b.disk(ctx, tree, nodeSize, work, target)
	})
}

// names of the container images, sorted.
func (p programs) names(wanted []string) []string {
	names := append(slices.Collect(maps.Keys(p.own())), bootstrap.DefaultKubeVIPImage)
	names = append(names, wanted...)
	slices.Sort(names)
	return names
}

// nodeKey hashes programs by content: those of this repository keep their names when they change.
func (b builder) nodeKey(r rootfs, added []string, p programs, wanted []string) (key, error) {
	base, err := b.baseKey(r)
	if err != nil {
		return "", err
	}
	sums := map[string]string{}
	for name, path := range p.Paths {
		// Built once and then kept under a name with the version.
		sums[name] = filepath.Base(path)
	}
	for name, path := range map[string]string{"manager": p.manager, "edge-agent": p.agent, "pause": p.pause, "flanneld": p.flannel} {
		if sums[name], err = disk.SHA256(path); err != nil {
			return "", err
		}
	}
	var sources []map[string]string
	for _, pkg := range []string{"", "oci"} {
		s, err := b.sources(pkg)
		if err != nil {
			return "", err
		}
		sources = append(sources, s)
	}
	return keyOf(base, added, sums, wanted, sources, b.registry, nodeSize)
}

// populate makes the root filesystem in the folder tree.
func (b builder) populate(ctx context.Context, r rootfs, p programs, wanted []string, work, tree string) error {
	if err := debian.Unpack(ctx, r.file, tree); err != nil {
		return err
	}
	if err := debian.Add(ctx, b.archive, work, tree, nodePackages()); err != nil {
		return err
	}
	pause, err := pauseImage(wanted)
	if err != nil {
		return err
	}
	files, err := nodeFiles(pause)
	if err != nil {
		return err
	}
	if err := debian.Write(ctx, work, tree, files); err != nil {
		return err
	}
	for path, source := range p.installed() {
		if err := install(source, filepath.Join(tree, path)); err != nil {
			return err
		}
	}
	images, err := b.containers(ctx, p, wanted, tree, work)
	if err != nil {
		return err
	}
	archive := filepath.Join(work, "containers.tar")
	if err := oci.Save(archive, images); err != nil {
		return err
	}
	defer b.step("importing %d container images", len(images))()
	return load(ctx, p.Paths[tools.Containerd], p.Paths[tools.ContainerdCtr], work, filepath.Join(tree, containerdRoot), archive)
}

// install copies a program.
func install(source, target string) error {
	in, err := os.Open(source)
	if err != nil {
		return fmt.Errorf("install a program: %w", err)
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return fmt.Errorf("install a program: %w", err)
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("install %s: %w", filepath.Base(target), err)
	}
	return nil
}
