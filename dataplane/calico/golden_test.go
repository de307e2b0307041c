// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package calico_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/calico"
)

var update = flag.Bool("update", false, "write the documents to testdata instead of comparing them")

func TestRenderGolden(t *testing.T) {
	for _, tc := range renderCases() {
		t.Run(tc.name, func(t *testing.T) {
			golden(t, filepath.Join("testdata", tc.name+".yaml"), documents(t, render(t, tc.input)))
		})
	}
}

func TestStartupConfigGolden(t *testing.T) {
	for _, tc := range renderCases() {
		d := calico.Defaults(tc.input)
		if d.VPP == nil {
			continue
		}
		t.Run(tc.name, func(t *testing.T) {
			want := object(t, render(t, tc.input), "ConfigMap", "calico-vpp-config")
			data, _ := want.Object["data"].(map[string]any)
			if diff := cmp.Diff(data["CALICOVPP_CONFIG_TEMPLATE"], any(calico.StartupConfig(*d.VPP))); diff != "" {
				t.Errorf("what tests of VPP use is not what is rendered:\n%s", diff)
			}
		})
	}
	golden(t, filepath.Join("testdata", "startup.conf"), []byte(calico.StartupConfig(*calico.Defaults(input(nil)).VPP)))
	golden(t, filepath.Join("testdata", "startup-tuned.conf"), []byte(calico.StartupConfig(*calico.Defaults(input(tuned)).VPP)))
}

func render(t testing.TB, in calico.Input) calico.Plan {
	t.Helper()
	plan, err := calico.Render(in)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// documents are the plan as YAML: for each step what is not an object, then the objects.
func documents(t testing.TB, plan calico.Plan) []byte {
	t.Helper()
	var b bytes.Buffer
	write := func(value any) {
		text, err := yaml.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString("---\n")
		b.Write(text)
	}
	for _, step := range plan.Steps {
		about := step
		about.Objects = nil
		write(map[string]any{"step": about})
		for _, object := range step.Objects {
			write(object.Object)
		}
	}
	return b.Bytes()
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
