// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package result

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// row is a line of the table: a name and a cell per run.
type row struct {
	name string
	cell func(Run) string
}

// Print writes the report as a table with a column per run.
func (r *Report) Print(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(cells ...string) { fmt.Fprintln(table, strings.Join(cells, "\t")) } // errors come back from Flush
	for _, section := range [][]row{setting(), times(), r.requests(), costs()} {
		for _, row := range section {
			cells := []string{row.name}
			for _, run := range r.Runs {
				cells = append(cells, row.cell(run))
			}
			line(cells...)
		}
		line("")
	}
	for _, b := range r.Benchmarks {
		line("benchmark "+b.Name, fmt.Sprintf("%.1f µs/op", b.Nanoseconds/1000), fmt.Sprintf("%d B/op", b.Bytes), fmt.Sprintf("%d allocs/op", b.Allocations))
	}
	line("")
	for _, target := range r.Targets {
		line(fmt.Sprintf("%-12s %s", target.Verdict, target.Name), target.Found)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	return nil
}

func setting() []row {
	return []row{
		{"machines", func(r Run) string { return fmt.Sprint(r.Machines) }},
		{"clusters, machines in each", func(r Run) string { return fmt.Sprintf("%d x %d", r.Clusters, r.PerClust) }},
		{"clusters on their way at once", func(r Run) string { return fmt.Sprint(r.AtOnce) }},
		{"hosts, in one namespace", func(r Run) string { return fmt.Sprint(r.Hosts) }},
		{"addresses", func(r Run) string { return r.Addresses }},
		{"bootstrap data, control plane and worker", func(r Run) string {
			return fmt.Sprintf("%.1f and %.1f kB", float64(r.ControlPlanePayload)/1000, float64(r.WorkerPayload)/1000)
		}},
	}
}

func times() []row {
	return []row{
		{"apply to all linked", func(r Run) string { return fmt.Sprintf("%.1f s", r.AllLinked) }},
		{"apply to half of them linked", func(r Run) string { return fmt.Sprintf("%.1f s", r.MedianLinked) }},
		{"apply to all Machines with nodeRef", func(r Run) string { return fmt.Sprintf("%.1f s", r.AllNodeRefs) }},
	}
}

// requests has a row for each kind of request that any run has made.
func (r *Report) requests() []row {
	rows := []row{
		{"our requests per machine", func(r Run) string { return fmt.Sprintf("%.2f", r.RequestsPerMachine()) }},
		{"of these writes", func(r Run) string { return fmt.Sprintf("%.2f", r.WritesPerMachine()) }},
		{"of these refused as conflicts", func(r Run) string { return fmt.Sprintf("%.2f", float64(r.BringUp.Conflicts)/float64(r.Machines)) }},
	}
	var kinds []Count
	for _, run := range slices.Backward(r.Runs) {
		for _, kind := range run.BringUp.ByKind {
			kind.Total = 0
			if !slices.Contains(kinds, kind) {
				kinds = append(kinds, kind)
			}
		}
	}
	for _, kind := range kinds {
		rows = append(rows, row{"  " + kind.Verb + " " + kind.Resource, func(r Run) string {
			return fmt.Sprintf("%.2f", float64(total(r.BringUp, kind))/float64(r.Machines))
		}})
	}
	return append(rows,
		row{"writes a minute in steady state", func(r Run) string { return fmt.Sprintf("%.1f", float64(r.Steady.Writes)*60/r.Steady.Seconds) }},
		row{"reads a minute in steady state", func(r Run) string { return fmt.Sprintf("%.1f", float64(r.Steady.Reads)*60/r.Steady.Seconds) }},
		row{"restarted manager: writes, reads", func(r Run) string { return fmt.Sprintf("%d, %d", r.Restart.Writes, r.Restart.Reads) }},
	)
}

func total(requests Requests, kind Count) int {
	for _, found := range requests.ByKind {
		if found.Verb == kind.Verb && found.Resource == kind.Resource {
			return found.Total
		}
	}
	return 0
}

func costs() []row {
	return []row{
		{"manager CPU, apply to linked", func(r Run) string { return fmt.Sprintf("%.1f s", r.BringUpCPU) }},
		{"manager CPU per machine", func(r Run) string { return fmt.Sprintf("%.1f ms", r.CPUPerMachine()) }},
		{"manager CPU in steady state", func(r Run) string { return fmt.Sprintf("%.0f ms a minute", r.SteadyCPU*60_000/r.Steady.Seconds) }},
		{"manager peak RSS", func(r Run) string { return fmt.Sprintf("%.0f MiB", mebibytes(r.PeakRSS)) }},
		{"restarted manager peak RSS", func(r Run) string { return fmt.Sprintf("%.0f MiB", mebibytes(r.RestartPeakRSS)) }},
	}
}
