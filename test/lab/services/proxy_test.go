// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package services_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/go-logr/logr/testr"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/pki"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/services"
)

func TestProxyConnectsOnlyToKnownServices(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "webhook")
	}))
	defer backend.Close()
	known := netip.MustParseAddrPort("10.96.3.4:443")
	proxy, err := services.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	authority, err := pki.NewAuthority("lab")
	if err != nil {
		t.Fatal(err)
	}
	server, err := authority.ServerTLS("proxy", netip.MustParseAddr("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	client := clientTLS(t, authority)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- proxy.Serve(ctx, server, func(_ context.Context, a netip.AddrPort) (string, error) {
			if a != known {
				return "", errors.New("no such Service")
			}
			return backend.Listener.Addr().String(), nil
		}, testr.New(t))
	}()

	conn, status := connect(t, client, proxy.Addr(), known.String())
	if status != http.StatusOK {
		t.Fatalf("CONNECT to the Service: status %d", status)
	}
	if got := get(t, conn); got != "webhook" {
		t.Errorf("through the tunnel: %q, want the webhook's answer", got)
	}
	for _, address := range []string{"10.96.3.4:80", "127.0.0.1:22", "example.org:443"} {
		if _, status := connect(t, client, proxy.Addr(), address); status != http.StatusBadGateway {
			t.Errorf("CONNECT to %s: status %d, want 502", address, status)
		}
	}
	if stranger, err := tls.Dial("tcp", proxy.Addr(), &tls.Config{RootCAs: client.RootCAs}); err == nil {
		// With TLS 1.3 the refusal arrives with the first read.
		if _, err := stranger.Read(make([]byte, 1)); err == nil {
			t.Error("a client without a certificate was accepted")
		}
		_ = stranger.Close()
	}
	cancel() // with a tunnel still open
	if err := <-served; err != nil {
		t.Errorf("Serve returned %v", err)
	}
}

func connect(t *testing.T, config *tls.Config, proxy, address string) (net.Conn, int) {
	t.Helper()
	conn, err := tls.Dial("tcp", proxy, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, "CONNECT "+address+" HTTP/1.1\r\nHost: proxy\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect})
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return conn, response.StatusCode
}

func clientTLS(t *testing.T, authority *pki.Authority) *tls.Config {
	t.Helper()
	pair, err := authority.Issue(pki.Request{CommonName: "kube-apiserver"})
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.Pair().Cert)
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{cert}}
}

func get(t *testing.T, conn net.Conn) string {
	t.Helper()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: webhook\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
