// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// TestHandshakeAge looks at the last handshake by a clock that may have been set since.
func TestHandshakeAge(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		last        time.Time
		age         int64
		established bool
	}{
		"never":                           {last: time.Time{}, age: encryption.HandshakeUnknown},
		"never, as the kernel tells it":   {last: time.Unix(0, 0), age: encryption.HandshakeUnknown},
		"a moment ago":                    {last: now.Add(-time.Second), age: 1, established: true},
		"as long ago as a session lives":  {last: now.Add(-sessionLife), age: 180, established: true},
		"longer ago":                      {last: now.Add(-sessionLife - time.Second), age: 181},
		"the clock is being slewed":       {last: now.Add(maxAhead), age: 0, established: true},
		"the clock was set back a little": {last: now.Add(maxAhead + time.Second), age: encryption.HandshakeUnknown},
		"the clock was set back by hours": {last: now.Add(3 * time.Hour), age: encryption.HandshakeUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			peer := toPeer(wgtypes.Peer{LastHandshakeTime: c.last}, now)
			if peer.HandshakeAge != c.age || peer.Established != c.established {
				t.Errorf("age %d, established %v; want %d, %v", peer.HandshakeAge, peer.Established, c.age, c.established)
			}
		})
	}
}
