// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"
	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/hardware"
)

// defaultFirmware is where Debian's package ovmf has it.
const defaultFirmware = "/usr/share/ovmf/OVMF.fd"

// PCI slots after those of NICs and disks.
const (
	configSlot = 0x10 + iota
	randomSlot
	serialSlot
)

// settings is what QEMU's command line follows from.
type settings struct {
	hardware.Machine
	Accelerator string
	Firmware    string
	// Switch is the switch's socket, as seen from the machine's directory.
	Switch  string
	Capture bool
}

// arguments are QEMU's, for a process in the machine's directory.
func arguments(s settings) []string {
	details := s.Hardware
	accelerator, model := acceleratorKVM, "max"
	if s.Accelerator == acceleratorTCG {
		// Go programs take AVX2 where it is, and emulated it is slower than what they do without: QEMU 7.2 marshals JSON a third faster
		// with qemu64 than with max, and takes half the time for SHA-256.
		// Kubernetes' programs are large: what was translated is kept as long as can be (2 GiB at most).
		accelerator, model = "tcg,thread=multi,tb-size=2047", "qemu64"
	}
	args := []string{
		"-name", escape(details.Hostname), "-no-user-config", "-nodefaults", "-display", "none",
		"-machine", "q35,smm=off,vmport=off", "-accel", accelerator, "-cpu", model,
		"-smp", strconv.Itoa(details.CPU.Count), "-m", strconv.Itoa(details.RAMMebibytes),
		"-bios", s.Firmware, "-rtc", "base=utc",
	}
	args = append(args, identity(s.UID, details)...)
	args = append(args,
		"-chardev", "file,id=console,path="+consoleName+",append=on", "-serial", "chardev:console",
		"-chardev", "socket,id=monitor,path="+monitorName+",server=on,wait=off", "-mon", "chardev=monitor,mode=control",
		"-device", fmt.Sprintf("virtio-rng-pci,addr=%#x", randomSlot),
		"-device", fmt.Sprintf("virtio-serial-pci,addr=%#x", serialSlot),
		"-chardev", "socket,id=agent,path="+agentName+",server=on,wait=off",
		"-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
	)
	for i, disk := range details.Storage {
		boot := ""
		if i == 0 {
			boot = ",bootindex=0"
		}
		args = append(args,
			"-drive", fmt.Sprintf("if=none,id=disk%d,file=%s,format=qcow2,cache=unsafe,discard=unmap", i, diskName(i)),
			"-device", fmt.Sprintf("virtio-blk-pci,drive=disk%d,addr=%#x,serial=%s%s", i, hardware.FirstDiskSlot+i, escape(disk.SerialNumber), boot))
	}
	// The last disk, so that it changes no other one's name.
	args = append(args,
		"-drive", "if=none,id=config,file="+driveName+",format=raw,readonly=on",
		"-device", fmt.Sprintf("virtio-blk-pci,drive=config,addr=%#x", configSlot))
	for i, nic := range s.NICs {
		args = append(args,
			"-netdev", fmt.Sprintf("stream,id=%s,server=off,addr.type=unix,addr.path=%s", netdev(i), escape(s.Switch)),
			// Speed and duplex, because a bond with LACP takes no NIC whose speed is unknown.
			"-device", fmt.Sprintf("virtio-net-pci,netdev=%s,mac=%s,addr=%#x,disable-legacy=on,romfile=,speed=%d,duplex=full",
				netdev(i), nic.MAC, hardware.FirstNICSlot+i, speed(details, nic.Name)))
		if s.Capture {
			args = append(args, "-object", fmt.Sprintf("filter-dump,id=capture%d,netdev=%s,file=%s", i, netdev(i), escape(captureName(nic.Name))))
		}
	}
	return args
}

// identity is what the machine says of itself in its SMBIOS tables.
func identity(uid string, details *bmov1.HardwareDetails) []string {
	id, err := uuid.Parse(uid)
	if err != nil {
		id = uuid.NewSHA1(uuid.NameSpaceOID, []byte(uid))
	}
	vendor, bios := details.SystemVendor, details.Firmware.BIOS
	return []string{
		"-uuid", id.String(),
		"-smbios", fmt.Sprintf("type=0,vendor=%s,version=%s,date=%s,uefi=on", escape(bios.Vendor), escape(bios.Version), escape(bios.Date)),
		"-smbios", fmt.Sprintf("type=1,manufacturer=%s,product=%s,serial=%s,uuid=%s",
			escape(vendor.Manufacturer), escape(vendor.ProductName), escape(vendor.SerialNumber), id),
	}
}

// speed is a NIC's in Mbit/s.
func speed(details *bmov1.HardwareDetails, name string) int {
	for _, nic := range details.NIC {
		if nic.Name == name {
			return nic.SpeedGbps * 1000
		}
	}
	return 0
}

// escape lets a value have commas, which separate options.
func escape(value string) string { return strings.ReplaceAll(value, ",", ",,") }
