// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"slices"
	"strings"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/api/resource"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// minRootDiskBytes is the smallest disk that Ironic picks without hints: 4 GiB.
// Source: ironic-python-agent, hardware.py and utils.guess_root_device_from_block_devices.
const minRootDiskBytes = 4 << 30

// Fits tells whether the inspected hardware of a host satisfies the requirements.
func Fits(need infrav1.HardwareRequirements, host *bmov1.BareMetalHost, found *bmov1.HardwareDetails) bool {
	if need == (infrav1.HardwareRequirements{}) {
		return true
	}
	if found == nil {
		return false
	}
	return found.CPU.Count >= int(need.MinCPUs) &&
		atLeast(int64(found.RAMMebibytes)<<20, need.MinMemory) &&
		atLeast(RootDiskBytes(host.Spec.RootDeviceHints, found.Storage), need.MinRootDisk) &&
		fastNICs(found.NIC, int(need.MinNICSpeedGbps)) >= wantedNICs(need) &&
		(need.Vendor == "" || strings.EqualFold(strings.TrimSpace(found.SystemVendor.Manufacturer), need.Vendor)) &&
		(need.Architecture == "" || Architecture(found.CPU.Arch) == need.Architecture)
}

func atLeast(have int64, want *resource.Quantity) bool { return want == nil || have >= want.Value() }

func wantedNICs(need infrav1.HardwareRequirements) int {
	if need.MinNICs == 0 && need.MinNICSpeedGbps > 0 {
		return 1
	}
	return int(need.MinNICs)
}

// fastNICs counts NICs of at least the given speed. The inspection lists a NIC once per address: same MAC, same NIC.
func fastNICs(nics []bmov1.NIC, gbps int) int {
	count := 0
	for i, nic := range nics {
		counted := func(other bmov1.NIC) bool { return other.SpeedGbps >= gbps && strings.EqualFold(other.MAC, nic.MAC) }
		if nic.SpeedGbps >= gbps && !slices.ContainsFunc(nics[:i], counted) {
			count++
		}
	}
	return count
}

// Architecture translates the inspection's CPU architecture (x86_64, aarch64) to that of Kubernetes (amd64, arm64).
// Unknown names come back as they are.
func Architecture(cpuArch string) string {
	switch cpuArch {
	case "x86_64":
		return "amd64"
	case "aarch64":
		return "arm64"
	default:
		return cpuArch
	}
}

// RootDiskBytes is the size in bytes of the disk that the image is written to: the smallest disk that the hints select,
// without hints the smallest of at least 4 GiB. 0 when there is none.
func RootDiskBytes(hints *bmov1.RootDeviceHints, disks []bmov1.Storage) int64 {
	smallest := int64(0)
	for _, disk := range disks {
		size := int64(disk.SizeBytes)
		fits := hints == nil && size >= minRootDiskBytes || hints != nil && hinted(hints, disk)
		if fits && (smallest == 0 || size < smallest) {
			smallest = size
		}
	}
	return smallest
}

// hinted tells whether a disk satisfies every root device hint, compared as baremetal-operator documents them: model and
// vendor by substring, the size in GB as a lower bound, the rest by equality.
func hinted(hints *bmov1.RootDeviceHints, disk bmov1.Storage) bool {
	equal := func(want, have string) bool { return want == "" || want == have }
	name := equal(hints.DeviceName, disk.Name) || slices.Contains(disk.AlternateNames, hints.DeviceName)
	return name &&
		equal(hints.HCTL, disk.HCTL) &&
		strings.Contains(disk.Model, hints.Model) &&
		strings.Contains(disk.Vendor, hints.Vendor) &&
		equal(hints.SerialNumber, disk.SerialNumber) &&
		equal(hints.WWN, disk.WWN) &&
		equal(hints.WWNWithExtension, disk.WWNWithExtension) &&
		equal(hints.WWNVendorExtension, disk.WWNVendorExtension) &&
		disk.SizeBytes >= bmov1.Capacity(hints.MinSizeGigabytes)*bmov1.GigaByte &&
		(hints.Rotational == nil || *hints.Rotational == disk.Rotational)
}
