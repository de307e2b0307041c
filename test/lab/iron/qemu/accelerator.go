// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	acceleratorKVM = "kvm"
	acceleratorTCG = "tcg"
)

// detect tells what can run machines: KVM only if QEMU really starts with it, since /dev/kvm may be there and
// not work.
func detect(ctx context.Context, program string) string {
	device, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return acceleratorTCG
	}
	_ = device.Close()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	trial := exec.CommandContext(ctx, program, "-no-user-config", "-nodefaults", "-display", "none", "-machine", "q35", "-accel", "kvm", "-cpu", "max", "-S", "-qmp", "stdio")
	trial.Stdin = strings.NewReader(`{"execute": "qmp_capabilities"} {"execute": "quit"}`)
	if trial.Run() != nil {
		return acceleratorTCG
	}
	return acceleratorKVM
}
