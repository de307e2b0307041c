// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package qemu is a rack of virtual machines: what package machine simulates, QEMU really boots. It needs the
// programs qemu-system-x86_64 and qemu-img and OVMF's firmware (Debian: qemu-system-x86, qemu-utils, ovmf), and no
// rights on this machine's network: NICs are cables to package sitenet's switch.
//
// A machine has a directory <Dir>/<namespace>/<host>:
//
//	machine.json       what must survive a restart of the lab
//	console.log        its serial console, kept over all its lives, with a line of ours for each power event
//	qemu.log           QEMU's own messages
//	disk<n>.qcow2      its disks; the first is a copy-on-write layer over the image in the cache
//	config-drive.iso   its config drive, while it is deployed
//	<nic>.pcap         what went over that NIC since the machine was last switched on, with Config.Capture
//
// Deploy fetches the image by HTTP, verifies its checksum and keeps it in the cache; Wipe removes disks, config
// drive and captures. PowerOff is a power cut. Shutdown asks the operating system first. A machine that switches itself
// off is off; one that reboots itself stays on.
//
// Machines end with the process that runs the rack. Restore boots those that were on; Close stops them so that
// Restore brings them back.
//
// Tests look into a machine through its guest agent, without any network:
//
//	guest := rack.Guest(types.NamespacedName{Namespace: "default", Name: "host-1"})
//	result, err := guest.Exec(ctx, "cloud-init", "status", "--wait")
//	content, err := guest.ReadFile(ctx, "/etc/hostname")
package qemu
