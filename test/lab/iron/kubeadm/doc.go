// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package kubeadm plays kubeadm on a simulated host. "init" and "join" do to the host's disk and to the
// cluster what kubeadm does: certificates from the CAs that are there, kubeconfigs, static pods, the kubelet's
// files, discovery with a token and pinned CA, TLS bootstrap, etcd membership, and the ConfigMaps, RBAC and
// bootstrap tokens that later joins need. The processes behind the static pods are real (package kubelet).
//
// Left out are add-ons (CoreDNS, kube-proxy), uploading certificates, patches and external etcd. Leaf
// certificates have ECDSA keys whatever encryptionAlgorithm says, because making RSA keys takes seconds.
package kubeadm
