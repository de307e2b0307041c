// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// Files that a host has for its dataplane and its kubelet, for Read.
func Files() []string {
	return []string{kubeletDropIn, kubeletScript, commandsFile, vppFolder, encryption.VPPExecFile, encryption.KernelKeyFile, modulesFile}
}

const (
	kubeletDropIn = "/etc/systemd/system/kubelet.service.d/20-edgemetal.conf"
	kubeletScript = "/etc/edgemetal/kubelet-env.sh"
	commandsFile  = Commands
	modulesFile   = "/etc/modules-load.d/edgemetal.conf"
	vppFolder     = "/etc/vpp"
)

// compareDataplane compares what the host has for its kubelet and its dataplane.
func (a Asked) compareDataplane(d *differences, f Facts) {
	compareFile(d, f, kubeletDropIn, "644", "")
	compareFile(d, f, kubeletScript, "755", "")
	compareFile(d, f, commandsFile, "700", "")
	switch a.Cluster.Spec.Dataplane.Type {
	case infrav1.DataplaneNone:
		compareNoFile(d, f, encryption.VPPExecFile)
		compareNoFile(d, f, encryption.KernelKeyFile)
	case infrav1.DataplaneCalicoVPP:
		a.compareVPP(d, f)
		compareNoFile(d, f, encryption.KernelKeyFile)
	default:
		a.compareKernel(d, f)
		compareNoFile(d, f, encryption.VPPExecFile)
	}
}

func (a Asked) compareVPP(d *differences, f Facts) {
	d.compare("hugepages", fmt.Sprintf("%+v", f.Hugepages), fmt.Sprintf("%+v", Hugepages{}))
	compareModules(d, f, "tun", "vhost_net")
	compareFile(d, f, vppFolder, "700", "-")
	if a.Key == "" {
		compareNoFile(d, f, encryption.VPPExecFile)
		return
	}
	d.compare("devices of WireGuard in the kernel", len(f.Devices), 0)
	// VPP's agent adopts the interface with the node's address as source.
	create := fmt.Sprintf("wireguard create listen-port %d private-key %s src %s instance 0\n", a.port(), string(a.Key), a.Addresses[a.dataplaneNetwork()])
	compareFile(d, f, encryption.VPPExecFile, "600", digest(create))
}

func (a Asked) compareKernel(d *differences, f Facts) {
	if a.Key == "" {
		compareNoFile(d, f, encryption.KernelKeyFile)
		return
	}
	compareModules(d, f, "wireguard")
	compareFile(d, f, encryption.KernelKeyFile, "600", digest(string(a.Key)+"\n"))
	device, found := f.Devices[encryption.KernelDevice]
	if !found {
		d.add("device %s: there is none; devices of WireGuard: %v", encryption.KernelDevice, f.Devices)
		return
	}
	d.compare("public key of "+encryption.KernelDevice, device.PublicKey, a.Machine.Status.WireGuardPublicKey)
	d.compare("port of "+encryption.KernelDevice, device.Port, a.port())
	d.compare("devices of WireGuard in the kernel", len(f.Devices), 1)
}

func (a Asked) port() int {
	return int(cmp.Or(a.Cluster.Spec.Dataplane.Encryption.Port, encryption.DefaultPort))
}

func (a Asked) dataplaneNetwork() string {
	return cmp.Or(a.Cluster.Spec.Dataplane.Network, a.Cluster.Spec.Networks[0].Name)
}

func digest(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

func compareModules(d *differences, f Facts, names ...string) {
	for _, name := range names {
		if !slices.Contains(f.Modules, name) {
			d.add("module %s: it is not loaded", name)
		}
	}
}

// compareFile also compares the content's digest unless that is empty.
func compareFile(d *differences, f Facts, path, mode, sum string) {
	file, found := f.Files[path]
	if !found {
		d.add("file %s: there is none", path)
		return
	}
	d.compare("mode of "+path, file.Mode, mode)
	d.compare("owner of "+path, file.Owner, "root:root")
	if sum != "" && file.SHA256 != sum {
		d.add("content of %s: it is not what was asked for", path)
	}
}

func compareNoFile(d *differences, f Facts, path string) {
	if _, found := f.Files[path]; found {
		d.add("file %s: nobody asked for it", path)
	}
}
