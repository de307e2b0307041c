// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package fakevpp

import (
	"net/netip"
	"time"
)

const (
	// DefaultExecDelay is how long after its main loop started VPP runs the start-up script
	// (vpp/src/vlib/unix/main.c, startup_config_process).
	DefaultExecDelay = 2 * time.Second

	// DefaultSessionLifetime is how long a session lasts without a new handshake: REJECT_AFTER_TIME
	// (vpp/src/plugins/wireguard/wireguard_noise.h).
	DefaultSessionLifetime = 180 * time.Second

	// handshakeInterval is how often the fakes look whether their peers shake hands.
	handshakeInterval = 50 * time.Millisecond

	// announceInterval is how often they say that they are still there.
	announceInterval = 500 * time.Millisecond
)

// Config of a fake VPP.
type Config struct {
	// Socket is the path of the binary API's socket.
	Socket string
	// Exec is the start-up script: a file with CLI commands; may be empty.
	Exec, Root string
	// ExecDelay before the start-up script runs. Zero is DefaultExecDelay.
	ExecDelay time.Duration
	// Uplink to configure as soon as the API answers, as vpp-manager does. Nil leaves it to a client of the API.
	Uplink *Uplink
	// Wire that the uplink is on. Nil is a wire with nobody else.
	Wire Wire
	// SessionLifetime without a new handshake. Zero is DefaultSessionLifetime.
	SessionLifetime time.Duration
	// Hugepages makes VPP take its buffers from hugepages: a start-up configuration without "page-size 4K".
	Hugepages bool
}

// Uplink is the host's interface that VPP takes over.
type Uplink struct {
	// Name of the host's interface; VPP's is host-<name>.
	Name string
	// Address of the node with the prefix length of its subnet.
	Address netip.Prefix
	// Gateway of the default route; not valid without one.
	Gateway netip.Addr
	// MTU of the uplink; zero is 1500.
	MTU uint32
}

func (c Config) withDefaults() Config {
	if c.ExecDelay == 0 {
		c.ExecDelay = DefaultExecDelay
	}
	if c.SessionLifetime == 0 {
		c.SessionLifetime = DefaultSessionLifetime
	}
	if c.Wire == nil {
		c.Wire = NewSegment()
	}
	return c
}
