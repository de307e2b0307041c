// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package result holds what was measured, judges it by the targets and prints it.
package result

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/bench/audit"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/bench/micro"
)

// Report is everything of one call of the benchmark.
type Report struct {
	// CPUs of the computer, which other programs may have used at the same time.
	CPUs int `json:"cpus"`
	// Runs by ascending number of machines.
	Runs []Run `json:"runs"`
	// Benchmarks of rendering and of the choice of hosts.
	Benchmarks []micro.Result `json:"benchmarks"`
	// Targets with verdicts; Finish fills them.
	Targets []Target `json:"targets"`
}

// Run is what one number of machines gave.
type Run struct {
	Machines int `json:"machines"`
	Clusters int `json:"clusters"`
	PerClust int `json:"machinesPerCluster"`
	// AtOnce is how many clusters could be on their way at the same time.
	AtOnce int `json:"clustersAtOnce"`
	Hosts  int `json:"hosts"`
	// Addresses tells where they come from.
	Addresses string `json:"addresses"`
	// ControlPlanePayload and WorkerPayload are the sizes in bytes of the bootstrap data.
	ControlPlanePayload int `json:"controlPlanePayloadBytes"`
	WorkerPayload       int `json:"workerPayloadBytes"`

	// AllLinked and AllNodeRefs are seconds from the apply until every EdgeMachine has NodeLinked, and every Machine its
	// nodeRef.
	AllLinked   float64 `json:"allLinkedSeconds"`
	AllNodeRefs float64 `json:"allNodeRefsSeconds"`
	// MedianLinked is the same of the machine in the middle.
	MedianLinked float64 `json:"medianLinkedSeconds"`

	// BringUp are our manager's requests to the management cluster from the apply until nothing more comes; Steady those
	// after that, and Restart those of a manager that is killed and started again.
	BringUp Requests `json:"bringUp"`
	Steady  Requests `json:"steady"`
	Restart Requests `json:"restart"`

	// CPU in seconds of our manager: until the apply, from the apply until the steady state, and in it.
	StartCPU   float64 `json:"startCPUSeconds"`
	BringUpCPU float64 `json:"bringUpCPUSeconds"`
	SteadyCPU  float64 `json:"steadyCPUSeconds"`
	// PeakRSS in bytes of our manager, and of the one that was started again.
	PeakRSS        uint64 `json:"peakRSSBytes"`
	RestartPeakRSS uint64 `json:"restartPeakRSSBytes"`
}

// Requests of a span of time.
type Requests struct {
	Seconds   float64 `json:"seconds"`
	Reads     int     `json:"reads"`
	Writes    int     `json:"writes"`
	Conflicts int     `json:"conflicts"`
	// HostLists are lists of BareMetalHosts and HardwareData, which a choice without a cache would need.
	HostLists int `json:"hostLists"`
	// ByKind counts requests by verb and resource, the most frequent first.
	ByKind []Count `json:"byKind"`
}

// Count of one kind of request.
type Count struct {
	Verb     string `json:"verb"`
	Resource string `json:"resource"`
	Total    int    `json:"total"`
}

// Summarize counts the requests of a span. Watches are left out: they are recorded when they end.
func Summarize(requests []audit.Request, length time.Duration) Requests {
	sum := Requests{Seconds: length.Seconds()}
	counts := map[Count]int{}
	for _, r := range requests {
		if r.Verb == "watch" {
			continue
		}
		counts[Count{Verb: r.Verb, Resource: r.Resource}]++
		switch {
		case r.IsWrite():
			sum.Writes++
		default:
			sum.Reads++
		}
		if r.IsConflict() {
			sum.Conflicts++
		}
		if r.Verb == "list" && (r.Resource == "baremetalhosts" || r.Resource == "hardwaredata") {
			sum.HostLists++
		}
	}
	for kind, total := range counts {
		kind.Total = total
		sum.ByKind = append(sum.ByKind, kind)
	}
	slices.SortFunc(sum.ByKind, func(a, b Count) int {
		return cmp.Or(cmp.Compare(b.Total, a.Total), cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Verb, b.Verb))
	})
	return sum
}

// WritesPerMachine of the bring-up.
func (r Run) WritesPerMachine() float64 { return float64(r.BringUp.Writes) / float64(r.Machines) }

// RequestsPerMachine of the bring-up.
func (r Run) RequestsPerMachine() float64 {
	return float64(r.BringUp.Writes+r.BringUp.Reads) / float64(r.Machines)
}

// CPUPerMachine of the bring-up in milliseconds.
func (r Run) CPUPerMachine() float64 { return r.BringUpCPU * 1000 / float64(r.Machines) }

// Save writes the report as JSON.
func (r *Report) Save(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("create the report's folder: %w", err)
	}
	if err := os.WriteFile(path, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
