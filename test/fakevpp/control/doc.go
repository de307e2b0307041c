// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package control steers a fake VPP that is another process: HTTP over a UNIX socket, with a client for tests and the lab.
package control
