// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package quickstart

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab"
)

func TestDigestOfAConsole(t *testing.T) {
	console := strings.Join([]string{
		"\x1b[0;32m  OK  \x1b[0m] Started \x1b[0;1;39mcontainerd.service\x1b[0m\r",
		"[  101.5] cloud-init[512]: [preflight] Running pre-flight checks",
		"",
		"[  102.5] cloud-init[512]: \t[ERROR Port-6443]: Port 6443 is in use",
		"[  103.5] cloud-init[512]: error execution phase preflight: preflight checks failed",
		"[  104.5] cloud-init[512]: kubeadm join --token abcdef.0123456789abcdef --certificate-key " + strings.Repeat("0a", 32),
		"edge login: ",
	}, "\n")
	trouble, recent := digest(console)
	wantTrouble := []string{
		"[  102.5] cloud-init[512]: \t[ERROR Port-6443]: Port 6443 is in use",
		"[  103.5] cloud-init[512]: error execution phase preflight: preflight checks failed",
	}
	if diff := cmp.Diff(wantTrouble, trouble); diff != "" {
		t.Errorf("trouble (-want +got):\n%s", diff)
	}
	wantRecent := []string{
		wantTrouble[0], wantTrouble[1],
		"[  104.5] cloud-init[512]: kubeadm join --token (secret) --certificate-key (secret)", "edge login:",
	}
	if diff := cmp.Diff(wantRecent, recent); diff != "" {
		t.Errorf("last lines (-want +got):\n%s", diff)
	}
}

func TestKubeadmFailuresHoldNoSecrets(t *testing.T) {
	got := kubeadmFailure("host-1 power: on\nerror execution phase preflight: token abcdef.0123456789abcdef is not valid\n")
	if want := "preflight: token (secret) is not valid"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestConsolesAreNamed(t *testing.T) {
	access := lab.Access{Dir: t.TempDir()}
	if got := whatConsolesShow(access); got != nil {
		t.Errorf("without hosts: %v", got)
	}
	path := access.ConsolePath("default", "host-1")
	if err := os.MkdirAll(strings.TrimSuffix(path, "/console.log"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("booting\nKernel panic - not syncing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := path + ":\n  ! Kernel panic - not syncing\n    booting\n    Kernel panic - not syncing"
	if diff := cmp.Diff(want, whatConsolesShow(access).Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestKubeadmFailureOfThisLife(t *testing.T) {
	const failed = "[  516.9] cloud-init[521]: error: error execution phase wait-control-plane: no answer\n"
	tests := map[string]struct{ console, want string }{
		"none":               {"--- 2026-01-01 power: on, accelerated by tcg\nbooting\n", ""},
		"in this life":       {"--- 2026-01-01 power: on, accelerated by tcg\n" + failed, "wait-control-plane: no answer"},
		"in an earlier life": {"--- 2026-01-01 power: on\n" + failed + "--- 2026-01-02 power: off\n--- 2026-01-02 power: on\n", ""},
		"without our lines":  {failed, "wait-control-plane: no answer"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := kubeadmFailure(tt.console); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
