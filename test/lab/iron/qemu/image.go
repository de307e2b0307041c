// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-logr/logr"
	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"golang.org/x/sync/singleflight"
)

// Formats that disks can be layered over; converted images have the first.
const (
	formatQCOW2 = "qcow2"
	formatRaw   = "raw"
)

// ImageError tells that a host's image cannot be fetched or used.
type ImageError struct {
	// Reason is a sentence without its period. It has no credentials: user names in URLs are left out.
	Reason string
	// Err is the failure behind it, if there is one.
	Err error
}

func (e *ImageError) Error() string {
	if e.Err != nil {
		return e.Reason + ": " + e.Err.Error()
	}
	return e.Reason
}

// Unwrap gives the failure behind it.
func (e *ImageError) Unwrap() error { return e.Err }

// imageFile is an image in the cache.
type imageFile struct {
	Path string `json:"path"`
	// Format is qcow2 or raw.
	Format string `json:"format"`
	// Size is that of the disk in it, in bytes.
	Size int64 `json:"size"`
}

// imageCache keeps images by their checksums: <dir>/<type>-<checksum>, and the same with .qcow2 for one that was
// converted.
type imageCache struct {
	dir     string
	program string
	client  *http.Client
	log     logr.Logger
	flights singleflight.Group
}

func newImageCache(dir, program string, log logr.Logger) *imageCache {
	return &imageCache{dir: dir, program: program, client: &http.Client{}, log: log}
}

// get finds an image in the cache, or fetches it. Machines that want one image at the same time share the fetch.
func (c *imageCache) get(ctx context.Context, image bmov1.Image) (imageFile, error) {
	if image.IsOCI() || image.IsLiveISO() {
		return imageFile{}, &ImageError{Reason: "virtual hosts take images from http and https URLs, of the formats raw, qcow2, vdi and vmdk"}
	}
	sum, err := c.checksum(ctx, image)
	if err != nil {
		return imageFile{}, err
	}
	name := filepath.Join(c.dir, sum.kind+"-"+sum.hex)
	declared := ""
	if image.DiskFormat != nil {
		declared = *image.DiskFormat
	}
	result := c.flights.DoChan(name+" "+declared, func() (any, error) {
		if err := os.MkdirAll(c.dir, 0o755); err != nil {
			return imageFile{}, fmt.Errorf("making the image cache: %w", err)
		}
		if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
			if err := c.fetch(ctx, image.URL, sum, name); err != nil {
				return imageFile{}, err
			}
		}
		return c.use(ctx, name, declared)
	})
	select {
	case <-ctx.Done():
		return imageFile{}, context.Cause(ctx)
	case got := <-result:
		file, _ := got.Val.(imageFile)
		return file, got.Err
	}
}

// fetch downloads the image and keeps it if its checksum is right.
func (c *imageCache) fetch(ctx context.Context, location string, want checksum, name string) error {
	begin := time.Now()
	body, err := c.open(ctx, location)
	if err != nil {
		return &ImageError{Reason: "Image download from " + redact(location) + " failed", Err: err}
	}
	defer body.Close()
	file, err := os.CreateTemp(c.dir, "fetch-*")
	if err != nil {
		return fmt.Errorf("writing to the image cache: %w", err)
	}
	defer os.Remove(file.Name())
	defer file.Close()
	hash := want.hash()
	length, err := io.Copy(io.MultiWriter(file, hash), body)
	if err != nil {
		return &ImageError{Reason: "Image download from " + redact(location) + " failed", Err: err}
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != want.hex {
		return &ImageError{Reason: fmt.Sprintf(
			"Image failed to verify against checksum. location: %s; image checksum: %s; verification checksum: %s", redact(location), want.hex, got)}
	}
	if err := errors.Join(file.Chmod(0o644), file.Close(), os.Rename(file.Name(), name)); err != nil {
		return fmt.Errorf("writing to the image cache: %w", err)
	}
	c.log.Info("Fetched an image", "url", redact(location), "bytes", length, "took", time.Since(begin).Round(time.Millisecond).String())
	return nil
}

// open begins to read what a URL leads to.
func (c *imageCache) open(ctx context.Context, location string) (io.ReadCloser, error) {
	if !strings.HasPrefix(location, "http://") && !strings.HasPrefix(location, "https://") {
		return nil, errors.New("want an http or https URL")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return nil, err
	}
	response, err := c.client.Do(request)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err // the rest of it has the whole URL
	}
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		_ = response.Body.Close()
		return nil, fmt.Errorf("the server answers %s", response.Status)
	}
	return response.Body, nil
}

// use looks into an image of the cache, and converts it if disks cannot be layered over its format.
func (c *imageCache) use(ctx context.Context, name, declared string) (imageFile, error) {
	found, err := c.examine(ctx, name, declared)
	if err != nil {
		return imageFile{}, err
	}
	if found.Format == formatQCOW2 || found.Format == formatRaw {
		return found, nil
	}
	converted := name + "." + formatQCOW2
	if _, err := os.Stat(converted); err == nil {
		return imageFile{Path: converted, Format: formatQCOW2, Size: found.Size}, nil
	}
	output, err := exec.CommandContext(ctx, c.program, "convert", "-f", found.Format, "-O", formatQCOW2, name, converted+".new").CombinedOutput()
	if err != nil {
		return imageFile{}, &ImageError{Reason: "the image cannot be converted from " + found.Format + ": " + strings.TrimSpace(string(output)), Err: err}
	}
	if err := os.Rename(converted+".new", converted); err != nil {
		return imageFile{}, fmt.Errorf("writing to the image cache: %w", err)
	}
	return imageFile{Path: converted, Format: formatQCOW2, Size: found.Size}, nil
}

// examine reads an image's format and size. As Ironic does, it refuses an image that is not what was declared, and
// one that refers to other files.
func (c *imageCache) examine(ctx context.Context, name, declared string) (imageFile, error) {
	args := []string{"info", "--output=json"}
	if declared != "" {
		args = append(args, "-f", declared)
	}
	output, err := exec.CommandContext(ctx, c.program, append(args, name)...).Output()
	if err != nil {
		reason := "the image cannot be read"
		if declared != "" {
			reason = "the image is not of the format " + declared
		}
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
		}
		return imageFile{}, &ImageError{Reason: reason, Err: err}
	}
	var info struct {
		Format   string `json:"format"`
		Size     int64  `json:"virtual-size"`
		Backing  string `json:"backing-filename"`
		Specific struct {
			Data struct {
				DataFile string `json:"data-file"`
			} `json:"data"`
		} `json:"format-specific"`
	}
	if err := json.Unmarshal(output, &info); err != nil {
		return imageFile{}, fmt.Errorf("reading what qemu-img says of an image: %w", err)
	}
	if info.Backing != "" || info.Specific.Data.DataFile != "" {
		return imageFile{}, &ImageError{Reason: "the image refers to another file, which is not accepted"}
	}
	return imageFile{Path: name, Format: info.Format, Size: info.Size}, nil
}
