// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package fakevpp

import (
	"errors"
	"time"

	"go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/interface_types"
)

// faults that a test has asked for. They outlive a restart.
type faults struct {
	// refuse answers requests by message name with the return value.
	refuse map[string]api.VPPApiError
	// crcs announces messages by name under another CRC.
	crcs map[string]string
}

// Refuse answers all requests with the message's name with the return value from now on; zero ends it.
func (v *VPP) Refuse(message string, retval api.VPPApiError) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if retval == 0 {
		delete(v.faults.refuse, message)
		return
	}
	if v.faults.refuse == nil {
		v.faults.refuse = map[string]api.VPPApiError{}
	}
	v.faults.refuse[message] = retval
}

// AnnounceCRC announces the message under another CRC from the next start on, as another version of VPP does.
func (v *VPP) AnnounceCRC(message, crc string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.faults.crcs == nil {
		v.faults.crcs = map[string]string{}
	}
	v.faults.crcs[message] = crc
}

// SetExec changes the start-up script from the next start on: another key on the host.
func (v *VPP) SetExec(path string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.config.Exec = path
}

// SetExecDelay changes how long the next start waits before the start-up script.
func (v *VPP) SetExecDelay(delay time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.config.ExecDelay = delay
}

// SetHugepages makes VPP take its buffers from hugepages, or not, from the next start on.
func (v *VPP) SetHugepages(use bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.config.Hugepages = use
}

// DuplicateTunnel makes a WireGuard interface with the first one's source and port, and a key of its own, behind the clients' backs. It
// returns the interface's name.
func (v *VPP) DuplicateTunnel() (name string, err error) {
	err = errors.New("the fake VPP has no WireGuard interface to duplicate")
	v.inspect(func(s *state) {
		tunnels := s.tunnels()
		if len(tunnels) == 0 {
			return
		}
		l, retval := s.addTunnel(none, generateKey(), tunnels[0].tunnel.port, tunnels[0].tunnel.source)
		if err = api.RetvalToVPPApiError(retval); err == nil {
			name = l.name
		}
	})
	return name, err
}

// SetPolling makes an interface poll, or receive with interrupts again.
func (v *VPP) SetPolling(name string, polling bool) error {
	return v.onLink(name, func(_ *state, l *link) {
		l.rxMode = interface_types.RX_MODE_API_INTERRUPT
		if polling {
			l.rxMode = interface_types.RX_MODE_API_POLLING
		}
	})
}

// SetAdmin sets an interface up or down behind the clients' backs.
func (v *VPP) SetAdmin(name string, up bool) error {
	return v.onLink(name, func(s *state, l *link) { s.setAdmin(l, up) })
}

// RemoveGuards takes all ACLs off an interface.
func (v *VPP) RemoveGuards(name string) error {
	return v.onLink(name, func(_ *state, l *link) { l.setACLs(nil, nil) })
}

// DropPeer removes the peer with the public key.
func (v *VPP) DropPeer(public string) {
	v.inspect(func(s *state) {
		for index, p := range s.peers {
			if p.public.String() == public {
				s.removePeer(index)
			}
		}
	})
}

// ExpireSessions ends all sessions as if their keys were too old. They come back where the peers answer.
func (v *VPP) ExpireSessions() {
	v.inspect(func(s *state) {
		for _, p := range s.peers {
			p.handshake = time.Time{}
			p.setEstablished(false)
		}
	})
}

func (v *VPP) onLink(name string, change func(*state, *link)) error {
	err := errors.New("the fake VPP is not running")
	v.inspect(func(s *state) {
		l := s.linkNamed(name)
		if l == nil {
			err = errors.New("the fake VPP has no interface " + name)
			return
		}
		err = nil
		change(s, l)
	})
	return err
}
