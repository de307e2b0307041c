// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package hardware says what is in a simulated or a virtual machine: what inspection finds, and which NICs it
// really has.
package hardware

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net"
	"slices"
	"strings"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
)

// Annotation holds a machine's hardware as JSON in the form of HardwareDetails (cpu, ramMebibytes, nics,
// storage, systemVendor ...). What it leaves out takes a default derived from the host.
const Annotation = "lab.edgemetal.io/hardware"

// NIC is a network interface that is really in the machine.
type NIC struct {
	// Name is the kernel's, e.g. "enp1s0f0".
	Name string `json:"name"`
	// MAC is lower case with colons.
	MAC string `json:"mac"`
}

// Inspect is what inspection of the host finds: its annotation over the defaults. The default machine has 8
// CPUs, 32 GiB, one NVMe disk of 480 GB and two NICs, the first with the host's boot MAC address.
func Inspect(host *bmov1.BareMetalHost) (*bmov1.HardwareDetails, error) {
	return inspect(host, defaults(host))
}

func inspect(host *bmov1.BareMetalHost, details *bmov1.HardwareDetails) (*bmov1.HardwareDetails, error) {
	if text := host.Annotations[Annotation]; text != "" {
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.DisallowUnknownFields()
		given := bmov1.HardwareDetails{}
		if err := decoder.Decode(&given); err != nil {
			return nil, fmt.Errorf("annotation %s: %w", Annotation, err)
		}
		overlay(details, given)
	}
	for i := range details.NIC {
		details.NIC[i].MAC = strings.ToLower(details.NIC[i].MAC)
		if strings.EqualFold(details.NIC[i].MAC, host.Spec.BootMACAddress) {
			details.NIC[i].PXE = true
		}
	}
	return details, nil
}

// NICs are the interfaces in the machine. With wrongMAC none of them is one that inspection told of.
func NICs(details *bmov1.HardwareDetails, wrongMAC bool) []NIC {
	var nics []NIC
	for _, found := range details.NIC {
		// Inspection lists a NIC once per address.
		if slices.ContainsFunc(nics, func(n NIC) bool { return n.Name == found.Name }) {
			continue
		}
		nic := NIC{Name: found.Name, MAC: found.MAC}
		if hw, err := net.ParseMAC(found.MAC); wrongMAC && err == nil && len(hw) == 6 {
			hw[3] ^= 0xff
			nic.MAC = hw.String()
		}
		nics = append(nics, nic)
	}
	return nics
}

func overlay(details *bmov1.HardwareDetails, given bmov1.HardwareDetails) {
	if given.CPU.Count != 0 {
		details.CPU.Count = given.CPU.Count
	}
	if given.CPU.Arch != "" {
		details.CPU.Arch = given.CPU.Arch
	}
	if given.CPU.Model != "" {
		details.CPU.Model = given.CPU.Model
	}
	if given.CPU.ClockMegahertz != 0 {
		details.CPU.ClockMegahertz = given.CPU.ClockMegahertz
	}
	if given.CPU.Flags != nil {
		details.CPU.Flags = given.CPU.Flags
	}
	if given.RAMMebibytes != 0 {
		details.RAMMebibytes = given.RAMMebibytes
	}
	if given.NIC != nil {
		details.NIC = given.NIC
	}
	if given.Storage != nil {
		details.Storage = given.Storage
	}
	if given.SystemVendor != (bmov1.HardwareSystemVendor{}) {
		details.SystemVendor = given.SystemVendor
	}
	if given.Firmware != (bmov1.Firmware{}) {
		details.Firmware = given.Firmware
	}
	if given.Hostname != "" {
		details.Hostname = given.Hostname
	}
}

func defaults(host *bmov1.BareMetalHost) *bmov1.HardwareDetails {
	first := bootMAC(host)
	second := slices.Clone(first)
	second[5]++
	serial := serialNumber(host)
	arch := host.Spec.Architecture
	if arch == "" {
		arch = "x86_64"
	}
	return &bmov1.HardwareDetails{
		SystemVendor: bmov1.HardwareSystemVendor{
			Manufacturer: "EdgeMetal Lab", ProductName: "simulated host", SerialNumber: fmt.Sprintf("SIM%08X", serial),
		},
		Firmware:     bmov1.Firmware{BIOS: bmov1.BIOS{Vendor: "EdgeMetal Lab", Version: "1.0", Date: "01/01/2026"}},
		CPU:          bmov1.CPU{Arch: arch, Model: "Simulated CPU", ClockMegahertz: 2400, Count: 8, Flags: []string{"aes", "avx2", "sse4_2"}},
		RAMMebibytes: 32 * 1024,
		Storage: []bmov1.Storage{{
			Name: "/dev/disk/by-path/pci-0000:03:00.0-nvme-1", AlternateNames: []string{"/dev/nvme0n1"}, Type: bmov1.NVME,
			SizeBytes: 480 * bmov1.GigaByte, Model: "Simulated NVMe", SerialNumber: fmt.Sprintf("NVME%08X", serial),
		}},
		NIC: []bmov1.NIC{
			{Name: "enp1s0f0", Model: "0x8086 0x1592", MAC: first.String(), SpeedGbps: 25, PCIAddress: "0000:01:00.0"},
			{Name: "enp1s0f1", Model: "0x8086 0x1592", MAC: second.String(), SpeedGbps: 25, PCIAddress: "0000:01:00.1"},
		},
		Hostname: host.Name,
	}
}

// serialNumber is a number that stays the host's.
func serialNumber(host *bmov1.BareMetalHost) uint32 {
	serial := fnv.New32a()
	// Writing to a hash never fails.
	_, _ = serial.Write([]byte(host.Namespace + "/" + host.Name))
	return serial.Sum32()
}

// bootMAC is the host's boot MAC address, or one derived from its name.
func bootMAC(host *bmov1.BareMetalHost) net.HardwareAddr {
	if mac, err := net.ParseMAC(host.Spec.BootMACAddress); err == nil && len(mac) == 6 {
		return mac
	}
	hash := fnv.New64a()
	// Writing to a hash never fails.
	_, _ = hash.Write([]byte(host.Namespace + "/" + host.Name))
	sum := hash.Sum(nil)
	// Locally administered, unicast.
	return net.HardwareAddr{0x02, sum[0], sum[1], sum[2], sum[3], sum[4] & 0xfe}
}
