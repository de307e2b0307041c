// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package stage sets up what end-to-end specs play on: a lab whose providers clusterctl has installed, and sites in it. A site
// is a namespace with hosts, an endpoint and addresses of its own, so that the specs of a suite can share one lab. What fails
// ends the spec; the report then holds what the site looked like.
package stage
