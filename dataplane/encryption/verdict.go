// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package encryption

// Verdict says whether the traffic of a node to the pods of all other nodes is encrypted, and what is missing.
type Verdict struct {
	// Encrypted is the verdict.
	Encrypted bool `json:"encrypted"`
	// Reason is ReasonEncrypted, or the reason of the first finding.
	Reason string `json:"reason"`
	// Message for people. It changes only when what it tells does: it holds no ages and no counters.
	Message string `json:"message"`
	// Missing is everything that keeps the node from being encrypted, in the order of the reasons.
	Missing []Finding `json:"missing,omitempty"`
	// Peers, by name.
	Peers []PeerVerdict `json:"peers"`
	// Strays are peers that belong to no Node. They keep nothing from being encrypted.
	Strays []StrayPeer `json:"strays,omitempty"`
}

// Finding is something that keeps the node from being encrypted.
type Finding struct {
	// Reason is one of the Reason constants.
	Reason string `json:"reason"`
	// Node that it is about: the node itself or a peer.
	Node string `json:"node"`
	// Message says what was found, and what to do.
	Message string `json:"message"`
}

// PeerState of another Node.
type PeerState string

const (
	// PeerEncrypted has a session, with the key that its Node publishes.
	PeerEncrypted PeerState = "Encrypted"
	// PeerPending is new or restarts: its session is awaited, and what would go to it is dropped until then.
	PeerPending PeerState = "Pending"
	// PeerFailed keeps the node from being encrypted.
	PeerFailed PeerState = "Failed"
	// PeerNotExpected is not Ready or is being taken away.
	PeerNotExpected PeerState = "NotExpected"
)

// PeerVerdict tells about one other Node.
type PeerVerdict struct {
	// Node is its name.
	Node string `json:"node"`
	// Address of the Node.
	Address string `json:"address,omitempty"`
	// PublicKey that the Node publishes.
	PublicKey string `json:"publicKey,omitempty"`
	// State of the traffic to it.
	State PeerState `json:"state"`
	// Reason and Message when the state is Pending or Failed.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// HandshakeAge in seconds, or HandshakeUnknown.
	HandshakeAge int64 `json:"handshakeAgeSeconds"`
	// RxBytes and TxBytes in total; zero with VPP, which counts per interface only.
	RxBytes uint64 `json:"rxBytes"`
	TxBytes uint64 `json:"txBytes"`
}
