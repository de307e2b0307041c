// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package kill kills the manager again and again while machines come and go, and keeps the books of every host meanwhile.
package kill

import (
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/e2e/stage"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron"
)

var management *stage.Stage

func TestKill(t *testing.T) { stage.Run(t, "Kill") }

var _ = BeforeSuite(func(ctx SpecContext) {
	management = stage.Open(ctx, func(o *lab.Options) {
		o.Iron = func(c *iron.Config) {
			// Long enough for the manager to die in the middle of everything.
			latencies := iron.DefaultLatencies()
			latencies.Provision, latencies.Deprovision, latencies.Clean = 3*time.Second, time.Second, 2*time.Second
			c.Latencies = &latencies
		}
	})
}, NodeTimeout(stage.StartTimeout))
