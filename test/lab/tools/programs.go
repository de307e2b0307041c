// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package tools

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Programs and files that come from Debian packages, for Programs.
const (
	Mmdebstrap = "mmdebstrap"
	MakeExt4   = "mkfs.ext4"
	QemuImg    = "qemu-img"
	QemuSystem = "qemu-system-x86_64"
	MFormat    = "mformat"
	MCopy      = "mcopy"
	MMD        = "mmd"
	SFDisk     = "sfdisk"
	// DebianKeyring is the file of the keys that Debian signs its archive with.
	DebianKeyring = "debian-archive-keyring"
	// Firmware is a file for QEMU's -bios: UEFI that keeps no state.
	Firmware = "OVMF.fd"
)

// aptLockTimeout in seconds is how long apt-get waits for another one to end.
const aptLockTimeout = "600"

// parcel says which Debian package a program comes with.
type parcel struct {
	pkg  string
	file string // where it is when that is not a folder of PATH
}

func parcels() map[string]parcel {
	return map[string]parcel{
		Mmdebstrap:    {pkg: "mmdebstrap"},
		MakeExt4:      {pkg: "e2fsprogs"},
		QemuImg:       {pkg: "qemu-utils"},
		QemuSystem:    {pkg: "qemu-system-x86"},
		MFormat:       {pkg: "mtools"},
		MCopy:         {pkg: "mtools"},
		MMD:           {pkg: "mtools"},
		SFDisk:        {pkg: "fdisk"},
		DebianKeyring: {pkg: "debian-archive-keyring", file: "/usr/share/keyrings/debian-archive-keyring.gpg"},
		Firmware:      {pkg: "ovmf", file: "/usr/share/ovmf/OVMF.fd"},
	}
}

// Programs returns the paths of the named programs and files, which are constants of this package. On
// Debian and its derivatives root gets missing ones installed; otherwise the error names the packages.
func (b Toolbox) Programs(ctx context.Context, names ...string) (Paths, error) {
	known := parcels()
	for _, name := range names {
		if _, ok := known[name]; !ok {
			return nil, fmt.Errorf("unknown program %q; there are %s", name, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
	}
	paths, missing := locate(names)
	if len(missing) == 0 {
		return paths, nil
	}
	unlock, err := b.Lock(ctx, filepath.Join(b.cache(), "debian-packages"), "Debian packages")
	if err != nil {
		return nil, err
	}
	defer unlock()
	if paths, missing = locate(names); len(missing) == 0 { // installed while we waited
		return paths, nil
	}
	if err := b.install(ctx, missing); err != nil {
		return nil, err
	}
	if paths, missing = locate(names); len(missing) > 0 {
		return nil, fmt.Errorf("still missing after their installation: programs of the packages %s", strings.Join(missing, " "))
	}
	return paths, nil
}

// locate returns the paths of what is there, and the packages of what is not, sorted.
func locate(names []string) (Paths, []string) {
	known := parcels()
	paths := Paths{}
	var missing []string
	for _, name := range names {
		path, err := find(name, known[name].file)
		if err != nil {
			missing = append(missing, known[name].pkg)
			continue
		}
		paths[name] = path
	}
	slices.Sort(missing)
	return paths, slices.Compact(missing)
}

// find looks for a program in PATH, and in the folders of system programs, which PATH may lack.
func find(name, file string) (string, error) {
	if file != "" {
		_, err := os.Stat(file)
		return file, err
	}
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if path, dirErr := exec.LookPath(filepath.Join(dir, name)); dirErr == nil {
			return path, nil
		}
	}
	return "", err
}

func (b Toolbox) install(ctx context.Context, packages []string) error {
	command := "apt-get install --no-install-recommends " + strings.Join(packages, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("install what Debian has in the packages %s: %w", strings.Join(packages, " "), err)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("programs are missing: as root, run %q", command)
	}
	b.say("installing %s", strings.Join(packages, " "))
	first := aptGet(ctx, append([]string{"install", "--no-install-recommends"}, packages...)...)
	if first == nil {
		return nil
	}
	// Mostly for want of lists, or because the lists are older than the mirror.
	if err := aptGet(ctx, "update"); err != nil {
		return errors.Join(fmt.Errorf("run %q: %w", command, first), err)
	}
	if err := aptGet(ctx, append([]string{"install", "--no-install-recommends"}, packages...)...); err != nil {
		return fmt.Errorf("run %q: %w", command, err)
	}
	return nil
}

func aptGet(ctx context.Context, args ...string) error {
	args = append([]string{"--quiet", "--assume-yes", "--option", "DPkg::Lock::Timeout=" + aptLockTimeout}, args...)
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Env = append(cmd.Environ(), "DEBIAN_FRONTEND=noninteractive")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("apt-get %s: %w: %s", args[len(args)-1], err, lastLines(output.String()))
	}
	return nil
}

// lastLines keeps what a program said at its end.
func lastLines(output string) string {
	const keep = 10
	lines := strings.Split(strings.TrimSpace(output), "\n")
	return strings.Join(lines[max(0, len(lines)-keep):], "\n")
}
