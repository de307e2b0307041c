// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package result

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/bench/audit"
)

func TestSummarize(t *testing.T) {
	got := Summarize([]audit.Request{
		{Verb: "patch", Resource: "edgemachines/status", Code: http.StatusOK},
		{Verb: "patch", Resource: "edgemachines/status", Code: http.StatusConflict},
		{Verb: "get", Resource: "secrets", Code: http.StatusOK},
		{Verb: "list", Resource: "baremetalhosts", Code: http.StatusOK},
		{Verb: "watch", Resource: "baremetalhosts", Code: http.StatusOK},
	}, 30*time.Second)
	want := Requests{Seconds: 30, Reads: 2, Writes: 2, Conflicts: 1, HostLists: 1, ByKind: []Count{
		{"patch", "edgemachines/status", 2}, {"list", "baremetalhosts", 1}, {"get", "secrets", 1},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func run(machines, writes int, cpu float64, rss uint64) Run {
	return Run{
		Machines: machines, BringUp: Requests{Writes: writes}, Steady: Requests{Seconds: 60},
		BringUpCPU: cpu, PeakRSS: rss,
	}
}

func verdicts(r *Report) map[string]Verdict {
	found := map[string]Verdict{}
	for _, target := range r.Targets {
		found[strings.Fields(target.Name)[0]+" "+strings.Fields(target.Name)[1]] = target.Verdict
	}
	return found
}

func TestTargets(t *testing.T) {
	good := &Report{Runs: []Run{run(1000, 12_000, 50, 149<<20), run(100, 1_200, 5, 70<<20)}}
	good.Finish()
	if good.Runs[0].Machines != 100 {
		t.Error("runs are not sorted by machines")
	}
	for name, verdict := range verdicts(good) {
		if verdict != Pass {
			t.Errorf("%s: %s, want %s", name, verdict, Pass)
		}
	}

	bad := run(1000, 13_000, 90, 151<<20)
	bad.Steady.Writes, bad.Restart.Writes, bad.BringUp.HostLists, bad.BringUp.Reads = 1, 1, 1, 9_000
	worse := &Report{Runs: []Run{run(100, 1_000, 5, 70<<20), bad}}
	worse.Finish()
	for name, verdict := range verdicts(worse) {
		if verdict != Miss {
			t.Errorf("%s: %s, want %s", name, verdict, Miss)
		}
	}

	small := &Report{Runs: []Run{run(50, 500, 5, 70<<20)}}
	small.Finish()
	if got := verdicts(small)["manager under"]; got != NotMeasured {
		t.Errorf("memory of 50 machines: %s, want %s", got, NotMeasured)
	}
}
