// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package wire watches what a program writes to an API server, at the HTTP transport, and can cut the program off right after
// a write of choice.
package wire

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// ErrCut is what every request gets once the wire is cut.
var ErrCut = errors.New("the wire is cut")

// Write is a request that changed something.
type Write struct {
	// Verb is create, update, patch, apply or delete.
	Verb string
	// Resource with its subresource, for example edgemachines/status.
	Resource string
	// Name of the object; empty with create.
	Name string
}

// String names verb and resource, which is how Recorder.Counts counts.
func (w Write) String() string { return w.Verb + " " + w.Resource }

// Recorder records the writes of every transport that it wraps.
type Recorder struct {
	mu     sync.Mutex
	writes []Write
	cutAt  int
	isCut  bool
}

// CutAfter arranges that the n-th write from the beginning still reaches the API server, while its answer is lost and every
// later request fails: what a program leaves behind that is killed at that moment.
func (r *Recorder) CutAfter(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cutAt = n
}

// IsCut tells whether the wire has been cut.
func (r *Recorder) IsCut() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.isCut
}

// Writes so far, in the order in which the API server answered.
func (r *Recorder) Writes() []Write {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.writes)
}

// Counts writes by verb and resource, as lines such as "2 patch edgemachines/status" in the order of the resources.
func Counts(writes []Write) []string {
	counts := map[string]int{}
	for _, w := range writes {
		counts[w.String()]++
	}
	lines := make([]string, 0, len(counts))
	for _, line := range slices.Sorted(maps.Keys(counts)) {
		lines = append(lines, fmt.Sprintf("%d %s", counts[line], line))
	}
	return lines
}

// Wrap a transport; has the form of rest.Config's WrapTransport.
func (r *Recorder) Wrap(next http.RoundTripper) http.RoundTripper {
	return transport{recorder: r, next: next}
}

type transport struct {
	recorder *Recorder
	next     http.RoundTripper
}

// RoundTrip sends a request unless the wire is cut.
func (t transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if t.recorder.IsCut() {
		return nil, ErrCut
	}
	response, err := t.next.RoundTrip(request)
	write, isWrite := parse(request)
	if err != nil || !isWrite || response.StatusCode >= http.StatusMultipleChoices {
		return response, err
	}
	if t.recorder.record(write) {
		return nil, errors.Join(ErrCut, response.Body.Close())
	}
	return response, nil
}

// record a write and tell whether its answer is to be lost.
func (r *Recorder) record(write Write) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isCut {
		// In flight while the wire was cut: done, but nobody learns of it.
		return true
	}
	r.writes = append(r.writes, write)
	if r.cutAt == 0 || len(r.writes) < r.cutAt {
		return false
	}
	r.isCut = true
	return true
}

// parse tells which write a request is, if it is one. Reviews, which change nothing, are none.
func parse(request *http.Request) (Write, bool) {
	verbs := map[string]string{http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete"}
	verb, isWrite := verbs[request.Method]
	if !isWrite {
		return Write{}, false
	}
	if verb == "patch" && strings.HasPrefix(request.Header.Get("Content-Type"), string(types.ApplyYAMLPatchType)) {
		verb = "apply"
	}
	path := strings.Split(strings.Trim(request.URL.Path, "/"), "/")
	switch {
	case len(path) > 3 && path[0] == "apis":
		path = path[3:]
	case len(path) > 2 && path[0] == "api":
		path = path[2:]
	default:
		return Write{}, false
	}
	if len(path) > 2 && path[0] == "namespaces" {
		path = path[2:]
	}
	write := Write{Verb: verb, Resource: path[0]}
	if strings.HasSuffix(write.Resource, "reviews") {
		return Write{}, false
	}
	if len(path) > 1 {
		write.Name = path[1]
	}
	if len(path) > 2 {
		write.Resource += "/" + path[2]
	}
	return write, true
}
