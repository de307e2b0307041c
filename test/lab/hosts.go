// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Kinds of hosts.
const (
	// SimulatedHosts are played by the lab: they need nothing but Go, and a cluster on them is up within a minute.
	SimulatedHosts = "simulated"
	// VirtualHosts are QEMU machines that boot a disk image, with all that kernel, cloud-init, kubelet and kubeadm do.
	VirtualHosts = "qemu"
)

// HostKinds are the kinds of hosts that a lab can have.
func HostKinds() []string { return []string{SimulatedHosts, VirtualHosts} }

// Hosts tells which kind of hosts the lab in a folder has when the given kind is asked for: that of its last start
// when kind is empty, and simulated ones in a new folder. A lab keeps the kind it was made with.
func Hosts(dir, kind string) (string, error) {
	if kind != "" && !slices.Contains(HostKinds(), kind) {
		return "", fmt.Errorf("unknown kind of hosts %q: there are %s", kind, strings.Join(HostKinds(), " and "))
	}
	earlier, err := Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return cmp.Or(kind, SimulatedHosts), nil
	}
	if err != nil {
		return "", err
	}
	if kind != "" && kind != earlier.Hosts {
		return "", fmt.Errorf("the lab in %s was made with %s hosts, and %s ones are asked for: remove the folder after `lab down`, or use another one with --dir",
			dir, earlier.Hosts, kind)
	}
	return earlier.Hosts, nil
}
