// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package charts_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/charts"
)

const chartYAML = "{apiVersion: v2, name: demo, version: v1.2.3}"

func TestRender(t *testing.T) {
	archive := pack(t, map[string]string{
		"Chart.yaml":          "{apiVersion: v2, name: demo, version: v1.2.3, kubeVersion: '>= 1.30.0-0'}",
		"values.yaml":         "{one: 1, two: {a: x, b: w}}",
		"crds/things.yaml":    "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: things.example.com}}\n---\n# Nothing.\n",
		"templates/NOTES.txt": "Hello",
		"templates/all.yaml": `{apiVersion: apps/v1, kind: Deployment, metadata: {name: {{ .Release.Name }}, namespace: {{ .Release.Namespace }}}}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: demo}, data: {one: "{{ .Values.one }}", two: "{{ .Values.two.a }}{{ .Values.two.b }}", version: "{{ .Capabilities.KubeVersion }}"}}
---
{{- if lookup "v1" "Namespace" "" "default" }}
{apiVersion: v1, kind: Secret, metadata: {name: never}}
{{- end }}
`,
		"templates/hook.yaml": "{apiVersion: batch/v1, kind: Job, metadata: {name: bye, annotations: {helm.sh/hook: 'pre-delete,test'}}}",
	})
	objects, err := charts.Render(archive, charts.Release{Name: "calico", Namespace: "ns", Values: map[string]any{"two": map[string]any{"a": "z"}}, KubeVersion: "v1.36.3"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, object := range objects {
		got = append(got, object.GetKind()+" "+object.GetNamespace()+"/"+object.GetName())
		if object.GetKind() == "ConfigMap" {
			if diff := cmp.Diff(map[string]any{"one": "1", "two": "zw", "version": "v1.36.3"}, object.Object["data"]); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
		}
	}
	if diff := cmp.Diff([]string{"CustomResourceDefinition /things.example.com", "Deployment ns/calico", "ConfigMap /demo"}, got); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
}

func TestRenderErrors(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"hook":    {map[string]string{"Chart.yaml": chartYAML, "templates/x.yaml": "{apiVersion: batch/v1, kind: Job, metadata: {name: hello, annotations: {helm.sh/hook: post-install}}}"}, "hook Job hello for post-install"},
		"version": {map[string]string{"Chart.yaml": "{apiVersion: v2, name: demo, version: v1.2.3, kubeVersion: '>= 1.40.0-0'}"}, "needs Kubernetes >= 1.40.0-0"},
		"object":  {map[string]string{"Chart.yaml": chartYAML, "templates/x.yaml": "{apiVersion: v1, kind: ConfigMap}"}, "without apiVersion, kind or name"},
		"text":    {map[string]string{"Chart.yaml": chartYAML, "templates/x.yaml": "a: [b"}, "reading what chart demo rendered"},
		"schema":  {map[string]string{"Chart.yaml": chartYAML, "values.yaml": "one: 1", "values.schema.json": `{"properties": {"one": {"type": "string"}}}`}, "merging values"},
		"chart":   {map[string]string{"values.yaml": "{}"}, "reading the chart's archive"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := charts.Render(pack(t, c.files), charts.Release{Name: "demo", Namespace: "ns", KubeVersion: "v1.36.3"})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v does not contain %q", err, c.want)
			}
		})
	}
}
