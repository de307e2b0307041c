// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
	kubeadmv1 "sigs.k8s.io/cluster-api/bootstrap/kubeadm/pkg/types/upstreamv1beta4"
	"sigs.k8s.io/yaml"
)

const (
	kubeletConfigFile = "/var/lib/kubelet/config.yaml"
	kubeletFlagsFile  = "/var/lib/kubelet/kubeadm-flags.env"
)

// defaultKubelet fills in what kubeadm sets in the kubelets' configuration.
func defaultKubelet(config *kubeletv1beta1.KubeletConfiguration, cluster *kubeadmv1.ClusterConfiguration) {
	config.APIVersion, config.Kind = "kubelet.config.k8s.io/v1beta1", "KubeletConfiguration"
	config.StaticPodPath = cmp.Or(config.StaticPodPath, manifestDir)
	config.ClusterDomain = cmp.Or(config.ClusterDomain, cluster.Networking.DNSDomain)
	config.CgroupDriver = cmp.Or(config.CgroupDriver, "systemd")
	config.HealthzBindAddress = cmp.Or(config.HealthzBindAddress, "127.0.0.1")
	config.Authentication.X509.ClientCAFile = cmp.Or(config.Authentication.X509.ClientCAFile, cluster.CertificatesDir+"/ca.crt")
	config.Authorization.Mode = cmp.Or(config.Authorization.Mode, kubeletv1beta1.KubeletAuthorizationModeWebhook)
	config.RotateCertificates = true
	if config.HealthzPort == nil {
		config.HealthzPort = new(int32(10248))
	}
	if config.Authentication.Anonymous.Enabled == nil {
		config.Authentication.Anonymous.Enabled = new(false)
	}
	if config.Authentication.Webhook.Enabled == nil {
		config.Authentication.Webhook.Enabled = new(true)
	}
	if services, err := netip.ParsePrefix(firstWord(cluster.Networking.ServiceSubnet)); err == nil && config.ClusterDNS == nil {
		dns := services.Masked().Addr()
		for range 10 {
			dns = dns.Next()
		}
		config.ClusterDNS = []string{dns.String()}
	}
}

// writeKubeletFiles writes the kubelet's configuration and the flags that kubeadm passes through its unit.
func (r *runner) writeKubeletFiles(config []byte, registration kubeadmv1.NodeRegistrationOptions, taints []corev1.Taint) error {
	var defaults []kubeadmv1.Arg
	defaults = append(defaults, kubeadmv1.Arg{
		Name: "container-runtime-endpoint", Value: cmp.Or(registration.CRISocket, "unix:///var/run/containerd/containerd.sock"),
	})
	if len(taints) > 0 {
		words := make([]string, len(taints))
		for i, taint := range taints {
			words[i] = taint.ToString()
		}
		defaults = append(defaults, kubeadmv1.Arg{Name: "register-with-taints", Value: strings.Join(words, ",")})
	}
	if name := r.nodeName(registration); name != r.Hostname {
		defaults = append(defaults, kubeadmv1.Arg{Name: "hostname-override", Value: name})
	}
	flags := `KUBELET_KUBEADM_ARGS="` + strings.Join(merge(defaults, registration.KubeletExtraArgs), " ") + "\"\n"
	r.say("kubelet-start", "Writing kubelet environment file with flags to file %q", kubeletFlagsFile)
	if err := r.Disk.Write(kubeletFlagsFile, []byte(flags), 0o644); err != nil {
		return err
	}
	r.say("kubelet-start", "Writing kubelet configuration to file %q", kubeletConfigFile)
	return r.Disk.Write(kubeletConfigFile, config, 0o600)
}

func (r *runner) startKubelet(ctx context.Context) error {
	r.say("kubelet-start", "Starting the kubelet")
	if err := r.RestartKubelet(ctx); err != nil {
		return fmt.Errorf("[kubelet-start] starting the kubelet: %w", err)
	}
	return nil
}

func encodeKubelet(config *kubeletv1beta1.KubeletConfiguration) ([]byte, error) {
	content, err := yaml.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("encoding the kubelet configuration: %w", err)
	}
	return content, nil
}

func expiry(token kubeadmv1.BootstrapToken) metav1.Time {
	switch {
	case token.Expires != nil:
		return *token.Expires
	case token.TTL != nil && token.TTL.Duration == 0:
		return metav1.Time{}
	case token.TTL != nil:
		return metav1.NewTime(time.Now().Add(token.TTL.Duration))
	default:
		return metav1.NewTime(time.Now().Add(24 * time.Hour))
	}
}
