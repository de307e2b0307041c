// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package disk

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBootLoaderAndPartitions(t *testing.T) {
	s := Spec{Title: "Debian GNU/Linux", CommandLine: []string{"console=ttyS0", "mitigations=off"}, Size: 1 << 30}
	const entry = "title Debian GNU/Linux\nlinux /vmlinuz\ninitrd /initrd.img\noptions root=LABEL=root rw console=ttyS0 mitigations=off\n"
	if got := s.loaderEntry(); got != entry {
		t.Errorf("entry %q, want %q", got, entry)
	}
	// 1 MiB before and after, 127 MiB for the boot loader: 128 MiB to 1023 MiB in sectors.
	const partitions = "label: gpt\nunit: sectors\nstart=2048, size=260096, type=U, name=esp\nstart=262144, size=1832960, type=L, name=root\n"
	if got := s.partitions(); got != partitions {
		t.Errorf("partitions %q, want %q", got, partitions)
	}
}

func TestNewestKernelWithItsInitialRAMDisk(t *testing.T) {
	tree := t.TempDir()
	if _, _, err := kernel(tree); err == nil || !strings.Contains(err.Error(), "linux-image-") {
		t.Errorf("error %v, want one that says which package is missing", err)
	}
	boot := filepath.Join(tree, "boot")
	if err := os.Mkdir(boot, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"vmlinuz-6.1.0-10", "vmlinuz-6.1.0-12", "initrd.img-6.1.0-10"} {
		if err := os.WriteFile(filepath.Join(boot, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := kernel(tree); err == nil || !strings.Contains(err.Error(), "initramfs-tools") {
		t.Errorf("error %v, want one that says which package is missing", err)
	}
	initrd := filepath.Join(boot, "initrd.img-6.1.0-12")
	if err := os.WriteFile(initrd, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	gotKernel, gotInitrd, err := kernel(tree)
	if err != nil || gotKernel != filepath.Join(boot, "vmlinuz-6.1.0-12") || gotInitrd != initrd {
		t.Errorf("kernel %s, initrd %s, %v", gotKernel, gotInitrd, err)
	}
}

func TestSHA256(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	// FIPS 180-2, appendix B.1.
	const want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if got, err := SHA256(path); err != nil || got != want {
		t.Errorf("checksum %s, %v; want %s", got, err, want)
	}
}
