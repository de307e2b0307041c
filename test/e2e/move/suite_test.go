// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package move takes a running site from one management cluster to another with clusterctl.
package move

import (
	"os"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/e2e/stage"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

var (
	// source and target are two management clusters with one machine room.
	source, target *stage.Stage
	// machineRoom is the folder of the machines.
	machineRoom string
)

func TestMove(t *testing.T) { stage.Run(t, "Move") }

var _ = BeforeSuite(func(ctx SpecContext) {
	programs, err := tools.Ensure(ctx, tools.Etcd, tools.KubeAPIServer, tools.KubeControllerManager, tools.KubeScheduler)
	Expect(err).NotTo(HaveOccurred())
	machineRoom, err = os.MkdirTemp("", "edgemetal-e2e-rack-")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(os.RemoveAll, machineRoom)
	rack := iron.NewRack(iron.Config{StateDir: machineRoom, Programs: programs, KubernetesVersion: lab.KubernetesVersion})
	DeferCleanup(rack.Close)
	share := func(o *lab.Options) {
		o.Iron = func(c *iron.Config) { c.Rack = rack }
	}
	source = stage.Open(ctx, share)
	target = stage.Open(ctx, share)
}, NodeTimeout(stage.StartTimeout))
