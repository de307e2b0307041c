// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"archive/tar"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// program builds a static Go program, which needs no libraries.
func program(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "main.go"), "package main\n\nfunc main() { println(\"hello\") }\n")
	target := filepath.Join(dir, "hello")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", target, filepath.Join(dir, "main.go"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return target
}

// entries of the image's only layer: name, mode and link or content.
func entries(t *testing.T, image v1.Image) map[string]string {
	t.Helper()
	content := mutate.Extract(image)
	defer func() { _ = content.Close() }()
	found := map[string]string{}
	for r := tar.NewReader(content); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		what := header.FileInfo().Mode().String() + " " + header.Linkname
		if header.Typeflag == tar.TypeReg && len(data) < 100 {
			what += string(data)
		}
		found[strings.TrimSuffix(header.Name, "/")] = strings.TrimSpace(what)
	}
}

func TestImageHoldsItsFilesAndHasTheSameDigestAgain(t *testing.T) {
	tree := t.TempDir()
	write(t, filepath.Join(tree, "etc/ssl/certs/ca.crt"), "certificates")
	spec := Spec{
		Programs:   map[string]string{"/usr/local/bin/hello": program(t)},
		System:     []string{"/etc/ssl/certs/ca.crt"},
		Links:      map[string]string{"/bin/greet": "../usr/local/bin/hello"},
		Files:      map[string]string{"/etc/passwd": "root:x:0:0\n"},
		Entrypoint: []string{"/usr/local/bin/hello"},
		User:       "65532:65532",
	}
	image, err := spec.Build(tree, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"bin": "drwxr-xr-x", "bin/greet": "Lrwxrwxrwx ../usr/local/bin/hello",
		"etc": "drwxr-xr-x", "etc/passwd": "-rw-r--r-- root:x:0:0",
		"etc/ssl": "drwxr-xr-x", "etc/ssl/certs": "drwxr-xr-x", "etc/ssl/certs/ca.crt": "-rw-r--r-- certificates",
		"tmp": "dtrwxrwxrwx", "usr": "drwxr-xr-x", "usr/local": "drwxr-xr-x", "usr/local/bin": "drwxr-xr-x", "usr/local/bin/hello": "-rwxr-xr-x",
	}
	if diff := cmp.Diff(want, entries(t, image)); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(config.Config.Entrypoint, spec.Entrypoint) || config.Config.User != spec.User || config.Architecture != "amd64" || config.OS != "linux" {
		t.Errorf("config %+v", config)
	}
	again, err := spec.Build(tree, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	first, err1 := image.Digest()
	second, err2 := again.Digest()
	if err := errors.Join(err1, err2); err != nil || first != second {
		t.Errorf("digests %s and %s, %v; want the same", first, second, err)
	}
}

func TestSavedImagesAreReadBackByName(t *testing.T) {
	image, err := Spec{Files: map[string]string{"/hello": "world"}}.Build(t.TempDir(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "images.tar")
	const reference = "registry.k8s.io/pause:3.10"
	if err := Save(archive, map[string]v1.Image{reference: image}); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(reference)
	if err != nil {
		t.Fatal(err)
	}
	back, err := tarball.ImageFromPath(archive, &tag)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(entries(t, image), entries(t, back)); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

func TestPullTakesTheImageOfTheRegistry(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	reference := strings.TrimPrefix(server.URL, "http://") + "/coredns/coredns:v1.14.2"
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	image, err := random.Image(100, 2)
	if err != nil {
		t.Fatal(err)
	}
	image, err = mutate.ConfigFile(image, &v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: rootFS(t, image)})
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	pulled, err := Pull(t.Context(), reference)
	if err != nil {
		t.Fatal(err)
	}
	want, err1 := image.Digest()
	got, err2 := pulled.Digest()
	if err := errors.Join(err1, err2); err != nil || got != want {
		t.Errorf("digest %s, %v; want %s", got, err, want)
	}
	missing := strings.Replace(reference, "v1.14.2", "v0", 1)
	if _, err := Pull(t.Context(), missing); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("error %v, want one that names %s", err, missing)
	}
}

func rootFS(t *testing.T, image v1.Image) v1.RootFS {
	t.Helper()
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return config.RootFS
}
