// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package tools builds the programs that the lab runs from Go modules pinned in test/tools, and finds
// the source folders of modules whose manifests the lab installs. What is built is kept by version in
// .cache/tools at the root of the repository.
package tools
