// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// Names of Calico-VPP's objects, which its own tools look for.
const (
	vppNamespace      = "calico-vpp-dataplane"
	vppServiceAccount = "calico-vpp-node-sa"
	vppRole           = "calico-vpp-node-role"
	vppConfigMap      = "calico-vpp-config"
	vppDaemonSet      = "calico-vpp-node"
	vppAgentContainer = "agent"
	// The pre-shared key of IPsec is entry pskEntry of Secret pskObject.
	pskObject = "calicovpp-ipsec-secret"
	pskEntry  = "psk"
)

// configHash on pods makes them restart when their configuration changes.
const configHash = "edgemetal.infrastructure.cluster.x-k8s.io/config-hash"

// appLabel selects the pods of a DaemonSet, as in Calico's own manifests.
const appLabel = "k8s-app"

// vppObjects are Calico-VPP's namespace, access, configuration and pods.
func vppObjects(in Input, d infrav1.Dataplane) ([]any, error) {
	data, err := vppData(in, d)
	if err != nil {
		return nil, err
	}
	config := &corev1.ConfigMap{
		TypeMeta: typeMeta("v1", "ConfigMap"), ObjectMeta: metav1.ObjectMeta{Name: vppConfigMap, Namespace: vppNamespace}, Data: data,
	}
	return append(vppAccess(), config, vppDaemons(d, hashOf(data))), nil
}

func vppAccess() []any {
	return []any{
		&corev1.ServiceAccount{TypeMeta: typeMeta("v1", "ServiceAccount"), ObjectMeta: metav1.ObjectMeta{Name: vppServiceAccount, Namespace: vppNamespace}},
		&rbacv1.ClusterRole{TypeMeta: typeMeta(rbacv1.SchemeGroupVersion.String(), "ClusterRole"), ObjectMeta: metav1.ObjectMeta{Name: vppRole}, Rules: vppRules()},
		clusterRoleBinding("calico-vpp-node", vppRole, vppNamespace, vppServiceAccount),
	}
}

// vppRules are what Calico-VPP's agent needs. It publishes the node's WireGuard key through nodes/status.
func vppRules() []rbacv1.PolicyRule {
	read := []string{"get", "list", "watch"}
	calico := []string{"crd.projectcalico.org"}
	return []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"pods", "nodes", "namespaces", "serviceaccounts", "endpoints", "services"}, Verbs: read},
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get"}},
		{APIGroups: []string{""}, Resources: []string{"nodes/status"}, Verbs: []string{"patch", "update"}},
		{APIGroups: []string{""}, Resources: []string{"pods/status"}, Verbs: []string{"patch"}},
		{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: read},
		{APIGroups: []string{"networking.k8s.io"}, Resources: []string{"networkpolicies"}, Verbs: []string{"list", "watch"}},
		{APIGroups: calico, Verbs: read, Resources: []string{
			"globalfelixconfigs", "felixconfigurations", "bgppeers", "bgpfilters", "globalbgpconfigs", "bgpconfigurations", "ippools",
			"ipamblocks", "globalnetworkpolicies", "globalnetworksets", "networkpolicies", "networksets", "clusterinformations",
			"hostendpoints", "blockaffinities",
		}},
		{APIGroups: calico, Resources: []string{"blockaffinities", "ipamblocks", "ipamhandles"}, Verbs: []string{"get", "list", "create", "update", "delete"}},
		{APIGroups: calico, Resources: []string{"ipamconfigs"}, Verbs: []string{"get"}},
	}
}

// vppDaemons restart node by node. With encryption an installer decides when the next node is due, so the pods are replaced when they
// are deleted.
func vppDaemons(d infrav1.Dataplane, hash string) any {
	pod := daemonPod(vppServiceAccount, pullSecretNames(d))
	pod.HostPID = true
	pod.TerminationGracePeriodSeconds = new(int64(10))
	pod.Containers = []corev1.Container{vppAgent(d), vppProcess(d)}
	pod.Volumes = vppVolumes()
	return daemonSet(vppNamespace, vppDaemonSet, hash, protocol(d) != "", pod)
}

// daemonSet is in the host's network, on every node, whatever its taints, and is replaced one node after the other.
func daemonSet(namespace, name, hash string, onDelete bool, pod corev1.PodSpec) any {
	labels := map[string]string{appLabel: name}
	strategy := appsv1.DaemonSetUpdateStrategy{
		Type: appsv1.RollingUpdateDaemonSetStrategyType, RollingUpdate: &appsv1.RollingUpdateDaemonSet{MaxUnavailable: new(intstr.FromInt32(1))},
	}
	if onDelete {
		strategy = appsv1.DaemonSetUpdateStrategy{Type: appsv1.OnDeleteDaemonSetStrategyType}
	}
	return &appsv1.DaemonSet{
		TypeMeta:   typeMeta(appsv1.SchemeGroupVersion.String(), "DaemonSet"),
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: labels},
		Spec: appsv1.DaemonSetSpec{
			Selector:       &metav1.LabelSelector{MatchLabels: labels},
			UpdateStrategy: strategy,
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{configHash: hash}},
				Spec:       pod,
			},
		},
	}
}

func daemonPod(serviceAccount string, pullSecrets []corev1.LocalObjectReference) corev1.PodSpec {
	return corev1.PodSpec{
		HostNetwork:        true,
		PriorityClassName:  "system-node-critical",
		ServiceAccountName: serviceAccount,
		ImagePullSecrets:   pullSecrets,
		NodeSelector:       map[string]string{corev1.LabelOSStable: "linux"},
		Tolerations:        []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
	}
}

func vppAgent(d infrav1.Dataplane) corev1.Container {
	env := append(vppEnv(), corev1.EnvVar{Name: "NAMESPACE", ValueFrom: field("metadata.namespace")})
	if protocol(d) == encryption.IPsec {
		env = append(env, corev1.EnvVar{Name: "CALICOVPP_IPSEC_IKEV2_PSK", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: pskObject}, Key: pskEntry,
		}}})
	}
	return corev1.Container{
		Name: vppAgentContainer, Image: vppImage(d, "agent"), ImagePullPolicy: corev1.PullIfNotPresent,
		Env: env, EnvFrom: vppEnvFrom(), SecurityContext: &corev1.SecurityContext{Privileged: new(true)},
		Resources:      corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("250m")}},
		StartupProbe:   probe("/liveness", corev1.Probe{InitialDelaySeconds: 30, PeriodSeconds: 30, FailureThreshold: 10}),
		LivenessProbe:  probe("/liveness", corev1.Probe{InitialDelaySeconds: 30, PeriodSeconds: 10, FailureThreshold: 3}),
		ReadinessProbe: probe("/readiness", corev1.Probe{InitialDelaySeconds: 10, PeriodSeconds: 5, FailureThreshold: 3}),
		VolumeMounts:   mounts("/var/run/calico", "/var/lib/calico/felix-plugins", "/var/run/vpp", "/run/netns"),
	}
}

func vppProcess(d infrav1.Dataplane) corev1.Container {
	return corev1.Container{
		Name: "vpp", Image: vppImage(d, "vpp"), ImagePullPolicy: corev1.PullIfNotPresent,
		Env: vppEnv(), EnvFrom: vppEnvFrom(), SecurityContext: &corev1.SecurityContext{Privileged: new(true)},
		Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("500m"), corev1.ResourceMemory: memoryRequest(*d.VPP),
		}},
		VolumeMounts: mounts("/lib/firmware", "/var/run/vpp", "/var/lib/vpp", "/etc/vpp", "/dev", "/sys", "/run/netns", "/host"),
	}
}

func vppImage(d infrav1.Dataplane, name string) string {
	registry := d.Calico.Registry
	if registry == "" {
		registry = "docker.io"
	}
	return fmt.Sprintf("%s/calicovpp/%s:%s", registry, name, d.Calico.VPPVersion)
}

func vppEnv() []corev1.EnvVar {
	return []corev1.EnvVar{
		{Name: "DATASTORE_TYPE", Value: "kubernetes"},
		{Name: "WAIT_FOR_DATASTORE", Value: "true"},
		{Name: "NODENAME", ValueFrom: field("spec.nodeName")},
	}
}

func vppEnvFrom() []corev1.EnvFromSource {
	return []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: vppConfigMap}}}}
}

func field(path string) *corev1.EnvVarSource {
	return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
}

func probe(path string, settings corev1.Probe) *corev1.Probe {
	settings.HTTPGet = &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(healthPort), Scheme: corev1.URISchemeHTTP}
	settings.TimeoutSeconds = 3
	return &settings
}

// vppVolumes are directories of the host, named after their path in the containers.
func vppVolumes() []corev1.Volume {
	volumes := []corev1.Volume{hostPath("/host", "/", corev1.HostPathUnset)}
	for _, dir := range []string{"/lib/firmware", "/var/run/vpp", "/etc/vpp", "/dev", "/sys", "/var/run/calico", "/run/netns", "/var/lib/calico/felix-plugins"} {
		volumes = append(volumes, hostPath(dir, dir, corev1.HostPathUnset))
	}
	return append(volumes, hostPath("/var/lib/vpp", "/var/lib/vpp", corev1.HostPathDirectoryOrCreate))
}

func hostPath(inside, outside string, kind corev1.HostPathType) corev1.Volume {
	source := &corev1.HostPathVolumeSource{Path: outside}
	if kind != corev1.HostPathUnset {
		source.Type = new(kind)
	}
	return corev1.Volume{Name: volumeName(inside), VolumeSource: corev1.VolumeSource{HostPath: source}}
}

// mounts of volumes made by hostPath. Network namespaces that the agent mounts must be seen on the host and the other way round.
func mounts(paths ...string) []corev1.VolumeMount {
	converted := make([]corev1.VolumeMount, len(paths))
	for i, mountPath := range paths {
		converted[i] = corev1.VolumeMount{Name: volumeName(mountPath), MountPath: mountPath}
		if mountPath == "/run/netns" {
			converted[i].MountPropagation = new(corev1.MountPropagationBidirectional)
		}
	}
	return converted
}

func volumeName(mountPath string) string {
	dir, base := path.Split(mountPath)
	if parent := path.Base(dir); parent != "/" {
		return parent + "-" + base
	}
	return base
}

func clusterRoleBinding(name, role, namespace, serviceAccount string) any {
	return &rbacv1.ClusterRoleBinding{
		TypeMeta:   typeMeta(rbacv1.SchemeGroupVersion.String(), "ClusterRoleBinding"),
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: serviceAccount, Namespace: namespace}},
	}
}

// hashOf is the same for the same data.
func hashOf(data map[string]string) string {
	hash := sha256.New()
	for _, key := range slices.Sorted(maps.Keys(data)) {
		fmt.Fprintf(hash, "%q=%q\n", key, data[key])
	}
	return hex.EncodeToString(hash.Sum(nil))
}
