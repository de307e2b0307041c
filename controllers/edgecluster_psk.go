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
// what is wrong is left in s.keyProblem, and looked at again in a while: a Secret that comes back need not have our label.
func (r *EdgeClusterReconciler) ensurePSK(ctx context.Context, s *clusterScope) error {
	if encryptionProtocol(s.edgeCluster) != infrav1.ProtocolIPsec || !s.edgeCluster.DeletionTimestamp.IsZero() {
		return nil
	}
	secret, err := findKeySecret(ctx, r.SecretCache, r.Client, s.edgeCluster.Namespace, pskSecretName(s.cluster))
	switch {
	case err != nil:
		return err
	case secret != nil && !metav1.IsControlledBy(secret, s.edgeCluster):
		return r.adoptPSK(ctx, s)
	case secret != nil:
		return nil
	case s.hasProvisioned():
		s.refuseKey(infrav1.KeyLostReason,
			"Secret %s was deleted, with the pre-shared key of IPsec. Nodes keep the key, and no other one is made for them: restore the Secret from a backup, or with the entry %s of Secret calico-vpp-dataplane/calicovpp-ipsec-secret of the workload cluster",
			pskSecretName(s.cluster), pskEntry)
		return nil
	}
	return r.createPSK(ctx, s)
}

// refuseKey leaves word of what is wrong with the key.
func (s *clusterScope) refuseKey(reason, format string, args ...any) {
	s.keyProblem = new(verdict(infrav1.EncryptionReadyCondition, false, reason, format, args...))
	s.requeueAfter = retrySecret
}

// adoptPSK makes a Secret ours that nobody controls and that holds a key, such as one that a user has restored.
func (r *EdgeClusterReconciler) adoptPSK(ctx context.Context, s *clusterScope) error {
	secret := &corev1.Secret{}
	if err := r.Client.Get(ctx, client.ObjectKey{Namespace: s.edgeCluster.Namespace, Name: pskSecretName(s.cluster)}, secret); err != nil {
		return fmt.Errorf("reading Secret %s: %w", pskSecretName(s.cluster), err)
	}
	if metav1.GetControllerOf(secret) != nil || !isPSK(secret.Data[pskEntry]) {
		s.refuseKey(infrav1.KeyUnavailableReason, "Secret %s exists and is not ours; rename or delete it. It would be adopted with %d bytes in base64 in its entry %s, and without an owner that controls it",
			secret.Name, pskBytes, pskEntry)
		return nil
	}
	before := secret.DeepCopy()
	ours := newKeySecret(secret.Name, s.edgeCluster, "EdgeCluster", s.cluster, nil)
	secret.Labels = withEntry(secret.Labels, clusterv1.ClusterNameLabel, s.cluster.Name)
	secret.OwnerReferences = append(secret.OwnerReferences, ours.OwnerReferences...)
	secret.Immutable = ours.Immutable
	if err := r.Client.Patch(ctx, secret, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("adopting Secret %s: %w", secret.Name, err)
	}
	return nil
}

// isPSK tells whether a text is a key in base64. The error is left out: it might show a part of the key.
func isPSK(text []byte) bool {
	key, err := base64.StdEncoding.DecodeString(string(text))
	return err == nil && len(key) == pskBytes
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
