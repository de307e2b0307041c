// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	securejoin "github.com/cyphar/filepath-securejoin"
)

// libraryFolders of a Debian system for amd64, where its dynamic linker looks.
func libraryFolders() []string {
	return []string{"/usr/lib/x86_64-linux-gnu", "/usr/lib", "/lib/x86_64-linux-gnu", "/lib64"}
}

// libraries returns the shared libraries that a program needs to run with the system in the folder tree,
// and its dynamic linker, as paths in that system: none for a static program.
func libraries(tree, program string) ([]string, error) {
	var found []string
	waiting := []string{program}
	for seen := map[string]bool{}; len(waiting) > 0; {
		file := waiting[0]
		waiting = waiting[1:]
		if seen[file] {
			continue
		}
		seen[file] = true
		needs, err := read(file)
		if err != nil {
			return nil, err
		}
		if needs.linker != "" {
			found = append(found, needs.linker)
		}
		for _, name := range needs.libraries {
			library, err := findLibrary(tree, name)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", filepath.Base(file), err)
			}
			path, err := inside(tree, library)
			if err != nil {
				return nil, err
			}
			if err := fits(path, needs.versions[name]); err != nil {
				return nil, fmt.Errorf("%s: %w; build it on a machine with an older C library, or without cgo", filepath.Base(file), err)
			}
			found = append(found, library)
			waiting = append(waiting, path)
		}
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// needs of an ELF file.
type needs struct {
	linker    string
	libraries []string
	versions  map[string][]string // of symbols, by library
}

func read(path string) (needs, error) {
	file, err := elf.Open(path)
	if err != nil {
		return needs{}, fmt.Errorf("read which libraries %s needs: %w", filepath.Base(path), err)
	}
	defer func() { _ = file.Close() }()
	n := needs{versions: map[string][]string{}}
	if section := file.Section(".interp"); section != nil {
		data, err := section.Data()
		if err != nil {
			return needs{}, fmt.Errorf("read the dynamic linker of %s: %w", filepath.Base(path), err)
		}
		n.linker = strings.TrimRight(string(data), "\x00")
	}
	if file.Section(".dynamic") == nil {
		return n, nil
	}
	if n.libraries, err = file.ImportedLibraries(); err != nil {
		return needs{}, fmt.Errorf("read which libraries %s needs: %w", filepath.Base(path), err)
	}
	if file.Section(".gnu.version_r") == nil {
		return n, nil
	}
	versions, err := file.DynamicVersionNeeds()
	if err != nil {
		return needs{}, fmt.Errorf("read which symbols %s needs: %w", filepath.Base(path), err)
	}
	for _, v := range versions {
		for _, dep := range v.Needs {
			n.versions[v.Name] = append(n.versions[v.Name], dep.Dep)
		}
	}
	return n, nil
}

// inside finds a file of the system in the folder tree, whose absolute symbolic links stay in that folder.
func inside(tree, path string) (string, error) {
	found, err := securejoin.SecureJoin(tree, path)
	if err != nil {
		return "", fmt.Errorf("find %s in the Debian system: %w", path, err)
	}
	if _, err := os.Stat(found); err != nil {
		return "", fmt.Errorf("find %s in the Debian system: %w", path, err)
	}
	return found, nil
}

func findLibrary(tree, name string) (string, error) {
	for _, dir := range libraryFolders() {
		path := filepath.Join(dir, name)
		if _, err := inside(tree, path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("library %s is not in the Debian system; add its package", name)
}

// fits checks that a library has the versions of symbols that another file was linked against: a program
// built on a newer system may want newer ones.
func fits(library string, wanted []string) error {
	if len(wanted) == 0 {
		return nil
	}
	file, err := elf.Open(library)
	if err != nil {
		return fmt.Errorf("read %s: %w", filepath.Base(library), err)
	}
	defer func() { _ = file.Close() }()
	versions, err := file.DynamicVersions()
	if err != nil {
		return fmt.Errorf("read the versions of %s: %w", filepath.Base(library), err)
	}
	for _, name := range wanted {
		if !slices.ContainsFunc(versions, func(v elf.DynamicVersion) bool { return v.Name == name }) {
			return fmt.Errorf("it needs %s, which Debian's %s has not", name, filepath.Base(library))
		}
	}
	return nil
}
