// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package rootfs is a simulated host's disk: a directory that plays "/". Paths are the host's own, absolute
// ones; links in the tree, absolute ones too, never lead out of it.
package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	securejoin "github.com/cyphar/filepath-securejoin"
)

// FS is a host's file system.
type FS struct {
	dir string
}

// New is the file system whose root is dir, which need not exist yet.
func New(dir string) FS {
	return FS{dir: dir}
}

// Dir is where the root is on the machine that runs the lab.
func (f FS) Dir() string {
	return f.dir
}

// Real is where a host's path is on the machine that runs the lab. Links are followed within the root.
func (f FS) Real(name string) (string, error) {
	real, err := securejoin.SecureJoin(f.dir, name)
	if err != nil {
		return "", fmt.Errorf("resolving %s: %w", name, err)
	}
	return real, nil
}

// RealNoFollow is like Real, but leaves a link in the last place of the path unresolved.
func (f FS) RealNoFollow(name string) (string, error) {
	clean := filepath.Clean("/" + name)
	parent, err := f.Real(filepath.Dir(clean))
	if err != nil {
		return "", err
	}
	return filepath.Join(parent, filepath.Base(clean)), nil
}

// Write writes a whole file, making its directories. The mode holds whatever the umask and whether or not
// the file was there. It replaces the file in one step, so that a reader never sees half of it.
func (f FS) Write(name string, content []byte, mode fs.FileMode) error {
	real, err := f.Real(name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(real), 0o755); err != nil {
		return fmt.Errorf("making the directory of %s: %w", name, err)
	}
	temporary, err := os.CreateTemp(filepath.Dir(real), ".new-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	_, writeErr := temporary.Write(content)
	err = errors.Join(writeErr, temporary.Chmod(mode), temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), real)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", name, err), os.Remove(temporary.Name()))
	}
	return nil
}

// Mode is the permissions of a file.
func (f FS) Mode(name string) (fs.FileMode, error) {
	real, err := f.Real(name)
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(real)
	if err != nil {
		return 0, fmt.Errorf("looking at %s: %w", name, bare(err))
	}
	return info.Mode().Perm(), nil
}

// Append adds to the end of a file, which is made with the mode if it is not there.
func (f FS) Append(name string, content []byte, mode fs.FileMode) error {
	before, err := f.Read(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return f.Write(name, slices.Concat(before, content), mode)
}

// Read is a file's content; the error is fs.ErrNotExist when there is none.
func (f FS) Read(name string) ([]byte, error) {
	real, err := f.Real(name)
	if err != nil {
		return nil, err
	}
	content, err := os.ReadFile(real)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, bare(err))
	}
	return content, nil
}

// Exists tells whether there is something at the path.
func (f FS) Exists(name string) bool {
	real, err := f.Real(name)
	if err != nil {
		return false
	}
	_, err = os.Stat(real)
	return err == nil
}

// List are the names in a directory that match the pattern, sorted; none when there is no directory.
func (f FS) List(dir, pattern string) ([]string, error) {
	real, err := f.Real(dir)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(real)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", dir, bare(err))
	}
	var names []string
	for _, entry := range entries {
		if matched, _ := filepath.Match(pattern, entry.Name()); matched && !strings.HasPrefix(entry.Name(), ".") {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// MkdirAll makes a directory and its parents.
func (f FS) MkdirAll(name string, mode fs.FileMode) error {
	real, err := f.Real(name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(real, mode); err != nil {
		return fmt.Errorf("making %s: %w", name, bare(err))
	}
	return nil
}

// Wipe removes everything, the root as well.
func (f FS) Wipe() error {
	if err := os.RemoveAll(f.dir); err != nil {
		return fmt.Errorf("wiping the disk: %w", err)
	}
	return nil
}

// bare drops the real path from an error: the host's own path says more to its user.
func bare(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err
	}
	return err
}
