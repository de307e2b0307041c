// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package micro runs Go benchmarks and reads what they print.
package micro

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"

	"golang.org/x/tools/benchmark/parse"
)

// Result of one benchmark.
type Result struct {
	// Name without "Benchmark" and the number of CPUs, such as "Choose/10000".
	Name string `json:"name"`
	// Nanoseconds, Bytes and Allocations per operation.
	Nanoseconds float64 `json:"nsPerOp"`
	Bytes       uint64  `json:"bytesPerOp"`
	Allocations uint64  `json:"allocsPerOp"`
}

// Run runs the benchmarks whose names match the expression in packages of the module in dir.
func Run(ctx context.Context, dir, expression string, packages ...string) ([]Result, error) {
	args := append([]string{"test", "-run=^$", "-bench=" + expression, "-benchmem"}, packages...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	var out, failures bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &failures
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s%s", strings.Join(args, " "), err, out.String(), failures.String())
	}
	results, err := read(out.String())
	if err == nil && len(results) == 0 {
		err = fmt.Errorf("go %s: no benchmark ran", strings.Join(args, " "))
	}
	return results, err
}

func read(output string) ([]Result, error) {
	var results []Result
	for line := range strings.Lines(output) {
		if !strings.HasPrefix(line, "Benchmark") {
			continue
		}
		b, err := parse.ParseLine(line)
		if err != nil {
			return nil, fmt.Errorf("read the benchmark's line %q: %w", strings.TrimSpace(line), err)
		}
		results = append(results, Result{
			Name: plainName(b.Name), Nanoseconds: b.NsPerOp, Bytes: b.AllocedBytesPerOp, Allocations: b.AllocsPerOp,
		})
	}
	return results, nil
}

func plainName(name string) string {
	name = strings.TrimPrefix(name, "Benchmark")
	if cut := strings.LastIndexByte(name, '-'); cut > 0 && strings.Trim(name[cut+1:], "0123456789") == "" {
		return name[:cut]
	}
	return name
}
