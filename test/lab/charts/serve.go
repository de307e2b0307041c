// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package charts

import (
	"context"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/charts"
)

// Server is an OCI registry on the loopback device.
type Server struct {
	// URL of the charts, oci://<address>/charts.
	URL string

	server *http.Server
}

// Handler of a registry without content.
func Handler() http.Handler {
	return registry.New(registry.Logger(log.New(io.Discard, "", 0)))
}

// Serve archives, named by Key, from a registry on a free port. Close it when done.
func Serve(ctx context.Context, archives map[string][]byte) (*Server, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("serving charts: %w", err)
	}
	host := listener.Addr().String()
	s := &Server{URL: "oci://" + host + "/charts", server: &http.Server{Handler: Handler(), ReadHeaderTimeout: 10 * time.Second}}
	go func() { _ = s.server.Serve(listener) }()
	if err := Push(ctx, http.DefaultClient, host+"/charts", archives, true); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// Close the server.
func (s *Server) Close() error { return s.server.Close() }

// Push archives, named by Key, below a path of a registry.
func Push(ctx context.Context, client *http.Client, path string, archives map[string][]byte, plainHTTP bool) error {
	for _, key := range slices.Sorted(maps.Keys(archives)) {
		name, version, err := split(key)
		if err != nil {
			return err
		}
		repository, err := remote.NewRepository(path + "/" + name)
		if err != nil {
			return fmt.Errorf("pushing chart %s: %w", name, err)
		}
		repository.PlainHTTP = plainHTTP
		repository.Client = client
		if err := push(ctx, repository, version, archives[key]); err != nil {
			return fmt.Errorf("pushing chart %s: %w", name, err)
		}
	}
	return nil
}

func push(ctx context.Context, repository *remote.Repository, version string, archive []byte) error {
	config, err := oras.PushBytes(ctx, repository, charts.ConfigMediaType, []byte("{}"))
	if err != nil {
		return err
	}
	layer, err := oras.PushBytes(ctx, repository, charts.LayerMediaType, archive)
	if err != nil {
		return err
	}
	manifest, err := oras.PackManifest(ctx, repository, oras.PackManifestVersion1_1, "", oras.PackManifestOptions{
		ConfigDescriptor: &config, Layers: []ocispec.Descriptor{layer},
		ManifestAnnotations: map[string]string{ocispec.AnnotationCreated: "2026-01-01T00:00:00Z"},
	})
	if err != nil {
		return err
	}
	return repository.Tag(ctx, manifest, charts.Tag(version))
}

// split a key into name and version.
func split(key string) (name, version string, err error) {
	for _, name := range []string{Definitions, Operator} {
		version, found := strings.CutPrefix(key, name+"-")
		if version, ok := strings.CutSuffix(version, ".tgz"); found && ok {
			return name, version, nil
		}
	}
	return "", "", fmt.Errorf("%s is not the name of a chart's archive", key)
}
