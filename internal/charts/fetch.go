// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package charts

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"
	"k8s.io/utils/lru"
)

const (
	// cachedArchives are kept in memory. Two for each version of Calico that is in use somewhere.
	cachedArchives = 16
	// cachedNames are remembered: which archive a source has under a name and version.
	cachedNames = 4096
	// maxArchive is the largest archive in bytes. Calico's largest is 0.4 MiB.
	maxArchive = 8 << 20
	// fetchTimeout for one chart with everything that has to be asked for it.
	fetchTimeout = time.Minute
)

// Fetcher fetches charts and keeps them. What a name and version stand for in a source is asked once in the life of a Fetcher.
type Fetcher struct {
	flights  singleflight.Group
	archives *lru.Cache
	names    *lru.Cache
}

// NewFetcher makes an empty Fetcher.
func NewFetcher() *Fetcher {
	return &Fetcher{archives: lru.New(cachedArchives), names: lru.New(cachedNames)}
}

// Fetch a chart. The error is a *DigestError or an *UnavailableError, unless the context has ended.
func (f *Fetcher) Fetch(ctx context.Context, source Source, ref Reference) (Archive, error) {
	if source.Repository == "" {
		return fromArchives(source, ref)
	}
	if archive, found := f.cached(source, ref); found {
		return archive, checkDigest(source, ref, archive)
	}
	// Clusters that start together ask for the same chart: one of them fetches, and does not stop when its own context ends.
	flight := f.flights.DoChan(source.key(ref), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		return fetch(ctx, source, ref)
	})
	select {
	case <-ctx.Done():
		return Archive{}, ctx.Err()
	case result := <-flight:
		if result.Err != nil {
			return Archive{}, result.Err
		}
		archive, ok := result.Val.(Archive)
		if !ok {
			return Archive{}, fmt.Errorf("fetching chart %s: unexpected result %T", ref, result.Val)
		}
		if err := checkDigest(source, ref, archive); err != nil {
			// Not kept: the publisher may put it right.
			return Archive{}, err
		}
		f.archives.Add(archive.Digest, archive)
		f.names.Add(source.key(ref), archive.Digest)
		return archive, nil
	}
}

// cached finds an archive by its pinned digest, or by what the source had under the name before.
func (f *Fetcher) cached(source Source, ref Reference) (Archive, bool) {
	digest := ref.Digest
	if digest == "" {
		known, found := f.names.Get(source.key(ref))
		if !found {
			return Archive{}, false
		}
		digest, _ = known.(string)
	}
	found, _ := f.archives.Get(digest)
	archive, ok := found.(Archive)
	return archive, ok
}

func checkDigest(source Source, ref Reference, archive Archive) error {
	if ref.Digest != "" && ref.Digest != archive.Digest {
		return &DigestError{Chart: ref, Source: source.String(), Want: ref.Digest, Got: archive.Digest}
	}
	return nil
}

func fetch(ctx context.Context, source Source, ref Reference) (Archive, error) {
	client, err := newHTTPClient(source)
	if err != nil {
		return Archive{}, unavailable(source, ref, err, "correct the key ca.crt in the Secret with the repository's credentials")
	}
	defer client.CloseIdleConnections()
	var data []byte
	if path, isOCI := strings.CutPrefix(source.Repository, "oci://"); isOCI {
		data, err = fromRegistry(ctx, client, source, ref, path)
	} else {
		data, err = fromRepository(ctx, client, source, ref)
	}
	if err == nil {
		return newArchive(data), nil
	}
	_, isDigest := errors.AsType[*DigestError](err)
	_, isUnavailable := errors.AsType[*UnavailableError](err)
	if isDigest || isUnavailable {
		return Archive{}, err
	}
	return Archive{}, unavailable(source, ref, err, "check that the management cluster reaches the repository, and its certificate and credentials; or give the charts in a Secret")
}

// fromArchives finds a chart among those that are at hand.
func fromArchives(source Source, ref Reference) (Archive, error) {
	key := ref.Name + "-" + ref.Version + ".tgz"
	data, found := source.Archives[key]
	if !found {
		keys := slices.Sorted(maps.Keys(source.Archives))
		return Archive{}, unavailable(source, ref, nil, "its keys are [%s]: add the key %s, or set the version to one that it has", strings.Join(keys, ", "), key)
	}
	archive := newArchive(data)
	return archive, checkDigest(source, ref, archive)
}
