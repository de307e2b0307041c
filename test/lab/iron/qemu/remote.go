// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/types"
)

// OpenGuest is the operating system of a machine that another process runs, in the rack with that Config.Dir. The
// machine need not be on.
func OpenGuest(dir string, key types.NamespacedName) (*Guest, error) {
	u := &unit{key: key, dir: filepath.Join(dir, key.Namespace, key.Name)}
	if _, err := os.Stat(filepath.Join(u.dir, stateName)); err != nil {
		return nil, fmt.Errorf("find machine %s: %w", key, err)
	}
	return &Guest{unit: u}, nil
}
