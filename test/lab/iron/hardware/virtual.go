// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package hardware

import (
	"errors"
	"fmt"
	"net"
	"slices"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
)

// What a virtual machine can have at most, so that a typing error does not take all of this machine.
const (
	maxVirtualCPUs   = 16
	maxVirtualMiB    = 8 * 1024
	minVirtualMiB    = 512
	maxVirtualDisks  = 4
	minVirtualDisk   = bmov1.GibiByte
	maxVirtualDisk   = 512 * bmov1.GibiByte
	maxVirtualNICs   = 8
	maxVirtualSpeed  = 400
	virtualSpeedGbps = 10
)

// PCI slots of a virtual machine's root bus. The kernel names a NIC in slot n "enp0s<n>", in decimal.
const (
	FirstNICSlot  = 2
	FirstDiskSlot = FirstNICSlot + maxVirtualNICs
)

// InspectVirtual is Inspect for a virtual machine, and says what is really in it: 2 CPUs, 2048 MiB, one virtio disk
// of 20 GB, /dev/vda, and two virtio NICs by default. The annotation can change the number of CPUs, the memory,
// the sizes and the number of disks, the NICs' addresses, speeds and number, and the vendor's and the firmware's
// names; names of NICs and disks follow from their slots whatever it says. What cannot be had is an error.
func InspectVirtual(host *bmov1.BareMetalHost) (*bmov1.HardwareDetails, error) {
	details, err := inspect(host, virtualDefaults(host))
	if err != nil {
		return nil, err
	}
	if err := errors.Join(checkSize(details), checkDisks(details.Storage), checkNICs(details.NIC)); err != nil {
		return nil, fmt.Errorf("annotation %s: %w", Annotation, err)
	}
	place(details, serialNumber(host))
	return details, nil
}

func virtualDefaults(host *bmov1.BareMetalHost) *bmov1.HardwareDetails {
	first := bootMAC(host)
	second := slices.Clone(first)
	// Far from the first one: hosts are often numbered through, and here they share a network.
	second[4] ^= 0x80
	arch := host.Spec.Architecture
	if arch == "" {
		arch = "x86_64"
	}
	return &bmov1.HardwareDetails{
		SystemVendor: bmov1.HardwareSystemVendor{
			Manufacturer: "QEMU", ProductName: "Standard PC (Q35 + ICH9, 2009)", SerialNumber: fmt.Sprintf("VM%08X", serialNumber(host)),
		},
		Firmware:     bmov1.Firmware{BIOS: bmov1.BIOS{Vendor: "EDK II", Version: "QEMU OVMF", Date: "01/01/2026"}},
		CPU:          bmov1.CPU{Arch: arch, Model: "QEMU Virtual CPU", Count: 2},
		RAMMebibytes: 2048,
		Storage:      []bmov1.Storage{{SizeBytes: 20 * bmov1.GigaByte}},
		NIC:          []bmov1.NIC{{MAC: first.String()}, {MAC: second.String()}},
		Hostname:     host.Name,
	}
}

// place gives NICs and disks the names and addresses that follow from their slots.
func place(details *bmov1.HardwareDetails, serial uint32) {
	for i := range details.NIC {
		nic := &details.NIC[i]
		slot := FirstNICSlot + i
		// Virtio's vendor, and its network device in virtio 1.0.
		nic.Name, nic.Model, nic.PCIAddress = fmt.Sprintf("enp0s%d", slot), "0x1af4 0x1041", fmt.Sprintf("0000:00:%02x.0", slot)
		if nic.SpeedGbps == 0 {
			nic.SpeedGbps = virtualSpeedGbps
		}
	}
	for i := range details.Storage {
		disk := &details.Storage[i]
		*disk = bmov1.Storage{
			Name:           fmt.Sprintf("/dev/disk/by-path/pci-0000:00:%02x.0", FirstDiskSlot+i),
			AlternateNames: []string{fmt.Sprintf("/dev/vd%c", 'a'+i)},
			SizeBytes:      disk.SizeBytes, Vendor: "0x1af4", SerialNumber: fmt.Sprintf("DISK%08X-%d", serial, i),
		}
	}
}

func checkSize(details *bmov1.HardwareDetails) error {
	switch {
	case details.CPU.Arch != "x86_64":
		return fmt.Errorf("cpu.arch is %q: a virtual host is x86_64", details.CPU.Arch)
	case details.CPU.Count < 1 || details.CPU.Count > maxVirtualCPUs:
		return fmt.Errorf("cpu.count is %d: a virtual host has 1 to %d", details.CPU.Count, maxVirtualCPUs)
	case details.RAMMebibytes < minVirtualMiB || details.RAMMebibytes > maxVirtualMiB:
		return fmt.Errorf("ramMebibytes is %d: a virtual host has %d to %d", details.RAMMebibytes, minVirtualMiB, maxVirtualMiB)
	default:
		return nil
	}
}

func checkDisks(disks []bmov1.Storage) error {
	if len(disks) < 1 || len(disks) > maxVirtualDisks {
		return fmt.Errorf("storage has %d entries: a virtual host has 1 to %d disks", len(disks), maxVirtualDisks)
	}
	for i, disk := range disks {
		if disk.SizeBytes < minVirtualDisk || disk.SizeBytes > maxVirtualDisk {
			return fmt.Errorf("storage[%d].sizeBytes is %d: a virtual host's disk has %d to %d", i, disk.SizeBytes, minVirtualDisk, maxVirtualDisk)
		}
		if disk.Type == bmov1.NVME {
			return fmt.Errorf("storage[%d].type is NVME: a virtual host has virtio disks; leave the type out", i)
		}
	}
	return nil
}

func checkNICs(nics []bmov1.NIC) error {
	if len(nics) > maxVirtualNICs {
		return fmt.Errorf("nics has %d entries: a virtual host has at most %d", len(nics), maxVirtualNICs)
	}
	var seen []string
	for i, nic := range nics {
		mac, err := net.ParseMAC(nic.MAC)
		if err != nil || len(mac) != 6 || mac[0]&1 != 0 {
			return fmt.Errorf("nics[%d].mac is %q: want a unicast MAC address", i, nic.MAC)
		}
		if slices.Contains(seen, nic.MAC) {
			return fmt.Errorf("nics[%d].mac %s is there twice", i, nic.MAC)
		}
		seen = append(seen, nic.MAC)
		if nic.SpeedGbps < 0 || nic.SpeedGbps > maxVirtualSpeed {
			return fmt.Errorf("nics[%d].speedGbps is %d: want 1 to %d", i, nic.SpeedGbps, maxVirtualSpeed)
		}
	}
	return nil
}
