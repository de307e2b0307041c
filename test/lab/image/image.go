// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/image/debian"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/image/disk"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

// Names of images.
const (
	Base = "base"
	Node = "node"
)

// Names of all images, in the order of their building.
func Names() []string { return []string{Base, Node} }

// Image is a disk image.
type Image struct {
	// Name is Base or Node.
	Name string `json:"name"`
	// Disk is the absolute path of a whole-disk qcow2 that boots by UEFI.
	Disk string `json:"disk"`
	// SHA256 of Disk, in hex.
	SHA256 string `json:"sha256"`
	// KubernetesVersion with its "v"; empty for Base.
	KubernetesVersion string `json:"kubernetesVersion,omitempty"`
	// Packages of Debian in it with their versions, as "name version"; dependencies included.
	Packages []string `json:"packages"`
	// ContainerImages that need not be fetched, by name.
	ContainerImages []string `json:"containerImages,omitempty"`
}

// Options of Build.
type Options struct {
	Toolbox tools.Toolbox
	// Name of the image: Base or Node.
	Name string
	// Out receives a line for what takes long; nil is silent.
	Out io.Writer
	// Registry has Node hold the genuine container images of Kubernetes, pulled by name from their
	// registries, instead of such that are assembled from programs built here.
	Registry bool
}

// Build makes the image unless the cache has it for these very inputs.
func Build(ctx context.Context, o Options) (Image, error) {
	dir, err := filepath.Abs(filepath.Join(o.Toolbox.Root, ".cache", "images"))
	if err != nil {
		return Image{}, fmt.Errorf("find the cache of images: %w", err)
	}
	programs, err := o.Toolbox.Programs(ctx, tools.Mmdebstrap, tools.MakeExt4, tools.QemuImg, tools.MFormat, tools.MCopy, tools.MMD, tools.SFDisk, tools.DebianKeyring)
	if err != nil {
		return Image{}, fmt.Errorf("build image %s: %w", o.Name, err)
	}
	archive, err := debian.Configured(ctx)
	if err != nil {
		return Image{}, fmt.Errorf("build image %s: %w", o.Name, err)
	}
	b := builder{box: o.Toolbox, dir: dir, out: o.Out, programs: programs, archive: archive, registry: o.Registry}
	var image Image
	switch o.Name {
	case Base:
		image, err = b.base(ctx)
	case Node:
		image, err = b.node(ctx)
	default:
		return Image{}, fmt.Errorf("unknown image %q; there are %s", o.Name, strings.Join(Names(), ", "))
	}
	if err != nil {
		return Image{}, fmt.Errorf("build image %s: %w", o.Name, err)
	}
	return image, nil
}

// builder makes images in dir.
type builder struct {
	box      tools.Toolbox
	dir      string
	out      io.Writer
	programs tools.Paths
	archive  debian.Archive
	registry bool
}

// base makes the image of that name.
func (b builder) base(ctx context.Context) (Image, error) {
	rootfs, err := b.rootfs(ctx)
	if err != nil {
		return Image{}, err
	}
	k, err := b.baseKey(rootfs)
	if err != nil {
		return Image{}, err
	}
	return b.cached(ctx, Image{Name: Base, Packages: rootfs.packages}, k, func(ctx context.Context, work, target string) error {
		tree := filepath.Join(work, "tree")
		if err := debian.Unpack(ctx, rootfs.file, tree); err != nil {
			return err
		}
		return b.disk(ctx, tree, baseSize, work, target)
	})
}

func (b builder) disk(ctx context.Context, tree string, size int64, work, target string) error {
	defer b.step("writing the disk")()
	spec := disk.Spec{Tree: tree, Title: "Debian GNU/Linux", CommandLine: commandLine(), Size: size}
	return spec.Write(ctx, b.programs, work, target)
}

// rootfs is a root filesystem of Debian as a tar file, which both images begin with.
type rootfs struct {
	file     string
	key      key
	packages []string
}

func (b builder) rootfs(ctx context.Context) (rootfs, error) {
	system := baseSystem()
	packages, err := b.archive.Resolve(ctx, system.Packages)
	if err != nil {
		return rootfs{}, err
	}
	k, err := b.rootfsKey(system, packages)
	if err != nil {
		return rootfs{}, err
	}
	r := rootfs{file: filepath.Join(b.dir, "debian-"+k.short()+".tar"), key: k, packages: packages}
	err = b.once(ctx, r.file, "debian", func(ctx context.Context, work, target string) error {
		defer b.step("installing %d Debian packages", len(packages))()
		if err := system.Tar(ctx, b.archive, b.programs, work, target); err != nil {
			return err
		}
		return b.prune("debian", ".tar")
	})
	return r, err
}

// cached returns the image from the cache, or makes it. The caller gives what is known of it.
func (b builder) cached(ctx context.Context, image Image, k key, build func(ctx context.Context, work, target string) error) (Image, error) {
	image.Disk = filepath.Join(b.dir, image.Name+"-"+k.short()+".qcow2")
	record := strings.TrimSuffix(image.Disk, ".qcow2") + ".json"
	err := b.once(ctx, record, image.Name, func(ctx context.Context, work, target string) error {
		begin := time.Now()
		partial := filepath.Join(work, "disk.qcow2")
		if err := build(ctx, work, partial); err != nil {
			return err
		}
		sum, err := disk.SHA256(partial)
		if err != nil {
			return err
		}
		image.SHA256 = sum
		data, err := json.MarshalIndent(image, "", "  ")
		if err != nil {
			return fmt.Errorf("record the image: %w", err)
		}
		if err := os.Rename(partial, image.Disk); err != nil {
			return fmt.Errorf("put the image in place: %w", err)
		}
		if err := os.WriteFile(target, data, 0o600); err != nil {
			return fmt.Errorf("record the image: %w", err)
		}
		b.say("image %s is built, %s, in %s", image.Name, size(image.Disk), time.Since(begin).Round(time.Second))
		return b.prune(image.Name, ".qcow2")
	})
	if err != nil {
		return Image{}, err
	}
	data, err := os.ReadFile(record)
	if err != nil {
		return Image{}, fmt.Errorf("read the image's record: %w", err)
	}
	if err := json.Unmarshal(data, &image); err != nil {
		return Image{}, fmt.Errorf("read the image's record %s: %w; remove it", record, err)
	}
	// The repository may have moved since.
	image.Disk = filepath.Join(b.dir, filepath.Base(image.Disk))
	return image, nil
}

// once makes target unless it is there; of several processes one makes it, and the others wait. build
// writes to the path that it is given, below work, a folder of its own.
func (b builder) once(ctx context.Context, target, title string, build func(ctx context.Context, work, target string) error) error {
	if exists(target) {
		return nil
	}
	unlock, err := b.box.Lock(ctx, filepath.Join(b.dir, title), title)
	if err != nil {
		return err
	}
	defer unlock()
	if exists(target) { // made while we waited
		return nil
	}
	work := filepath.Join(b.dir, "work-"+title)
	// Of one that was killed.
	if err := os.RemoveAll(work); err != nil {
		return fmt.Errorf("clear the folder for image %s: %w", title, err)
	}
	if err := os.MkdirAll(work, 0o755); err != nil {
		return fmt.Errorf("create the folder for image %s: %w", title, err)
	}
	partial := filepath.Join(work, filepath.Base(target))
	if err := build(ctx, work, partial); err != nil {
		return errors.Join(err, os.RemoveAll(work))
	}
	if err := os.Rename(partial, target); err != nil {
		return fmt.Errorf("put %s in place: %w", filepath.Base(target), err)
	}
	if err := os.RemoveAll(work); err != nil {
		return fmt.Errorf("clear the folder for image %s: %w", title, err)
	}
	return nil
}

// step says what is done; the returned function says how long it took.
func (b builder) step(format string, args ...any) func() {
	what, begin := fmt.Sprintf(format, args...), time.Now()
	b.say("%s", what)
	return func() { b.say("%s took %s", what, time.Since(begin).Round(time.Second)) }
}

func (b builder) say(format string, args ...any) {
	if b.out != nil {
		fmt.Fprintf(b.out, format+"\n", args...)
	}
}

func size(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return "of unknown size"
	}
	return fmt.Sprintf("%d MiB", info.Size()>>20)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
