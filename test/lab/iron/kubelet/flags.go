// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
	"sigs.k8s.io/yaml"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/rootfs"
)

// Settings are what the kubelet was told, by flags and by its configuration file; flags win.
type Settings struct {
	Kubeconfig          string
	BootstrapKubeconfig string
	ManifestDir         string
	ClientCAFile        string

	NodeName   string
	NodeIP     netip.Addr
	ProviderID string
	Labels     map[string]string
	Taints     []corev1.Taint
	MaxPods    int32
	// ExternalCloud is --cloud-provider=external.
	ExternalCloud bool
}

// otherFlags are kubelet flags that are legal and make no difference to a simulated host.
const otherFlags = `address allowed-unsafe-sysctls anonymous-auth authentication-token-webhook authorization-mode cert-dir
	authentication-token-webhook-cache-ttl authorization-webhook-cache-authorized-ttl authorization-webhook-cache-unauthorized-ttl
	cgroup-driver cgroup-root cgroups-per-qos cluster-dns cluster-domain config-dir container-log-max-files container-log-max-size
	container-runtime-endpoint contention-profiling cpu-cfs-quota cpu-cfs-quota-period cpu-manager-policy cpu-manager-policy-options
	cpu-manager-reconcile-period enable-controller-attach-detach enable-debugging-handlers enable-server enforce-node-allocatable
	event-burst event-qps eviction-hard eviction-max-pod-grace-period eviction-minimum-reclaim eviction-pressure-transition-period
	eviction-soft eviction-soft-grace-period fail-cgroupv1 fail-swap-on feature-gates file-check-frequency hairpin-mode
	healthz-bind-address healthz-port http-check-frequency image-credential-provider-bin-dir image-credential-provider-config
	image-gc-high-threshold image-gc-low-threshold image-service-endpoint kernel-memcg-notification kube-api-burst
	kube-api-content-type kube-api-qps kube-reserved kube-reserved-cgroup kubelet-cgroups local-storage-capacity-isolation lock-file
	log-flush-frequency logging-format make-iptables-util-chains manifest-url manifest-url-header max-open-files
	maximum-dead-containers maximum-dead-containers-per-container memory-manager-policy minimum-container-ttl-duration
	minimum-image-ttl-duration node-status-max-images node-status-update-frequency oom-score-adj pod-cidr pod-max-pids pods-per-core
	port protect-kernel-defaults qos-reserved read-only-port register-node registry-burst registry-qps reserved-cpus reserved-memory
	resolv-conf root-dir rotate-certificates rotate-server-certificates runonce runtime-cgroups runtime-request-timeout
	seccomp-default serialize-image-pulls streaming-connection-idle-timeout sync-frequency system-cgroups system-reserved
	system-reserved-cgroup tls-cert-file tls-cipher-suites tls-min-version tls-private-key-file topology-manager-policy
	topology-manager-policy-options topology-manager-scope v vmodule volume-plugin-dir volume-stats-agg-period`

// ParseArgs reads the kubelet's arguments, without its name, and the configuration file that they point to.
// Like the real kubelet it refuses a flag that it does not know and a file that it cannot read.
func ParseArgs(args []string, disk rootfs.FS, hostname string) (*Settings, error) {
	flags, err := parseFlags(args)
	if err != nil {
		return nil, err
	}
	config, err := readConfig(disk, flags["config"])
	if err != nil {
		return nil, err
	}
	settings := &Settings{
		Kubeconfig:          flags["kubeconfig"],
		BootstrapKubeconfig: flags["bootstrap-kubeconfig"],
		ManifestDir:         cmp.Or(flags["pod-manifest-path"], config.StaticPodPath),
		ClientCAFile:        cmp.Or(flags["client-ca-file"], config.Authentication.X509.ClientCAFile),
		NodeName:            strings.ToLower(cmp.Or(flags["hostname-override"], hostname)),
		ProviderID:          cmp.Or(flags["provider-id"], config.ProviderID),
		MaxPods:             cmp.Or(config.MaxPods, 110),
		ExternalCloud:       flags["cloud-provider"] == "external",
	}
	if text := flags["max-pods"]; text != "" {
		if _, err := fmt.Sscanf(text, "%d", &settings.MaxPods); err != nil {
			return nil, fmt.Errorf("invalid argument %q for \"--max-pods\" flag", text)
		}
	}
	if text := flags["node-ip"]; text != "" && text != "0.0.0.0" && text != "::" {
		// With two families the first one is the node's main address.
		first, _, _ := strings.Cut(text, ",")
		if settings.NodeIP, err = netip.ParseAddr(first); err != nil {
			return nil, fmt.Errorf("bad --node-ip %q: %w", text, err)
		}
	}
	if settings.Labels, err = parseLabels(flags["node-labels"]); err != nil {
		return nil, err
	}
	settings.Taints = slices.Clone(config.RegisterWithTaints)
	if text, ok := flags["register-with-taints"]; ok {
		if settings.Taints, err = parseTaints(text); err != nil {
			return nil, err
		}
	}
	return settings, nil
}

// parseFlags reads --name=value, --name value and --name; the last of several counts.
func parseFlags(args []string) (map[string]string, error) {
	known := append(strings.Fields(otherFlags), "config", "kubeconfig", "bootstrap-kubeconfig", "pod-manifest-path", "client-ca-file",
		"hostname-override", "provider-id", "cloud-provider", "max-pods", "node-ip", "node-labels", "register-with-taints")
	flags := map[string]string{}
	for i := 0; i < len(args); i++ {
		name, ok := strings.CutPrefix(args[i], "--")
		if !ok {
			return nil, fmt.Errorf("unknown command %q", args[i])
		}
		name, value, hasValue := strings.Cut(name, "=")
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("failed to parse kubelet flag: unknown flag: --%s", name)
		}
		if !hasValue && i+1 < len(args) && !strings.HasPrefix(args[i+1], "--") {
			i++
			value = args[i]
		}
		flags[name] = value
	}
	return flags, nil
}

func readConfig(disk rootfs.FS, name string) (*kubeletv1beta1.KubeletConfiguration, error) {
	config := &kubeletv1beta1.KubeletConfiguration{}
	if name == "" {
		return config, nil
	}
	content, err := disk.Read(name)
	if err != nil {
		return nil, fmt.Errorf("failed to load kubelet config file, path: %s, error: %w", name, err)
	}
	if err := yaml.UnmarshalStrict(content, config); err != nil {
		return nil, fmt.Errorf("failed to load kubelet config file, path: %s, error: %w", name, err)
	}
	return config, nil
}

func parseLabels(text string) (map[string]string, error) {
	labels := map[string]string{}
	for word := range strings.SplitSeq(text, ",") {
		if word == "" {
			continue
		}
		key, value, ok := strings.Cut(word, "=")
		if !ok {
			return nil, fmt.Errorf("--node-labels: %q: want key=value", word)
		}
		labels[key] = value
	}
	return labels, nil
}

// parseTaints reads key=value:Effect and key:Effect, separated by commas.
func parseTaints(text string) ([]corev1.Taint, error) {
	var taints []corev1.Taint
	for word := range strings.SplitSeq(text, ",") {
		if word == "" {
			continue
		}
		pair, effect, ok := strings.Cut(word, ":")
		legal := []string{string(corev1.TaintEffectNoSchedule), string(corev1.TaintEffectPreferNoSchedule), string(corev1.TaintEffectNoExecute)}
		if !ok || !slices.Contains(legal, effect) {
			return nil, fmt.Errorf("--register-with-taints: %q: want key=value:Effect with one of %s", word, strings.Join(legal, ", "))
		}
		key, value, _ := strings.Cut(pair, "=")
		taints = append(taints, corev1.Taint{Key: key, Value: value, Effect: corev1.TaintEffect(effect)})
	}
	return taints, nil
}

// hasFile tells whether a path is given and there is something at it.
func hasFile(disk rootfs.FS, name string) bool {
	if name == "" {
		return false
	}
	_, err := disk.Read(name)
	return err == nil || !errors.Is(err, fs.ErrNotExist)
}
