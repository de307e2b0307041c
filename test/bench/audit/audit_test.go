// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	log := strings.Join([]string{
		`{"kind":"Event","stage":"ResponseComplete","verb":"get","requestURI":"/apis","requestReceivedTimestamp":"2026-01-02T03:04:04.000000Z"}`,
		`{"kind":"Event","verb":"patch","objectRef":{"resource":"edgemachines","subresource":"status","namespace":"a","name":"m","apiGroup":"infrastructure.cluster.x-k8s.io"},"responseStatus":{"code":409},"requestReceivedTimestamp":"2026-01-02T03:04:05.000000Z"}`,
		`{"kind":"Event","verb":"create","objectRef":{"resource":"tokenreviews"},"responseStatus":{"code":201},"requestReceivedTimestamp":"2026-01-02T03:04:06.000000Z"}`,
		`{"kind":"Event","verb":"lis`,
	}, "\n")
	got, err := parse(strings.NewReader(log))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	want := []Request{
		{At: at, Verb: "patch", Resource: "edgemachines/status", Name: "m", Code: 409},
		{At: at.Add(time.Second), Verb: "create", Resource: "tokenreviews", Code: 201},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	if !got[0].IsWrite() || !got[0].IsConflict() || got[1].IsWrite() {
		t.Error("a patch is a write, 409 is a conflict, a review is no write")
	}
	if between := Between(got, at, at.Add(time.Second)); len(between) != 1 || between[0].Name != "m" {
		t.Errorf("between: %+v", between)
	}
}
