// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package workload serves the API of many workload clusters from memory, with Cluster API's own in-memory API server.
// That server listens on all interfaces; nothing here can change it.
package workload

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	inmemoryruntime "sigs.k8s.io/cluster-api/test/infrastructure/inmemory/pkg/runtime"
	inmemoryserver "sigs.k8s.io/cluster-api/test/infrastructure/inmemory/pkg/server"
	"sigs.k8s.io/cluster-api/util/certs"
	"sigs.k8s.io/cluster-api/util/secret"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/plane"
)

const (
	host = "127.0.0.1"
	// pod is the name under which the in-memory server knows the only API server of a cluster.
	pod = "kube-apiserver"
)

// Servers are the API servers of workload clusters.
type Servers struct {
	manager inmemoryruntime.Manager
	mux     *inmemoryserver.WorkloadClustersMux
	caCert  *x509.Certificate
	caKey   *rsa.PrivateKey
}

// Start makes the server ready for Add. It runs until ctx ends and Stop is called. All clusters have the authority in
// authorities, which are those of a kubeadm cluster.
func Start(ctx context.Context, authorities secret.Certificates) (*Servers, error) {
	ca := authorities.GetByPurpose(secret.ClusterCA)
	if ca == nil || ca.KeyPair == nil {
		return nil, errors.New("start the workload API servers: no certificate authority for the clusters")
	}
	caCert, err := certs.DecodeCertPEM(ca.KeyPair.Cert)
	if err != nil {
		return nil, fmt.Errorf("decode the authority of the workload clusters: %w", err)
	}
	signer, err := certs.DecodePrivateKeyPEM(ca.KeyPair.Key)
	if err != nil {
		return nil, fmt.Errorf("decode the authority's key of the workload clusters: %w", err)
	}
	caKey, ok := signer.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the in-memory API server needs an RSA key for its authority, not %T", signer)
	}
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("build the scheme of the workload clusters: %w", err)
	}
	manager := inmemoryruntime.NewManager(scheme)
	if err := manager.Start(ctx); err != nil {
		return nil, fmt.Errorf("start the workload clusters' storage: %w", err)
	}
	free, err := plane.FreePorts(1)
	if err != nil {
		return nil, err
	}
	mux, err := inmemoryserver.NewWorkloadClustersMux(manager, host, inmemoryserver.CustomPorts{DebugPort: int32(free[0])})
	if err != nil {
		return nil, fmt.Errorf("start the workload API servers: %w", err)
	}
	return &Servers{manager: manager, mux: mux, caCert: caCert, caKey: caKey}, nil
}

// Add starts a cluster's API server and returns the administrator's kubeconfig.
func (s *Servers) Add(cluster string) ([]byte, error) {
	free, err := plane.FreePorts(1)
	if err != nil {
		return nil, err
	}
	listener, err := s.mux.InitWorkloadClusterListener(cluster, int32(free[0]))
	if err != nil {
		return nil, fmt.Errorf("open a port for cluster %s: %w", cluster, err)
	}
	s.manager.AddResourceGroup(cluster)
	if err := s.mux.RegisterResourceGroup(cluster, cluster); err != nil {
		return nil, fmt.Errorf("register cluster %s: %w", cluster, err)
	}
	if err := s.mux.AddAPIServer(cluster, pod, s.caCert, s.caKey); err != nil {
		return nil, fmt.Errorf("start the API server of cluster %s: %w", cluster, err)
	}
	config, err := listener.RESTConfig()
	if err != nil {
		return nil, fmt.Errorf("make a client configuration for cluster %s: %w", cluster, err)
	}
	return kubeconfig(cluster, config)
}

func kubeconfig(cluster string, config *rest.Config) ([]byte, error) {
	data, err := clientcmd.Write(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{cluster: {Server: config.Host, CertificateAuthorityData: config.CAData}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{
			cluster: {ClientCertificateData: config.CertData, ClientKeyData: config.KeyData},
		},
		Contexts:       map[string]*clientcmdapi.Context{cluster: {Cluster: cluster, AuthInfo: cluster}},
		CurrentContext: cluster,
	})
	if err != nil {
		return nil, fmt.Errorf("encode the kubeconfig of cluster %s: %w", cluster, err)
	}
	return data, nil
}

// Join adds a Node to a cluster, as its kubelet would. A Node that is there already is left as it is.
func (s *Servers) Join(ctx context.Context, cluster string, node *corev1.Node) error {
	err := s.manager.GetResourceGroup(cluster).GetClient().Create(ctx, node)
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("add Node %s to cluster %s: %w", node.Name, cluster, err)
	}
	return nil
}

// Stop closes all ports.
func (s *Servers) Stop(ctx context.Context) error {
	var failed error
	for cluster := range s.mux.ListListeners() {
		failed = errors.Join(failed, s.mux.DeleteWorkloadClusterListener(cluster))
	}
	return errors.Join(failed, s.mux.Shutdown(ctx))
}
