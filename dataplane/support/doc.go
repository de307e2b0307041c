// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package support says which combinations of a dataplane's settings are refused, and why: those that would leave traffic in
// clear although encryption is asked for, and those that do not work. Rules is the one table from which the controller's check
// and the documentation follow. What the API can see by itself it refuses as well, with CEL rules of the same meaning.
package support
