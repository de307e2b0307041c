// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/prometheus/procfs"
)

// usage is what our manager's process has used so far.
type usage struct {
	// cpu in seconds, in user and system mode.
	cpu float64
	// peakRSS in bytes.
	peakRSS uint64
}

func (t *trial) usage() (usage, error) {
	pid, err := t.lab.Node().Pid(provider)
	if err != nil {
		return usage{}, err
	}
	process, err := procfs.NewProc(pid)
	if err != nil {
		return usage{}, fmt.Errorf("read the manager's usage: %w", err)
	}
	stat, err := process.Stat()
	if err != nil {
		return usage{}, fmt.Errorf("read the manager's CPU time: %w", err)
	}
	status, err := process.NewStatus()
	if err != nil {
		return usage{}, fmt.Errorf("read the manager's memory: %w", err)
	}
	return usage{cpu: stat.CPUTime(), peakRSS: status.VmHWM}, nil
}
