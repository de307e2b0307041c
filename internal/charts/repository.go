// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package charts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

const (
	// maxIndex is the largest index of a Helm repository in bytes.
	maxIndex = 32 << 20
	// listed versions in a message.
	listed = 5
)

// index is the part of a Helm repository's index.yaml that is needed to find an archive.
// https://helm.sh/docs/topics/chart_repository/#the-index-file
type index struct {
	Entries map[string][]indexEntry `json:"entries"`
}

type indexEntry struct {
	Version string   `json:"version"`
	URLs    []string `json:"urls"`
	Digest  string   `json:"digest"`
}

// fromRepository downloads a chart from a Helm repository.
func fromRepository(ctx context.Context, client *http.Client, source Source, ref Reference) ([]byte, error) {
	base, err := url.Parse(strings.TrimSuffix(source.Repository, "/") + "/")
	if err != nil {
		return nil, unavailable(source, ref, err, "correct charts.repository")
	}
	if source.Username != "" && !mayHaveCredentials(base, base) {
		return nil, unavailable(source, ref, errors.New("credentials would be sent in clear"), "use an https:// repository, or remove the credentials")
	}
	data, err := download(ctx, client, source, base, base.JoinPath("index.yaml"), maxIndex)
	if err != nil {
		return nil, err
	}
	found := index{}
	if err := yaml.Unmarshal(data, &found); err != nil {
		return nil, unavailable(source, ref, fmt.Errorf("reading index.yaml: %w", err), "check that charts.repository is the address of a Helm repository")
	}
	entry, err := found.find(source, ref)
	if err != nil {
		return nil, err
	}
	archive, err := base.Parse(entry.URLs[0])
	if err != nil {
		return nil, fmt.Errorf("reading the chart's address in index.yaml: %w", err)
	}
	data, err = download(ctx, client, source, base, archive, maxArchive)
	if err != nil {
		return nil, err
	}
	if want := "sha256:" + entry.Digest; entry.Digest != "" && newArchive(data).Digest != want {
		return nil, &DigestError{Chart: ref, Source: source.String(), Want: want, Got: newArchive(data).Digest}
	}
	return data, nil
}

func (i index) find(source Source, ref Reference) (indexEntry, error) {
	entries := i.Entries[ref.Name]
	at := slices.IndexFunc(entries, func(e indexEntry) bool { return e.Version == ref.Version && len(e.URLs) > 0 })
	if at >= 0 {
		return entries[at], nil
	}
	versions := make([]string, 0, len(entries))
	for _, entry := range entries {
		versions = append(versions, entry.Version)
	}
	return indexEntry{}, noVersion(source, ref, versions)
}

// noVersion tells what a source has instead of the version that is asked for. Versions are in the source's order.
func noVersion(source Source, ref Reference, versions []string) error {
	if len(versions) == 0 {
		return unavailable(source, ref, nil, "it has no chart of that name: correct charts.repository, or publish the chart there")
	}
	more := ""
	if len(versions) > listed {
		more = fmt.Sprintf(" and %d more", len(versions)-listed)
	}
	return unavailable(source, ref, nil, "it has the versions %s%s: set calico.version to one of them, or publish the version there",
		strings.Join(versions[:min(len(versions), listed)], ", "), more)
}

func download(ctx context.Context, client *http.Client, source Source, base, from *url.URL, limit int64) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, from.String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("asking for %s: %w", from.Redacted(), err)
	}
	if source.Username != "" && mayHaveCredentials(base, from) {
		request.SetBasicAuth(source.Username, source.Password)
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", from.Redacted(), response.Status)
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("GET %s: %w", from.Redacted(), err)
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("GET %s: larger than %d bytes", from.Redacted(), limit)
	default:
		return data, nil
	}
}
