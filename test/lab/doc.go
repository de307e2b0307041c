// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package lab runs a management cluster as local processes: a real control plane, Cluster API's own
// managers with their webhooks, the in-cluster IPAM provider, this repository's manager, and simulated
// bare-metal hosts. Providers are installed by clusterctl as anywhere else. Several labs may run at
// once, in one process or in many: each has its own folder, ports and site network.
package lab
