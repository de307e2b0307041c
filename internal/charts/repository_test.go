// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package charts_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/charts"
)

// pack files of a chart.
func pack(t *testing.T, files map[string]string) charts.Archive {
	t.Helper()
	var data bytes.Buffer
	zip := gzip.NewWriter(&data)
	archive := tar.NewWriter(zip)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := archive.WriteHeader(&tar.Header{Name: "demo/" + name, Mode: 0o600, Size: int64(len(files[name]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write([]byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(archive.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	found, err := charts.NewFetcher().Fetch(t.Context(), charts.Source{Archives: map[string][]byte{"demo-v1.2.3.tgz": data.Bytes()}}, charts.Reference{Name: "demo", Version: "v1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func demo(t *testing.T) charts.Archive {
	t.Helper()
	return pack(t, map[string]string{
		"Chart.yaml":             "{apiVersion: v2, name: demo, version: v1.2.3}",
		"templates/config.yaml":  "{apiVersion: v1, kind: ConfigMap, metadata: {name: demo}}",
		"templates/_helpers.tpl": "",
	})
}

// repository is a Helm repository that counts requests.
type repository struct {
	index, archive string
	user, password string
	data           []byte
	requests       atomic.Int32
	leaked         atomic.Bool
}

func (r *repository) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.requests.Add(1)
	user, password, has := request.BasicAuth()
	if r.user != "" && (user != r.user || password != r.password) {
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	if r.user == "" && has {
		r.leaked.Store(true)
	}
	switch request.URL.Path {
	case "/charts/index.yaml":
		_, _ = w.Write([]byte(r.index))
	case r.archive:
		_, _ = w.Write(r.data)
	default:
		http.NotFound(w, request)
	}
}

func indexOf(digest, url string, versions ...string) string {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nentries:\n  demo:\n")
	for _, version := range versions {
		fmt.Fprintf(&b, "  - {name: demo, version: %s, digest: %q, urls: [%q]}\n", version, strings.TrimPrefix(digest, "sha256:"), url)
	}
	return b.String()
}

func authority(server *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

func TestRepository(t *testing.T) {
	archive := demo(t)
	repo := &repository{index: indexOf(archive.Digest, "demo-v1.2.3.tgz", "v1.3.0", "v1.2.3"), archive: "/charts/demo-v1.2.3.tgz", data: archive.Data, user: "edge", password: "open sesame"}
	server := httptest.NewTLSServer(repo)
	t.Cleanup(server.Close)
	source := charts.Source{Repository: server.URL + "/charts/", CA: authority(server), Username: repo.user, Password: repo.password}
	fetcher := charts.NewFetcher()
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			got, err := fetcher.Fetch(t.Context(), source, charts.Reference{Name: "demo", Version: "v1.2.3"})
			if err != nil || got.Digest != archive.Digest {
				t.Errorf("fetched %s, %v", got.Digest, err)
			}
		})
	}
	wait.Wait()
	first := repo.requests.Load()
	if _, err := fetcher.Fetch(t.Context(), source, charts.Reference{Name: "demo", Version: "v1.2.3", Digest: archive.Digest}); err != nil {
		t.Fatal(err)
	}
	if repo.requests.Load() != first {
		t.Error("a chart that is there was fetched again")
	}
	stranger := source
	stranger.Password = "guessed"
	if _, err := fetcher.Fetch(t.Context(), stranger, charts.Reference{Name: "demo", Version: "v1.2.3"}); err == nil {
		t.Error("other credentials get what the first ones fetched")
	}
}

func TestRepositoryErrors(t *testing.T) {
	archive := demo(t)
	wrong := "sha256:" + strings.Repeat("ab", 32)
	good := repository{index: indexOf(archive.Digest, "demo-v1.2.3.tgz", "v1.2.9", "v1.2.3"), archive: "/charts/demo-v1.2.3.tgz", data: archive.Data}
	ref := charts.Reference{Name: "demo", Version: "v1.2.3"}
	for name, c := range map[string]struct {
		index    string
		ref      charts.Reference
		source   charts.Source
		isDigest bool
		want     []string
	}{
		"pinned digest":  {good.index, charts.Reference{Name: "demo", Version: "v1.2.3", Digest: wrong}, charts.Source{}, true, []string{wrong, archive.Digest, "change the expected digest"}},
		"index's digest": {indexOf(wrong, "demo-v1.2.3.tgz", "v1.2.3"), ref, charts.Source{}, true, []string{wrong, archive.Digest}},
		"version":        {good.index, charts.Reference{Name: "demo", Version: "v9.0.0"}, charts.Source{}, false, []string{"demo v9.0.0", "v1.2.9, v1.2.3", "calico.version"}},
		"many versions":  {indexOf("", "x", "v7.0.0", "v6.0.0", "v5.0.0", "v4.0.0", "v3.0.0", "v2.0.0", "v1.0.0"), ref, charts.Source{}, false, []string{"v3.0.0 and 2 more"}},
		"chart":          {good.index, charts.Reference{Name: "other", Version: "v1.2.3"}, charts.Source{}, false, []string{"no chart of that name"}},
		"archive":        {indexOf("", "gone.tgz", "v1.2.3"), ref, charts.Source{}, false, []string{"404", "/charts/gone.tgz"}},
		"no index":       {"\tx", ref, charts.Source{}, false, []string{"index.yaml", "is the address of a Helm repository"}},
		"in clear":       {good.index, ref, charts.Source{Repository: "http://charts.example.com", Username: "u", Password: "p"}, false, []string{"in clear", "https://"}},
		"authority":      {good.index, ref, charts.Source{CA: []byte("nothing")}, false, []string{"ca.crt"}},
	} {
		t.Run(name, func(t *testing.T) {
			repo := &repository{index: c.index, archive: good.archive, data: good.data}
			server := httptest.NewServer(repo)
			t.Cleanup(server.Close)
			source := c.source
			if source.Repository == "" {
				source.Repository = server.URL + "/charts"
			}
			_, err := charts.NewFetcher().Fetch(t.Context(), source, c.ref)
			if err == nil {
				t.Fatal("no error")
			}
			_, isDigest := errors.AsType[*charts.DigestError](err)
			_, isUnavailable := errors.AsType[*charts.UnavailableError](err)
			if isDigest != c.isDigest || isUnavailable == c.isDigest {
				t.Errorf("error is a %T", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not contain %q", err, want)
				}
			}
		})
	}
}

// TestCredentialsStay: an index may name archives on other hosts, which get no credentials.
func TestCredentialsStay(t *testing.T) {
	archive := demo(t)
	elsewhere := &repository{archive: "/demo.tgz", data: archive.Data}
	other := httptest.NewServer(elsewhere)
	t.Cleanup(other.Close)
	repo := &repository{index: indexOf(archive.Digest, other.URL+"/demo.tgz", "v1.2.3"), user: "edge", password: "open sesame"}
	server := httptest.NewServer(repo)
	t.Cleanup(server.Close)
	source := charts.Source{Repository: server.URL + "/charts", Username: repo.user, Password: repo.password}
	if _, err := charts.NewFetcher().Fetch(t.Context(), source, charts.Reference{Name: "demo", Version: "v1.2.3"}); err != nil {
		t.Fatal(err)
	}
	if elsewhere.requests.Load() != 1 || elsewhere.leaked.Load() {
		t.Errorf("%d requests to the other host, with credentials: %v", elsewhere.requests.Load(), elsewhere.leaked.Load())
	}
}

func TestFetchStopsWithItsContext(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := charts.NewFetcher().Fetch(ctx, charts.Source{Repository: server.URL}, charts.Reference{Name: "demo", Version: "v1.2.3"}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestArchives(t *testing.T) {
	archive := demo(t)
	source := charts.Source{Archives: map[string][]byte{"demo-v1.2.3.tgz": archive.Data}, ArchivesFrom: "Secret charts"}
	_, err := charts.NewFetcher().Fetch(t.Context(), source, charts.Reference{Name: "demo", Version: "v1.2.4"})
	want := "chart demo v1.2.4 cannot be had from Secret charts; its keys are [demo-v1.2.3.tgz]: add the key demo-v1.2.4.tgz, or set the version to one that it has"
	if err == nil || cmp.Diff(want, err.Error()) != "" {
		t.Errorf("error %v", err)
	}
	_, err = charts.NewFetcher().Fetch(t.Context(), source, charts.Reference{Name: "demo", Version: "v1.2.3", Digest: "sha256:00"})
	if digest, is := errors.AsType[*charts.DigestError](err); !is || digest.Got != archive.Digest || digest.Want != "sha256:00" {
		t.Errorf("error %v", err)
	}
}
