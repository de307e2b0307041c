// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package vpp tests the node agent on two hosts whose packets VPP carries: with the fake VPP always, and with the real one when `vpp` is in
// PATH and the tests run as root. Both run the same specs. IPsec runs on the real one only, and when that has its plugin ikev2: there is no
// IKE in the fake.
//
// Everything around VPP is real or what the product renders: the hosts' files come from composed user data, VPP's start-up configuration
// from package dataplane/calico, the agent is the built binary, and the Nodes are on a real API server. Package calicoagent plays
// vpp-manager, the CNI plugin and the Calico agent. The real VPPs run in network namespaces that a veth pair joins; pods are namespaces
// of their own, and what reaches a host is captured on its end of the veth.
package vpp
