// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	got, err := Parse(" slow=2s, fail-provision=3,wrong-mac,disappear,bmc-unreachable,withhold-key")
	want := Set{Slow: 2 * time.Second, FailProvision: 3, WrongMAC: true, Disappear: true, BMCUnreachable: true, WithholdKey: true}
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := Parse(""); err != nil || got != (Set{}) {
		t.Errorf("no annotation: %+v, %v", got, err)
	}
	for _, bad := range []string{"slow", "slow=-1s", "fail-provision=x", "fail-provision=-1", "explode"} {
		if _, err := Parse(bad); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%q: error %v", bad, err)
		}
	}
}
