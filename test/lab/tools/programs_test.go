// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package tools

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLocateNamesThePackagesOnce(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	program := filepath.Join(bin, QemuImg)
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	paths, missing := locate([]string{QemuImg})
	if diff := cmp.Diff(Paths{QemuImg: program}, paths); diff != "" || len(missing) > 0 {
		t.Errorf("missing %v, paths (-want +got):\n%s", missing, diff)
	}

	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{MFormat, MCopy, QemuImg} {
		if _, err := find(name, ""); err == nil {
			t.Skipf("%s is installed in a folder of system programs", name)
		}
	}
	if _, missing = locate([]string{QemuImg, MFormat, MCopy}); !cmp.Equal(missing, []string{"mtools", "qemu-utils"}) {
		t.Errorf("missing %v, want each package once, sorted", missing)
	}
}

func TestProgramsRefusesUnknownNames(t *testing.T) {
	_, err := Toolbox{Root: t.TempDir()}.Programs(t.Context(), "mkisofs")
	if err == nil || !strings.Contains(err.Error(), "mkisofs") || !strings.Contains(err.Error(), QemuSystem) {
		t.Errorf("error %v, want one that names the unknown program and the known ones", err)
	}
}

func TestWithoutAptTheErrorNamesThePackages(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := Toolbox{Root: t.TempDir()}.install(t.Context(), []string{"mtools", "qemu-utils"})
	if err == nil || !strings.Contains(err.Error(), "mtools qemu-utils") {
		t.Errorf("error %v, want one that names the packages", err)
	}
}
