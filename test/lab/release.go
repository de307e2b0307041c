// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"path/filepath"
	"slices"

	"golang.org/x/mod/semver"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

// FindRelease finds the components file of the newest version that `make release` has written.
func FindRelease() (string, error) {
	root, err := tools.Root()
	if err != nil {
		return "", err
	}
	pattern := filepath.Join(root, "out", edgemetalLabel, "v*", "infrastructure-components.yaml")
	files, err := filepath.Glob(pattern)
	if err != nil {
		return "", fmt.Errorf("look for a release: %w", err)
	}
	if len(files) == 0 {
		return "", fmt.Errorf("no release in %s: run `make release` first", filepath.Join(root, "out"))
	}
	return slices.MaxFunc(files, func(a, b string) int {
		return semver.Compare(versionOf(a), versionOf(b))
	}), nil
}

func versionOf(components string) string { return filepath.Base(filepath.Dir(components)) }
