// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package services lets kube-apiserver reach Services without any node network: kube-apiserver sends
// its connections to Services, such as webhook calls, through an HTTP CONNECT proxy, which dials the
// local process behind the Service. Webhook configurations stay as they were shipped.
package services

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/go-logr/logr"
)

const (
	dialTimeout   = 30 * time.Second
	headerTimeout = 30 * time.Second
)

// Resolve tells which local "host:port" stands behind a Service's address.
type Resolve func(context.Context, netip.AddrPort) (string, error)

// Dial connects to an address by other means than this machine's network.
type Dial func(context.Context, netip.AddrPort) (net.Conn, error)

// Proxy is an HTTP CONNECT proxy on a loopback port. It connects to what Resolve names, or to where Dial leads,
// and to nothing else.
type Proxy struct {
	listener net.Listener
}

// Listen takes a free port; connections wait until Serve.
func Listen(ctx context.Context) (*Proxy, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for connections to Services: %w", err)
	}
	return &Proxy{listener: listener}, nil
}

// Addr is the proxy's "host:port".
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Close gives the port back. Serve closes by itself.
func (p *Proxy) Close() { _ = p.listener.Close() }

// Serve answers until ctx ends, which also closes the connections that are open.
func (p *Proxy) Serve(ctx context.Context, config *tls.Config, resolve Resolve, log logr.Logger) error {
	return p.serve(ctx, config, func(ctx context.Context, address netip.AddrPort) (net.Conn, error) {
		return dialProcess(ctx, address, resolve)
	}, log)
}

// ServePlain is Serve without TLS, to where dial leads: for clients that find the proxy in HTTPS_PROXY.
func (p *Proxy) ServePlain(ctx context.Context, dial Dial, log logr.Logger) error {
	return p.serve(ctx, nil, dial, log)
}

// serve speaks TLS when there is a configuration for it.
func (p *Proxy) serve(ctx context.Context, config *tls.Config, dial Dial, log logr.Logger) error {
	server := &http.Server{
		TLSConfig:         config,
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){}, // HTTP/1.1: CONNECT takes the connection over
		ReadHeaderTimeout: headerTimeout,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			upstream, err := connect(r, dial)
			if err != nil {
				log.Info("No connection through the proxy", "address", r.Host, "reason", err.Error())
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			tunnel(ctx, w, upstream)
		}),
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	var err error
	if config == nil {
		err = server.Serve(p.listener)
	} else {
		err = server.ServeTLS(p.listener, "", "")
	}
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("serve connections through the proxy: %w", err)
}

func connect(r *http.Request, dial Dial) (net.Conn, error) {
	if r.Method != http.MethodConnect {
		return nil, errors.New("this proxy knows only CONNECT")
	}
	address, err := netip.ParseAddrPort(r.Host)
	if err != nil {
		return nil, fmt.Errorf("read the address to connect to: %w", err)
	}
	return dial(r.Context(), address)
}

func dialProcess(ctx context.Context, address netip.AddrPort, resolve Resolve) (net.Conn, error) {
	local, err := resolve(ctx, address)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", local)
	if err != nil {
		return nil, fmt.Errorf("dial the process behind %s: %w", address, err)
	}
	return conn, nil
}

// tunnel joins the client's connection with the upstream's until either ends or ctx does.
func tunnel(ctx context.Context, w http.ResponseWriter, upstream net.Conn) {
	defer upstream.Close()
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer client.Close()
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return // the client has gone
	}
	stop := context.AfterFunc(ctx, func() {
		_ = client.Close()
		_ = upstream.Close()
	})
	defer stop()
	var upward sync.WaitGroup
	upward.Go(func() {
		_, _ = io.Copy(upstream, buffered)
		_ = upstream.Close()
	})
	_, _ = io.Copy(client, upstream)
	_ = client.Close()
	upward.Wait()
}
