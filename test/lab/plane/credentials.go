// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/pki"
)

// credentials are the files with which the processes know each other.
type credentials struct {
	dir       string
	authority *pki.Authority
	server    string // URL of kube-apiserver
}

func newCredentials(dir, server string) (*credentials, error) {
	authority, err := pki.LoadOrCreate(dir, "ca")
	if err != nil {
		return nil, err
	}
	c := &credentials{dir: dir, authority: authority, server: server}
	if err := c.issueServers(); err != nil {
		return nil, err
	}
	return c, c.ensureTokenKey()
}

func (c *credentials) path(name string) string { return filepath.Join(c.dir, name) }

// issueServers makes the certificates of etcd and kube-apiserver anew at every start, so that they
// never expire in a lab that is kept.
func (c *credentials) issueServers() error {
	local := netip.MustParseAddr(loopback)
	requests := map[string]pki.Request{
		"etcd": {CommonName: "etcd", DNSNames: []string{"localhost"}, Addresses: []netip.Addr{local}},
		"kube-apiserver": {
			CommonName: "kube-apiserver",
			DNSNames: []string{
				"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
				"kubernetes.default.svc.cluster.local",
			},
			Addresses: []netip.Addr{local, netip.MustParseAddr(apiService)},
		},
	}
	for name, request := range requests {
		pair, err := c.authority.Issue(request)
		if err != nil {
			return err
		}
		if err := pair.Write(c.dir, name); err != nil {
			return err
		}
	}
	return nil
}

// ensureTokenKey keeps the key that signs ServiceAccount tokens, so that tokens outlive a restart.
func (c *credentials) ensureTokenKey() error {
	if _, err := os.Stat(c.path("tokens.key")); err == nil {
		return nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("look for the token key: %w", err)
	}
	private, public, err := pki.NewKey()
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.path("tokens.pub"), public, 0o644); err != nil {
		return fmt.Errorf("write the token key: %w", err)
	}
	if err := os.WriteFile(c.path("tokens.key"), private, 0o600); err != nil {
		return fmt.Errorf("write the token key: %w", err)
	}
	return nil
}

// kubeconfig writes a kubeconfig for a client and returns its path.
func (c *credentials) kubeconfig(name, user string, groups ...string) (string, error) {
	pair, err := c.authority.Issue(pki.Request{CommonName: user, Organizations: groups})
	if err != nil {
		return "", err
	}
	const cluster = "lab"
	config := clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{
			cluster: {Server: c.server, CertificateAuthorityData: c.authority.Pair().Cert},
		},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{
			user: {ClientCertificateData: pair.Cert, ClientKeyData: pair.Key},
		},
		Contexts:       map[string]*clientcmdapi.Context{cluster: {Cluster: cluster, AuthInfo: user}},
		CurrentContext: cluster,
	}
	path := c.path(name + ".kubeconfig")
	if err := clientcmd.WriteToFile(config, path); err != nil {
		return "", fmt.Errorf("write the kubeconfig of %s: %w", user, err)
	}
	return path, nil
}
