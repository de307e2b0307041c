// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package charts

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
)

// maxRedirects is what Go's own client follows.
const maxRedirects = 10

// newHTTPClient makes a client that trusts the source's authorities. It never goes from https to http.
func newHTTPClient(source Source) (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(source.CA) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(source.CA) {
			return nil, errors.New("ca.crt holds no PEM certificate")
		}
	}
	return &http.Client{
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true},
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			switch {
			case len(via) >= maxRedirects:
				return fmt.Errorf("more than %d redirections", maxRedirects)
			case via[len(via)-1].URL.Scheme == "https" && next.URL.Scheme != "https":
				return fmt.Errorf("redirection from https to %s", next.URL.Redacted())
			default:
				return nil
			}
		},
	}, nil
}

// isLoopback tells whether host, with or without port, is this machine.
func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// mayHaveCredentials tells whether a request may carry the source's credentials: only to the repository's own host, and in clear
// only on the loopback device.
func mayHaveCredentials(repository, target *url.URL) bool {
	return target.Host == repository.Host && target.Scheme == repository.Scheme && (target.Scheme == "https" || isLoopback(target.Host))
}
