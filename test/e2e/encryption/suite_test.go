// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package encryption follows a cluster whose dataplane encrypts through its life and through what can go wrong with it. The node
// agents are real, VPP and Calico are played: see test/lab/iron/images.
package encryption

import (
	"testing"

	. "github.com/onsi/ginkgo/v2"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/e2e/stage"
)

var lab *stage.Stage

func TestEncryption(t *testing.T) { stage.Run(t, "Encryption") }

var _ = BeforeSuite(func(ctx SpecContext) { lab = stage.Open(ctx) }, NodeTimeout(stage.StartTimeout))
