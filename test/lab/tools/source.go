// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package tools

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// Modules whose files the lab reads.
const (
	ClusterAPIModule        = "sigs.k8s.io/cluster-api"
	IPAMInClusterModule     = "sigs.k8s.io/cluster-api-ipam-provider-in-cluster"
	BareMetalOperatorModule = "github.com/metal3-io/baremetal-operator"
	CertManagerModule       = "github.com/cert-manager/cert-manager"
)

// Source is an unpacked module in Go's module cache. Its files are read-only.
type Source struct {
	Dir     string `json:"Dir"`
	Version string `json:"Version"`
}

// Source returns the files of one of the modules above at its pinned version, downloading and
// verifying them when they are not there yet.
func (b Toolbox) Source(ctx context.Context, module string) (Source, error) {
	homes := map[string]string{
		ClusterAPIModule:        "tools/capi",
		IPAMInClusterModule:     "tools/ipam",
		BareMetalOperatorModule: "tools/metal3",
		CertManagerModule:       ".",
	}
	home, known := homes[module]
	if !known {
		return Source{}, fmt.Errorf("module %s is not pinned by the lab", module)
	}
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", module)
	cmd.Dir = filepath.Join(b.Root, "test", home)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return Source{}, fmt.Errorf("download module %s: %w: %s", module, err, strings.TrimSpace(stderr.String()))
	}
	var source Source
	if err := json.Unmarshal(out, &source); err != nil {
		return Source{}, fmt.Errorf("read the answer of go mod download %s: %w", module, err)
	}
	return source, nil
}
