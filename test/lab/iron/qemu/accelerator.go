// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	acceleratorKVM = "kvm"
	acceleratorTCG = "tcg"
)

// trialTimeout is how long the firmware may take with KVM until it says something; it takes a second or two.
const trialTimeout = 15 * time.Second

// detect tells what can run machines. KVM must run the firmware until that looks for something to boot: on a
// machine without virtualization of its own /dev/kvm can be there, and take commands, but not run all
// instructions.
func detect(ctx context.Context, program, firmware string) string {
	device, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return acceleratorTCG
	}
	_ = device.Close()
	if boots(ctx, program, firmware) {
		return acceleratorKVM
	}
	return acceleratorTCG
}

// boots tells whether the firmware comes up with KVM.
func boots(ctx context.Context, program, firmware string) bool {
	ctx, cancel := context.WithTimeout(ctx, trialTimeout)
	defer cancel()
	output, input := io.Pipe()
	trial := exec.CommandContext(ctx, program, "-no-user-config", "-nodefaults", "-display", "none", "-machine", "q35,smm=off,vmport=off",
		"-accel", acceleratorKVM, "-cpu", "max", "-m", "256", "-bios", firmware, "-serial", "stdio")
	trial.Stdout, trial.Stderr = input, input
	if trial.Start() != nil {
		return false
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = trial.Wait() // what it said is what counts
		_ = input.Close()
	}()
	up := false
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		// BdsDxe is the firmware's boot manager.
		up = strings.Contains(lines.Text(), "BdsDxe")
		if up || strings.Contains(lines.Text(), "internal error") {
			break
		}
	}
	cancel()
	_ = output.Close()
	<-ended
	return up
}
