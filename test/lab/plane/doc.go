// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package plane runs a Kubernetes control plane as local processes: etcd, kube-apiserver and
// kube-controller-manager, with certificates of their own, on loopback addresses.
// Its Process and Start serve everything else in the lab that runs as a local process.
package plane
