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
	serverHost = 2 // of the lab's addresses
	serverPort = 5000
)

// server is where the site's web server answers: an OCI registry with charts, and disk images.
func (s Site) server() netip.AddrPort {
	return netip.AddrPortFrom(s.local(serverHost), serverPort)
}

// ChartsRepository is where the site's clusters find Calico's charts.
func (s Site) ChartsRepository() string { return "oci://" + s.server().String() + "/charts" }

// imageURL is where the web server has the image of a name.
func (s Site) imageURL(name string) string {
	return "http://" + s.server().String() + imagePath(name)
}

func imagePath(name string) string { return "/images/" + name + ".qcow2" }

// serve fills the site's registry with Calico's charts: stand-ins, or the genuine ones from chartsDir when that is
// not empty. disks are the files of the images that are served, by the images' names. The function serves until the
// context ends.
func (s Site) serve(ctx context.Context, chartsDir string, disks map[string]string) (func(context.Context) error, error) {
	archives, err := charts.Pack(calico.DefaultVersion, chartsDir)
	if err != nil {
		return nil, fmt.Errorf("make Calico's charts: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", s.server().String())
	if err != nil {
		return nil, fmt.Errorf("start the site's web server: %w", err)
	}
	server := &http.Server{Handler: content(disks), ReadHeaderTimeout: 10 * time.Second}
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

// content of the web server: an empty registry, and the files of disks.
func content(disks map[string]string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", charts.Handler())
	for name, file := range disks {
		mux.HandleFunc("GET "+imagePath(name), func(w http.ResponseWriter, r *http.Request) {
			http.ServeFile(w, r, file)
		})
	}
	return mux
}
