// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/hardware"
)

func TestConfigDrive(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, driveName)
	// Larger than a block, with every byte there is.
	userData := bytes.Repeat([]byte("#cloud-config\n\x00\xff\n"), 5000)
	for _, drive := range []hardware.Drive{testDrive(), {UserData: userData, MetaData: []byte(`{"uuid": "u"}`)}} { // the second over the first
		if err := writeDrive(name, drive); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, mode %v", err, info.Mode())
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 {
		t.Errorf("there are %v", left)
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	// ECMA-119, 8.4: the primary volume descriptor is in block 16, its volume identifier at byte 41.
	if label := strings.TrimRight(string(raw[16*blockSize+40:16*blockSize+72]), " \x00"); label != driveLabel {
		t.Errorf("label %q", label)
	}
	opened, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	iso, err := iso9660.Read(file.New(opened, true), int64(len(raw)), 0, blockSize)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := iso.ReadDir(driveFolder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	slices.Sort(names)
	if want := []string{"meta_data.json", "user_data"}; !slices.Equal(names, want) {
		t.Errorf("documents %v, want %v", names, want)
	}
	got, err := fs.ReadFile(iso, driveFolder+"/user_data")
	if err != nil || !bytes.Equal(got, userData) {
		t.Errorf("user data of %d bytes, want %d: %v", len(got), len(userData), err)
	}
}
