// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"time"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// strayMemory remembers since when a peer belongs to no Node, by public key.
type strayMemory map[string]time.Time

// lasting are the keys of those that have been strays for longer than Grace: Calico removes the peer of a Node that is gone within
// seconds.
func (m strayMemory) lasting(strays []encryption.StrayPeer, now time.Time) []string {
	var keys []string
	seen := map[string]bool{}
	for _, stray := range strays {
		seen[stray.PublicKey] = true
		since, known := m[stray.PublicKey]
		switch {
		case !known:
			m[stray.PublicKey] = now
		case now.Sub(since) > Grace:
			keys = append(keys, stray.PublicKey)
		}
	}
	for key := range m {
		if !seen[key] {
			delete(m, key)
		}
	}
	return keys
}
