// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vpp

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/calicoagent"
)

// podInterface is what Calico calls the first pod's interface in VPP.
const podInterface = "tun1"

// node is a host's VPP with its uplink and one pod, whichever VPP it is. VPP is lost with everything it knows whenever it restarts; what
// vpp-manager and the CNI plugin do to it must be done again then.
type node interface {
	// start runs VPP with the host's files. Its API answers when start returns.
	start(ctx context.Context) error
	// stop kills it.
	stop()
	// socket of the API, and of the counters; the latter is empty when there are none.
	socket() string
	statsSocket() string
	// pod to connect to VPP; connected tells the pod the MAC address of its gateway.
	pod() calicoagent.Pod
	connected(gateway [6]byte) error
	// ping sends that many packets from the pod to an address, and counts answers.
	ping(ctx context.Context, to netip.Addr, count int) (answered int, err error)
	// received are the packets that came from the wire since the node started, or since forget.
	received() capture
	forget()
	// nrHugepages that the host has reserved.
	nrHugepages() (int, error)
}

// place is where two nodes are: number 1 and 2.
type place struct {
	// root holds the host's /etc/vpp and what stands for /run/vpp.
	root    string
	name    string
	number  int
	address netip.Prefix
	podAddr netip.Addr
}

// implementation makes nodes on one wire.
type implementation struct {
	name string
	// missing says why it cannot run here; empty when it can.
	missing func() string
	nodes   func(ctx context.Context, a, b place) (node, node, error)
}

// realVPP is the name of the implementation that carries packets.
const realVPP = "real VPP"

func implementations() []implementation {
	return []implementation{
		{name: "fake VPP", missing: func() string { return "" }, nodes: newFakeNodes},
		{name: realVPP, missing: missingVPP, nodes: newRealNodes},
	}
}

// missingVPP says what it takes to run the real VPP.
func missingVPP() string {
	if _, err := exec.LookPath("vpp"); errors.Is(err, exec.ErrNotFound) {
		return "real VPP: skipped, no vpp in PATH"
	}
	for _, tool := range []string{"nsenter", "unshare"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "real VPP: skipped, no " + tool + " in PATH"
		}
	}
	if os.Geteuid() != 0 {
		return "real VPP: skipped, network namespaces take root"
	}
	return ""
}
