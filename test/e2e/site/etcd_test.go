// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package site

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	bootstrapv1 "sigs.k8s.io/cluster-api/api/bootstrap/kubeadm/v1beta2"
	"sigs.k8s.io/cluster-api/util/certs"
	"sigs.k8s.io/cluster-api/util/secret"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/e2e/stage"
)

// etcdMembers are the names of the voting members, as every endpoint tells them.
func etcdMembers(ctx context.Context, s *stage.Site, endpoints []string) []string {
	GinkgoHelper()
	config := etcdTLS(ctx, s)
	var names []string
	for _, endpoint := range endpoints {
		etcd, err := clientv3.New(clientv3.Config{
			Endpoints: []string{endpoint}, TLS: config, DialTimeout: 10 * time.Second, Context: ctx, Logger: zap.NewNop(),
		})
		Expect(err).NotTo(HaveOccurred())
		list, err := etcd.MemberList(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(etcd.Close()).To(Succeed())
		names = nil
		for _, member := range list.Members {
			Expect(member.IsLearner).To(BeFalse(), member.Name)
			names = append(names, member.Name)
		}
		Expect(names).To(HaveLen(len(endpoints)), endpoint)
	}
	return names
}

// etcdTLS makes a client certificate with the cluster's CA for etcd.
func etcdTLS(ctx context.Context, s *stage.Site) *tls.Config {
	GinkgoHelper()
	stored := &corev1.Secret{}
	Expect(s.Client().Get(ctx, s.Key(secret.Name(cluster, secret.EtcdCA)), stored)).To(Succeed())
	ca, err := certs.DecodeCertPEM(stored.Data[secret.TLSCrtDataName])
	Expect(err).NotTo(HaveOccurred())
	caKey, err := certs.DecodePrivateKeyPEM(stored.Data[secret.TLSKeyDataName])
	Expect(err).NotTo(HaveOccurred())
	key, err := certs.NewSigner(bootstrapv1.EncryptionAlgorithmRSA2048)
	Expect(err).NotTo(HaveOccurred())
	wanted := certs.Config{CommonName: "test", Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	certificate, err := wanted.NewSignedCert(key, ca, caKey)
	Expect(err).NotTo(HaveOccurred())
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	return &tls.Config{
		RootCAs: roots, MinVersion: tls.VersionTLS12,
		Certificates: []tls.Certificate{{Certificate: [][]byte{certificate.Raw}, PrivateKey: key}},
	}
}
