// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/cluster-api/util/secret"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// TrimSecret leaves out of a cached Secret its data, except kubeconfigs, for the ClusterCache, and public keys. It is a transform of the
// management cluster's cache.
func TrimSecret(obj any) (any, error) {
	s, ok := obj.(*corev1.Secret)
	if !ok {
		return obj, nil
	}
	s.ManagedFields = nil
	switch public, found := s.Data[publicKeyEntry]; {
	case strings.HasSuffix(s.Name, "-"+string(secret.Kubeconfig)):
	case found && strings.HasSuffix(s.Name, keySecretSuffix):
		s.Data = map[string][]byte{publicKeyEntry: public}
	default:
		s.Data = nil
	}
	return s, nil
}

// TrimNode keeps of a cached Node what the controllers read. It is a transform of workload clusters' caches.
func TrimNode(obj any) (any, error) {
	node, ok := obj.(*corev1.Node)
	if !ok {
		return obj, nil
	}
	node.ManagedFields = nil
	reported := slices.DeleteFunc(slices.Clone(node.Status.Conditions), func(c corev1.NodeCondition) bool { return c.Type != encryption.NodeCondition })
	node.Status = corev1.NodeStatus{Addresses: node.Status.Addresses, Conditions: reported, NodeInfo: corev1.NodeSystemInfo{BootID: node.Status.NodeInfo.BootID}}
	return node, nil
}
