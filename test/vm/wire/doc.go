// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package wire tells what went over the wire between hosts, from captures of their NICs. It is pure but for reading the files.
package wire
