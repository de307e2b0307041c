// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package hostnet plans the network of one host: it resolves a machine's links to the NICs that the inspection found, checks
// addresses and MTUs against the networks of the EdgeCluster, and renders the plan as OpenStack network data.
//
// It is pure: the same input gives the same plan, byte for byte.
package hostnet
