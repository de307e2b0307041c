// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/image/debian"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/image/disk"
)

// key is a hash of everything that goes into an image, in hex.
type key string

// short is enough of it for names of files.
func (k key) short() string { return string(k[:16]) }

// keyOf hashes parts, which must marshal to JSON.
func keyOf(parts ...any) (key, error) {
	data, err := json.Marshal(parts)
	if err != nil {
		return "", fmt.Errorf("compute the key of an image: %w", err)
	}
	sum := sha256.Sum256(data)
	return key(hex.EncodeToString(sum[:])), nil
}

func (b builder) rootfsKey(system debian.System, packages []string) (key, error) {
	sources, err := b.sources("debian")
	if err != nil {
		return "", err
	}
	return keyOf(system, packages, sources)
}

func (b builder) baseKey(r rootfs) (key, error) {
	sources, err := b.sources("disk")
	if err != nil {
		return "", err
	}
	return keyOf(r.key, sources, commandLine(), baseSize)
}

// sources are the hashes of the Go files of a package below this one: what it makes may change with them.
func (b builder) sources(pkg string) (map[string]string, error) {
	files, err := filepath.Glob(filepath.Join(b.box.Root, "test", "lab", "image", pkg, "*.go"))
	if err != nil || len(files) == 0 {
		return nil, errors.Join(fmt.Errorf("find the sources of the image builder in %s", b.box.Root), err)
	}
	sums := map[string]string{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		sum, err := disk.SHA256(file)
		if err != nil {
			return nil, err
		}
		sums[filepath.Base(file)] = sum
	}
	return sums, nil
}

// keep is how many images of a name stay in the cache: the one in use, and the one before, for who goes
// back and forth between two branches.
const keep = 2

// prune removes older files of a name. A machine whose disk is based on one keeps it open.
func (b builder) prune(name, suffix string) error {
	files, err := filepath.Glob(filepath.Join(b.dir, name+"-*"+suffix))
	if err != nil {
		return fmt.Errorf("list older images: %w", err)
	}
	age := func(path string) int64 {
		info, err := os.Stat(path)
		if err != nil {
			return 0
		}
		return info.ModTime().UnixNano()
	}
	slices.SortFunc(files, func(x, y string) int { return cmp.Compare(age(y), age(x)) })
	for _, old := range files[min(keep, len(files)):] {
		// The record first: without it there is no image.
		for _, path := range []string{strings.TrimSuffix(old, suffix) + ".json", old} {
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("remove an older image: %w", err)
			}
		}
	}
	return nil
}
