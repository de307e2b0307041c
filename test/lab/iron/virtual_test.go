// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package iron_test

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/bmo"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/hardware"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/qemu"
)

// noSwitch is a switch that no machine gets to.
type noSwitch struct{}

func (noSwitch) Socket() string { return "/nowhere/site.sock" }

// script is a program that runs a line of shell.
func script(t *testing.T, line string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+line+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestVirtualHosts is about what users see of virtual hosts in the status; QEMU itself does not start here.
func TestVirtualHosts(t *testing.T) {
	const content = "an image"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(content)) }))
	defer server.Close()
	rack, err := qemu.NewRack(qemu.Config{
		Dir: t.TempDir(), ImageCache: t.TempDir(), Network: noSwitch{}, Accelerator: "tcg", Firmware: os.Args[0],
		Program:      script(t, "echo no such machine >&2; exit 1"),
		ImageProgram: script(t, `case $1 in info) echo '{"format": "qcow2", "virtual-size": 8}';; create) for name; do last=$file; file=$name; done; : > "$last";; esac`),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer rack.Close()
	m := newManager(t)
	m.start(t, func(c *iron.Config) {
		c.Virtual, c.Programs, c.KubernetesVersion, c.StateDir = rack, nil, "", ""
		c.Latencies = &bmo.Latencies{Retry: iron.VirtualLatencies().Retry / 50}
	})
	for i, name := range []string{"large", "wrong", "broken"} {
		host := newHost(name, fmt.Sprintf("02:00:00:00:50:%02x", i))
		m.create(t, bmcSecret(name))
		m.payload(t, name, host.Spec.BootMACAddress)
		withPayload(host)
		host.Spec.Image = &bmov1.Image{URL: server.URL + "/a.qcow2", Checksum: fmt.Sprintf("%x", sha256.Sum256([]byte(content)))}
		switch name {
		case "large":
			host.Annotations[hardware.Annotation] = `{"ramMebibytes": 65536}`
		case "wrong":
			host.Spec.Image.Checksum = strings.Repeat("0", 64)
		}
		m.create(t, host)
	}
	m.await(t, "large", "cannot be had", func(h *bmov1.BareMetalHost) bool {
		return h.Status.ErrorType == bmov1.InspectionError && strings.Contains(h.Status.ErrorMessage, "ramMebibytes is 65536: a virtual host has 512 to 8192")
	})
	m.await(t, "wrong", "tells of the image", func(h *bmov1.BareMetalHost) bool {
		return h.Status.ErrorType == bmov1.ProvisioningError && h.Status.Provisioning.State == bmov1.StateProvisioning &&
			strings.HasPrefix(h.Status.ErrorMessage, "Image provisioning failed: Image failed to verify against checksum. location: "+server.URL)
	})
	m.await(t, "broken", "tells of the machine", func(h *bmov1.BareMetalHost) bool {
		return h.Status.ErrorType == bmov1.ProvisioningError && strings.Contains(h.Status.ErrorMessage, "no such machine")
	})
	m.change(t, "wrong", func(h *bmov1.BareMetalHost) { h.Spec.Image = nil })
	host := m.await(t, "wrong", "is available again", func(h *bmov1.BareMetalHost) bool {
		return h.Status.Provisioning.State == bmov1.StateAvailable && h.Status.ErrorType == ""
	})
	if details := host.Status.HardwareDetails; details.SystemVendor.Manufacturer != "QEMU" || details.NIC[0].Name != "enp0s2" {
		t.Errorf("inspection found %+v", details)
	}
}
