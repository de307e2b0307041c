// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"context"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Resolve finds the local "host:port" behind the cluster address and port of a Service, as kube-proxy
// would: by the Service's selector among the pods that run here.
func (n *Node) Resolve(ctx context.Context, at netip.AddrPort) (string, error) {
	service, port, err := n.serviceAt(ctx, at)
	if err != nil {
		return "", err
	}
	pods := &corev1.PodList{}
	selector := labels.SelectorFromSet(service.Spec.Selector)
	err = n.client.List(ctx, pods, client.InNamespace(service.Namespace), client.MatchingLabelsSelector{Selector: selector})
	if err != nil {
		return "", fmt.Errorf("list the pods of Service %s: %w", client.ObjectKeyFromObject(service), err)
	}
	running := n.running()
	for i := range pods.Items {
		pod := &pods.Items[i]
		c := running[types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}]
		if c == nil || !c.snapshot().running {
			continue
		}
		if local, ok := localPort(pod, c, port); ok {
			return address(local), nil
		}
	}
	return "", fmt.Errorf("no pod of Service %s runs", client.ObjectKeyFromObject(service))
}

func (n *Node) serviceAt(ctx context.Context, address netip.AddrPort) (*corev1.Service, corev1.ServicePort, error) {
	services := &corev1.ServiceList{}
	if err := n.client.List(ctx, services); err != nil {
		return nil, corev1.ServicePort{}, fmt.Errorf("list the Services: %w", err)
	}
	for i := range services.Items {
		service := &services.Items[i]
		if service.Spec.ClusterIP != address.Addr().String() || len(service.Spec.Selector) == 0 {
			continue
		}
		for _, port := range service.Spec.Ports {
			if port.Port == int32(address.Port()) {
				return service, port, nil
			}
		}
	}
	return nil, corev1.ServicePort{}, fmt.Errorf("no Service with pods has address %s", address)
}

func localPort(pod *corev1.Pod, c *container, port corev1.ServicePort) (int, bool) {
	manager, err := managerOf(pod)
	if err != nil {
		return 0, false
	}
	number, err := containerPort(manager, port.TargetPort)
	if err != nil {
		return 0, false
	}
	local, ok := c.ports[number]
	return local, ok
}
