// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package disk makes whole-disk images that boot by UEFI, out of the folder of a root filesystem. It
// mounts nothing and needs no loop devices. root is needed only to read what belongs to root.
package disk

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/image/run"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

const (
	mebibyte = 1 << 20
	sector   = 512

	espStart  = 1 * mebibyte
	espSize   = 127 * mebibyte
	rootStart = espStart + espSize
	// tailSize is for the copy of the partition table at the end of the disk.
	tailSize = 1 * mebibyte

	// RootLabel of the root filesystem.
	RootLabel = "root"
	// bootLoader is systemd-boot, as its Debian package systemd-boot-efi has it.
	bootLoader = "usr/lib/systemd/boot/efi/systemd-bootx64.efi"
)

// Spec says what a disk is made of.
type Spec struct {
	// Tree is the folder of the root filesystem.
	Tree string
	// Title names the system in the boot loader.
	Title string
	// CommandLine of the kernel, after root=.
	CommandLine []string
	// Size of the whole disk in bytes. The system makes use of more when the disk that the image is
	// written to has more.
	Size int64
}

// Write makes the disk as a qcow2 file. work is a folder for what is in the making.
func (s Spec) Write(ctx context.Context, programs tools.Paths, work, target string) error {
	kernel, initrd, err := kernel(s.Tree)
	if err != nil {
		return err
	}
	raw := filepath.Join(work, "disk.raw")
	if err := create(raw, s.Size); err != nil {
		return err
	}
	entry := filepath.Join(work, "entry.conf")
	loader := filepath.Join(work, "loader.conf")
	if err := errors.Join(
		os.WriteFile(entry, []byte(s.loaderEntry()), 0o600),
		os.WriteFile(loader, []byte(loaderConf), 0o600),
	); err != nil {
		return fmt.Errorf("write the boot loader's configuration: %w", err)
	}
	esp := fmt.Sprintf("%s@@%d", raw, espStart)
	copyTo := func(source, name string) run.Command {
		return run.Command{Args: []string{programs[tools.MCopy], "-i", esp, source, "::" + name}}
	}
	steps := []run.Command{
		{Args: []string{programs[tools.SFDisk], "--quiet", raw}, In: strings.NewReader(s.partitions())},
		// Beyond the partition's own sectors there is the root filesystem: -T says where to stop.
		{Args: []string{programs[tools.MFormat], "-i", esp, "-F", "-v", "EFI", "-T", fmt.Sprint(espSize / sector), "-h", "255", "-s", "63", "::"}},
		{Args: []string{programs[tools.MMD], "-i", esp, "::/EFI", "::/EFI/BOOT", "::/loader", "::/loader/entries"}},
		copyTo(filepath.Join(s.Tree, bootLoader), "/EFI/BOOT/BOOTX64.EFI"),
		copyTo(loader, "/loader/loader.conf"),
		copyTo(entry, "/loader/entries/debian.conf"),
		copyTo(kernel, "/vmlinuz"),
		copyTo(initrd, "/initrd.img"),
		{Args: []string{
			programs[tools.MakeExt4], "-q", "-F", "-L", RootLabel, "-d", s.Tree,
			"-E", fmt.Sprintf("offset=%d,lazy_itable_init=0,lazy_journal_init=0,nodiscard,root_owner=0:0", rootStart),
			raw, fmt.Sprintf("%dk", (s.Size-rootStart-tailSize)/1024),
		}},
		{Args: []string{programs[tools.QemuImg], "convert", "-f", "raw", "-O", "qcow2", raw, target}},
	}
	for _, step := range steps {
		if err := step.Do(ctx); err != nil {
			return fmt.Errorf("make the disk: %w", err)
		}
	}
	if err := os.Remove(raw); err != nil {
		return fmt.Errorf("make the disk: %w", err)
	}
	return nil
}

const loaderConf = "timeout 0\neditor no\ndefault debian.conf\n"

// loaderEntry is a type 1 entry of the Boot Loader Specification.
func (s Spec) loaderEntry() string {
	options := append([]string{"root=LABEL=" + RootLabel, "rw"}, s.CommandLine...)
	return fmt.Sprintf("title %s\nlinux /vmlinuz\ninitrd /initrd.img\noptions %s\n", s.Title, strings.Join(options, " "))
}

// partitions is a script for sfdisk. U is its short name for the EFI system partition, and L for Linux.
func (s Spec) partitions() string {
	return fmt.Sprintf("label: gpt\nunit: sectors\nstart=%d, size=%d, type=U, name=esp\nstart=%d, size=%d, type=L, name=root\n",
		espStart/sector, espSize/sector, rootStart/sector, (s.Size-rootStart-tailSize)/sector)
}

// kernel finds the newest kernel in the tree and its initial RAM disk.
func kernel(tree string) (string, string, error) {
	kernels, err := filepath.Glob(filepath.Join(tree, "boot", "vmlinuz-*"))
	if err != nil {
		return "", "", fmt.Errorf("find the kernel: %w", err)
	}
	if len(kernels) == 0 {
		return "", "", fmt.Errorf("find the kernel: no boot/vmlinuz-* in the root filesystem; add a package linux-image-*")
	}
	newest := slices.Max(kernels)
	initrd := filepath.Join(tree, "boot", "initrd.img-"+strings.TrimPrefix(filepath.Base(newest), "vmlinuz-"))
	if _, err := os.Stat(initrd); err != nil {
		return "", "", fmt.Errorf("find the initial RAM disk: %w; add package initramfs-tools", err)
	}
	return newest, initrd, nil
}

func create(path string, size int64) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("create the disk: %w", err)
	}
	if err := errors.Join(file.Truncate(size), file.Close()); err != nil {
		return fmt.Errorf("create the disk: %w", err)
	}
	return nil
}

// SHA256 of a file, in hex.
func SHA256(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("compute a checksum: %w", err)
	}
	defer func() { _ = file.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", fmt.Errorf("compute the checksum of %s: %w", path, err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
