// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTrialOfKVM(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		want   bool
	}{
		"the firmware comes up":         {"echo; echo 'BdsDxe: No bootable option or device was found.'; exec sleep 60", true},
		"KVM does not run the firmware": {"echo 'KVM internal error. Suberror: 1' >&2; exec sleep 60", false},
		"QEMU does not start":           {"echo 'Could not access KVM kernel module' >&2; exit 1", false},
	} {
		t.Run(name, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "qemu")
			if err := os.WriteFile(program, []byte("#!/bin/sh\n"+test.script+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			if got := boots(t.Context(), program, "OVMF.fd"); got != test.want {
				t.Errorf("works: %t, want %t", got, test.want)
			}
		})
	}
}
