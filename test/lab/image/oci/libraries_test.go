// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// dynamic builds a C program that is linked against a library of its own in dir, which it returns with it.
func dynamic(t *testing.T, dir string) (string, string) {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("no gcc in PATH to build a program with")
	}
	write(t, filepath.Join(dir, "lib.c"), "int edge(void) { return 7; }\n")
	write(t, filepath.Join(dir, "main.c"), "int edge(void);\nint main(void) { return edge(); }\n")
	library, program := filepath.Join(dir, "libedge.so.1"), filepath.Join(dir, "program")
	for _, args := range [][]string{
		{"-nostdlib", "-shared", "-Wl,-soname,libedge.so.1", "-o", library, filepath.Join(dir, "lib.c")},
		{"-nostartfiles", "-nodefaultlibs", "-o", program, filepath.Join(dir, "main.c"), library},
	} {
		if out, err := exec.CommandContext(t.Context(), "gcc", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return program, library
}

func TestLibrariesComeFromTheTree(t *testing.T) {
	tree, dir := t.TempDir(), t.TempDir()
	program, library := dynamic(t, dir)
	if _, err := libraries(tree, program); err == nil || !strings.Contains(err.Error(), "libedge.so.1") {
		t.Errorf("error %v, want one that names the missing library", err)
	}

	// As Debian links them: absolutely, which must not lead out of the tree.
	data, err := os.ReadFile(library)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(tree, "usr/lib/x86_64-linux-gnu/libedge.so.1.2"), string(data))
	if err := os.Symlink("/usr/lib/x86_64-linux-gnu/libedge.so.1.2", filepath.Join(tree, "usr/lib/x86_64-linux-gnu/libedge.so.1")); err != nil {
		t.Fatal(err)
	}
	found, err := libraries(tree, program)
	want := []string{"/lib64/ld-linux-x86-64.so.2", "/usr/lib/x86_64-linux-gnu/libedge.so.1"}
	if err != nil || !slices.Equal(found, want) {
		t.Errorf("libraries %v, %v; want %v", found, err, want)
	}
}

func TestStaticProgramsNeedNone(t *testing.T) {
	if found, err := libraries(t.TempDir(), program(t)); err != nil || len(found) > 0 {
		t.Errorf("libraries %v, %v; want none", found, err)
	}
}
