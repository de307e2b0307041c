// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package bmo plays Metal3's baremetal-operator, v0.13.2: it walks BareMetalHosts through registering,
// inspecting, preparing, available, provisioning, provisioned and deprovisioning, with that operator's
// status, conditions, events, error texts and annotations.
//
// The machine's side is a seam (Metal). What a host does next is a pure function (Step) of the host, of what
// was observed and of the clock; the Reconciler gathers those, does what was decided and writes the status,
// once per step and only if it changed.
//
// Not played: firmware settings and components, RAID, data images, custom deploy methods, pre-provisioning
// images and the limit on hosts provisioned at once. Errors are retried in seconds, not minutes.
package bmo
