// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/certificate/csr"
	"k8s.io/client-go/util/keyutil"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/rootfs"
)

// clientCertificate is where the kubelet keeps the certificate and key that it got from the cluster.
const clientCertificate = "/var/lib/kubelet/pki/kubelet-client-current.pem"

// connect makes the kubelet's client: from its kubeconfig, which it gets by TLS bootstrap if it has none yet.
func (k *instance) connect(ctx context.Context) error {
	if !hasFile(k.Disk, k.settings.Kubeconfig) {
		if !hasFile(k.Disk, k.settings.BootstrapKubeconfig) {
			return fmt.Errorf("failed to run Kubelet: unable to load bootstrap kubeconfig: stat %s: no such file or directory", k.settings.BootstrapKubeconfig)
		}
		if err := k.tlsBootstrap(ctx); err != nil {
			return fmt.Errorf("TLS bootstrap: %w", err)
		}
	}
	config, err := LoadKubeconfig(k.Disk, k.settings.Kubeconfig)
	if err != nil {
		return err
	}
	k.config = rest.CopyConfig(config)
	config.Timeout = 15 * time.Second
	if k.client, err = kubernetes.NewForConfig(config); err != nil {
		return fmt.Errorf("making the API client: %w", err)
	}
	return nil
}

// tlsBootstrap asks for a client certificate with the bootstrap token, waits for it and writes the kubeconfig.
func (k *instance) tlsBootstrap(ctx context.Context) error {
	config, err := LoadKubeconfig(k.Disk, k.settings.BootstrapKubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making the bootstrap client: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	subject := &pkix.Name{CommonName: "system:node:" + k.settings.NodeName, Organization: []string{"system:nodes"}}
	request, err := certutil.MakeCSR(key, subject, nil, nil)
	if err != nil {
		return fmt.Errorf("making the certificate request: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	usages := []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth}
	name, uid, err := csr.RequestCertificateWithContext(ctx, client, request, "", certificatesv1.KubeAPIServerClientKubeletSignerName, nil, usages, key)
	if err != nil {
		return fmt.Errorf("posting the certificate request: %w", err)
	}
	k.Logf("kubelet: waiting for certificate request %s", name)
	certificate, err := csr.WaitForCertificate(ctx, client, name, uid)
	if err != nil {
		return fmt.Errorf("waiting for certificate request %s: %w", name, err)
	}
	keyPEM, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return fmt.Errorf("encoding the key: %w", err)
	}
	if err := k.Disk.Write(clientCertificate, slices.Concat(certificate, keyPEM), 0o600); err != nil {
		return err
	}
	return WriteKubeconfig(k.Disk, k.settings.Kubeconfig, config.Host, config.CAData, &clientcmdapi.AuthInfo{
		ClientCertificate: clientCertificate, ClientKey: clientCertificate,
	})
}

// WriteKubeconfig writes a kubeconfig with one cluster and one user; caData is PEM.
func WriteKubeconfig(disk rootfs.FS, name, server string, caData []byte, user *clientcmdapi.AuthInfo) error {
	config := clientcmdapi.NewConfig()
	config.Clusters["kubernetes"] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: caData}
	config.AuthInfos["user"] = user
	config.Contexts["user@kubernetes"] = &clientcmdapi.Context{Cluster: "kubernetes", AuthInfo: "user"}
	config.CurrentContext = "user@kubernetes"
	content, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", name, err)
	}
	return disk.Write(name, content, 0o600)
}

// LoadKubeconfig reads a kubeconfig of the host; files that it refers to are the host's as well.
func LoadKubeconfig(disk rootfs.FS, name string) (*rest.Config, error) {
	content, err := disk.Read(name)
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.Load(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	inline := func(file *string, data *[]byte) error {
		if *file == "" {
			return nil
		}
		*data, err = disk.Read(*file)
		*file = ""
		return err
	}
	for _, cluster := range config.Clusters {
		if err := inline(&cluster.CertificateAuthority, &cluster.CertificateAuthorityData); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, user := range config.AuthInfos {
		if err := inline(&user.ClientCertificate, &user.ClientCertificateData); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if err := inline(&user.ClientKey, &user.ClientKeyData); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	restConfig, err := clientcmd.NewDefaultClientConfig(*config, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return restConfig, nil
}
