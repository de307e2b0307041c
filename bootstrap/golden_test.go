// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap"
)

var update = flag.Bool("update", false, "write the documents to testdata instead of comparing them")

func TestRenderGolden(t *testing.T) {
	for _, tc := range renderCases(t) {
		t.Run(tc.name, func(t *testing.T) {
			out, err := bootstrap.Render(tc.input)
			if err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join("testdata", tc.name)
			golden(t, filepath.Join(dir, "user_data"), out.UserData)
			golden(t, filepath.Join(dir, "network_data.json"), out.NetworkData)
			golden(t, filepath.Join(dir, "meta_data.json"), out.MetaData)
		})
	}
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; run go test with -update to write it", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs; if the change is wanted run go test with -update (-want +got):\n%s", path, diff)
	}
}

func TestRenderIsDeterministic(t *testing.T) {
	for _, tc := range renderCases(t) {
		first, err := bootstrap.Render(tc.input)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			again, err := bootstrap.Render(tc.input)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(first, again); diff != "" {
				t.Fatalf("%s: rendered again the documents differ:\n%s", tc.name, diff)
			}
		}
	}
}

func BenchmarkRender(b *testing.B) {
	in := renderCases(b)[0].input
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bootstrap.Render(in); err != nil {
			b.Fatal(err)
		}
	}
}
