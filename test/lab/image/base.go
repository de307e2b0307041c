// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"strings"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/image/debian"
)

// Sizes of disks in bytes. Files are sparse; a larger disk is filled at the first boot.
const (
	baseSize = 3 << 30
	nodeSize = 8 << 30
)

// commandLine of the kernel. A lab's machines run nothing that must be protected from what else runs
// on them, and without mitigations emulated processors have less to do. Their TSCs are one, but Linux takes that from an
// Intel processor only: it would read the HPET, a trap for each look at the clock, of which Go programs take very many.
func commandLine() []string {
	return []string{"console=tty0", "console=ttyS0,115200", "loglevel=4", "mitigations=off", "tsc=reliable"}
}

// baseSystem is what a host needs to boot under Metal3 and to be configured by cloud-init, as an image
// made for real hosts would have it. netplan.io: cloud-init 22.4 has netplan alone make bonds and VLANs
// with systemd-networkd.
func baseSystem() debian.System {
	return debian.System{
		Packages: []string{
			"linux-image-cloud-amd64", "initramfs-tools", "systemd-boot-efi", "zstd",
			"systemd", "systemd-sysv", "systemd-resolved", "libnss-resolve", "udev", "dbus", "kmod", "procps",
			"cloud-init", "cloud-guest-utils", "fdisk", "e2fsprogs", "netplan.io", "qemu-guest-agent",
			"iproute2", "iputils-ping", "nftables", "ethtool", "wireguard-tools",
			"openssh-server", "sudo", "ca-certificates", "curl", "less", "tcpdump",
		},
		Early:    earlyFiles(),
		Files:    baseFiles(),
		Commands: baseCommands(),
		Removed:  baseRemoved(),
	}
}

// earlyFiles have the initial RAM disk hold what finds the root filesystem on the disks that machines
// have, and no more: it is read before there is a driver for the disk.
func earlyFiles() []debian.File {
	modules := []string{"virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "ahci", "ext4"}
	hook := "#!/bin/sh\nset -e\ncase ${1:-} in prereqs) exit 0 ;; esac\n. /usr/share/initramfs-tools/hook-functions\nmanual_add_modules " +
		strings.Join(modules, " ") + "\n"
	return []debian.File{
		{Path: "/etc/initramfs-tools/conf.d/edgemetal", Mode: 0o644, Content: "MODULES=list\nCOMPRESS=zstd\nRESUME=none\n"},
		{Path: "/etc/initramfs-tools/hooks/edgemetal", Mode: 0o755, Content: hook},
	}
}

func baseFiles() []debian.File {
	return []debian.File{
		{Path: "/etc/fstab", Mode: 0o644, Content: "LABEL=root / ext4 noatime,errors=remount-ro 0 1\n"},
		{Path: "/etc/hostname", Mode: 0o644, Content: "localhost\n"},
		// Debian's own cloud images have it; without, cloud-init generates en_US.
		{Path: "/etc/default/locale", Mode: 0o644, Content: "LANG=C.UTF-8\n"},
		{Path: "/etc/hosts", Mode: 0o644, Content: "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"},
		{Path: "/etc/systemd/system/emulated-processor.service", Mode: 0o644, Content: emulatedUnit},
		// Empty, not absent: systemd then makes one, and does not take the boot for the system's very first, at
		// which it would ask for a locale.
		{Path: "/etc/machine-id", Mode: 0o444},
		// Debian's own servers rather than the mirror that the image was built from.
		{Path: "/etc/apt/sources.list", Mode: 0o644, Content: strings.Join(debian.Official(), "\n") + "\n"},
		// What Metal3 hands over, and nothing else to wait for.
		{Path: "/etc/cloud/cloud.cfg.d/90-edgemetal.cfg", Mode: 0o644, Content: "datasource_list: [ConfigDrive, None]\n" +
			"# Others take an emulated machine minutes.\nssh_genkeytypes: [ed25519]\n"},
	}
}

// emulatedUnit has Linux switch between programs less often: each time an emulated processor forgets all that it has translated of
// addresses. With a control plane that were 3,500 times a second, and half of the processors' time was the kernel's; so it is 430 times.
const emulatedUnit = `[Unit]
Description=Scheduler for an emulated processor
ConditionVirtualization=qemu
DefaultDependencies=no
Requires=sys-kernel-debug.mount
After=sys-kernel-debug.mount
Before=sysinit.target

[Service]
Type=oneshot
ExecStart=/bin/sh -ec 'cd /sys/kernel/debug/sched; echo NO_WAKEUP_PREEMPTION >features; echo 200000000 >latency_ns; echo 50000000 >min_granularity_ns; echo 100000000 >wakeup_granularity_ns'
RemainAfterExit=yes

[Install]
WantedBy=sysinit.target
`

func baseCommands() []string {
	masked := []string{
		// Nothing here is to change by itself, and what runs at boot delays it.
		"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer",
		"getty@tty1.service",
	}
	return []string{
		"systemctl mask " + strings.Join(masked, " "),
		"systemctl enable systemd-networkd.service systemd-resolved.service emulated-processor.service",
		"ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf",
		"passwd --lock root",
	}
}

// baseRemoved are secrets and names that each machine must have of its own, and what building left.
func baseRemoved() []string {
	return []string{
		"/etc/ssh/ssh_host_*", "/var/lib/dbus/machine-id", "/var/lib/systemd/random-seed",
		"/var/lib/apt/lists/*", "/var/cache/apt/*.bin", "/var/cache/apt/archives/*.deb", "/var/log/*.log", "/var/log/apt/*",
		"/etc/apt/sources.list.d/*", "/etc/apt/apt.conf.d/99mmdebstrap",
	}
}
