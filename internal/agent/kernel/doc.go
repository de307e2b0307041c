// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package kernel observes and guards the dataplane of a node whose packets Linux carries, with Calico's eBPF, nftables or iptables, and
// with WireGuard in the kernel or in a process that speaks its configuration protocol.
package kernel
