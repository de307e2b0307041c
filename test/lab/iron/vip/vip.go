// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package vip plays kube-vip on a simulated host: it holds the control plane's virtual address while the
// host's own API server is healthy. Since all hosts share one machine's loopback, whoever can bind the
// address is the leader; the others wait for it.
package vip

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/netdata"
)

const (
	electionInterval = 300 * time.Millisecond
	healthInterval   = time.Second
	// maxFailures is after how many failed health checks in a row the address is given up.
	maxFailures = 3
)

// Config is what kube-vip's environment says.
type Config struct {
	Address netip.Addr
	Port    uint16
	// Enabled tells that the environment asks for a control-plane address, by ARP or BGP.
	Enabled bool
}

// FromEnv reads kube-vip's environment: address (or vip_address), port, cp_enable, vip_arp, bgp_enable and
// vip_interface, which must be an interface of the host. kube-vip's defaults apply.
func FromEnv(env []corev1.EnvVar, interfaces []netdata.Interface) (Config, error) {
	values := map[string]string{}
	for _, variable := range env {
		values[variable.Name] = variable.Value
	}
	text := values["address"]
	if text == "" {
		text = values["vip_address"]
	}
	address, err := netip.ParseAddr(text)
	if err != nil {
		return Config{}, fmt.Errorf("kube-vip: address %q is no IP address", text)
	}
	port := uint64(6443)
	if text := values["port"]; text != "" {
		if port, err = strconv.ParseUint(text, 10, 16); err != nil || port == 0 {
			return Config{}, fmt.Errorf("kube-vip: port %q is no port", text)
		}
	}
	flags := map[string]bool{}
	for _, name := range []string{"cp_enable", "vip_arp", "bgp_enable"} {
		if values[name] == "" {
			continue
		}
		if flags[name], err = strconv.ParseBool(values[name]); err != nil {
			return Config{}, fmt.Errorf("kube-vip: %s %q is no boolean", name, values[name])
		}
	}
	if name := values["vip_interface"]; name != "" && !hasInterface(interfaces, name) {
		return Config{}, fmt.Errorf("kube-vip: link %q not found", name)
	}
	return Config{
		Address: address, Port: uint16(port),
		Enabled: flags["cp_enable"] && (flags["vip_arp"] || flags["bgp_enable"]),
	}, nil
}

func hasInterface(interfaces []netdata.Interface, name string) bool {
	for _, candidate := range interfaces {
		if candidate.Name == name {
			return true
		}
	}
	return name == "lo"
}

// Run takes part in the election until the context ends. Connections go to the API server at the host's
// address, same port.
func Run(ctx context.Context, config Config, host netip.Addr, logf func(string, ...any)) error {
	if !config.Enabled {
		logf("kube-vip: nothing to announce (cp_enable with vip_arp or bgp_enable is not set)")
		<-ctx.Done()
		return ctx.Err()
	}
	local := netip.AddrPortFrom(host, config.Port)
	virtual := netip.AddrPortFrom(config.Address, config.Port)
	for ctx.Err() == nil {
		if healthy(ctx, local) {
			listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", virtual.String())
			if err == nil {
				logf("kube-vip: this host holds %s", virtual)
				lead(ctx, listener, local)
				logf("kube-vip: this host gave up %s", virtual)
			}
		}
		pause(ctx, electionInterval)
	}
	return ctx.Err()
}

// lead forwards connections while the API server is healthy.
func lead(ctx context.Context, listener net.Listener, local netip.AddrPort) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	defer group.Wait()
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	group.Go(func() {
		defer cancel()
		for failures := 0; failures < maxFailures && ctx.Err() == nil; pause(ctx, healthInterval) {
			failures++
			if healthy(ctx, local) {
				failures = 0
			}
		}
	})
	for {
		client, err := listener.Accept()
		if err != nil {
			cancel()
			return
		}
		group.Go(func() { forward(ctx, client, local) })
	}
}

// forward joins a client's connection with one to the API server.
func forward(ctx context.Context, client net.Conn, local netip.AddrPort) {
	defer client.Close()
	server, err := (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "tcp", local.String())
	if err != nil {
		return
	}
	defer server.Close()
	stop := context.AfterFunc(ctx, func() { _, _ = client.Close(), server.Close() })
	defer stop()
	var copies sync.WaitGroup
	copies.Go(func() {
		_, _ = io.Copy(server, client)
		_ = server.(*net.TCPConn).CloseWrite()
	})
	_, _ = io.Copy(client, server)
	_ = client.(*net.TCPConn).CloseWrite()
	copies.Wait()
}

// healthy asks the host's API server.
func healthy(ctx context.Context, local netip.AddrPort) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+local.String()+"/livez", nil)
	if err != nil {
		return false
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

func pause(ctx context.Context, length time.Duration) {
	select {
	case <-time.After(length):
	case <-ctx.Done():
	}
}
