// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	kubeadmv1 "sigs.k8s.io/cluster-api/bootstrap/kubeadm/pkg/types/upstreamv1beta4"
	"sigs.k8s.io/yaml"
)

// etcdImage is what the manifest says; the process is the lab's own etcd.
const etcdImage = "etcd:3.6.16-0"

// component is a control-plane static pod.
type component struct {
	name        string
	image       string
	args        []kubeadmv1.Arg
	extra       kubeadmv1.ControlPlaneComponent
	annotations map[string]string
	// health is the port, path and scheme of the readiness probe.
	port   int32
	path   string
	scheme corev1.URIScheme
	host   string
}

// writeManifest writes the component's static pod.
func (r *runner) writeManifest(c component) error {
	r.say("control-plane", "Creating static Pod manifest for %q", c.name)
	pod := corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Name: c.name, Namespace: metav1.NamespaceSystem, Annotations: c.annotations,
			Labels: map[string]string{"component": c.name, "tier": "control-plane"},
		},
		Spec: corev1.PodSpec{
			HostNetwork: true, PriorityClassName: "system-node-critical",
			SecurityContext: &corev1.PodSecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			Containers: []corev1.Container{{
				Name: c.name, Image: c.image, ImagePullPolicy: corev1.PullIfNotPresent,
				Command: append([]string{c.name}, merge(c.args, c.extra.ExtraArgs)...),
				ReadinessProbe: &corev1.Probe{
					PeriodSeconds: 1, TimeoutSeconds: 15, FailureThreshold: 3,
					ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
						Host: c.host, Path: c.path, Port: intstr.FromInt32(c.port), Scheme: c.scheme,
					}},
				},
			}},
		},
	}
	for _, variable := range c.extra.ExtraEnvs {
		pod.Spec.Containers[0].Env = append(pod.Spec.Containers[0].Env, variable.EnvVar)
	}
	content, err := yaml.Marshal(pod)
	if err != nil {
		return fmt.Errorf("encoding the manifest of %s: %w", c.name, err)
	}
	return r.Disk.Write(manifestDir+"/"+c.name+".yaml", content, 0o600)
}

// merge is the defaults without those that are overridden, then the overrides, sorted by name.
func merge(defaults, overrides []kubeadmv1.Arg) []string {
	kept := slices.DeleteFunc(slices.Clone(defaults), func(arg kubeadmv1.Arg) bool {
		return slices.ContainsFunc(overrides, func(o kubeadmv1.Arg) bool { return o.Name == arg.Name })
	})
	all := append(kept, overrides...)
	slices.SortStableFunc(all, func(a, b kubeadmv1.Arg) int { return strings.Compare(a.Name, b.Name) })
	words := make([]string, len(all))
	for i, arg := range all {
		words[i] = "--" + arg.Name + "=" + arg.Value
	}
	return words
}

func arguments(pairs ...string) []kubeadmv1.Arg {
	var list []kubeadmv1.Arg
	for pair := range slices.Chunk(pairs, 2) {
		list = append(list, kubeadmv1.Arg{Name: pair[0], Value: pair[1]})
	}
	return list
}

// writeControlPlaneManifests writes the API server, the controller manager and the scheduler.
func (r *runner) writeControlPlaneManifests(cluster *kubeadmv1.ClusterConfiguration, local kubeadmv1.APIEndpoint) error {
	image := func(name string) string {
		return cluster.ImageRepository + "/" + name + ":" + cluster.KubernetesVersion
	}
	return errors.Join(
		r.writeManifest(component{
			name: "kube-apiserver", image: image("kube-apiserver"), args: apiServerArgs(cluster, local), extra: cluster.APIServer.ControlPlaneComponent,
			annotations: map[string]string{"kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint": net.JoinHostPort(local.AdvertiseAddress, strconv.Itoa(int(local.BindPort)))},
			host:        local.AdvertiseAddress, port: local.BindPort, path: "/readyz", scheme: corev1.URISchemeHTTPS,
		}),
		r.writeManifest(component{
			name: "kube-controller-manager", image: image("kube-controller-manager"), args: controllerManagerArgs(cluster), extra: cluster.ControllerManager,
			host: "127.0.0.1", port: 10257, path: "/healthz", scheme: corev1.URISchemeHTTPS,
		}),
		r.writeManifest(component{
			name: "kube-scheduler", image: image("kube-scheduler"), args: schedulerArgs(), extra: cluster.Scheduler,
			host: "127.0.0.1", port: 10259, path: "/readyz", scheme: corev1.URISchemeHTTPS,
		}),
	)
}

func apiServerArgs(cluster *kubeadmv1.ClusterConfiguration, local kubeadmv1.APIEndpoint) []kubeadmv1.Arg {
	pki := cluster.CertificatesDir
	return arguments(
		"advertise-address", local.AdvertiseAddress,
		"allow-privileged", "true",
		"authorization-mode", "Node,RBAC",
		"client-ca-file", pki+"/ca.crt",
		"enable-admission-plugins", "NodeRestriction",
		"enable-bootstrap-token-auth", "true",
		"etcd-cafile", pki+"/etcd/ca.crt",
		"etcd-certfile", pki+"/apiserver-etcd-client.crt",
		"etcd-keyfile", pki+"/apiserver-etcd-client.key",
		"etcd-servers", "https://127.0.0.1:2379",
		"kubelet-client-certificate", pki+"/apiserver-kubelet-client.crt",
		"kubelet-client-key", pki+"/apiserver-kubelet-client.key",
		"kubelet-preferred-address-types", "InternalIP,ExternalIP,Hostname",
		"proxy-client-cert-file", pki+"/front-proxy-client.crt",
		"proxy-client-key-file", pki+"/front-proxy-client.key",
		"requestheader-allowed-names", "front-proxy-client",
		"requestheader-client-ca-file", pki+"/front-proxy-ca.crt",
		"requestheader-extra-headers-prefix", "X-Remote-Extra-",
		"requestheader-group-headers", "X-Remote-Group",
		"requestheader-username-headers", "X-Remote-User",
		"secure-port", strconv.Itoa(int(local.BindPort)),
		"service-account-issuer", "https://kubernetes.default.svc."+cluster.Networking.DNSDomain,
		"service-account-key-file", pki+"/sa.pub",
		"service-account-signing-key-file", pki+"/sa.key",
		"service-cluster-ip-range", cluster.Networking.ServiceSubnet,
		"tls-cert-file", pki+"/apiserver.crt",
		"tls-private-key-file", pki+"/apiserver.key",
	)
}

func controllerManagerArgs(cluster *kubeadmv1.ClusterConfiguration) []kubeadmv1.Arg {
	pki, kubeconfig := cluster.CertificatesDir, kubernetesDir+"/controller-manager.conf"
	args := arguments(
		"authentication-kubeconfig", kubeconfig,
		"authorization-kubeconfig", kubeconfig,
		"bind-address", "127.0.0.1",
		"client-ca-file", pki+"/ca.crt",
		"cluster-name", cluster.ClusterName,
		"cluster-signing-cert-file", pki+"/ca.crt",
		"cluster-signing-key-file", pki+"/ca.key",
		"controllers", "*,bootstrapsigner,tokencleaner",
		"kubeconfig", kubeconfig,
		"leader-elect", "true",
		"requestheader-client-ca-file", pki+"/front-proxy-ca.crt",
		"root-ca-file", pki+"/ca.crt",
		"service-account-private-key-file", pki+"/sa.key",
		"use-service-account-credentials", "true",
	)
	if cluster.Networking.PodSubnet != "" {
		args = append(args, arguments(
			"allocate-node-cidrs", "true",
			"cluster-cidr", cluster.Networking.PodSubnet,
			"service-cluster-ip-range", cluster.Networking.ServiceSubnet,
		)...)
	}
	return args
}

func schedulerArgs() []kubeadmv1.Arg {
	kubeconfig := kubernetesDir + "/scheduler.conf"
	return arguments(
		"authentication-kubeconfig", kubeconfig,
		"authorization-kubeconfig", kubeconfig,
		"bind-address", "127.0.0.1",
		"kubeconfig", kubeconfig,
		"leader-elect", "true",
	)
}

// writeEtcdManifest writes the etcd member's static pod. initialCluster is empty for the first member.
func (r *runner) writeEtcdManifest(cluster *kubeadmv1.ClusterConfiguration, nodeName, address string, initialCluster []string) error {
	pki := cluster.CertificatesDir + "/etcd"
	client := "https://" + net.JoinHostPort(address, "2379")
	peer := "https://" + net.JoinHostPort(address, "2380")
	args := arguments(
		"advertise-client-urls", client,
		"cert-file", pki+"/server.crt",
		"client-cert-auth", "true",
		"data-dir", cluster.Etcd.Local.DataDir,
		"feature-gates", "InitialCorruptCheck=true",
		"initial-advertise-peer-urls", peer,
		"key-file", pki+"/server.key",
		"listen-client-urls", "https://127.0.0.1:2379,"+client,
		"listen-metrics-urls", "http://127.0.0.1:2381",
		"listen-peer-urls", peer,
		"name", nodeName,
		"peer-cert-file", pki+"/peer.crt",
		"peer-client-cert-auth", "true",
		"peer-key-file", pki+"/peer.key",
		"peer-trusted-ca-file", pki+"/ca.crt",
		"snapshot-count", "10000",
		"trusted-ca-file", pki+"/ca.crt",
		"watch-progress-notify-interval", "5s",
	)
	if len(initialCluster) == 0 {
		args = append(args, arguments("initial-cluster", nodeName+"="+peer)...)
	} else {
		args = append(args, arguments("initial-cluster", strings.Join(initialCluster, ","), "initial-cluster-state", "existing")...)
	}
	return r.writeManifest(component{
		name: "etcd", image: cluster.ImageRepository + "/" + etcdImage, args: args,
		extra:       kubeadmv1.ControlPlaneComponent{ExtraArgs: cluster.Etcd.Local.ExtraArgs, ExtraEnvs: cluster.Etcd.Local.ExtraEnvs},
		annotations: map[string]string{etcdURLAnnotation: client},
		host:        "127.0.0.1", port: 2381, path: "/readyz", scheme: corev1.URISchemeHTTP,
	})
}
