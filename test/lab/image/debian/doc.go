// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package debian builds root filesystems of Debian 12 for amd64 out of its packages, with mmdebstrap.
package debian
