// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package kubelet plays a host's kubelet: it gets itself a certificate, registers its Node, keeps Lease and
// status fresh, runs static pods and those that the API binds to its Node, and serves their logs, port
// forwarding and programs run in them.
//
// Containers whose image has a stand-in run for real: the control plane's as processes bound to the host's
// own address, kube-vip as a listener on the virtual address, others as their Program says. A container sees
// its volumes, variables and ServiceAccount as anywhere else, but there is no container around it: paths in
// its arguments are moved to where its mounts are on the machine that runs the lab. The lab's image holds a
// plain CNI, so the Node is Ready as soon as the kubelet runs.
package kubelet
