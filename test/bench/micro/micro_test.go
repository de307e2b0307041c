// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package micro

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRead(t *testing.T) {
	got, err := read("goos: linux\nBenchmarkChoose/10000-2   \t     100\t   1234567 ns/op\t     512 B/op\t       9 allocs/op\n" +
		"BenchmarkRender         \t    5000\t     41.5 ns/op\t      16 B/op\t       1 allocs/op\nPASS\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []Result{
		{Name: "Choose/10000", Nanoseconds: 1234567, Bytes: 512, Allocations: 9},
		{Name: "Render", Nanoseconds: 41.5, Bytes: 16, Allocations: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
