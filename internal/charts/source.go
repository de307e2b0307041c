// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package charts

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Reference names a chart.
type Reference struct {
	// Name of the chart, for example tigera-operator.
	Name string
	// Version of the chart, exactly as its publisher writes it, for example v3.32.1.
	Version string
	// Digest that the archive must have, sha256:<hex>. Any when empty.
	Digest string
}

// String is name and version.
func (r Reference) String() string { return r.Name + " " + r.Version }

// Source is where charts come from: a repository, or archives at hand.
type Source struct {
	// Repository is a Helm repository (https://, http://) or an OCI registry with path (oci://). Registries and repositories on the
	// loopback device may be spoken to without TLS.
	Repository string
	// Username and Password for the repository; none when empty.
	Username, Password string
	// CA holds the PEM certificates of the authorities that sign the repository's certificate. Those of the system when empty.
	CA []byte

	// Archives by <chart>-<version>.tgz, used when Repository is empty.
	Archives map[string][]byte
	// ArchivesFrom tells in messages where Archives come from, for example "Secret charts".
	ArchivesFrom string
}

// String names the source without credentials.
func (s Source) String() string {
	if s.Repository == "" {
		return s.ArchivesFrom
	}
	return s.Repository
}

// key identifies a chart in a source for one set of credentials.
func (s Source) key(ref Reference) string {
	sum := sha256.New()
	for _, part := range [][]byte{[]byte(s.Repository), []byte(s.Username), []byte(s.Password), s.CA, []byte(ref.Name), []byte(ref.Version)} {
		_, _ = fmt.Fprintf(sum, "%d:", len(part))
		sum.Write(part)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// Archive is a packed chart.
type Archive struct {
	// Data of the gzipped tar file.
	Data []byte
	// Digest of Data, sha256:<hex>.
	Digest string
}

func newArchive(data []byte) Archive {
	sum := sha256.Sum256(data)
	return Archive{Data: data, Digest: "sha256:" + hex.EncodeToString(sum[:])}
}

// DigestError tells that an archive is not the one that is expected.
type DigestError struct {
	Chart  Reference
	Source string
	// Want and Got are digests.
	Want, Got string
}

// Error names both digests.
func (e *DigestError) Error() string {
	return fmt.Sprintf("chart %s from %s has digest %s, but %s is expected; if the new content is wanted, change the expected digest", e.Chart, e.Source, e.Got, e.Want)
}

// UnavailableError tells that a chart cannot be had.
type UnavailableError struct {
	Chart  Reference
	Source string
	// Fix is what the user can do.
	Fix string
	// Err is the cause; may be nil.
	Err error
}

// Error names chart, source, cause and fix.
func (e *UnavailableError) Error() string {
	text := fmt.Sprintf("chart %s cannot be had from %s", e.Chart, e.Source)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text + "; " + e.Fix
}

// Unwrap is the cause.
func (e *UnavailableError) Unwrap() error { return e.Err }

func unavailable(source Source, ref Reference, err error, fix string, args ...any) error {
	return &UnavailableError{Chart: ref, Source: source.String(), Fix: fmt.Sprintf(fix, args...), Err: err}
}
