// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package site

import (
	"fmt"

	"github.com/blang/semver/v4"
	bootstrapv1 "sigs.k8s.io/cluster-api/api/bootstrap/kubeadm/v1beta2"
	"sigs.k8s.io/cluster-api/bootstrap/kubeadm/pkg/cloudinit"
	"sigs.k8s.io/cluster-api/util/secret"
	"sigs.k8s.io/yaml"
)

const (
	kubeadmVersion = "kubeadm.k8s.io/v1beta4"
	nodeName       = "{{ ds.meta_data.local_hostname }}"
	criSocket      = "unix:///run/containerd/containerd.sock"
	token          = "bench0.0123456789abcdef"
)

// payloads are the user data that Cluster API's kubeadm bootstrap provider makes for a cluster.
type payloads struct {
	controlPlane, worker []byte
}

func newPayloads(cluster, endpoint, version string, authorities secret.Certificates) (payloads, error) {
	parsed, err := semver.ParseTolerant(version)
	if err != nil {
		return payloads{}, fmt.Errorf("parse the Kubernetes version: %w", err)
	}
	pins, err := authorities.GetByPurpose(secret.ClusterCA).Hashes()
	if err != nil {
		return payloads{}, fmt.Errorf("hash the authority's public key: %w", err)
	}
	clusterConfig, err := yaml.Marshal(clusterConfiguration(cluster, endpoint, version))
	if err != nil {
		return payloads{}, fmt.Errorf("encode kubeadm's ClusterConfiguration: %w", err)
	}
	initConfig, err := yaml.Marshal(initConfiguration())
	if err != nil {
		return payloads{}, fmt.Errorf("encode kubeadm's InitConfiguration: %w", err)
	}
	joinConfig, err := yaml.Marshal(joinConfiguration(endpoint, pins))
	if err != nil {
		return payloads{}, fmt.Errorf("encode kubeadm's JoinConfiguration: %w", err)
	}
	var made payloads
	made.controlPlane, err = cloudinit.NewInitControlPlane(&cloudinit.ControlPlaneInput{
		BaseUserData:         baseUserData(parsed, true),
		Certificates:         authorities,
		ClusterConfiguration: string(clusterConfig),
		InitConfiguration:    string(initConfig),
	})
	if err != nil {
		return payloads{}, fmt.Errorf("make the control plane's bootstrap data: %w", err)
	}
	made.worker, err = cloudinit.NewNode(&cloudinit.NodeInput{
		BaseUserData: baseUserData(parsed, false), JoinConfiguration: string(joinConfig),
	})
	if err != nil {
		return payloads{}, fmt.Errorf("make the workers' bootstrap data: %w", err)
	}
	return made, nil
}

// baseUserData is what people add to their KubeadmConfigs: a user, time servers, containerd's settings.
func baseUserData(version semver.Version, controlPlane bool) cloudinit.BaseUserData {
	return cloudinit.BaseUserData{
		ControlPlane:      controlPlane,
		KubernetesVersion: version,
		KubeadmVerbosity:  "--v=2",
		PreKubeadmCommands: []string{
			"systemctl daemon-reload", "systemctl enable --now containerd", "modprobe br_netfilter", "sysctl --system",
		},
		NTP: &bootstrapv1.NTP{Enabled: new(true), Servers: []string{"0.pool.ntp.org", "1.pool.ntp.org"}},
		Users: []bootstrapv1.User{{
			Name: "site", Sudo: "ALL=(ALL) NOPASSWD:ALL",
			SSHAuthorizedKeys: []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBenchBenchBenchBenchBenchBenchBenchBenchBenc site@example.org"},
		}},
		AdditionalFiles: []bootstrapv1.File{
			{
				Path: "/etc/sysctl.d/90-kubernetes.conf", Owner: "root:root", Permissions: "0644",
				Content: "net.ipv4.ip_forward = 1\nnet.bridge.bridge-nf-call-iptables = 1\nfs.inotify.max_user_instances = 8192\n",
			},
			{
				Path: "/etc/containerd/conf.d/mirror.toml", Owner: "root:root", Permissions: "0644",
				Content: "[plugins.'io.containerd.cri.v1.images'.registry]\n  config_path = '/etc/containerd/certs.d'\n",
			},
		},
	}
}

func clusterConfiguration(cluster, endpoint, version string) map[string]any {
	return map[string]any{
		"apiVersion": kubeadmVersion, "kind": "ClusterConfiguration",
		"clusterName": cluster, "controlPlaneEndpoint": endpoint, "kubernetesVersion": version,
		"networking": map[string]any{"podSubnet": podCIDR, "serviceSubnet": serviceCIDR, "dnsDomain": "cluster.local"},
	}
}

func initConfiguration() map[string]any {
	return map[string]any{
		"apiVersion": kubeadmVersion, "kind": "InitConfiguration",
		"localAPIEndpoint": map[string]any{"bindPort": endpointPort},
		"nodeRegistration": registration(),
	}
}

func joinConfiguration(endpoint string, pins []string) map[string]any {
	return map[string]any{
		"apiVersion": kubeadmVersion, "kind": "JoinConfiguration",
		"discovery": map[string]any{"bootstrapToken": map[string]any{
			"apiServerEndpoint": endpoint, "token": token, "caCertHashes": pins,
		}},
		"nodeRegistration": registration(),
	}
}

func registration() map[string]any {
	return map[string]any{"name": nodeName, "criSocket": criSocket, "imagePullPolicy": "IfNotPresent"}
}
