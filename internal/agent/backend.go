// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// Backend is a dataplane of the node.
type Backend interface {
	// Run keeps in touch with the dataplane until ctx is done.
	Run(ctx context.Context) error
	// Observe says what there is. A dataplane that cannot be asked is told in Unreachable.
	Observe(ctx context.Context, e encryption.Expectation) encryption.Observation
	// Act does what is asked for, in order; it stops at the first that fails.
	Act(ctx context.Context, e encryption.Expectation, actions []encryption.Action) error
	// Changed receives when something may have changed, so that waiting for the next look is not worth while.
	Changed() <-chan struct{}
}
