// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package calicoagent plays the part that the Calico-VPP agent and vpp-manager have in a node's WireGuard dataplane, against a real or a
// fake VPP. It does what theirs do as far as encryption is concerned (projectcalico/vpp-dataplane, calico-vpp-agent/connectivity), with
// what makes them hard to live with:
//   - a WireGuard interface with the node's address as its source is adopted, with its key, but never completed: no address, no GSO, no
//     service translation, not up. When several have that source, the last one counts;
//   - when there is none, it makes one with a key of its own and publishes that key, whatever the Node had before;
//   - the key is published in one attempt; when that fails, only a log line tells;
//   - a node whose key is not known is reached by IPIP, in clear. Keys that are taken away are remembered for ever;
//   - with every key that changes, peers are deleted and made again, but for the one with index 0.
//
// With a pre-shared key it plays the agent's IPsec instead, for which VPP needs its plugin ikev2: one IPIP tunnel for each node, which is
// made down and which VPP's IKE brings up together with its associations. The node with the higher address begins, again every second
// until the tunnel was up once; nobody begins anew when the associations are deleted later.
//
// Routes come from the Nodes themselves instead of BGP: a Node with an address and a pod range is announced, some seconds after the
// agent has started.
package calicoagent
