// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// pskEntry of the Secret with a cluster's pre-shared key for IPsec: pskBytes random bytes in base64.
const (
	pskEntry = "psk"
	pskBytes = 32
)

func pskSecretName(cluster *clusterv1.Cluster) string { return cluster.Name + "-ipsec-psk" }

// ensurePSK makes the cluster's pre-shared key for IPsec, once. Hosts that are in service have it, so that no other one is made for them;
// what is wrong is left in s.keyProblem.
func (r *EdgeClusterReconciler) ensurePSK(ctx context.Context, s *clusterScope) error {
	if encryptionProtocol(s.edgeCluster) != infrav1.ProtocolIPsec || !s.edgeCluster.DeletionTimestamp.IsZero() {
		return nil
	}
	secret, err := findKeySecret(ctx, r.SecretCache, r.Client, s.edgeCluster.Namespace, pskSecretName(s.cluster))
	switch {
	case err != nil:
		return err
	case secret != nil && !metav1.IsControlledBy(secret, s.edgeCluster):
		s.keyProblem = new(verdict(infrav1.EncryptionReadyCondition, false, infrav1.KeyUnavailableReason, "Secret %s exists and is not ours; rename or delete it", secret.Name))
		return nil
	case secret != nil:
		return nil
	case s.hasProvisioned():
		s.keyProblem = new(verdict(infrav1.EncryptionReadyCondition, false, infrav1.KeyLostReason,
			"Secret %s was deleted, with the pre-shared key of IPsec. Nodes keep the key, and no other one is made for them: restore the Secret from a backup or from the workload cluster", pskSecretName(s.cluster)))
		return nil
	}
	return r.createPSK(ctx, s)
}

func (r *EdgeClusterReconciler) createPSK(ctx context.Context, s *clusterScope) error {
	key := make([]byte, pskBytes)
	if _, err := rand.Read(key); err != nil {
		return fmt.Errorf("making a pre-shared key: %w", err)
	}
	secret := newKeySecret(pskSecretName(s.cluster), s.edgeCluster, "EdgeCluster", s.cluster,
		map[string][]byte{pskEntry: []byte(base64.StdEncoding.EncodeToString(key))})
	if err := r.Client.Create(ctx, secret); client.IgnoreAlreadyExists(err) != nil {
		return fmt.Errorf("creating Secret %s: %w", secret.Name, err)
	}
	return nil
}

// readPSK reads the pre-shared key for IPsec of a cluster, base64, from the API server; nil while there is none, or when the Secret of its
// name is somebody else's. reader must not be the cache, which has no data.
func readPSK(ctx context.Context, reader client.Reader, edgeCluster *infrav1.EdgeCluster, cluster *clusterv1.Cluster) ([]byte, error) {
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: edgeCluster.Namespace, Name: pskSecretName(cluster)}
	if err := reader.Get(ctx, key, secret); apierrors.IsNotFound(err) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("reading Secret %s: %w", key.Name, err)
	}
	if !metav1.IsControlledBy(secret, edgeCluster) {
		return nil, nil
	}
	return secret.Data[pskEntry], nil
}
