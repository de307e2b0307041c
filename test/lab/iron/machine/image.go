// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/rootfs"
)

// What the lab's image holds. It stands for every image URL: a Debian with containerd, a plain CNI, kubelet
// and kubeadm of the lab's version, installed from packages.
const (
	kubeletUnit = `[Unit]
Description=kubelet: The Kubernetes Node Agent
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=/usr/bin/kubelet
Restart=always
RestartSec=10

[Install]
WantedBy=multi-user.target
`
	kubeletDropIn = `[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
# Written by kubeadm init and join.
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
# For the administrator, as the distributions name it.
EnvironmentFile=-/etc/sysconfig/kubelet
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
`
	plainUnit = "[Unit]\nDescription=%s\n\n[Service]\nExecStart=/usr/bin/%s\n\n[Install]\nWantedBy=multi-user.target\n"
)

// imageServices are units of the image that run without anything of interest happening.
func imageServices() []string {
	return []string{"containerd", "ssh", "systemd-networkd", "systemd-resolved", "systemd-timesyncd", "chrony", "cron", "rsyslog"}
}

// writeImage fills an empty root.
func writeImage(root, kubernetesVersion, image string) error {
	disk := rootfs.New(root)
	var errs []error
	for _, dir := range []string{
		"/boot", "/etc/cni/net.d", "/etc/kubernetes", "/etc/modprobe.d", "/etc/modules-load.d", "/etc/netplan", "/etc/sysctl.d",
		"/etc/systemd/network", "/etc/systemd/system", "/etc/default", "/etc/ssl/certs", "/home", "/mnt", "/opt/cni/bin", "/proc/sys", "/root",
		"/run", "/srv", "/sys/kernel/mm/hugepages/hugepages-2048kB", "/tmp", "/usr/bin", "/usr/local/bin", "/usr/local/sbin", "/usr/sbin", "/usr/share", "/var/lib/kubelet", "/var/log", "/var/tmp",
	} {
		errs = append(errs, disk.MkdirAll(dir, 0o755))
	}
	files := map[string]string{
		"/etc/os-release": "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"EdgeMetal lab image (simulated)\"\n",
		"/etc/hostname":   "localhost\n",
		"/etc/hosts":      "127.0.0.1 localhost\n",
		"/etc/fstab":      "LABEL=root / ext4 defaults 0 1\n",
		"/etc/passwd":     "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
		"/etc/group":      "root:x:0:\nadm:x:4:\nsudo:x:27:\nusers:x:100:\nnogroup:x:65534:\n",
		// As the Kubernetes packages ship it: it beats any Environment= of a drop-in.
		"/etc/default/kubelet":                                      "KUBELET_EXTRA_ARGS=\n",
		"/etc/lab-image":                                            image + "\n",
		"/etc/kubernetes-version":                                   kubernetesVersion + "\n",
		"/etc/cni/net.d/10-plain.conflist":                          `{"cniVersion":"1.0.0","name":"plain","plugins":[{"type":"bridge"}]}` + "\n",
		"/usr/lib/systemd/system/kubelet.service":                   kubeletUnit,
		"/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf": kubeletDropIn,
		"/usr/lib/sysctl.d/50-kubernetes.conf":                      "net.ipv4.ip_forward = 1\nnet.bridge.bridge-nf-call-iptables = 1\n",
		"/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages":    "0\n",
		"/usr/lib/modules-load.d/kubernetes.conf":                   "overlay\nbr_netfilter\n",
	}
	for _, service := range imageServices() {
		files["/usr/lib/systemd/system/"+service+".service"] = fmt.Sprintf(plainUnit, service, service)
	}
	// As on any host of today.
	errs = append(errs, os.Symlink("../run", filepath.Join(root, "var", "run")))
	for name, content := range files {
		errs = append(errs, disk.Write(name, []byte(content), 0o644))
	}
	return errors.Join(errs...)
}
