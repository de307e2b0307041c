// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package agent tests the whole node agent against a real API server, VPPs that are played (test/fakevpp) and the part of Calico that
// fills them (test/calicoagent).
package agent
