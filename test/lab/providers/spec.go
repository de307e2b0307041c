// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"errors"
	"fmt"
	"net"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/plane"
)

const (
	managerContainer = "manager"
	loopback         = "127.0.0.1"
	webhookPortName  = "webhook-server"
	metricsPortName  = "metrics"
	certMount        = "/tmp/k8s-webhook-server/serving-certs"
)

// dialect is how a provider's program spells the flags that a shared host makes us set. An empty
// webhook flag means that the program serves none.
type dialect struct {
	health      string
	webhookPort string
	webhookCert string
}

const diagnosticsFlag = "--diagnostics-address"

func dialectOf(provider string) dialect {
	switch provider {
	case "ipam-in-cluster":
		return dialect{health: "--health-probe-bind-address", webhookPort: "--webhook-port", webhookCert: "--webhook-cert-dir"}
	case "infrastructure-edgemetal":
		return dialect{health: "--health-addr"}
	default: // Cluster API's own managers
		return dialect{health: "--health-addr", webhookPort: "--webhook-port", webhookCert: "--webhook-cert-dir"}
	}
}

// launch is what a pod's manager needs to run here.
type launch struct {
	args  []string
	env   []string
	probe probe
	// ports maps the container's ports to local ones.
	ports map[int32]int
}

// probe is the container's readiness probe on this host.
type probe struct {
	url string
}

func managerOf(pod *corev1.Pod) (*corev1.Container, error) {
	i := slices.IndexFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == managerContainer })
	if i < 0 {
		return nil, errors.New(`the pod has no container named "manager"`)
	}
	return &pod.Spec.Containers[i], nil
}

// plan translates a pod's manager. dir is the pod's folder, which holds its volumes and kubeconfig.
func plan(pod *corev1.Pod, provider, dir string) (launch, error) {
	container, err := managerOf(pod)
	if err != nil {
		return launch{}, err
	}
	if container.ReadinessProbe == nil || container.ReadinessProbe.HTTPGet == nil {
		return launch{}, errors.New("the container has no HTTP readiness probe")
	}
	get := container.ReadinessProbe.HTTPGet
	health, err := containerPort(container, get.Port)
	if err != nil {
		return launch{}, fmt.Errorf("find the port of the readiness probe: %w", err)
	}
	free, err := plane.FreePorts(3)
	if err != nil {
		return launch{}, err
	}
	local := map[int32]int{health: free[0]}
	words := dialectOf(provider)
	args := append(slices.Clone(container.Args),
		"--leader-elect=false",
		words.health+"="+address(free[0]),
		diagnosticsFlag+"="+address(free[1]),
	)
	if metrics, err := containerPort(container, intstr.FromString(metricsPortName)); err == nil {
		local[metrics] = free[1]
	}
	if webhook, err := containerPort(container, intstr.FromString(webhookPortName)); err == nil && words.webhookPort != "" {
		local[webhook] = free[2]
		args = append(args, words.webhookPort+"="+strconv.Itoa(free[2]), words.webhookCert+"="+certDir(container, dir))
	}
	env, err := environment(pod, container)
	if err != nil {
		return launch{}, err
	}
	return launch{
		args:  args,
		env:   append(env, "KUBECONFIG="+kubeconfigPath(dir)),
		probe: probe{url: "http://" + path.Join(address(free[0]), get.Path)},
		ports: local,
	}, nil
}

// environment resolves the container's variables: plain values and the pod's own fields.
func environment(pod *corev1.Pod, container *corev1.Container) ([]string, error) {
	fields := map[string]string{
		"metadata.name":           pod.Name,
		"metadata.namespace":      pod.Namespace,
		"metadata.uid":            string(pod.UID),
		"spec.serviceAccountName": pod.Spec.ServiceAccountName,
	}
	var env []string
	for _, v := range container.Env {
		value := v.Value
		if v.ValueFrom != nil {
			if v.ValueFrom.FieldRef == nil {
				return nil, fmt.Errorf("environment variable %s: only values and fieldRef work in the lab", v.Name)
			}
			known := false
			if value, known = fields[v.ValueFrom.FieldRef.FieldPath]; !known {
				return nil, fmt.Errorf("environment variable %s: field %s is not known in the lab", v.Name, v.ValueFrom.FieldRef.FieldPath)
			}
		}
		env = append(env, v.Name+"="+value)
	}
	return env, nil
}

// containerPort resolves a port by its name or number.
func containerPort(container *corev1.Container, port intstr.IntOrString) (int32, error) {
	if port.Type == intstr.Int {
		return port.IntVal, nil
	}
	for _, p := range container.Ports {
		if p.Name == port.StrVal {
			return p.ContainerPort, nil
		}
	}
	return 0, fmt.Errorf("the container has no port named %q", port.StrVal)
}

// certDir is where the volume is stored that the container mounts at the webhook's default folder.
func certDir(container *corev1.Container, dir string) string {
	for _, mount := range container.VolumeMounts {
		if strings.TrimSuffix(mount.MountPath, "/") == certMount {
			return volumePath(dir, mount.Name)
		}
	}
	return filepath.Join(dir, "no-certificate")
}

func volumePath(dir, volume string) string { return filepath.Join(dir, "volumes", volume) }

func kubeconfigPath(dir string) string { return filepath.Join(dir, "kubeconfig") }

func address(port int) string { return net.JoinHostPort(loopback, strconv.Itoa(port)) }
