// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap/hostnet"
)

// DefaultKubeVIPImage is the kube-vip release whose settings the static pod follows.
const DefaultKubeVIPImage = "ghcr.io/kube-vip/kube-vip:v1.2.2"

const (
	kubeVIPPath = "/etc/kubernetes/manifests/kube-vip.yaml"
	// kube-vip looks for its kubeconfig here, inside its container.
	adminConfPath = "/etc/kubernetes/admin.conf"
	// On the machine that initialises the cluster admin.conf has no rights until kubeadm has bound its group; since
	// Kubernetes 1.29 super-admin.conf has them from the start.
	superAdminConfPath = "/etc/kubernetes/super-admin.conf"
	// localAPIServer is a name in the certificates that kubeadm makes for API servers; 127.0.0.1 is not in them.
	localAPIServer = "kubernetes"
)

// vipPart is the static pod of kube-vip, for control-plane machines whose virtual IP is ours to announce, else nothing.
//
// The pod goes where kubeadm has the kubelet look for static pods; k3s and RKE2 look elsewhere, and need mode External or kube-vip of
// their own. kube-vip reaches the local API server as kubernetes:<port>, so the API server must listen on the endpoint's port.
func vipPart(controlPlane *ControlPlane, plan hostnet.Plan) (part, error) {
	if controlPlane == nil {
		return part{}, nil
	}
	switch controlPlane.VIP.Mode {
	case infrav1.VIPModeARP, infrav1.VIPModeBGP:
	default:
		return part{}, nil
	}
	env, err := kubeVIPEnv(controlPlane, plan)
	if err != nil {
		return part{}, err
	}
	manifest, err := yaml.Marshal(kubeVIPPod(controlPlane, env))
	if err != nil {
		return part{}, fmt.Errorf("marshalling the pod of kube-vip: %w", err)
	}
	return part{files: []file{{path: kubeVIPPath, mode: 0o600, content: string(manifest)}}}, nil
}

// kubeVIPEnv are kube-vip's settings, by the names that its pkg/kubevip/config_envvar.go lists.
func kubeVIPEnv(controlPlane *ControlPlane, plan hostnet.Plan) ([]corev1.EnvVar, error) {
	vip, err := netip.ParseAddr(controlPlane.Endpoint.Host)
	if err != nil {
		return nil, fmt.Errorf("controlPlaneEndpoint.host: %q is not an IP address, which controlPlaneVIP.mode %s needs; set an address or use mode External", controlPlane.Endpoint.Host, controlPlane.VIP.Mode)
	}
	env := []corev1.EnvVar{
		{Name: "address", Value: vip.String()},
		{Name: "port", Value: strconv.Itoa(int(controlPlane.Endpoint.Port))},
		{Name: "vip_nodename", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodeName"}}},
		// The API server beside it. By default kube-vip v1.2 takes the server that the kubeconfig names, which is the very address that
		// it is to announce: a first control plane would wait for ever.
		{Name: "kubernetes_addr", Value: net.JoinHostPort(localAPIServer, strconv.Itoa(int(controlPlane.Endpoint.Port)))},
		{Name: "cp_enable", Value: "true"},
		{Name: "cp_namespace", Value: metav1.NamespaceSystem},
		{Name: "svc_enable", Value: "false"},
		// Also with BGP: without election a joining machine would announce the address before its API server runs.
		{Name: "vip_leaderelection", Value: "true"},
		{Name: "vip_leasename", Value: "plndr-cp-lock"},
		{Name: "vip_leaseduration", Value: "15"},
		{Name: "vip_renewdeadline", Value: "10"},
		{Name: "vip_retryperiod", Value: "2"},
		// The default listens on all addresses of the host.
		{Name: "prometheus_server", Value: "127.0.0.1:2112"},
	}
	if controlPlane.VIP.Mode == infrav1.VIPModeBGP {
		if controlPlane.VIP.BGP == nil {
			return nil, errors.New("controlPlaneVIP.bgp: needed with mode BGP; set asNumber and peers")
		}
		return append(env, bgpEnv(controlPlane.VIP.BGP, plan)...), nil
	}
	link, err := plan.VIPInterface(vip)
	if err != nil {
		return nil, err
	}
	return append(env, corev1.EnvVar{Name: "vip_arp", Value: "true"}, corev1.EnvVar{Name: "vip_interface", Value: link}), nil
}

// bgpEnv announces the address, which lies on the loopback device, to the routers.
func bgpEnv(bgp *infrav1.VIPBGP, plan hostnet.Plan) []corev1.EnvVar {
	peers := make([]string, 0, len(bgp.Peers))
	for _, peer := range bgp.Peers {
		host := peer.Address
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		// <address>:<AS>:<password>:<multihop>
		peers = append(peers, fmt.Sprintf("%s:%d::%t", host, peer.ASNumber, peer.MultiHop != nil && *peer.MultiHop))
	}
	env := []corev1.EnvVar{
		{Name: "vip_arp", Value: "false"},
		{Name: "vip_interface", Value: "lo"},
		{Name: "bgp_enable", Value: "true"},
		{Name: "bgp_as", Value: strconv.FormatInt(bgp.ASNumber, 10)},
		{Name: "bgp_peers", Value: strings.Join(peers, ",")},
	}
	for _, address := range plan.NodeAddresses() {
		if address.Is4() {
			return append(env, corev1.EnvVar{Name: "bgp_routerid", Value: address.String()})
		}
	}
	return append(env, corev1.EnvVar{Name: "bgp_routerinterface", Value: plan.FirstLink()})
}

func kubeVIPPod(controlPlane *ControlPlane, env []corev1.EnvVar) *corev1.Pod {
	image := controlPlane.VIP.Image
	if image == "" {
		image = DefaultKubeVIPImage
	}
	kubeconfig := adminConfPath
	if controlPlane.Init {
		kubeconfig = superAdminConfPath
	}
	return &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: "kube-vip", Namespace: metav1.NamespaceSystem},
		Spec: corev1.PodSpec{
			HostNetwork:       true,
			PriorityClassName: "system-node-critical",
			HostAliases:       []corev1.HostAlias{{IP: "127.0.0.1", Hostnames: []string{localAPIServer}}},
			Containers: []corev1.Container{{
				Name:            "kube-vip",
				Image:           image,
				ImagePullPolicy: corev1.PullIfNotPresent,
				Args:            []string{"manager"},
				Env:             env,
				SecurityContext: &corev1.SecurityContext{Capabilities: &corev1.Capabilities{
					Add:  []corev1.Capability{"NET_ADMIN", "NET_RAW"},
					Drop: []corev1.Capability{"ALL"},
				}},
				VolumeMounts: []corev1.VolumeMount{{Name: "kubeconfig", MountPath: adminConfPath, ReadOnly: true}},
			}},
			Volumes: []corev1.Volume{{
				Name: "kubeconfig",
				// The type has the kubelet wait until kubeadm has written the file; without, a runtime may make a folder of that name.
				VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: kubeconfig, Type: new(corev1.HostPathFile)}},
			}},
		},
	}
}
