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

// liveness counts failures of a liveness probe.
type liveness struct {
	probe    *corev1.Probe
	next     time.Time
	failures int32
}

func newLiveness(probe *corev1.Probe) *liveness {
	l := &liveness{probe: probe}
	if probe != nil {
		l.next = time.Now().Add(time.Duration(probe.InitialDelaySeconds) * time.Second)
	}
	return l
}

// check asks when it is time; the error says that the container has to be started again.
func (l *liveness) check(ask func() error) error {
	if l.probe == nil || time.Now().Before(l.next) {
		return nil
	}
	l.next = time.Now().Add(time.Duration(max(l.probe.PeriodSeconds, 1)) * time.Second)
	err := ask()
	if err == nil {
		l.failures = 0
		return nil
	}
	if l.failures++; l.failures < max(l.probe.FailureThreshold, 1) {
		return nil
	}
	return err
}

// probe asks a probe; without one all is well while the container runs.
func (c *container) probe(ctx context.Context, probe *corev1.Probe) error {
	if probe == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	switch handler := probe.ProbeHandler; {
	case handler.Exec != nil:
		return c.command(ctx, handler.Exec.Command, nil, nil, nil)
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
		return fmt.Errorf("probe: %w", err)
	}
	// A kubelet's probes check no certificate.
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode >= 400 {
		return fmt.Errorf("probe: status %d", response.StatusCode)
	}
	return nil
}
