// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// Hugepages counts the host's hugepages, and remembers how many were reserved before VPP ran. What it remembers lies in a directory that
// is emptied when the host starts, so that it holds for VPP's restarts and the agent's.
type Hugepages struct {
	sysfs, memory string
	before        hugepageMemory
}

// hugepageMemory is what is written down.
type hugepageMemory struct {
	// Before is how many were reserved; Known is false when VPP ran before they could be counted.
	Before int  `json:"before"`
	Known  bool `json:"known"`
}

// NewHugepages counts in the host's /sys below hostRoot and remembers in runDir. The first time since the host started, vppRuns tells
// whether it is too late to know what was before.
func NewHugepages(hostRoot, runDir string, vppRuns func() bool) (*Hugepages, error) {
	h := &Hugepages{sysfs: filepath.Join(hostRoot, "sys/kernel/mm/hugepages"), memory: filepath.Join(runDir, "hugepages.json")}
	content, err := os.ReadFile(h.memory)
	if err == nil {
		err = json.Unmarshal(content, &h.before)
	}
	if err == nil {
		return h, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading %s: %w; delete it to count again", h.memory, err)
	}
	// First count, then look for VPP: it may start meanwhile.
	h.before.Before = h.count()
	h.before.Known = !vppRuns()
	if content, err = json.Marshal(h.before); err != nil {
		return nil, err
	}
	if err := os.WriteFile(h.memory, content, 0o600); err != nil {
		return nil, fmt.Errorf("remembering the host's hugepages: %w", err)
	}
	return h, nil
}

// Observe counts now.
func (h *Hugepages) Observe() encryption.Hugepages {
	return encryption.Hugepages{Before: h.before.Before, Known: h.before.Known, Now: h.count()}
}

// count adds up the reserved hugepages of all sizes; none when the kernel has no hugepages.
func (h *Hugepages) count() int {
	files, err := filepath.Glob(filepath.Join(h.sysfs, "hugepages-*", "nr_hugepages"))
	if err != nil {
		return 0
	}
	total := 0
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if n, err := strconv.Atoi(strings.TrimSpace(string(content))); err == nil {
			total += n
		}
	}
	return total
}
