// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package hostfiles renders the files that a host finds in its cloud-init, for tests that run what is in them.
package hostfiles

import (
	"bytes"
	"net/netip"
	"testing"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"sigs.k8s.io/yaml"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap"
	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap/hostnet"
)

// File is an entry of write_files.
type File struct{ Path, Content string }

// Render gives the files of our part of the user data, for a host with one NIC, uplink0, that has the address in network "cluster".
func Render(t *testing.T, dataplane bootstrap.Dataplane, address netip.Addr) []File {
	t.Helper()
	_, ours, _ := bytes.Cut(UserData(t, []byte("#!/bin/sh\n"), dataplane, address), []byte("\n#cloud-config\n"))
	ours, _, _ = bytes.Cut(ours, []byte("\n--edgemetal-"))
	var config struct {
		WriteFiles []File `json:"write_files"`
	}
	if err := yaml.Unmarshal(ours, &config); err != nil {
		t.Fatal(err)
	}
	if len(config.WriteFiles) == 0 {
		t.Fatal("our part of the user data writes no files")
	}
	return config.WriteFiles
}

// UserData of the same host, with a payload.
func UserData(t *testing.T, payload []byte, dataplane bootstrap.Dataplane, address netip.Addr) []byte {
	t.Helper()
	plan, err := hostnet.NewPlan(hostnet.Input{
		Links:      []infrav1.Link{{Name: "uplink0", Match: &infrav1.NICMatch{BootNIC: new(true)}}},
		Interfaces: []infrav1.Interface{{Network: "cluster", Link: "uplink0"}},
		Networks:   []infrav1.Network{{Name: "cluster", Subnets: []infrav1.Subnet{{CIDR: "192.0.2.0/24"}}, Addresses: infrav1.AddressSource{FromHost: &infrav1.FromHost{}}}},
		Hardware:   &bmov1.HardwareDetails{NIC: []bmov1.NIC{{Name: "eno1", MAC: "52:54:00:00:00:01", PXE: true}}},
		Addresses:  map[string]netip.Addr{"cluster": address},
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := bootstrap.Render(bootstrap.Input{
		Payload: bootstrap.Payload{Value: payload}, Cluster: "edge", Namespace: "sites", Machine: "m", InstanceID: "u", Host: "h",
		ProviderID: "edgemetal://sites/h/m", Plan: plan, Dataplane: &dataplane,
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.UserData
}
