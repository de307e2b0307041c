// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"time"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
	kubeadmv1 "sigs.k8s.io/cluster-api/bootstrap/kubeadm/pkg/types/upstreamv1beta4"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/kubelet"
)

// leafValidity is kubeadm's for certificates that are no CA.
const leafValidity = 365 * 24 * time.Hour

// authority is a CA.
type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// leaf is a certificate to make.
type leaf struct {
	// name is the file's, without directory and extension.
	name         string
	commonName   string
	organization string
	usages       []x509.ExtKeyUsage
	// hosts are names and addresses.
	hosts []string
}

// loadAuthority reads a CA's certificate and key.
func (r *runner) loadAuthority(base string) (*authority, error) {
	certPEM, err := r.Disk.Read(base + ".crt")
	if err != nil {
		return nil, fmt.Errorf("couldn't load the certificate file %s.crt: %w", base, err)
	}
	certificates, err := certutil.ParseCertsPEM(certPEM)
	if err != nil {
		return nil, fmt.Errorf("couldn't load the certificate file %s.crt: %w", base, err)
	}
	keyPEM, err := r.Disk.Read(base + ".key")
	if err != nil {
		return nil, fmt.Errorf("couldn't load the private key file %s.key: %w", base, err)
	}
	key, err := keyutil.ParsePrivateKeyPEM(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("couldn't load the private key file %s.key: it holds no private key", base)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("the key in %s.key cannot sign", base)
	}
	ca := &authority{certificate: certificates[0], key: signer}
	return ca, ca.check(base)
}

func (a *authority) check(base string) error {
	now := time.Now()
	switch public, ok := a.certificate.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); {
	case !a.certificate.IsCA:
		return fmt.Errorf("certificate %s.crt is not a CA", base)
	case now.Before(a.certificate.NotBefore) || now.After(a.certificate.NotAfter):
		return fmt.Errorf("certificate %s.crt is not valid now (%s to %s)", base, a.certificate.NotBefore, a.certificate.NotAfter)
	case !ok || !public.Equal(a.key.Public()):
		return fmt.Errorf("certificate and key of %s do not match", base)
	}
	return nil
}

// ensureAuthority loads a CA, or makes one if there is no trace of it.
func (r *runner) ensureAuthority(base, commonName string) (*authority, error) {
	if r.Disk.Exists(base+".crt") || r.Disk.Exists(base+".key") {
		r.say("certs", "Using existing %s certificate authority", commonName)
		return r.loadAuthority(base)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	certificate, err := certutil.NewSelfSignedCACert(certutil.Config{CommonName: commonName}, key)
	if err != nil {
		return nil, fmt.Errorf("making the certificate of %s: %w", commonName, err)
	}
	r.say("certs", "Generating %q certificate and key", commonName)
	return &authority{certificate: certificate, key: key}, r.writePair(base, certificate, key)
}

func (r *runner) writePair(base string, certificate *x509.Certificate, key crypto.PrivateKey) error {
	keyPEM, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return fmt.Errorf("encoding the key of %s: %w", base, err)
	}
	return errors.Join(r.Disk.Write(base+".crt", encodeCertificate(certificate), 0o644), r.Disk.Write(base+".key", keyPEM, 0o600))
}

func encodeCertificate(certificate *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certutil.CertificateBlockType, Bytes: certificate.Raw})
}

// sign makes a leaf certificate and its key.
func (a *authority) sign(l leaf) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("making a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 62))
	if err != nil {
		return nil, nil, fmt.Errorf("making a serial number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: l.commonName},
		NotBefore:    a.certificate.NotBefore,
		NotAfter:     time.Now().Add(leafValidity),
		KeyUsage:     x509.KeyUsageKeyEncipherment | x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  l.usages,
	}
	if l.organization != "" {
		template.Subject.Organization = []string{l.organization}
	}
	for _, host := range l.hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("signing %s: %w", l.commonName, err)
	}
	certificate, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("reading back %s: %w", l.commonName, err)
	}
	return certificate, key, nil
}

// writeCertificates makes what a control-plane host needs. With mustExist, as in join, the CAs have to be
// there; init makes those that are not.
func (r *runner) writeCertificates(cluster *kubeadmv1.ClusterConfiguration, nodeName string, local kubeadmv1.APIEndpoint, mustExist bool) (*authority, error) {
	dir := cluster.CertificatesDir
	get := r.ensureAuthority
	if mustExist {
		get = func(base, _ string) (*authority, error) { return r.loadAuthority(base) }
	}
	ca, err := get(dir+"/ca", "kubernetes")
	if err != nil {
		return nil, fmt.Errorf("failure loading certificate for CA: %w", err)
	}
	front, err := get(dir+"/front-proxy-ca", "front-proxy-ca")
	if err != nil {
		return nil, fmt.Errorf("failure loading certificate for front-proxy CA: %w", err)
	}
	etcd, err := get(dir+"/etcd/ca", "etcd-ca")
	if err != nil {
		return nil, fmt.Errorf("failure loading certificate for etcd CA: %w", err)
	}
	if err := r.ensureServiceAccountKey(dir, mustExist); err != nil {
		return nil, err
	}
	sans, err := apiServerSANs(cluster, nodeName, local)
	if err != nil {
		return nil, err
	}
	server, client := x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth
	etcdSANs := []string{nodeName, "localhost", local.AdvertiseAddress, "127.0.0.1", "::1"}
	work := []struct {
		ca   *authority
		leaf leaf
	}{
		{ca, leaf{name: "apiserver", commonName: "kube-apiserver", usages: []x509.ExtKeyUsage{server}, hosts: sans}},
		{ca, leaf{name: "apiserver-kubelet-client", commonName: "kube-apiserver-kubelet-client", organization: "kubeadm:cluster-admins", usages: []x509.ExtKeyUsage{client}}},
		{front, leaf{name: "front-proxy-client", commonName: "front-proxy-client", usages: []x509.ExtKeyUsage{client}}},
		{etcd, leaf{name: "etcd/server", commonName: nodeName, usages: []x509.ExtKeyUsage{server, client}, hosts: append(etcdSANs, cluster.Etcd.Local.ServerCertSANs...)}},
		{etcd, leaf{name: "etcd/peer", commonName: nodeName, usages: []x509.ExtKeyUsage{server, client}, hosts: append(etcdSANs, cluster.Etcd.Local.PeerCertSANs...)}},
		{etcd, leaf{name: "etcd/healthcheck-client", commonName: "kube-etcd-healthcheck-client", usages: []x509.ExtKeyUsage{client}}},
		{etcd, leaf{name: "apiserver-etcd-client", commonName: "kube-apiserver-etcd-client", usages: []x509.ExtKeyUsage{client}}},
	}
	for _, job := range work {
		certificate, key, err := job.ca.sign(job.leaf)
		if err != nil {
			return nil, err
		}
		if err := r.writePair(dir+"/"+job.leaf.name, certificate, key); err != nil {
			return nil, err
		}
		r.say("certs", "Generating %q certificate and key", job.leaf.name)
	}
	return ca, nil
}

func (r *runner) ensureServiceAccountKey(dir string, mustExist bool) error {
	if r.Disk.Exists(dir+"/sa.key") && r.Disk.Exists(dir+"/sa.pub") {
		return nil
	}
	if mustExist {
		return fmt.Errorf("failure loading key for service account: couldn't load %s/sa.key and %s/sa.pub", dir, dir)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making the service account key: %w", err)
	}
	keyPEM, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return fmt.Errorf("encoding the service account key: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("encoding the service account key: %w", err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: keyutil.PublicKeyBlockType, Bytes: public})
	return errors.Join(r.Disk.Write(dir+"/sa.key", keyPEM, 0o600), r.Disk.Write(dir+"/sa.pub", publicPEM, 0o600))
}

// apiServerSANs are the names and addresses that clients may use for the API server.
func apiServerSANs(cluster *kubeadmv1.ClusterConfiguration, nodeName string, local kubeadmv1.APIEndpoint) ([]string, error) {
	services, err := netip.ParsePrefix(firstWord(cluster.Networking.ServiceSubnet))
	if err != nil {
		return nil, fmt.Errorf("networking.serviceSubnet: %w", err)
	}
	sans := []string{
		nodeName, "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + cluster.Networking.DNSDomain,
		services.Masked().Addr().Next().String(), local.AdvertiseAddress,
	}
	if cluster.ControlPlaneEndpoint != "" {
		host, _, err := splitEndpoint(cluster.ControlPlaneEndpoint)
		if err != nil {
			return nil, err
		}
		sans = append(sans, host)
	}
	return append(sans, cluster.APIServer.CertSANs...), nil
}

// writeKubeconfig makes a client certificate of the cluster's CA and a kubeconfig with it.
func (r *runner) writeKubeconfig(ca *authority, name, server string, user leaf) error {
	user.usages = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	certificate, key, err := ca.sign(user)
	if err != nil {
		return err
	}
	keyPEM, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return fmt.Errorf("encoding the key of %s: %w", name, err)
	}
	r.say("kubeconfig", "Writing %q kubeconfig file", name)
	return kubelet.WriteKubeconfig(r.Disk, kubernetesDir+"/"+name, server, encodeCertificate(ca.certificate), &clientcmdapi.AuthInfo{
		ClientCertificateData: encodeCertificate(certificate), ClientKeyData: keyPEM,
	})
}

// writeControlPlaneKubeconfigs makes those of administrators and of the control plane's own clients.
func (r *runner) writeControlPlaneKubeconfigs(ca *authority, endpoint string, local kubeadmv1.APIEndpoint) error {
	return errors.Join(
		r.writeKubeconfig(ca, "admin.conf", endpoint, leaf{commonName: "kubernetes-admin", organization: "kubeadm:cluster-admins"}),
		r.writeKubeconfig(ca, "controller-manager.conf", localURL(local), leaf{commonName: "system:kube-controller-manager"}),
		r.writeKubeconfig(ca, "scheduler.conf", localURL(local), leaf{commonName: "system:kube-scheduler"}),
	)
}
