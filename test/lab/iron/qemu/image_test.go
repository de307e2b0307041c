// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
)

const (
	content  = "QFI\xfb an image"
	diskVMDK = "KDMV an image"
)

// webServer has images and checksums, and counts what is fetched.
func webServer(t *testing.T) (url string, fetched *atomic.Int32) {
	t.Helper()
	fetched = &atomic.Int32{}
	sha := fmt.Sprintf("%x", sha256.Sum256([]byte(content)))
	files := map[string]string{
		"/a.qcow2": content, "/b.vmdk": diskVMDK, "/c.qcow2": "QFI\xfb backing", "/d.raw": "plain",
		"/GNU":  "0123  other.qcow2\n" + sha + " *a.qcow2\n",
		"/BSD":  "SHA256 (a.qcow2) = " + strings.ToUpper(sha) + "\n",
		"/only": sha + "\n",
		"/none": "0123  other.qcow2\n",
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if r.URL.Path == "/a.qcow2" {
			fetched.Add(1)
			time.Sleep(50 * time.Millisecond) // so that others come meanwhile
		}
		_, _ = w.Write([]byte(text))
	}))
	t.Cleanup(server.Close)
	return server.URL, fetched
}

func newTestCache(t *testing.T) *imageCache {
	t.Helper()
	_, program := fakes(t)
	return newImageCache(filepath.Join(t.TempDir(), "images"), program, testr.New(t))
}

func TestImages(t *testing.T) {
	server, _ := webServer(t)
	sum := func(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }
	other := sum("another image")
	tests := map[string]struct {
		image bmov1.Image
		// file and format are of the image in the cache; problem is what the error says instead.
		file, format, problem string
	}{
		"sha256":                      {bmov1.Image{URL: server + "/a.qcow2", Checksum: sum(content), ChecksumType: bmov1.SHA256}, "sha256-" + sum(content), "qcow2", ""},
		"sha512":                      {bmov1.Image{URL: server + "/a.qcow2", Checksum: fmt.Sprintf("%x", sha512.Sum512([]byte(content))), ChecksumType: bmov1.SHA512}, fmt.Sprintf("sha512-%x", sha512.Sum512([]byte(content))), "qcow2", ""},
		"md5 by its length":           {bmov1.Image{URL: server + "/a.qcow2", Checksum: fmt.Sprintf("%x", md5.Sum([]byte(content)))}, fmt.Sprintf("md5-%x", md5.Sum([]byte(content))), "qcow2", ""},
		"sha256 by its length":        {bmov1.Image{URL: server + "/a.qcow2", Checksum: strings.ToUpper(sum(content)), ChecksumType: bmov1.AutoChecksum}, "sha256-" + sum(content), "qcow2", ""},
		"a file of checksums":         {bmov1.Image{URL: server + "/a.qcow2?token=s3cret", Checksum: server + "/GNU"}, "sha256-" + sum(content), "qcow2", ""},
		"a file of checksums, BSD's":  {bmov1.Image{URL: server + "/a.qcow2", Checksum: server + "/BSD", ChecksumType: bmov1.SHA256}, "sha256-" + sum(content), "qcow2", ""},
		"a file with one checksum":    {bmov1.Image{URL: server + "/a.qcow2", Checksum: server + "/only"}, "sha256-" + sum(content), "qcow2", ""},
		"a raw image":                 {bmov1.Image{URL: server + "/d.raw", Checksum: sum("plain"), DiskFormat: new("raw")}, "sha256-" + sum("plain"), "raw", ""},
		"an image that is converted":  {bmov1.Image{URL: server + "/b.vmdk", Checksum: sum(diskVMDK), DiskFormat: new("vmdk")}, "sha256-" + sum(diskVMDK) + ".qcow2", "qcow2", ""},
		"a wrong checksum":            {bmov1.Image{URL: server + "/a.qcow2", Checksum: other}, "", "", "Image failed to verify against checksum. location: " + server + "/a.qcow2; image checksum: " + other + "; verification checksum: " + sum(content)},
		"a checksum of another type":  {bmov1.Image{URL: server + "/a.qcow2", Checksum: other, ChecksumType: bmov1.SHA512}, "", "", "has 32 bytes, a checksum of type sha512 has 64"},
		"no checksum":                 {bmov1.Image{URL: server + "/a.qcow2"}, "", "", "checksum is required"},
		"a checksum that is none":     {bmov1.Image{URL: server + "/a.qcow2", Checksum: "latest"}, "", "", `"latest" is no hexadecimal number`},
		"an image that is not there":  {bmov1.Image{URL: server + "/z.qcow2?token=s3cret", Checksum: other}, "", "", "Image download from " + server + "/z.qcow2 failed: the server answers 404"},
		"a server that is not there":  {bmov1.Image{URL: "http://user:s3cret@127.0.0.1:1/a", Checksum: other}, "", "", "Image download from http://127.0.0.1:1/a failed"},
		"a file":                      {bmov1.Image{URL: "file:///etc/shadow", Checksum: other}, "", "", "want an http or https URL"},
		"checksums without the image": {bmov1.Image{URL: server + "/a.qcow2", Checksum: server + "/none"}, "", "", "there is none for a.qcow2"},
		"another format than said":    {bmov1.Image{URL: server + "/a.qcow2", Checksum: sum(content), DiskFormat: new("raw")}, "", "", "the image is not of the format raw"},
		"an image over another file":  {bmov1.Image{URL: server + "/c.qcow2", Checksum: sum("QFI\xfb backing")}, "", "", "refers to another file"},
		"an image for live boots":     {bmov1.Image{URL: server + "/a.qcow2", DiskFormat: new("live-iso")}, "", "", "virtual hosts take images from http and https URLs"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cache := newTestCache(t)
			got, err := cache.get(t.Context(), test.image)
			if test.problem == "" {
				if err != nil || filepath.Base(got.Path) != test.file || got.Format != test.format || got.Size == 0 {
					t.Errorf("image %+v, error %v, want %s of format %s", got, err, test.file, test.format)
				}
				return
			}
			if _, ok := errors.AsType[*ImageError](err); !ok || !strings.Contains(err.Error(), test.problem) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("error %v, want an ImageError with %q and without the secret", err, test.problem)
			}
			if left, _ := filepath.Glob(filepath.Join(cache.dir, "fetch-*")); len(left) > 0 {
				t.Errorf("left in the cache: %v", left)
			}
		})
	}
}

func TestImageIsFetchedOnce(t *testing.T) {
	server, fetched := webServer(t)
	cache := newTestCache(t)
	image := bmov1.Image{URL: server + "/a.qcow2", Checksum: server + "/only"}
	var group sync.WaitGroup
	for range 5 {
		group.Go(func() {
			if _, err := cache.get(context.WithoutCancel(t.Context()), image); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if _, err := cache.get(t.Context(), image); err != nil {
		t.Error(err)
	}
	if n := fetched.Load(); n != 1 {
		t.Errorf("the image was fetched %d times", n)
	}
}
