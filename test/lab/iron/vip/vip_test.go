// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/netdata"
)

func env(pairs ...string) []corev1.EnvVar {
	var list []corev1.EnvVar
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, corev1.EnvVar{Name: pairs[i], Value: pairs[i+1]})
	}
	return list
}

func TestFromEnv(t *testing.T) {
	interfaces := []netdata.Interface{{Name: "uplink0"}}
	address := netip.MustParseAddr("192.0.2.10")
	for name, test := range map[string]struct {
		env  []corev1.EnvVar
		want Config
	}{
		"ARP":                         {env("address", "192.0.2.10", "port", "8443", "cp_enable", "true", "vip_arp", "true", "vip_interface", "uplink0"), Config{Address: address, Port: 8443, Enabled: true}},
		"BGP, the old name, defaults": {env("vip_address", "192.0.2.10", "cp_enable", "true", "bgp_enable", "true"), Config{Address: address, Port: 6443, Enabled: true}},
		"not for the control plane":   {env("address", "192.0.2.10", "vip_arp", "true"), Config{Address: address, Port: 6443}},
		"neither ARP nor BGP":         {env("address", "192.0.2.10", "cp_enable", "true", "vip_arp", "false"), Config{Address: address, Port: 6443}},
	} {
		if got, err := FromEnv(test.env, interfaces); err != nil || got != test.want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for want, bad := range map[string][]corev1.EnvVar{
		"is no IP address": env("address", "vip.example.org"),
		"is no port":       env("address", "192.0.2.10", "port", "0"),
		"is no boolean":    env("address", "192.0.2.10", "cp_enable", "sure"),
		`"eth9" not found`: env("address", "192.0.2.10", "vip_interface", "eth9"),
	} {
		if _, err := FromEnv(bad, interfaces); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// apiServer is a healthy API server on an address of the loopback range.
func apiServer(t *testing.T, address netip.AddrPort, name string) *httptest.Server {
	t.Helper()
	listener, err := net.Listen("tcp", address.String())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) }))
	server.Listener = listener
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

func TestAddressMovesToAHealthyHost(t *testing.T) {
	config := Config{Address: netip.MustParseAddr("127.93.9.10"), Port: 16443, Enabled: true}
	hosts := []netip.Addr{netip.MustParseAddr("127.93.9.20"), netip.MustParseAddr("127.93.9.21")}
	first := apiServer(t, netip.AddrPortFrom(hosts[0], config.Port), "first")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, len(hosts))
	run := func(host netip.Addr) { done <- Run(ctx, config, host, func(string, ...any) {}) }
	ask := func() string {
		client := first.Client()
		client.Transport.(*http.Transport).DisableKeepAlives = true
		client.Transport.(*http.Transport).TLSClientConfig.InsecureSkipVerify = true
		response, err := client.Get("https://" + netip.AddrPortFrom(config.Address, config.Port).String())
		if err != nil {
			return err.Error()
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		return string(body)
	}
	await := func(want string) {
		t.Helper()
		deadline := time.Now().Add(time.Minute)
		for got := ask(); got != want; got = ask() {
			if time.Now().After(deadline) {
				t.Fatalf("the address answers %q, want %q", got, want)
			}
			<-time.After(50 * time.Millisecond)
		}
	}
	go run(hosts[0])
	await("first")
	apiServer(t, netip.AddrPortFrom(hosts[1], config.Port), "second")
	go run(hosts[1])
	first.Close()
	await("second")
	cancel()
	for range hosts {
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the end: %v", err)
		}
	}
	if got := ask(); got == "second" {
		t.Error("the address answers after the end")
	}
}
