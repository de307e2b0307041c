// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"archive/tar"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/image/run"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

// File is put into a system as root's.
type File struct {
	Path    string // absolute, in the system
	Mode    os.FileMode
	Content string
	Link    string // target of a symbolic link; then Mode and Content are not used
}

// System is a root filesystem of Debian.
type System struct {
	Packages []string
	// Early files are there before packages are configured.
	Early []File
	// Files are there in the end.
	Files []File
	// Commands run in the system in the end, as root, by sh.
	Commands []string
	// Removed are paths of the system that are removed last; * stands for names.
	Removed []string
}

// Tar builds the system and writes it to target, a tar file. root is needed. work is a folder for what
// is in the making.
func (s System) Tar(ctx context.Context, archive Archive, programs tools.Paths, work, target string) error {
	early, files := filepath.Join(work, "early.tar"), filepath.Join(work, "files.tar")
	if err := writeTar(early, s.Early); err != nil {
		return err
	}
	if err := writeTar(files, s.Files); err != nil {
		return err
	}
	args := []string{
		programs[tools.Mmdebstrap], "--mode=root", "--variant=minbase", "--architectures=amd64",
		"--include=" + strings.Join(s.Packages, ","), "--aptopt=APT::Install-Recommends \"false\"",
		"--essential-hook=tar-in " + early + " /",
	}
	for _, dir := range []string{"doc", "man", "info", "locale", "lintian", "bug"} {
		args = append(args, "--dpkgopt=path-exclude=/usr/share/"+dir+"/*")
	}
	// Debian's packages come with their licences.
	args = append(args, "--dpkgopt=path-include=/usr/share/doc/*/copyright", "--customize-hook=tar-in "+files+" /")
	for _, command := range s.Commands {
		args = append(args, "--customize-hook=chroot \"$1\" sh -euc "+quote(command))
	}
	for _, removed := range s.Removed {
		args = append(args, "--customize-hook=rm -rf \"$1\""+removed)
	}
	args = append(append(args, Release, target), archive...)
	if err := (run.Command{Args: args, Env: []string{"TMPDIR=" + work}}).Do(ctx); err != nil {
		return fmt.Errorf("build the Debian system: %w", err)
	}
	return nil
}

// Unpack unpacks a tar file that Tar wrote to the folder tree.
func Unpack(ctx context.Context, file, tree string) error {
	if err := os.MkdirAll(tree, 0o755); err != nil {
		return fmt.Errorf("create the root filesystem: %w", err)
	}
	unpack := run.Command{Args: []string{"tar", "--extract", "--file", file, "--directory", tree, "--numeric-owner", "--same-permissions", "--xattrs", "--xattrs-include=*"}}
	if err := unpack.Do(ctx); err != nil {
		return fmt.Errorf("unpack the root filesystem: %w", err)
	}
	return nil
}

// Add installs packages, and what they depend on, to the system in the folder tree. root is needed.
func Add(ctx context.Context, archive Archive, work, tree string, packages []string) error {
	options, err := archive.options(work)
	if err != nil {
		return err
	}
	debs := filepath.Join(work, "debs")
	if err := os.MkdirAll(filepath.Join(debs, "partial"), 0o755); err != nil {
		return fmt.Errorf("create a folder for packages: %w", err)
	}
	args := append([]string{
		"apt-get", "install", "--download-only",
		"--option", "Dir::State::Status=" + filepath.Join(tree, "var/lib/dpkg/status"), "--option", "Dir::Cache::Archives=" + debs,
	}, options...)
	if err := (run.Command{Args: append(args, packages...)}).Do(ctx); err != nil {
		return fmt.Errorf("download Debian packages: %w", err)
	}
	found, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil {
		return fmt.Errorf("list Debian packages: %w", err)
	}
	install := run.Command{
		Args: append([]string{"dpkg", "--root=" + tree, "--install"}, found...),
		Env:  []string{"DEBIAN_FRONTEND=noninteractive"},
	}
	if err := install.Do(ctx); err != nil {
		return fmt.Errorf("install Debian packages: %w", err)
	}
	return nil
}

// Write puts files into the system in the folder tree.
func Write(ctx context.Context, work, tree string, files []File) error {
	file := filepath.Join(work, "write.tar")
	if err := writeTar(file, files); err != nil {
		return err
	}
	return Unpack(ctx, file, tree)
}

// writeTar writes files with the folders above them, which exist already where their mode matters.
func writeTar(file string, files []File) error {
	out, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("write files of the system: %w", err)
	}
	defer func() { _ = out.Close() }()
	w := tar.NewWriter(out)
	for _, dir := range folders(files) {
		header := tar.Header{Typeflag: tar.TypeDir, Name: "." + dir + "/", Mode: 0o755, ModTime: time.Unix(0, 0)}
		if err := w.WriteHeader(&header); err != nil {
			return fmt.Errorf("write folder %s of the system: %w", dir, err)
		}
	}
	for _, f := range files {
		header := tar.Header{Typeflag: tar.TypeReg, Name: "." + f.Path, Mode: int64(f.Mode), Size: int64(len(f.Content)), ModTime: time.Unix(0, 0)}
		if f.Link != "" {
			header.Typeflag, header.Linkname, header.Mode, header.Size = tar.TypeSymlink, f.Link, 0o777, 0
		}
		if err := w.WriteHeader(&header); err != nil {
			return fmt.Errorf("write %s of the system: %w", f.Path, err)
		}
		if f.Link != "" {
			continue
		}
		if _, err := w.Write([]byte(f.Content)); err != nil {
			return fmt.Errorf("write %s of the system: %w", f.Path, err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("write files of the system: %w", err)
	}
	return nil
}

// folders above the files, the outer before the inner.
func folders(files []File) []string {
	var dirs []string
	for _, f := range files {
		for dir := path.Dir(f.Path); dir != "/"; dir = path.Dir(dir) {
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// quote a word for sh.
func quote(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }
