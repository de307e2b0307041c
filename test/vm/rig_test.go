// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/e2e/stage"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/image"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

// rig is a stage whose hosts are QEMU machines with captured NICs, which boot an image without Kubernetes.
type rig struct {
	*stage.Stage
	built image.Image
}

// openRig builds the image, unless the cache has it, and starts everything, for a BeforeAll. All ends with its container.
func openRig(ctx context.Context) *rig {
	GinkgoHelper()
	built := buildImage(ctx, image.Base)
	r := &rig{built: built, Stage: stage.Open(ctx, func(o *lab.Options) { o.Hosts, o.Image, o.Capture = lab.VirtualHosts, image.Base, true })}
	GinkgoWriter.Printf("machines are accelerated by %s\n", r.Rack().Accelerator())
	return r
}

func buildImage(ctx context.Context, name string) image.Image {
	GinkgoHelper()
	root, err := tools.Root()
	Expect(err).NotTo(HaveOccurred())
	begin := time.Now()
	built, err := image.Build(ctx, image.Options{Toolbox: tools.Toolbox{Root: root, Out: GinkgoWriter}, Name: name, Out: GinkgoWriter})
	Expect(err).NotTo(HaveOccurred())
	GinkgoWriter.Printf("image %s after %s\n", name, time.Since(begin).Round(time.Second))
	return built
}

// image that the lab serves.
func (r *rig) image() infrav1.Image {
	return infrav1.Image{URL: r.Site.Image.URL, Checksum: r.Site.Image.SHA256, ChecksumType: "sha256", Format: "qcow2"}
}

// tail makes an image another one to those who look at checksums. What follows the clusters of a qcow2 image is nothing to its readers.
func tail() []byte { return make([]byte, 1<<16) }

// serve serves an image with something at its end.
func serve(built image.Image, end []byte) infrav1.Image {
	GinkgoHelper()
	write := func(to io.Writer) error {
		disk, err := os.Open(built.Disk)
		if err != nil {
			return err
		}
		defer disk.Close()
		if _, err := io.Copy(to, disk); err != nil {
			return err
		}
		_, err = to.Write(end)
		return err
	}
	sum := sha256.New()
	Expect(write(sum)).To(Succeed())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := write(w); err != nil {
			panic(http.ErrAbortHandler) // the client sees a connection that breaks, and tries again
		}
	}))
	DeferCleanup(server.Close)
	return infrav1.Image{URL: server.URL + "/" + built.Name + ".qcow2", Checksum: hex.EncodeToString(sum.Sum(nil)), ChecksumType: "sha256", Format: "qcow2"}
}

// run runs a program in a guest and returns its standard output; it is an error when it ends with another status than 0.
func (r *rig) run(key types.NamespacedName) func(ctx context.Context, argv ...string) (string, error) {
	guest := r.Rack().Guest(key)
	return func(ctx context.Context, argv ...string) (string, error) {
		result, err := guest.Exec(ctx, argv...)
		if err != nil {
			return "", err
		}
		if result.ExitCode != 0 {
			return result.Stdout, fmt.Errorf("%q in %s: exit status %d: %s", argv, key.Name, result.ExitCode, result.Stderr)
		}
		return result.Stdout, nil
	}
}
