// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func providerPod(change func(*corev1.Pod, *corev1.Container)) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "capi-system", Name: "capi-1", UID: "uid-1"},
		Spec: corev1.PodSpec{
			ServiceAccountName: "capi-manager",
			Containers: []corev1.Container{{
				Name: "manager",
				Args: []string{"--leader-elect", "--feature-gates=ClusterTopology=true"},
				Env: []corev1.EnvVar{
					{Name: "PLAIN", Value: "value"},
					{Name: "POD_UID", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.uid"}}},
				},
				Ports: []corev1.ContainerPort{
					{Name: "healthz", ContainerPort: 9440}, {Name: "metrics", ContainerPort: 8443}, {Name: "webhook-server", ContainerPort: 9443},
				},
				ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
					HTTPGet: &corev1.HTTPGetAction{Path: "/readyz", Port: intstr.FromString("healthz")},
				}},
				VolumeMounts: []corev1.VolumeMount{{Name: "cert", MountPath: "/tmp/k8s-webhook-server/serving-certs"}},
			}},
		},
	}
	if change != nil {
		change(pod, &pod.Spec.Containers[0])
	}
	return pod
}

func TestPlanKeepsTheShippedArgumentsAndMovesThePorts(t *testing.T) {
	dir := t.TempDir()
	got, err := plan(providerPod(nil), "cluster-api", dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"--leader-elect", "--feature-gates=ClusterTopology=true", // as shipped
		"--leader-elect=false",
		"--health-addr=127.0.0.1:" + strconv.Itoa(got.ports[9440]),
		"--diagnostics-address=127.0.0.1:" + strconv.Itoa(got.ports[8443]),
		"--webhook-port=" + strconv.Itoa(got.ports[9443]),
		"--webhook-cert-dir=" + filepath.Join(dir, "volumes", "cert"),
	}
	if !slices.Equal(got.args, want) {
		t.Errorf("arguments %q, want %q", got.args, want)
	}
	if wantEnv := []string{"PLAIN=value", "POD_UID=uid-1", "KUBECONFIG=" + filepath.Join(dir, "kubeconfig")}; !slices.Equal(got.env, wantEnv) {
		t.Errorf("environment %q, want %q", got.env, wantEnv)
	}
	if want := "http://127.0.0.1:" + strconv.Itoa(got.ports[9440]) + "/readyz"; got.probe.url != want {
		t.Errorf("probe %s, want %s", got.probe.url, want)
	}
}

// A provider without webhooks gets no webhook flags, which its program would not know.
func TestPlanWithoutWebhooks(t *testing.T) {
	pod := providerPod(func(_ *corev1.Pod, c *corev1.Container) { c.Ports = c.Ports[:2] })
	got, err := plan(pod, "infrastructure-edgemetal", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, arg := range got.args {
		if strings.HasPrefix(arg, "--webhook") {
			t.Errorf("argument %s", arg)
		}
	}
}

func TestPlanSaysWhatItCannotPlay(t *testing.T) {
	tests := map[string]struct {
		change func(*corev1.Pod, *corev1.Container)
		want   string
	}{
		"no manager": {func(_ *corev1.Pod, c *corev1.Container) { c.Name = "proxy" }, `no container named "manager"`},
		"no probe":   {func(_ *corev1.Pod, c *corev1.Container) { c.ReadinessProbe = nil }, "no HTTP readiness probe"},
		"unnamed port": {func(_ *corev1.Pod, c *corev1.Container) {
			c.ReadinessProbe.HTTPGet.Port = intstr.FromString("ready")
		}, `no port named "ready"`},
		"secret in environment": {func(_ *corev1.Pod, c *corev1.Container) {
			c.Env[0].ValueFrom = &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{}}
		}, "PLAIN"},
		"unknown field": {func(_ *corev1.Pod, c *corev1.Container) {
			c.Env[1].ValueFrom.FieldRef.FieldPath = "status.podIP"
		}, "status.podIP"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := plan(providerPod(tt.change), "cluster-api", t.TempDir()); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one that names %q", err, tt.want)
			}
		})
	}
}
