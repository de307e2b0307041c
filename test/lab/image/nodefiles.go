// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"fmt"

	"github.com/BurntSushi/toml"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/image/debian"
)

// containerdRoot is where containerd keeps images on a host.
const containerdRoot = "/var/lib/containerd"

// containerdConfig is what of containerd's configuration, version 3, differs from its defaults.
type containerdConfig struct {
	Version int `toml:"version"`
	Plugins struct {
		Images struct {
			Pinned struct {
				Sandbox string `toml:"sandbox"`
			} `toml:"pinned_images"`
		} `toml:"io.containerd.cri.v1.images"`
		Runtime struct {
			CNI struct {
				BinDirs []string `toml:"bin_dirs"`
				ConfDir string   `toml:"conf_dir"`
			} `toml:"cni"`
			Containerd struct {
				Runtimes map[string]containerdRuntime `toml:"runtimes"`
			} `toml:"containerd"`
		} `toml:"io.containerd.cri.v1.runtime"`
	} `toml:"plugins"`
}

type containerdRuntime struct {
	Type    string                   `toml:"runtime_type"`
	Options containerdRuntimeOptions `toml:"options"`
}

type containerdRuntimeOptions struct {
	SystemdCgroup bool `toml:"SystemdCgroup"`
}

// containerdTOML is /etc/containerd/config.toml.
func containerdTOML(pause string) (string, error) {
	config := containerdConfig{Version: 3}
	config.Plugins.Images.Pinned.Sandbox = pause
	// What a network add-on installs comes before Debian's plugins.
	config.Plugins.Runtime.CNI.BinDirs = []string{"/opt/cni/bin", "/usr/lib/cni"}
	config.Plugins.Runtime.CNI.ConfDir = "/etc/cni/net.d"
	config.Plugins.Runtime.Containerd.Runtimes = map[string]containerdRuntime{
		"runc": {Type: "io.containerd.runc.v2", Options: containerdRuntimeOptions{SystemdCgroup: true}},
	}
	var out bytes.Buffer
	if err := toml.NewEncoder(&out).Encode(config); err != nil {
		return "", fmt.Errorf("marshal containerd's configuration: %w", err)
	}
	return out.String(), nil
}

const containerdUnit = `[Unit]
Description=Container runtime
After=network.target local-fs.target

[Service]
Type=notify
ExecStart=/usr/bin/containerd
Restart=always
RestartSec=5
Delegate=yes
KillMode=process
OOMScoreAdjust=-999
LimitNOFILE=infinity
TasksMax=infinity

[Install]
WantedBy=multi-user.target
`

// kubeletUnit starts the kubelet once kubeadm has configured it, rather than again and again until then.
const kubeletUnit = `[Unit]
Description=Kubernetes node agent
Wants=network-online.target
After=network-online.target containerd.service
ConditionPathExists=/var/lib/kubelet/config.yaml
StartLimitIntervalSec=0

[Service]
ExecStart=/usr/bin/kubelet
Restart=always
RestartSec=10

[Install]
WantedBy=multi-user.target
`

// kubeletDropIn hands over the files that kubeadm writes; see "The kubelet drop-in file for systemd" in
// kubeadm's documentation.
const kubeletDropIn = `[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
`

// nodeFiles are what Node has on top of Base.
func nodeFiles(pause string) ([]debian.File, error) {
	config, err := containerdTOML(pause)
	if err != nil {
		return nil, err
	}
	units, wants := "/usr/lib/systemd/system/", "/etc/systemd/system/multi-user.target.wants/"
	return []debian.File{
		{Path: "/etc/containerd/config.toml", Mode: 0o644, Content: config},
		{Path: "/etc/modules-load.d/kubernetes.conf", Mode: 0o644, Content: "overlay\nbr_netfilter\n"},
		{Path: "/etc/sysctl.d/90-kubernetes.conf", Mode: 0o644, Content: "net.ipv4.ip_forward = 1\nnet.bridge.bridge-nf-call-iptables = 1\nnet.bridge.bridge-nf-call-ip6tables = 1\n"},
		{Path: "/etc/default/kubelet", Mode: 0o644, Content: "KUBELET_EXTRA_ARGS=\n"},
		{Path: units + "containerd.service", Mode: 0o644, Content: containerdUnit},
		{Path: units + "kubelet.service", Mode: 0o644, Content: kubeletUnit},
		{Path: units + "kubelet.service.d/10-kubeadm.conf", Mode: 0o644, Content: kubeletDropIn},
		{Path: wants + "containerd.service", Link: units + "containerd.service"},
		{Path: wants + "kubelet.service", Link: units + "kubelet.service"},
	}, nil
}
