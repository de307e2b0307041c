// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

func TestHugepages(t *testing.T) {
	root, runDir := t.TempDir(), t.TempDir()
	reserve := func(size, n string) {
		t.Helper()
		dir := filepath.Join(root, "sys/kernel/mm/hugepages", "hugepages-"+size)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "nr_hugepages"), []byte(n+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	observe := func(vppRuns bool, want encryption.Hugepages) {
		t.Helper()
		pages, err := NewHugepages(root, runDir, func() bool { return vppRuns })
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, pages.Observe()); diff != "" {
			t.Error("hugepages (-want +got):\n" + diff)
		}
	}
	observe(false, encryption.Hugepages{Known: true})
	reserve("2048kB", "148")
	reserve("1048576kB", "1")
	// The agent restarts while VPP runs: it remembers.
	observe(true, encryption.Hugepages{Known: true, Now: 149})
	// The host starts, and VPP before the agent.
	runDir = t.TempDir()
	observe(true, encryption.Hugepages{Before: 149, Now: 149})
	if err := os.WriteFile(filepath.Join(runDir, "hugepages.json"), []byte("?"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewHugepages(root, runDir, func() bool { return false }); err == nil {
		t.Error("what cannot be read passes for nothing")
	}
}
