// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
	kubeadmv1 "sigs.k8s.io/cluster-api/bootstrap/kubeadm/pkg/types/upstreamv1beta4"
	"sigs.k8s.io/yaml"
)

const (
	apiVersion = "kubeadm.k8s.io/v1beta4"

	kubernetesDir = "/etc/kubernetes"
	manifestDir   = kubernetesDir + "/manifests"
	defaultPKI    = kubernetesDir + "/pki"

	controlPlaneRole = "node-role.kubernetes.io/control-plane"
)

// documents are the parts of a kubeadm configuration file; what is not in the file is nil.
type documents struct {
	init    *kubeadmv1.InitConfiguration
	cluster *kubeadmv1.ClusterConfiguration
	join    *kubeadmv1.JoinConfiguration
	kubelet *kubeletv1beta1.KubeletConfiguration
}

// parseDocuments reads a configuration file. Unknown fields and kinds are errors.
func parseDocuments(content []byte) (*documents, error) {
	docs := &documents{}
	reader := utilyaml.NewYAMLReader(bufioReader(content))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the configuration: %w", err)
		}
		if len(bytes.TrimSpace(document)) == 0 {
			continue
		}
		if err := docs.add(document); err != nil {
			return nil, err
		}
	}
}

func (d *documents) add(document []byte) error {
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal(document, &kind); err != nil {
		return fmt.Errorf("the configuration is no YAML object: %w", err)
	}
	var target any
	switch kind.APIVersion + " " + kind.Kind {
	case apiVersion + " InitConfiguration":
		d.init = &kubeadmv1.InitConfiguration{}
		target = d.init
	case apiVersion + " ClusterConfiguration":
		d.cluster = &kubeadmv1.ClusterConfiguration{}
		target = d.cluster
	case apiVersion + " JoinConfiguration":
		d.join = &kubeadmv1.JoinConfiguration{}
		target = d.join
	case "kubelet.config.k8s.io/v1beta1 KubeletConfiguration":
		d.kubelet = &kubeletv1beta1.KubeletConfiguration{}
		target = d.kubelet
	case "kubeproxy.config.k8s.io/v1alpha1 KubeProxyConfiguration":
		return nil
	default:
		return fmt.Errorf("no kind %q is registered for version %q (the simulated kubeadm reads %s)", kind.Kind, kind.APIVersion, apiVersion)
	}
	if err := yaml.UnmarshalStrict(document, target); err != nil {
		return fmt.Errorf("%s: strict decoding error: %w", kind.Kind, err)
	}
	return nil
}

// defaultCluster fills in what kubeadm fills in.
func defaultCluster(cluster *kubeadmv1.ClusterConfiguration, version string) {
	cluster.APIVersion, cluster.Kind = apiVersion, "ClusterConfiguration"
	cluster.ClusterName = cmp.Or(cluster.ClusterName, "kubernetes")
	cluster.KubernetesVersion = cmp.Or(cluster.KubernetesVersion, version)
	cluster.CertificatesDir = cmp.Or(cluster.CertificatesDir, defaultPKI)
	cluster.ImageRepository = cmp.Or(cluster.ImageRepository, "registry.k8s.io")
	cluster.Networking.ServiceSubnet = cmp.Or(cluster.Networking.ServiceSubnet, "10.96.0.0/12")
	cluster.Networking.DNSDomain = cmp.Or(cluster.Networking.DNSDomain, "cluster.local")
	if cluster.Etcd.Local == nil && cluster.Etcd.External == nil {
		cluster.Etcd.Local = &kubeadmv1.LocalEtcd{}
	}
	if cluster.Etcd.Local != nil {
		cluster.Etcd.Local.DataDir = cmp.Or(cluster.Etcd.Local.DataDir, "/var/lib/etcd")
	}
}

// checkCluster refuses what this kubeadm cannot do and what no kubeadm would.
func checkCluster(cluster *kubeadmv1.ClusterConfiguration) error {
	if cluster.Etcd.External != nil {
		return errors.New("etcd.external: the simulated kubeadm has local etcd only")
	}
	if _, err := netip.ParsePrefix(firstWord(cluster.Networking.ServiceSubnet)); err != nil {
		return fmt.Errorf("networking.serviceSubnet: %w", err)
	}
	if cluster.Networking.PodSubnet != "" {
		if _, err := netip.ParsePrefix(firstWord(cluster.Networking.PodSubnet)); err != nil {
			return fmt.Errorf("networking.podSubnet: %w", err)
		}
	}
	if cluster.ControlPlaneEndpoint != "" {
		if _, _, err := splitEndpoint(cluster.ControlPlaneEndpoint); err != nil {
			return fmt.Errorf("controlPlaneEndpoint: %w", err)
		}
	}
	return nil
}

func firstWord(list string) string {
	first, _, _ := strings.Cut(list, ",")
	return first
}

// splitEndpoint reads host or host:port; the port is 6443 by default.
func splitEndpoint(endpoint string) (string, string, error) {
	if !strings.Contains(strings.TrimPrefix(endpoint, "["), ":") {
		return endpoint, "6443", nil
	}
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil {
		return "", "", fmt.Errorf("%q: want host or host:port", endpoint)
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
		return "", "", fmt.Errorf("port %q is no port", port)
	}
	return host, port, nil
}

// controlPlaneURL is the cluster's endpoint: the shared one if there is one, or else this host's.
func controlPlaneURL(cluster *kubeadmv1.ClusterConfiguration, local kubeadmv1.APIEndpoint) (string, error) {
	if cluster.ControlPlaneEndpoint == "" {
		return localURL(local), nil
	}
	host, port, err := splitEndpoint(cluster.ControlPlaneEndpoint)
	if err != nil {
		return "", err
	}
	return "https://" + net.JoinHostPort(host, port), nil
}

func localURL(local kubeadmv1.APIEndpoint) string {
	return "https://" + net.JoinHostPort(local.AdvertiseAddress, strconv.Itoa(int(local.BindPort)))
}

// controlPlaneTaints are a control-plane node's taints: the usual one unless the configuration has a list,
// which can be empty.
func controlPlaneTaints(registration kubeadmv1.NodeRegistrationOptions) []corev1.Taint {
	if registration.Taints != nil {
		return registration.Taints
	}
	return []corev1.Taint{{Key: controlPlaneRole, Effect: corev1.TaintEffectNoSchedule}}
}

func timeout(value *metav1.Duration, otherwise time.Duration) time.Duration {
	if value == nil || value.Duration == 0 {
		return otherwise
	}
	return value.Duration
}
