// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package images stands in for the container images of the dataplane on simulated hosts. The node agent is
// the real one; VPP is a stateful fake behind its binary API, with the start-up files that vpp-manager would
// write; Calico's agent in VPP, its operator and Felix are played as far as encryption and bring-up depend on
// them, with the order and the waiting that the real ones impose.
package images

import (
	"context"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/kubelet"
)

// Config names what the images are made of.
type Config struct {
	// EdgeAgent and FakeVPP are executables of this machine.
	EdgeAgent, FakeVPP string
	// Wire is the directory in which the hosts' VPPs find each other: the network between the hosts.
	Wire string
}

// New are the images by the last two words of their names.
func New(c Config) map[string]kubelet.Program {
	return map[string]kubelet.Program{
		"edgemetal/edge-agent":    edgeAgent{executable: c.EdgeAgent},
		"calicovpp/vpp":           vpp{executable: c.FakeVPP, wire: c.Wire},
		"calicovpp/agent":         vppAgent{},
		"tigera/operator":         operator{},
		"calico/node":             felix{},
		"calico/kube-controllers": idle{},
		"calico/apiserver":        idle{},
	}
}

// idle runs and does nothing: nothing in the lab asks it for anything.
type idle struct{}

// Run implements kubelet.Program.
func (idle) Run(ctx context.Context, c *kubelet.Container) error {
	c.SetReady(true)
	<-ctx.Done()
	return nil
}
