// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package encryption decides, from what a node observes of its dataplane and what the cluster expects of it, whether the traffic of
// the node is encrypted. It is pure, and shared by the manager and the node agent.
package encryption
