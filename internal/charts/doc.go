// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package charts fetches Helm charts from Helm repositories, OCI registries and Secrets, checks their digests, and renders them.
//
// Charts are rendered to objects and not installed as Helm releases: whoever applies the objects corrects drift and prunes, which
// Helm does not. Nothing of a release is stored, and hooks that belong to deletion, rollback and tests are left out. A chart with
// hooks for installation or upgrade is refused.
package charts
