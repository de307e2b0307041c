// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package oci assembles container images from programs and from the libraries of a Debian system.
// The same inputs give the same digests.
package oci

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// searchPath of programs in an image.
const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Spec says what a container image is made of.
type Spec struct {
	// Programs of this machine by their path in the image. The libraries that they need come from the
	// system that Build is given.
	Programs map[string]string
	// System are programs and other files of that system, which keep their paths.
	System []string
	// Links are symbolic links: targets by path.
	Links map[string]string
	// Files are contents by path.
	Files map[string]string

	Entrypoint []string
	User       string // "uid:gid"; empty for root
}

// file is an entry of a layer.
type file struct {
	path    string
	mode    int64
	source  string // a file of this machine
	content string
	link    string
	folder  bool
}

// Build assembles the image. tree is the folder of a Debian system; work is one for the layer's file,
// which must stay as long as the image is used.
func (s Spec) Build(tree, work string) (v1.Image, error) {
	files, err := s.files(tree)
	if err != nil {
		return nil, err
	}
	out, err := os.CreateTemp(work, "layer-*.tar")
	if err != nil {
		return nil, fmt.Errorf("create a layer: %w", err)
	}
	if err := errors.Join(writeLayer(out, files), out.Close()); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromFile(out.Name(), tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(gzip.BestSpeed))
	if err != nil {
		return nil, fmt.Errorf("read a layer back: %w", err)
	}
	image, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), layer)
	if err != nil {
		return nil, fmt.Errorf("append a layer: %w", err)
	}
	image, err = mutate.ConfigFile(image, s.config(image))
	if err != nil {
		return nil, fmt.Errorf("configure the image: %w", err)
	}
	return image, nil
}

func (s Spec) config(image v1.Image) *v1.ConfigFile {
	config := &v1.ConfigFile{
		Architecture: "amd64", OS: "linux", Created: v1.Time{Time: time.Unix(0, 0).UTC()},
		Config: v1.Config{Entrypoint: s.Entrypoint, Env: []string{searchPath}, User: s.User, WorkingDir: "/"},
	}
	if given, err := image.ConfigFile(); err == nil {
		config.RootFS, config.History = given.RootFS, given.History
	}
	return config
}

// files are all entries of the image's layer, sorted.
func (s Spec) files(tree string) ([]file, error) {
	var files []file
	add := func(program, at string) error {
		needed, err := libraries(tree, program)
		if err != nil {
			return err
		}
		for _, library := range needed {
			source, err := inside(tree, library)
			if err != nil {
				return err
			}
			files = append(files, file{path: library, mode: 0o755, source: source})
		}
		files = append(files, file{path: at, mode: 0o755, source: program})
		return nil
	}
	for at, program := range s.Programs {
		if err := add(program, at); err != nil {
			return nil, err
		}
	}
	for _, at := range s.System {
		source, runs, err := system(tree, at)
		if err != nil {
			return nil, err
		}
		if !runs {
			files = append(files, file{path: at, mode: 0o644, source: source})
		} else if err := add(source, at); err != nil {
			return nil, err
		}
	}
	for at, target := range s.Links {
		files = append(files, file{path: at, mode: 0o777, link: target})
	}
	for at, content := range s.Files {
		files = append(files, file{path: at, mode: 0o644, content: content})
	}
	return arrange(files), nil
}

// system finds a file of the Debian system, and tells whether it is a program.
func system(tree, at string) (source string, runs bool, err error) {
	if source, err = inside(tree, at); err != nil {
		return "", false, err
	}
	info, err := os.Stat(source)
	if err != nil {
		return "", false, fmt.Errorf("find a file of the Debian system: %w", err)
	}
	return source, info.Mode()&0o111 != 0, nil
}

// arrange sorts files, drops doubles, and adds the folders above them and /tmp.
func arrange(files []file) []file {
	folders := map[string]bool{}
	for _, f := range files {
		for dir := path.Dir(f.path); dir != "/"; dir = path.Dir(dir) {
			folders[dir] = true
		}
	}
	for dir := range folders {
		files = append(files, file{path: dir, mode: 0o755, folder: true})
	}
	files = append(files, file{path: "/tmp", mode: 0o1777, folder: true})
	slices.SortFunc(files, func(a, b file) int { return cmp.Compare(a.path, b.path) })
	return slices.CompactFunc(files, func(a, b file) bool { return a.path == b.path })
}

func writeLayer(out io.Writer, files []file) error {
	w := tar.NewWriter(out)
	for _, f := range files {
		if err := f.write(w); err != nil {
			return fmt.Errorf("write %s to a layer: %w", f.path, err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("write a layer: %w", err)
	}
	return nil
}

func (f file) write(w *tar.Writer) error {
	header := tar.Header{Name: f.path[1:], Mode: f.mode, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
	switch {
	case f.folder:
		header.Typeflag, header.Name = tar.TypeDir, header.Name+"/"
		return w.WriteHeader(&header)
	case f.link != "":
		header.Typeflag, header.Linkname = tar.TypeSymlink, f.link
		return w.WriteHeader(&header)
	case f.source == "":
		header.Typeflag, header.Size = tar.TypeReg, int64(len(f.content))
		if err := w.WriteHeader(&header); err != nil {
			return err
		}
		_, err := io.WriteString(w, f.content)
		return err
	}
	source, err := os.Open(f.source)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	info, err := source.Stat()
	if err != nil {
		return err
	}
	header.Typeflag, header.Size = tar.TypeReg, info.Size()
	if err := w.WriteHeader(&header); err != nil {
		return err
	}
	_, err = io.Copy(w, source)
	return err
}

// Pull fetches the image of that name for amd64 from its registry.
func Pull(ctx context.Context, reference string) (v1.Image, error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return nil, fmt.Errorf("pull an image: %w", err)
	}
	image, err := remote.Image(ref, remote.WithContext(ctx), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: "amd64"}))
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", reference, err)
	}
	return image, nil
}

// Save writes images by name to a file that `ctr images import` reads.
func Save(target string, images map[string]v1.Image) error {
	tagged := map[name.Tag]v1.Image{}
	for reference, image := range images {
		tag, err := name.NewTag(reference)
		if err != nil {
			return fmt.Errorf("save an image: %w", err)
		}
		tagged[tag] = image
	}
	if err := tarball.MultiWriteToFile(target, tagged); err != nil {
		return fmt.Errorf("save images: %w", err)
	}
	return nil
}
