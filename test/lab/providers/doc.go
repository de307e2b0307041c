// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package providers plays the node on which providers' pods run: the container "manager" of a pod that
// carries the label cluster.x-k8s.io/provider becomes a local process of the program that belongs to
// that provider. Deployments, ReplicaSets and pods are real objects handled by the real controllers.
//
// The process gets the arguments and environment of the container and acts as the pod's ServiceAccount
// with a token bound to the pod, so that the shipped RBAC is what is tested. Changed are only what a
// shared host demands: ports, the folder of the webhook's certificate, and leader election, which
// controller-runtime refuses outside a cluster.
package providers
