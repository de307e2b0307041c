// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package kernel tests the node agent's backend for Linux with real packets: hosts are processes with a network namespace of their own,
// joined by a veth pair, and WireGuard runs in them in user space, so that the kernel needs no module. It needs root.
package kernel
