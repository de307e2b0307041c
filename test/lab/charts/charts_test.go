// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package charts_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/charts"
	labcharts "github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/charts"
)

const version = "v3.32.1"

func pack(t *testing.T) map[string][]byte {
	t.Helper()
	archives, err := labcharts.Pack(version, "")
	if err != nil {
		t.Fatal(err)
	}
	return archives
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func render(t *testing.T, archive charts.Archive, values map[string]any) map[string]*unstructured.Unstructured {
	t.Helper()
	objects, err := charts.Render(archive, charts.Release{Name: "calico", Namespace: "tigera-operator", Values: values, KubeVersion: "v1.36.3"})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*unstructured.Unstructured{}
	for _, object := range objects {
		found[object.GetKind()+" "+object.GetName()] = object
	}
	return found
}

func TestServe(t *testing.T) {
	archives := pack(t)
	server, err := labcharts.Serve(t.Context(), archives)
	if err != nil {
		t.Fatal(err)
	}
	fetcher := charts.NewFetcher()
	for _, name := range []string{labcharts.Definitions, labcharts.Operator} {
		want := archives[labcharts.Key(name, version)]
		archive, err := fetcher.Fetch(t.Context(), charts.Source{Repository: server.URL}, charts.Reference{Name: name, Version: version, Digest: digestOf(want)})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(digestOf(want), archive.Digest); diff != "" {
			t.Errorf("%s: digest (-want +got):\n%s", name, diff)
		}
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := fetcher.Fetch(t.Context(), charts.Source{Repository: server.URL}, charts.Reference{Name: labcharts.Operator, Version: version}); err != nil {
		t.Errorf("what was fetched before is not kept: %v", err)
	}
}

func TestRegistryErrors(t *testing.T) {
	archives := pack(t)
	server, err := labcharts.Serve(t.Context(), archives)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	for name, c := range map[string]struct {
		ref  charts.Reference
		want []string
	}{
		"version": {charts.Reference{Name: labcharts.Operator, Version: "v9.9.9"}, []string{"v9.9.9", "it has the versions v3.32.1", "calico.version"}},
		"chart":   {charts.Reference{Name: "nothing", Version: version}, []string{"nothing", "no chart of that name", "charts.repository"}},
		"digest": {
			charts.Reference{Name: labcharts.Operator, Version: version, Digest: "sha256:" + strings.Repeat("0", 64)},
			[]string{"sha256:" + strings.Repeat("0", 64), digestOf(archives[labcharts.Key(labcharts.Operator, version)])},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := charts.NewFetcher().Fetch(t.Context(), charts.Source{Repository: server.URL}, c.ref)
			if err == nil {
				t.Fatal("no error")
			}
			if _, isDigest := errors.AsType[*charts.DigestError](err); isDigest != (name == "digest") {
				t.Errorf("%T: %v", err, err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not contain %q", err, want)
				}
			}
		})
	}
}

// TestPrivateRegistry is a registry with a certificate of a private authority that asks for a password.
func TestPrivateRegistry(t *testing.T) {
	archives, registry := pack(t), labcharts.Handler()
	var locked atomic.Bool
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); locked.Load() && (user != "edge" || password != "open sesame") {
			w.Header().Set("WWW-Authenticate", `Basic realm="charts"`)
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		registry.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "https://")
	if err := labcharts.Push(t.Context(), server.Client(), host+"/charts", archives, false); err != nil {
		t.Fatal(err)
	}
	locked.Store(true)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	source := charts.Source{Repository: "oci://" + host + "/charts", CA: ca, Username: "edge", Password: "open sesame"}
	ref := charts.Reference{Name: labcharts.Operator, Version: version}
	if _, err := charts.NewFetcher().Fetch(t.Context(), source, ref); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*charts.Source)
		want   string
	}{
		"no credentials":    {func(s *charts.Source) { s.Username, s.Password = "", "" }, "charts.credentials"},
		"wrong credentials": {func(s *charts.Source) { s.Password = "open barley" }, "charts.credentials"},
		"bad authority":     {func(s *charts.Source) { s.CA = []byte("nothing") }, "ca.crt"},
		"other authority":   {func(s *charts.Source) { s.CA = otherAuthority(t) }, "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			changed := source
			c.change(&changed)
			_, err := charts.NewFetcher().Fetch(t.Context(), changed, ref)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v does not contain %q", err, c.want)
			}
			if err != nil && (strings.Contains(err.Error(), "sesame") || strings.Contains(err.Error(), "barley")) {
				t.Errorf("error %v contains a password", err)
			}
		})
	}
}

// otherAuthority is well-formed and has not signed the server's certificate.
func otherAuthority(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/other-ca.crt")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestOperatorChart(t *testing.T) {
	archive := charts.Archive{Data: pack(t)[labcharts.Key(labcharts.Operator, version)]}
	off := map[string]any{"enabled": false}
	found := render(t, archive, map[string]any{
		"installation": map[string]any{"enabled": false, "imagePullSecrets": []any{map[string]any{"name": "pull"}}}, "apiServer": off, "goldmane": off, "whisker": off,
		"tigeraOperator": map[string]any{"registry": "registry.example.com/mirror"},
	})
	names := map[string]bool{}
	for name := range found {
		names[name] = true
	}
	want := map[string]bool{
		"Deployment tigera-operator": true, "ServiceAccount tigera-operator": true, "ClusterRole tigera-operator": true, "ClusterRoleBinding tigera-operator": true,
	}
	// The genuine chart has more roles.
	for name := range want {
		if !names[name] {
			t.Errorf("%s is missing", name)
		}
	}
	for _, no := range []string{"Job tigera-operator-uninstall", "Installation default", "APIServer default"} {
		if names[no] {
			t.Errorf("%s is there", no)
		}
	}
	containers, _, err := unstructured.NestedSlice(found["Deployment tigera-operator"].Object, "spec", "template", "spec", "containers")
	if err != nil || len(containers) != 1 {
		t.Fatalf("%d containers, %v", len(containers), err)
	}
	container, _ := containers[0].(map[string]any)
	if diff := cmp.Diff("registry.example.com/mirror/tigera/operator:v1.42.3", container["image"]); diff != "" {
		t.Errorf("image (-want +got):\n%s", diff)
	}
	if len(render(t, archive, map[string]any{})) != len(want)+2 {
		t.Error("by default Installation and APIServer are made too")
	}
}

// TestGenuineCharts renders the charts of Calico, when there is a folder with them.
func TestGenuineCharts(t *testing.T) {
	dir := os.Getenv(labcharts.DirVariable)
	if dir == "" {
		t.Skip(labcharts.DirVariable + " is not set")
	}
	genuine, err := labcharts.Pack(version, dir)
	if err != nil {
		t.Fatal(err)
	}
	off := map[string]any{"enabled": false}
	real := render(t, charts.Archive{Data: genuine[labcharts.Key(labcharts.Operator, version)]}, map[string]any{
		"installation": off, "apiServer": off, "goldmane": off, "whisker": off, "defaultFelixConfiguration": off, "manageCRDs": true,
	})
	for _, want := range []string{"Deployment tigera-operator", "ServiceAccount tigera-operator", "ClusterRole tigera-operator"} {
		if real[want] == nil {
			t.Errorf("%s is missing", want)
		}
	}
	for name := range real {
		if strings.HasPrefix(name, "Job ") || strings.HasPrefix(name, "Installation ") {
			t.Errorf("%s is there", name)
		}
	}
	definitions := render(t, charts.Archive{Data: genuine[labcharts.Key(labcharts.Definitions, version)]}, nil)
	for name := range render(t, charts.Archive{Data: pack(t)[labcharts.Key(labcharts.Definitions, version)]}, nil) {
		if definitions[name] == nil {
			t.Errorf("%s is not genuine", name)
		}
	}
	t.Logf("%d objects of the operator, %d definitions", len(real), len(definitions))
}
