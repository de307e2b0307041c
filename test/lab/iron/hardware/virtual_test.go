// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package hardware

import (
	"strings"
	"testing"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
)

func TestInspectVirtual(t *testing.T) {
	details, err := InspectVirtual(host(""))
	if err != nil {
		t.Fatal(err)
	}
	if details.CPU.Count != 2 || details.RAMMebibytes != 2048 || details.SystemVendor.Manufacturer != "QEMU" {
		t.Errorf("the default machine %+v", details)
	}
	if nic := details.NIC[0]; nic.MAC != "52:54:00:ed:9e:ff" || !nic.PXE || nic.Name != "enp0s2" || nic.PCIAddress != "0000:00:02.0" || nic.SpeedGbps != 10 {
		t.Errorf("the boot NIC %+v", nic)
	}
	if nic := details.NIC[1]; nic.PXE || nic.MAC != "52:54:00:ed:1e:ff" || nic.Name != "enp0s3" {
		t.Errorf("the other NIC %+v", nic)
	}
	if disk := details.Storage[0]; disk.AlternateNames[0] != "/dev/vda" || disk.SizeBytes != 20*bmov1.GigaByte || len(disk.SerialNumber) > 20 {
		t.Errorf("the disk %+v", disk)
	}
	given, err := InspectVirtual(host(`{"cpu": {"count": 4}, "ramMebibytes": 4096, "storage": [{"sizeBytes": 10737418240, "name": "/dev/sda"}, {"sizeBytes": 2147483648}],
		"nics": [{"name": "eth0", "mac": "02:00:00:00:00:AA", "speedGbps": 25}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if given.CPU.Count != 4 || given.RAMMebibytes != 4096 || len(given.NIC) != 1 || given.NIC[0].Name != "enp0s2" || given.NIC[0].SpeedGbps != 25 {
		t.Errorf("the annotation over the defaults: %+v", given)
	}
	if len(given.Storage) != 2 || given.Storage[0].Name != "/dev/disk/by-path/pci-0000:00:0a.0" || given.Storage[1].AlternateNames[0] != "/dev/vdb" {
		t.Errorf("disks %+v", given.Storage)
	}
}

func TestWhatAVirtualHostCannotHave(t *testing.T) {
	for field, annotation := range map[string]string{
		"ramMebibytes":         `{"ramMebibytes": 65536}`,
		"cpu.count":            `{"cpu": {"count": 64}}`,
		"cpu.arch":             `{"cpu": {"arch": "aarch64"}}`,
		"storage[0].type":      `{"storage": [{"sizeBytes": 10737418240, "type": "NVME"}]}`,
		"storage[1].sizeBytes": `{"storage": [{"sizeBytes": 10737418240}, {"sizeBytes": 1}]}`,
		"storage has 0":        `{"storage": []}`,
		"nics[1].mac":          `{"nics": [{"mac": "02:00:00:00:00:01"}, {"mac": "02:00:00:00:00:01"}]}`,
		"nics[0].mac":          `{"nics": [{"mac": "01:00:5e:00:00:01"}]}`,
		"nics[0].speedGbps":    `{"nics": [{"mac": "02:00:00:00:00:01", "speedGbps": 1000}]}`,
	} {
		if _, err := InspectVirtual(host(annotation)); err == nil || !strings.Contains(err.Error(), field) || !strings.Contains(err.Error(), Annotation) {
			t.Errorf("%s: error %v, want one about %s", annotation, err, field)
		}
	}
}
