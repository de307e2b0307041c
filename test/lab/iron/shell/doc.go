// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package shell runs shell scripts on a simulated host: a real shell interpreter whose files are the host's
// disk and whose programs are Go functions. Nothing of the machine that runs the lab is read, and nothing of it is
// executed but sed, in its sandbox mode, on text that it gets and gives through pipes.
// A program that the host does not have ends with status 127, as on a real host.
package shell
