// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

func TestLinksWithNetworks(t *testing.T) {
	machine := func(links ...string) linkHolder {
		h := linkHolder{spec: infrav1.EdgeMachineSpec{Links: []infrav1.Link{{Name: "unused"}}}}
		for _, link := range links {
			h.spec.Interfaces = append(h.spec.Interfaces, infrav1.Interface{Network: "of-" + link, Link: link})
		}
		return h
	}
	tests := []struct {
		name    string
		holders []linkHolder
		want    []string
	}{
		{"no machine", nil, nil},
		{"links of all machines, each once", []linkHolder{machine("uplink0", "bond0.100"), machine("uplink0"), machine("nic0", "nic0")}, []string{"bond0.100", "nic0", "uplink0"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, linksWithNetworks(tc.holders)); diff != "" {
				t.Errorf("links differ (-want +got):\n%s", diff)
			}
		})
	}
}
