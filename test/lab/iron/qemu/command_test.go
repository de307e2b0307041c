// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files")

func TestArguments(t *testing.T) {
	plain := testMachine(t)
	large := testMachine(t)
	large.UID = "no UUID"
	large.Hardware.CPU.Count, large.Hardware.RAMMebibytes = 4, 4096
	large.Hardware.SystemVendor.Manufacturer = "ACME, Inc."
	large.Hardware.Storage = append(large.Hardware.Storage, bmov1.Storage{SizeBytes: bmov1.GibiByte, SerialNumber: "DISK-1"})
	for name, s := range map[string]settings{
		"plain": {Machine: plain, Accelerator: acceleratorTCG, Firmware: defaultFirmware, Switch: "../../../network/site.sock"},
		"large": {Machine: large, Accelerator: acceleratorKVM, Firmware: defaultFirmware, Switch: "/lab,1/site.sock", Capture: true},
	} {
		t.Run(name, func(t *testing.T) {
			// One option a line, with its value.
			got := strings.ReplaceAll(strings.Join(arguments(s), "\n"), "\n-", "\x00-")
			got = strings.ReplaceAll(strings.ReplaceAll(got, "\n", " "), "\x00", "\n") + "\n"
			golden(t, name+".args", got)
		})
	}
}

// golden compares with a file of testdata, which "go test -update" writes.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}
