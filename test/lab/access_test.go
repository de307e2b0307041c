// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestApplyWaitsForTheWebhooksAuthority(t *testing.T) {
	const late = "failed calling webhook: tls: failed to verify certificate: x509: certificate signed by unknown authority"
	for name, test := range map[string]struct {
		says  string
		calls int
		want  string
	}{
		"authority is late":  {late, 2, ""},
		"refused for a fact": {"admission webhook denied the request: spec.replicas is wrong", 1, "spec.replicas is wrong"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			kubectl, calls := filepath.Join(dir, "kubectl"), filepath.Join(dir, "calls")
			// It fails the first time.
			script := "#!/bin/sh\necho call >> " + calls + "\n[ $(wc -l < " + calls + ") -gt 1 ] || { echo '" + test.says + "' >&2; exit 1; }\n"
			if err := os.WriteFile(kubectl, []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			site := Site{Network: netip.MustParsePrefix("127.64.12.0/24")}
			err := Access{Dir: dir, KubectlPath: kubectl, Site: site}.Apply(t.Context(), "kind: Nothing")
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			made, err := os.ReadFile(calls)
			if err != nil || strings.Count(string(made), "call") != test.calls {
				t.Errorf("%d calls, want %d (%v)", strings.Count(string(made), "call"), test.calls, err)
			}
		})
	}
}
