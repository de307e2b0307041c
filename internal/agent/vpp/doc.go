// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package vpp observes and completes the dataplane of a node whose packets FD.io VPP carries, through VPP's binary API. It never asks
// for private keys, and never runs a command that prints them.
package vpp
