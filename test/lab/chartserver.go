// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/calico"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/charts"
)

const (
	registryHost = 2 // of the site's addresses
	registryPort = 5000
)

// registry is where the site's OCI registry answers.
func (s Site) registry() netip.AddrPort {
	return netip.AddrPortFrom(s.Host(registryHost), registryPort)
}

// ChartsRepository is where the site's clusters find Calico's charts.
func (s Site) ChartsRepository() string { return "oci://" + s.registry().String() + "/charts" }

// serveCharts fills the site's registry with Calico's charts: stand-ins, or the genuine ones from dir when that is
// not empty. The function serves until the context ends.
func (s Site) serveCharts(ctx context.Context, dir string) (func(context.Context) error, error) {
	archives, err := charts.Pack(calico.DefaultVersion, dir)
	if err != nil {
		return nil, fmt.Errorf("make Calico's charts: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", s.registry().String())
	if err != nil {
		return nil, fmt.Errorf("start the site's registry: %w", err)
	}
	server := &http.Server{Handler: charts.Handler(), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	path := strings.TrimPrefix(s.ChartsRepository(), "oci://")
	if err := charts.Push(ctx, http.DefaultClient, path, archives, true); err != nil {
		_ = server.Close()
		return nil, fmt.Errorf("fill the site's registry: %w", err)
	}
	return func(ctx context.Context) error {
		select {
		case err := <-ended:
			return err
		case <-ctx.Done():
			return server.Close()
		}
	}, nil
}
