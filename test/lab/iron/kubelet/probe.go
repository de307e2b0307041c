// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// probe asks the container's readiness probe; a container without one is ready when it runs.
func (c *container) probe(ctx context.Context) error {
	if c.spec.ReadinessProbe == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	switch handler := c.spec.ReadinessProbe.ProbeHandler; {
	case handler.HTTPGet != nil:
		return c.probeHTTP(ctx, handler.HTTPGet)
	case handler.TCPSocket != nil:
		connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(c.k.nodeIP.String(), handler.TCPSocket.Port.String()))
		if err != nil {
			return err
		}
		return connection.Close()
	default:
		return nil
	}
}

func (c *container) probeHTTP(ctx context.Context, action *corev1.HTTPGetAction) error {
	port := action.Port.String()
	// Named ports, as kubeadm writes them.
	for _, named := range c.spec.Ports {
		if named.Name == port {
			port = strconv.Itoa(int(named.ContainerPort))
		}
	}
	url := strings.ToLower(string(action.Scheme)) + "://" + net.JoinHostPort(c.k.nodeIP.String(), port) + action.Path
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("readiness probe: %w", err)
	}
	// A kubelet's probes check no certificate.
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode >= 400 {
		return fmt.Errorf("readiness probe: status %d", response.StatusCode)
	}
	return nil
}
