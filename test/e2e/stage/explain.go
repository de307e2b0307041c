// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const tailLines = 25

// explain adds to the report what the site looks like.
func (s *Site) explain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	var b strings.Builder
	show := func(title string, printed string, err error) {
		fmt.Fprintf(&b, "\n--- %s\n%s", title, printed)
		if err != nil {
			fmt.Fprintln(&b, err)
		}
	}
	listing, err := s.Kubectl(ctx, "get", "--namespace", s.Namespace, "-o", "wide",
		"baremetalhosts,clusters,kubeadmcontrolplanes,machinedeployments,machines,edgeclusters,edgemachines,ipaddressclaims,secrets")
	show("objects", listing, err)
	clusters := &clusterv1.ClusterList{}
	if err := s.Client().List(ctx, clusters, client.InNamespace(s.Namespace)); err != nil {
		show("clusters", "", err)
	}
	for _, cluster := range clusters.Items {
		described, err := s.Clusterctl(ctx, "describe", "cluster", cluster.Name, "--namespace", s.Namespace, "--show-conditions", "all", "--grouping=false")
		show("cluster "+cluster.Name, described, err)
	}
	consoles, err := filepath.Glob(filepath.Join(s.HostDir(), s.Namespace, "*", "console.log"))
	if err != nil {
		show("consoles", "", err)
	}
	for _, file := range append(consoles, s.ManagerLog()) {
		last, err := tail(file)
		show(file, last, err)
	}
	AddReportEntry(s.String(), ReportEntryVisibilityFailureOrVerbose, b.String())
}

func tail(file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read the end of a log: %w", err)
	}
	lines := strings.SplitAfter(string(content), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], ""), nil
}
