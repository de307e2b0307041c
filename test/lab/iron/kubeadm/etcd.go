// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	kubeadmv1 "sigs.k8s.io/cluster-api/bootstrap/kubeadm/pkg/types/upstreamv1beta4"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// etcdURLAnnotation is where kubeadm notes a member's client URL on its pod.
const etcdURLAnnotation = "kubeadm.kubernetes.io/etcd.advertise-client-urls"

const etcdTimeout = 2 * time.Minute

// joinEtcd adds this host to the etcd cluster as a learner, starts its member and promotes it.
func (r *runner) joinEtcd(ctx context.Context, admin client.Client, cluster *kubeadmv1.ClusterConfiguration, nodeName, address string) error {
	endpoints, err := etcdEndpoints(ctx, admin)
	if err != nil {
		return err
	}
	etcd, err := r.etcdClient(cluster, endpoints)
	if err != nil {
		return err
	}
	defer etcd.Close()
	peerURL := "https://" + net.JoinHostPort(address, "2380")
	r.say("etcd", "Announced new etcd member joining to the existing etcd cluster")
	var id uint64
	var members []string
	err = poll(ctx, etcdTimeout, "adding the etcd member", func(ctx context.Context) error {
		id, members, err = addLearner(ctx, etcd, nodeName, peerURL)
		return err
	})
	if err != nil {
		return err
	}
	if err := r.writeEtcdManifest(cluster, nodeName, address, members); err != nil {
		return err
	}
	r.say("etcd", "Waiting for the new etcd member to join the cluster")
	return poll(ctx, etcdTimeout, "promoting the etcd member", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		// Fails until the learner has caught up.
		_, err := etcd.MemberPromote(ctx, id)
		return err
	})
}

// etcdEndpoints are the client URLs of the members whose pods are in the API.
func etcdEndpoints(ctx context.Context, admin client.Client) ([]string, error) {
	var endpoints []string
	err := poll(ctx, etcdTimeout, "finding etcd endpoints", func(ctx context.Context) error {
		pods := &corev1.PodList{}
		if err := admin.List(ctx, pods, client.InNamespace("kube-system"), client.MatchingLabels{"component": "etcd", "tier": "control-plane"}); err != nil {
			return fmt.Errorf("listing etcd pods: %w", err)
		}
		endpoints = nil
		for _, pod := range pods.Items {
			if url := pod.Annotations[etcdURLAnnotation]; url != "" && pod.Status.Phase == corev1.PodRunning {
				endpoints = append(endpoints, url)
			}
		}
		if len(endpoints) == 0 {
			return errors.New("no etcd pod is running")
		}
		return nil
	})
	return endpoints, err
}

func (r *runner) etcdClient(cluster *kubeadmv1.ClusterConfiguration, endpoints []string) (*clientv3.Client, error) {
	dir := cluster.CertificatesDir + "/etcd"
	caPEM, caErr := r.Disk.Read(dir + "/ca.crt")
	certPEM, certErr := r.Disk.Read(dir + "/healthcheck-client.crt")
	keyPEM, keyErr := r.Disk.Read(dir + "/healthcheck-client.key")
	if err := errors.Join(caErr, certErr, keyErr); err != nil {
		return nil, err
	}
	certificate, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("loading the etcd client certificate: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(caPEM)
	etcd, err := clientv3.New(clientv3.Config{
		Endpoints: endpoints, DialTimeout: 10 * time.Second, Logger: zap.NewNop(),
		TLS: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
	})
	if err != nil {
		return nil, fmt.Errorf("making the etcd client: %w", err)
	}
	return etcd, nil
}

// addLearner adds the member unless it is there already. It returns its id and the whole cluster as
// "name=peer URL".
func addLearner(ctx context.Context, etcd *clientv3.Client, nodeName, peerURL string) (uint64, []string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	list, err := etcd.MemberList(ctx)
	if err != nil {
		return 0, nil, fmt.Errorf("listing members: %w", err)
	}
	members := list.Members
	var id uint64
	for _, member := range members {
		if len(member.PeerURLs) > 0 && member.PeerURLs[0] == peerURL {
			id = member.ID
		}
	}
	if id == 0 {
		added, err := etcd.MemberAddAsLearner(ctx, []string{peerURL})
		if err != nil {
			return 0, nil, fmt.Errorf("adding a learner: %w", err)
		}
		id, members = added.Member.ID, added.Members
	}
	var initial []string
	for _, member := range members {
		name := member.Name
		if member.ID == id {
			name = nodeName
		}
		for _, url := range member.PeerURLs {
			initial = append(initial, name+"="+url)
		}
	}
	return id, initial, nil
}
