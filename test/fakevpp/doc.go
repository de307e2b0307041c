// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package fakevpp is a stateful stand-in for VPP. It speaks VPP's binary API over its socket, with the names and CRCs that govpp's
// bindings have, so that real govpp clients work against it unchanged; and it keeps what a node agent and a Calico agent do to VPP:
// interfaces, addresses, WireGuard tunnels and peers, routes, ACLs and features.
//
// It forwards no packets, but says what would become of one: VPP.Send takes it through routes, tunnels and ACLs. Fakes that share a Wire
// shake hands when each tunnel has the other's key, as WireGuard would.
//
// What it keeps of the real one, with its traps (vpp/src/plugins/wireguard, vlib/unix/main.c, measured on 26.06):
//   - the API answers at once, but the start-up script runs 2 s later, and a line that fails ends it;
//   - WireGuard interfaces start admin down; a taken instance is refused, no instance takes the next free one;
//   - peer events go only to clients that asked for them after the peer was added;
//   - a peer stays ESTABLISHED until its keys are too old, 180 s after the other side is gone;
//   - a public key can be a peer once.
package fakevpp
