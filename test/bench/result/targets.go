// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package result

import (
	"cmp"
	"fmt"
	"slices"
)

// The targets.
const (
	maxWritesPerMachine = 12
	maxRSS              = 150 << 20
	rssMachines         = 1000
	// flatFactor is how much more a machine may cost among the most machines than among the fewest.
	flatFactor = 1.25
)

// Verdict on a target.
type Verdict string

// Verdicts. NotMeasured: the runs were too small to tell.
const (
	Pass        Verdict = "PASS"
	Miss        Verdict = "MISS"
	NotMeasured Verdict = "not measured"
)

// Target with what was measured.
type Target struct {
	Name    string  `json:"name"`
	Verdict Verdict `json:"verdict"`
	Found   string  `json:"found"`
}

// Finish sorts the runs and judges them.
func (r *Report) Finish() {
	slices.SortFunc(r.Runs, func(a, b Run) int { return cmp.Compare(a.Machines, b.Machines) })
	r.Targets = []Target{
		r.worst("steady state: 0 writes a minute", func(run Run) (bool, string) {
			return run.Steady.Writes == 0, fmt.Sprintf("%d in %.0f s", run.Steady.Writes, run.Steady.Seconds)
		}),
		r.worst("restarted manager: 0 writes", func(run Run) (bool, string) {
			return run.Restart.Writes == 0, fmt.Sprintf("%d", run.Restart.Writes)
		}),
		r.worst(fmt.Sprintf("at most %d writes per machine from creation to linked", maxWritesPerMachine), func(run Run) (bool, string) {
			return run.WritesPerMachine() <= maxWritesPerMachine, fmt.Sprintf("%.2f", run.WritesPerMachine())
		}),
		r.worst("host choice without an API request", func(run Run) (bool, string) {
			return run.BringUp.HostLists == 0, fmt.Sprintf("%d lists among %d hosts", run.BringUp.HostLists, run.Hosts)
		}),
		r.memory(),
		r.flat("writes per machine flat", Run.WritesPerMachine, "%.2f"),
		r.flat("requests per machine flat", Run.RequestsPerMachine, "%.2f"),
		r.flat("manager CPU per machine flat", Run.CPUPerMachine, "%.1f ms"),
	}
}

// worst judges every run and tells of the first that misses, else of the largest.
func (r *Report) worst(name string, judge func(Run) (bool, string)) Target {
	target := Target{Name: name, Verdict: Pass}
	for _, run := range r.Runs {
		ok, found := judge(run)
		target.Found = fmt.Sprintf("%s (N=%d)", found, run.Machines)
		if !ok {
			target.Verdict = Miss
			return target
		}
	}
	return target
}

func (r *Report) memory() Target {
	largest := r.Runs[len(r.Runs)-1]
	peak := max(largest.PeakRSS, largest.RestartPeakRSS)
	target := Target{
		Name: fmt.Sprintf("manager under %d MiB at %d machines", maxRSS>>20, rssMachines), Verdict: Pass,
		Found: fmt.Sprintf("%.0f MiB (N=%d)", mebibytes(peak), largest.Machines),
	}
	switch {
	case peak >= maxRSS:
		target.Verdict = Miss
	case largest.Machines < rssMachines:
		target.Verdict = NotMeasured
	}
	return target
}

// flat compares the largest run with the smallest.
func (r *Report) flat(name string, cost func(Run) float64, format string) Target {
	least, most := r.Runs[0], r.Runs[len(r.Runs)-1]
	target := Target{Name: fmt.Sprintf("%s (factor at most %.2f)", name, flatFactor), Verdict: NotMeasured, Found: "one run only; use the sweep"}
	if least.Machines == most.Machines {
		return target
	}
	target.Found = fmt.Sprintf(format+" (N=%d) to "+format+" (N=%d)", cost(least), least.Machines, cost(most), most.Machines)
	target.Verdict = Miss
	if cost(most) <= flatFactor*cost(least) {
		target.Verdict = Pass
	}
	return target
}

func mebibytes(bytes uint64) float64 { return float64(bytes) / (1 << 20) }
