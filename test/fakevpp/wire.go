// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package fakevpp

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Presence is what others can find out about a VPP by talking to it: nothing secret.
type Presence struct {
	// Boot names the process of VPP.
	Boot string `json:"boot"`
	// Addresses that it answers on.
	Addresses []netip.Addr `json:"addresses"`
	// Tunnels that listen.
	Tunnels []PresentTunnel `json:"tunnels"`
}

// PresentTunnel is a WireGuard tunnel that is up.
type PresentTunnel struct {
	PublicKey string `json:"publicKey"`
	Port      uint16 `json:"port"`
	// Peers that it talks to: endpoint by public key.
	Peers map[string]netip.AddrPort `json:"peers"`
}

// Wire joins the uplinks of fakes.
type Wire interface {
	// Announce tells the others about a VPP; again with every change.
	Announce(Presence)
	// Withdraw takes it off the wire.
	Withdraw(boot string)
	// Others on the wire that the VPP with this boot can reach.
	Others(boot string) []Presence
}

// Segment is a wire inside one process.
type Segment struct {
	mu      sync.Mutex
	present map[string]Presence
	cut     map[netip.Addr]bool
}

// NewSegment makes a wire with nobody on it.
func NewSegment() *Segment {
	return &Segment{present: map[string]Presence{}, cut: map[netip.Addr]bool{}}
}

// Announce implements Wire.
func (w *Segment) Announce(presence Presence) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.present[presence.Boot] = presence
}

// Withdraw implements Wire.
func (w *Segment) Withdraw(boot string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.present, boot)
}

// Others implements Wire.
func (w *Segment) Others(boot string) []Presence {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.isCut(w.present[boot]) {
		return nil
	}
	var others []Presence
	for name, presence := range w.present {
		if name != boot && !w.isCut(presence) {
			others = append(others, presence)
		}
	}
	return others
}

// Cut takes the cable of whoever has the address, or puts it back.
func (w *Segment) Cut(address netip.Addr, cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[address] = cut
}

func (w *Segment) isCut(presence Presence) bool {
	for _, address := range presence.Addresses {
		if w.cut[address] {
			return true
		}
	}
	return false
}

// Link puts two fakes, which must not run yet, on one wire of their own.
func Link(a, b *VPP) *Segment {
	wire := NewSegment()
	a.config.Wire, b.config.Wire = wire, wire
	return wire
}

// staleAfter is when a file that nobody renews counts as left behind by a process that was killed.
const staleAfter = 2 * time.Second

// Directory is a wire between processes: a folder in which each has a file.
type Directory string

// Announce implements Wire. Who cannot write is not on the wire.
func (d Directory) Announce(presence Presence) {
	data, err := json.Marshal(presence)
	if err != nil {
		return
	}
	path := d.path(presence.Boot)
	if os.WriteFile(path+".new", data, 0o600) == nil {
		_ = os.Rename(path+".new", path)
	}
}

// Withdraw implements Wire.
func (d Directory) Withdraw(boot string) {
	_ = os.Remove(d.path(boot))
}

// Others implements Wire.
func (d Directory) Others(boot string) []Presence {
	paths, err := filepath.Glob(filepath.Join(string(d), "*.json"))
	if err != nil {
		return nil
	}
	var others []Presence
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil || path == d.path(boot) || time.Since(info.ModTime()) > staleAfter {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		var presence Presence
		if json.Unmarshal(data, &presence) == nil {
			others = append(others, presence)
		}
	}
	return others
}

func (d Directory) path(boot string) string {
	return filepath.Join(string(d), strings.NewReplacer("/", "_", " ", "_").Replace(boot)+".json")
}
