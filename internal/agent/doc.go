// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package agent is the node agent: it observes the dataplane of its node, lets dataplane/encryption decide whether the node's traffic is
// encrypted, completes what is missing, and reports the verdict on the Node.
package agent
