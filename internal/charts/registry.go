// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package charts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

const (
	// LayerMediaType is the media type of the layer that holds a chart's archive. https://helm.sh/docs/topics/registries/
	LayerMediaType = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	// ConfigMediaType is the media type of a chart's configuration.
	ConfigMediaType = "application/vnd.cncf.helm.config.v1+json"
)

// Tag is the tag of a version in a registry: a tag holds no plus sign, Helm writes an underscore for it.
func Tag(version string) string { return strings.ReplaceAll(version, "+", "_") }

// fromRegistry pulls a chart from an OCI registry. path is host[:port]/path without the chart's name.
func fromRegistry(ctx context.Context, client *http.Client, source Source, ref Reference, path string) ([]byte, error) {
	repository, err := remote.NewRepository(strings.TrimSuffix(path, "/") + "/" + ref.Name)
	if err != nil {
		return nil, unavailable(source, ref, err, "correct charts.repository, for example oci://registry.example.com/charts")
	}
	host := repository.Reference.Host()
	repository.PlainHTTP = len(source.CA) == 0 && isLoopback(host)
	repository.TagListMaxPages = 1
	login := &auth.Client{Client: client, Cache: auth.NewCache()}
	if source.Username != "" {
		login.Credential = auth.StaticCredential(host, auth.Credential{Username: source.Username, Password: source.Password})
	}
	repository.Client = login
	_, data, err := oras.FetchBytes(ctx, repository, Tag(ref.Version), oras.DefaultFetchBytesOptions)
	if err != nil {
		return nil, explain(ctx, repository, source, ref, err)
	}
	manifest := ocispec.Manifest{}
	if err := json.Unmarshal(data, &manifest); err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	at := slices.IndexFunc(manifest.Layers, func(layer ocispec.Descriptor) bool { return layer.MediaType == LayerMediaType })
	switch {
	case at < 0:
		return nil, unavailable(source, ref, errors.New("the artifact is no Helm chart"), "publish the chart with helm push")
	case manifest.Layers[at].Size > maxArchive:
		return nil, fmt.Errorf("the archive has %d bytes, more than %d", manifest.Layers[at].Size, maxArchive)
	}
	// Size and digest are checked while it is read.
	return content.FetchAll(ctx, repository, manifest.Layers[at])
}

// explain what a registry has instead of what it was asked for, or what it wants.
func explain(ctx context.Context, repository *remote.Repository, source Source, ref Reference, err error) error {
	if errors.Is(err, errdef.ErrNotFound) {
		var tags []string
		listing := repository.Tags(ctx, "", func(page []string) error { tags = append(tags, page...); return nil })
		if listing != nil && len(tags) == 0 {
			return noVersion(source, ref, nil)
		}
		slices.Sort(tags)
		slices.Reverse(tags)
		return noVersion(source, ref, tags)
	}
	response, ok := errors.AsType[*errcode.ErrorResponse](err)
	if ok && (response.StatusCode == http.StatusUnauthorized || response.StatusCode == http.StatusForbidden) || errors.Is(err, auth.ErrBasicCredentialNotFound) {
		return unavailable(source, ref, err, "give a Secret with the keys username and password in charts.credentials")
	}
	return err
}
