// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// agentPort of the node agent's metrics and health, on the host's loopback address: the agent shares the host's network, and what it
// answers is not authenticated.
const agentPort = 9470

// Directories of the host that the node agent sees.
const (
	agentRunDir  = "/run/edgemetal"
	agentHostSys = "/host/sys"
	agentHost    = "/host"
)

// agentObjects are the node agent's namespace, access and pods, and with mode Required what keeps pools within its guard.
func agentObjects(in Input, d infrav1.Dataplane) []any {
	objects := append([]any{namespace(encryption.AgentNamespace)}, agentAccess()...)
	objects = append(objects, agentPolicy()...)
	if d.Encryption.Mode == infrav1.EncryptionRequired {
		objects = append(objects, poolPolicy(in, d)...)
	}
	return append(objects, agentDaemons(in, d))
}

// agentAccess: the agent reads Nodes, writes the condition and the taint of its own, which agentPolicy sees to, and tells of changes
// with events, which for Nodes lie in namespace default.
func agentAccess() []any {
	rbac := rbacv1.SchemeGroupVersion.String()
	name := encryption.AgentName
	return []any{
		&corev1.ServiceAccount{TypeMeta: typeMeta("v1", "ServiceAccount"), ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: encryption.AgentNamespace}},
		&rbacv1.ClusterRole{
			TypeMeta: typeMeta(rbac, "ClusterRole"), ObjectMeta: metav1.ObjectMeta{Name: agentClusterName},
			Rules: []rbacv1.PolicyRule{
				{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"get", "list", "watch", "patch"}},
				{APIGroups: []string{""}, Resources: []string{"nodes/status"}, Verbs: []string{"patch"}},
			},
		},
		clusterRoleBinding(agentClusterName, agentClusterName, encryption.AgentNamespace, name),
		&rbacv1.Role{
			TypeMeta: typeMeta(rbac, "Role"), ObjectMeta: metav1.ObjectMeta{Name: agentClusterName, Namespace: metav1.NamespaceDefault},
			Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"create"}}},
		},
		&rbacv1.RoleBinding{
			TypeMeta: typeMeta(rbac, "RoleBinding"), ObjectMeta: metav1.ObjectMeta{Name: agentClusterName, Namespace: metav1.NamespaceDefault},
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: agentClusterName},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: name, Namespace: encryption.AgentNamespace}},
		},
	}
}

func agentDaemons(in Input, d infrav1.Dataplane) any {
	pod := daemonPod(encryption.AgentName, pullSecretNames(d))
	pod.TerminationGracePeriodSeconds = new(int64(5))
	container := corev1.Container{
		Name: encryption.AgentName, Image: d.AgentImage, ImagePullPolicy: corev1.PullIfNotPresent,
		Args: agentArgs(in, d), Env: []corev1.EnvVar{{Name: "NODE_NAME", ValueFrom: field("spec.nodeName")}},
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("40Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("128Mi")},
		},
		LivenessProbe:   agentProbe("/healthz", 30),
		ReadinessProbe:  agentProbe("/readyz", 10),
		SecurityContext: agentSecurity(d),
	}
	dirs := []string{"/var/run/vpp", "/etc/vpp"}
	if d.Type != infrav1.DataplaneCalicoVPP {
		dirs = []string{"/etc/edgemetal"}
	}
	for _, dir := range dirs {
		pod.Volumes = append(pod.Volumes, hostPath(dir, dir, corev1.HostPathDirectoryOrCreate))
	}
	pod.Volumes = append(pod.Volumes, hostPath(agentHostSys, "/sys", corev1.HostPathDirectory), hostPath(agentRunDir, agentRunDir, corev1.HostPathDirectoryOrCreate))
	container.VolumeMounts = mounts(append(dirs, agentHostSys)...)
	for i := range container.VolumeMounts {
		container.VolumeMounts[i].ReadOnly = true
	}
	container.VolumeMounts = append(container.VolumeMounts, mounts(agentRunDir)...)
	pod.Containers = []corev1.Container{container}
	return daemonSet(encryption.AgentNamespace, encryption.AgentName, hashOf(map[string]string{"args": strings.Join(container.Args, " ")}), true, pod)
}

func agentArgs(in Input, d infrav1.Dataplane) []string {
	backend := string(encryption.Kernel)
	if d.Type == infrav1.DataplaneCalicoVPP {
		backend = string(encryption.VPP)
	}
	args := []string{
		"--node-name=$(NODE_NAME)",
		"--mode=" + string(d.Encryption.Mode),
		"--protocol=" + string(d.Encryption.Protocol),
		"--backend=" + backend,
		"--pod-cidrs=" + strings.Join(ipv4(in.PodCIDRs), ","),
		"--host-root=" + agentHost,
		"--run-dir=" + agentRunDir,
		"--metrics-bind-address=127.0.0.1:" + strconv.Itoa(agentPort),
	}
	if services := ipv4(in.ServiceCIDRs); len(services) > 0 {
		args = append(args, "--service-cidrs="+strings.Join(services, ","))
	}
	if d.BGP != nil {
		if announced := ipv4(slices.Concat(d.BGP.Advertise.ExternalIPs, d.BGP.Advertise.LoadBalancerIPs)); len(announced) > 0 {
			args = append(args, "--announced-cidrs="+strings.Join(announced, ","))
		}
	}
	if d.Encryption.Port != 0 {
		args = append(args, "--port="+strconv.Itoa(int(d.Encryption.Port)))
	}
	if d.VPP == nil {
		// What the host's own programs do with hugepages is theirs.
		return append(args, "--rx-mode=any", "--hugepages=allowed")
	}
	return append(args, "--vpp-socket="+VPPAPISocket, "--rx-mode="+agentRxMode(*d.VPP), "--hugepages=forbidden")
}

// agentRxMode is what all of VPP's interfaces have in common, if anything.
func agentRxMode(vpp infrav1.VPP) string {
	if vpp.RxMode == vpp.PodRxMode && vpp.RxMode == vpp.HostTapRxMode {
		return rxMode(vpp.RxMode)
	}
	return "any"
}

// agentSecurity: files and VPP's sockets belong to root. On kernel dataplanes the agent looks after a WireGuard device and a guard in
// the host's network, for which it loads a packet filter. To find that filter again after a restart takes SYS_ADMIN: the kernel opens a
// program by its number for nobody else (kernel/bpf/syscall.c, bpf_prog_get_fd_by_id).
func agentSecurity(d infrav1.Dataplane) *corev1.SecurityContext {
	security := &corev1.SecurityContext{
		RunAsUser: new(int64(0)), ReadOnlyRootFilesystem: new(true), AllowPrivilegeEscalation: new(false),
		Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	if d.Type != infrav1.DataplaneCalicoVPP {
		security.Capabilities.Add = []corev1.Capability{"NET_ADMIN", "BPF", "SYS_RESOURCE", "SYS_ADMIN"}
	}
	return security
}

func agentProbe(path string, period int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Host: "127.0.0.1", Path: path, Port: intstr.FromInt32(agentPort), Scheme: corev1.URISchemeHTTP,
		}},
		InitialDelaySeconds: 5, PeriodSeconds: period, TimeoutSeconds: 3, FailureThreshold: 3,
	}
}

// ipv4 are the ranges that the agent proves.
func ipv4(cidrs []string) []string {
	var found []string
	for _, cidr := range cidrs {
		if prefix, err := netip.ParsePrefix(cidr); err == nil && prefix.Addr().Is4() {
			found = append(found, prefix.Masked().String())
		}
	}
	return found
}
