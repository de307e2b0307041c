// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package calicoagent

import (
	"os"
	"slices"
	"strings"
)

// WithheldFile names, one a line, the nodes whose keys are kept from the agent. It is read at every look; without a file none are.
type WithheldFile string

// Has reports whether the node is in the file.
func (f WithheldFile) Has(node string) bool {
	data, err := os.ReadFile(string(f))
	if err != nil {
		return false
	}
	return slices.Contains(strings.Fields(string(data)), node)
}
