// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// environment resolves a container's variables. Those that the cluster adds lead to the API server by the
// kubelet's own way: nothing routes to Services here.
func (k *instance) environment(ctx context.Context, pod *corev1.Pod, spec *corev1.Container) (map[string]string, error) {
	env := map[string]string{}
	if k.config != nil {
		if server, err := url.Parse(k.config.Host); err == nil {
			env["KUBERNETES_SERVICE_HOST"], env["KUBERNETES_SERVICE_PORT"] = server.Hostname(), server.Port()
			env["KUBERNETES_PORT"] = "tcp://" + net.JoinHostPort(server.Hostname(), server.Port())
		}
	}
	for _, source := range spec.EnvFrom {
		content := map[string]volumeFile{}
		var err error
		switch {
		case source.ConfigMapRef != nil:
			err = k.configMapFiles(ctx, pod.Namespace, source.ConfigMapRef.Name, nil, source.ConfigMapRef.Optional, content)
		case source.SecretRef != nil:
			err = k.secretFiles(ctx, pod.Namespace, source.SecretRef.Name, nil, source.SecretRef.Optional, content)
		}
		if err != nil {
			return nil, fmt.Errorf("container %s: envFrom: %w", spec.Name, err)
		}
		for name, file := range content {
			env[source.Prefix+name] = string(file.data)
		}
	}
	for _, variable := range spec.Env {
		value, err := k.variable(ctx, pod, variable)
		if err != nil {
			return nil, fmt.Errorf("container %s: variable %s: %w", spec.Name, variable.Name, err)
		}
		env[variable.Name] = expand(value, env)
	}
	return env, nil
}

func (k *instance) variable(ctx context.Context, pod *corev1.Pod, variable corev1.EnvVar) (string, error) {
	from := variable.ValueFrom
	if from == nil {
		return variable.Value, nil
	}
	content := map[string]volumeFile{}
	var err error
	switch {
	case from.FieldRef != nil:
		return k.podField(pod, from.FieldRef.FieldPath)
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		err = k.configMapFiles(ctx, pod.Namespace, ref.Name, []corev1.KeyToPath{{Key: ref.Key, Path: "value"}}, ref.Optional, content)
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		err = k.secretFiles(ctx, pod.Namespace, ref.Name, []corev1.KeyToPath{{Key: ref.Key, Path: "value"}}, ref.Optional, content)
	default:
		err = fmt.Errorf("the simulated host knows fieldRef, configMapKeyRef and secretKeyRef only")
	}
	return string(content["value"].data), err
}

// podField is a field of the downward API.
func (k *instance) podField(pod *corev1.Pod, field string) (string, error) {
	if key, ok := subscript(field, "metadata.labels"); ok {
		return pod.Labels[key], nil
	}
	if key, ok := subscript(field, "metadata.annotations"); ok {
		return pod.Annotations[key], nil
	}
	fields := map[string]string{
		"metadata.name": pod.Name, "metadata.namespace": pod.Namespace, "metadata.uid": string(pod.UID),
		"spec.nodeName": pod.Spec.NodeName, "spec.serviceAccountName": pod.Spec.ServiceAccountName,
		"status.hostIP": k.nodeIP.String(), "status.hostIPs": k.nodeIP.String(),
	}
	if running := k.pods.find(pod.Namespace, pod.Name); running != nil {
		fields["status.podIP"], fields["status.podIPs"] = running.ip(), running.ip()
	}
	value, known := fields[field]
	if !known {
		return "", fmt.Errorf("unsupported field %q of the pod", field)
	}
	return value, nil
}

// subscript takes the key out of "field['key']".
func subscript(field, name string) (string, bool) {
	rest, ok := strings.CutPrefix(field, name+"['")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, "']")
}

// expand replaces $(NAME) where NAME is known; $$ is a dollar sign, as in Kubernetes.
func expand(text string, env map[string]string) string {
	var b strings.Builder
	for text != "" {
		before, after, found := strings.Cut(text, "$")
		b.WriteString(before)
		if !found {
			break
		}
		name, rest, closed := strings.Cut(strings.TrimPrefix(after, "("), ")")
		value, known := env[name]
		switch {
		case strings.HasPrefix(after, "$"):
			b.WriteByte('$')
			after = after[1:]
		case strings.HasPrefix(after, "(") && closed && known:
			b.WriteString(value)
			after = rest
		default:
			b.WriteByte('$')
		}
		text = after
	}
	return b.String()
}

// podAddress is the host's own for pods in its network, and else a free one of the Node's range.
func (k *instance) podAddress(ctx context.Context, pod *corev1.Pod) (string, error) {
	if pod.Spec.HostNetwork {
		return k.nodeIP.String(), nil
	}
	if pod.Status.PodIP != "" {
		return pod.Status.PodIP, nil
	}
	node, err := k.client.CoreV1().Nodes().Get(ctx, k.settings.NodeName, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	return k.pods.freeAddress(node.Spec.PodCIDR)
}
