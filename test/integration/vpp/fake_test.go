// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vpp

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/calico"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/calicoagent"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/fakevpp"
)

// fakeNode runs the fake VPP in this process.
type fakeNode struct {
	place
	vpp   *fakevpp.VPP
	other *fakeNode

	mu   sync.Mutex
	seen capture
}

func newFakeNodes(_ context.Context, a, b place) (node, node, error) {
	first, second := newFakeNode(a), newFakeNode(b)
	first.other, second.other = second, first
	fakevpp.Link(first.vpp, second.vpp)
	return first, second, nil
}

func newFakeNode(p place) *fakeNode {
	n := &fakeNode{place: p}
	n.vpp = fakevpp.New(fakevpp.Config{Socket: n.socket(), Exec: calico.VPPStartupExecFile, Root: p.root})
	return n
}

func (n *fakeNode) start(ctx context.Context) error { return n.vpp.Start(ctx) }
func (n *fakeNode) stop()                           { n.vpp.Stop() }
func (n *fakeNode) socket() string                  { return filepath.Join(n.root, "run", "vpp-api.sock") }
func (n *fakeNode) statsSocket() string             { return "" }

func (n *fakeNode) pod() calicoagent.Pod {
	return calicoagent.Pod{Interface: podInterface, HostInterface: "pod0", Address: n.podAddr, MAC: [6]byte{2, 0, 0, 0, 0, byte(n.number)}}
}

func (n *fakeNode) connected([6]byte) error { return nil }

// ping takes each packet through this VPP, and its answer through the other.
func (n *fakeNode) ping(ctx context.Context, to netip.Addr, count int) (int, error) {
	answered := 0
	for range count {
		if ctx.Err() != nil {
			return answered, ctx.Err()
		}
		arrived, err := n.carry(fakevpp.Packet{Source: n.podAddr, Destination: to})
		if err != nil {
			return answered, err
		}
		if !arrived {
			continue
		}
		back, err := n.other.carry(fakevpp.Packet{Source: to, Destination: n.podAddr})
		if err != nil {
			return answered, err
		}
		if back {
			answered++
		}
	}
	return answered, nil
}

// carry sends a pod's packet, and counts at the other end what leaves for the wire.
func (n *fakeNode) carry(p fakevpp.Packet) (bool, error) {
	p.From = podInterface
	verdict, err := n.vpp.Send(p)
	if err != nil {
		return false, err
	}
	n.other.mu.Lock()
	defer n.other.mu.Unlock()
	switch verdict.Outcome {
	case fakevpp.Encrypted:
		n.other.seen.add(n.address.Addr(), n.other.address.Addr(), protocolUDP, portWireGuard)
	case fakevpp.Plain:
		// What is inside a tunnel in clear is a pod's all the same.
		n.other.seen.add(p.Source, p.Destination, verdict.Protocol, 0)
	}
	return verdict.Outcome == fakevpp.Encrypted || verdict.Outcome == fakevpp.Plain, nil
}

func (n *fakeNode) received() capture {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.seen
}

func (n *fakeNode) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seen = capture{}
}

// nrHugepages are this machine's: the fake reserves none.
func (n *fakeNode) nrHugepages() (int, error) {
	return countHugepages(os.DirFS("/sys/kernel/mm/hugepages"))
}
