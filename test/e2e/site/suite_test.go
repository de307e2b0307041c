// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package site follows the users of a site, with clusterctl and kubectl, through the life of clusters on one lab.
package site

import (
	"testing"

	. "github.com/onsi/ginkgo/v2"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/e2e/stage"
)

// lab is what all specs play on, each in a namespace of its own.
var lab *stage.Stage

func TestSite(t *testing.T) { stage.Run(t, "Site") }

var _ = BeforeSuite(func(ctx SpecContext) { lab = stage.Open(ctx) }, NodeTimeout(stage.StartTimeout))
