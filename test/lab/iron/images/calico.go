// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package images

import (
	"context"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	calicoNamespace = "calico-system"
	pluginsMount    = "/usr/local/bin/felix-plugins"
)

// image is a Calico image from the Installation's registry.
func image(installation *unstructured.Unstructured, name string) string {
	registry, _, _ := unstructured.NestedString(installation.Object, "spec", "registry")
	if registry == "" {
		registry = "quay.io/"
	}
	return strings.TrimSuffix(registry, "/") + "/" + name + ":v3.32.1"
}

// calicoNode is calico-node as the operator renders it (pkg/render/node.go), as far as it decides when it is ready.
func calicoNode(installation *unstructured.Unstructured) *appsv1.DaemonSet {
	labels := map[string]string{"k8s-app": "calico-node"}
	container := corev1.Container{Name: "calico-node", Image: image(installation, "calico/node")}
	volumes := []corev1.Volume{hostPath("var-run-calico", "/var/run/calico")}
	container.VolumeMounts = []corev1.VolumeMount{{Name: "var-run-calico", MountPath: "/var/run/calico"}}
	if dataplane, _, _ := unstructured.NestedString(installation.Object, "spec", "calicoNetwork", "linuxDataplane"); dataplane == "VPP" {
		container.Env = []corev1.EnvVar{
			{Name: "CLUSTER_TYPE", Value: "k8s,operator,vpp"}, {Name: "CALICO_NETWORKING_BACKEND", Value: "none"},
			{Name: "FELIX_USEINTERNALDATAPLANEDRIVER", Value: "false"}, {Name: "FELIX_DATAPLANEDRIVER", Value: pluginsMount + "/felix-api-proxy"},
		}
		volumes = append(volumes, hostPath("felix-plugins", "/var/lib/calico/felix-plugins"))
		container.VolumeMounts = append(container.VolumeMounts, corev1.VolumeMount{Name: "felix-plugins", MountPath: pluginsMount, ReadOnly: true})
	}
	return &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: calicoNamespace, Name: "calico-node"},
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					HostNetwork: true, ServiceAccountName: "calico-node", PriorityClassName: "system-node-critical",
					NodeSelector: map[string]string{corev1.LabelOSStable: "linux"},
					Tolerations:  []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
					Containers:   []corev1.Container{container}, Volumes: volumes,
				},
			},
		},
	}
}

func hostPath(name, path string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
		HostPath: &corev1.HostPathVolumeSource{Path: path, Type: new(corev1.HostPathDirectoryOrCreate)},
	}}
}

// deployment is one of the operator's that pods' own network carries: it tolerates the control plane's taint,
// and no other.
func (o *reconciler) deployment(name, image string) *appsv1.Deployment {
	labels := map[string]string{"k8s-app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: calicoNamespace, Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(1)),
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					AutomountServiceAccountToken: new(false),
					Tolerations:                  []corev1.Toleration{{Key: "node-role.kubernetes.io/control-plane", Effect: corev1.TaintEffectNoSchedule}},
					Containers:                   []corev1.Container{{Name: name, Image: image}},
				},
			},
		},
	}
}

// pools makes the Installation's pools, which the operator does through Calico's own API.
func (o *reconciler) pools(ctx context.Context, installation *unstructured.Unstructured) error {
	pools, _, _ := unstructured.NestedSlice(installation.Object, "spec", "calicoNetwork", "ipPools")
	for _, entry := range pools {
		wanted, ok := entry.(map[string]any)
		if !ok {
			continue
		}
		pool := &unstructured.Unstructured{Object: map[string]any{"spec": poolSpec(wanted)}}
		pool.SetGroupVersionKind(schema.GroupVersionKind{Group: "crd.projectcalico.org", Version: "v1", Kind: "IPPool"})
		pool.SetName(fmt.Sprint(wanted["name"]))
		pool.SetLabels(map[string]string{"app.kubernetes.io/managed-by": "tigera-operator"})
		if err := o.api.Create(ctx, pool); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("creating IPPool %s: %w", pool.GetName(), err)
		}
	}
	return o.setStatus(ctx, "ippools", "")
}

func poolSpec(wanted map[string]any) map[string]any {
	spec := map[string]any{
		"cidr": wanted["cidr"], "blockSize": wanted["blockSize"], "nodeSelector": wanted["nodeSelector"],
		"natOutgoing": wanted["natOutgoing"] == "Enabled", "ipipMode": "Never", "vxlanMode": "Never",
	}
	encapsulation := fmt.Sprint(wanted["encapsulation"])
	for mode, kind := range map[string]string{"ipipMode": "IPIP", "vxlanMode": "VXLAN"} {
		switch encapsulation {
		case kind:
			spec[mode] = "Always"
		case kind + "CrossSubnet":
			spec[mode] = "CrossSubnet"
		}
	}
	return spec
}
