// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package charts makes and serves the two charts from which Calico is installed: stand-ins that come with this package, or the
// genuine ones from a folder.
//
// The stand-ins have the names of the genuine charts, take the values that matter, and hold definitions of the same kinds, cut down
// to the fields that an installation uses. What they cut is refused by the API server, so that a field which does not exist is found.
package charts
