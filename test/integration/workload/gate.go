// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package workload stands in for the API server of a workload cluster: a door to a real API server that can be shut.
package workload

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Gate forwards requests to an API server, as the administrator that its configuration names.
type Gate struct {
	listener net.Listener
	server   *http.Server
	shut     atomic.Bool
}

// Open a gate on the loopback device. wrap may watch the requests that pass.
func Open(config *rest.Config, wrap func(http.RoundTripper) http.RoundTripper) (*Gate, error) {
	target, err := url.Parse(config.Host)
	if err != nil {
		return nil, fmt.Errorf("opening a gate to the API server: %w", err)
	}
	inner := rest.CopyConfig(config)
	inner.Wrap(wrap)
	transport, err := rest.TransportFor(inner)
	if err != nil {
		return nil, fmt.Errorf("opening a gate to the API server: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("opening a gate to the API server: %w", err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     transport,
		FlushInterval: -1, // A watch must not wait for a full buffer.
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	}
	gate := &Gate{listener: listener}
	gate.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if gate.shut.Load() {
			http.Error(w, "the gate is shut", http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(w, r)
	})}
	go func() { _ = gate.server.Serve(listener) }()
	return gate, nil
}

// Shut or open the gate for new requests.
func (g *Gate) Shut(shut bool) { g.shut.Store(shut) }

// Close the gate for good and end every request.
func (g *Gate) Close() error { return g.server.Close() }

// Kubeconfig that leads through the gate.
func (g *Gate) Kubeconfig() ([]byte, error) {
	config := clientcmdapi.NewConfig()
	config.Clusters["workload"] = &clientcmdapi.Cluster{Server: "http://" + g.listener.Addr().String()}
	config.AuthInfos["admin"] = &clientcmdapi.AuthInfo{}
	config.Contexts["admin@workload"] = &clientcmdapi.Context{Cluster: "workload", AuthInfo: "admin"}
	config.CurrentContext = "admin@workload"
	data, err := clientcmd.Write(*config)
	if err != nil {
		return nil, fmt.Errorf("writing the kubeconfig of the workload cluster: %w", err)
	}
	return data, nil
}
