// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cloudinit reads user data the way cloud-init on a host would: it unpacks gzip and MIME,
// renders Jinja templates with the instance's metadata, merges cloud-config parts by cloud-init's rules and
// checks the result. It is pure: it writes nothing and runs nothing; package machine acts on the result.
//
// It is stricter than cloud-init in one way, on purpose: where cloud-init logs a warning and goes on without
// the part that it could not use, Parse returns an error, so that a mistake in user data is seen at once.
package cloudinit
