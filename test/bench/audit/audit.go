// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package audit counts the API requests of one user exactly, from kube-apiserver's audit log.
package audit

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"sigs.k8s.io/yaml"
)

// Log is the record of a user's requests.
type Log struct {
	policy, path string
}

// New makes a log in a folder for a user such as "system:serviceaccount:ns:name".
func New(dir, user string) (*Log, error) {
	policy := auditv1.Policy{
		TypeMeta: metav1.TypeMeta{APIVersion: auditv1.SchemeGroupVersion.String(), Kind: "Policy"},
		// What is left is the stage in which the outcome is known; a watch is recorded when it ends.
		OmitStages: []auditv1.Stage{auditv1.StageRequestReceived, auditv1.StageResponseStarted},
		Rules: []auditv1.PolicyRule{
			{Level: auditv1.LevelMetadata, Users: []string{user}, OmitManagedFields: new(true)},
			{Level: auditv1.LevelNone},
		},
	}
	data, err := yaml.Marshal(policy)
	if err != nil {
		return nil, fmt.Errorf("encode the audit policy: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("create the folder of the audit log: %w", err)
	}
	l := &Log{policy: filepath.Join(dir, "audit-policy.yaml"), path: filepath.Join(dir, "audit.log")}
	if err := os.WriteFile(l.policy, data, 0o644); err != nil {
		return nil, fmt.Errorf("write the audit policy: %w", err)
	}
	return l, nil
}

// Args have kube-apiserver write the log, before it answers a request.
func (l *Log) Args() []string {
	return []string{"--audit-policy-file=" + l.policy, "--audit-log-path=" + l.path, "--audit-log-mode=blocking"}
}

// Request is one answered request.
type Request struct {
	// At is when it was received.
	At time.Time
	// Verb as in RBAC: get, list, watch, create, update, patch, delete.
	Verb string
	// Resource with subresource, such as "edgemachines/status".
	Resource string
	// Name of the object; empty for lists and watches.
	Name string
	// Code is the HTTP status of the answer.
	Code int
}

// IsWrite tells whether the request would change something.
func (r Request) IsWrite() bool {
	return slices.Contains([]string{"create", "update", "patch", "delete", "deletecollection"}, r.Verb) && !r.isReview()
}

// isReview tells of questions that have the form of a creation.
func (r Request) isReview() bool { return strings.HasSuffix(r.Resource, "reviews") }

// IsConflict tells of a write that came too late.
func (r Request) IsConflict() bool { return r.Code == http.StatusConflict }

// Read returns all requests up to now, in the order in which they were answered.
func (l *Log) Read() ([]Request, error) {
	file, err := os.Open(l.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open the audit log: %w", err)
	}
	defer file.Close()
	return parse(file)
}

func parse(log io.Reader) ([]Request, error) {
	var requests []Request
	reader := bufio.NewReader(log)
	for {
		line, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return requests, nil // a line without its end is still being written
		}
		if err != nil {
			return nil, fmt.Errorf("read the audit log: %w", err)
		}
		var event auditv1.Event
		if err := json.Unmarshal(line, &event); err != nil {
			return nil, fmt.Errorf("decode the audit log: %w", err)
		}
		if event.ObjectRef != nil { // others are discovery and health
			requests = append(requests, newRequest(event))
		}
	}
}

func newRequest(event auditv1.Event) Request {
	r := Request{At: event.RequestReceivedTimestamp.Time, Verb: event.Verb, Resource: event.ObjectRef.Resource, Name: event.ObjectRef.Name}
	if event.ObjectRef.Subresource != "" {
		r.Resource += "/" + event.ObjectRef.Subresource
	}
	if event.ResponseStatus != nil {
		r.Code = int(event.ResponseStatus.Code)
	}
	return r
}

// Between returns the requests that were received from start on and before end.
func Between(requests []Request, start, end time.Time) []Request {
	var found []Request
	for _, r := range requests {
		if !r.At.Before(start) && r.At.Before(end) {
			found = append(found, r)
		}
	}
	return found
}
