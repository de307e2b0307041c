// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package facts reads what a booted host is like from inside, and compares it with what its EdgeMachine asks for. It looks at what the
// kernel and the services say, not at exit statuses of what was meant to bring it about.
//
// Reading takes a function that runs a program in the host; everything else is pure. Facts hold no private key, so that they can be
// printed: of files that hold one only a digest is read.
package facts
