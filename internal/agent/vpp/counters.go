// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vpp

import (
	"maps"
	"strconv"
	"strings"

	"go.fd.io/govpp/adapter"
)

// counters that VPP shares in memory. Without them all are zero.
type counters struct {
	// known is true when VPP shares its counters.
	known bool
	// rx and tx in bytes by interface.
	rx, tx map[uint32]uint64
	// rules by ACL and number of the rule.
	rules map[uint32][]adapter.CombinedCounter
	// routes by the index in a route's details.
	routes []adapter.CombinedCounter
}

func (s *session) readCounters() counters {
	c := counters{rx: map[uint32]uint64{}, tx: map[uint32]uint64{}, rules: map[uint32][]adapter.CombinedCounter{}}
	if s.stats == nil {
		return c
	}
	entries, err := s.stats.DumpStats("^/if/rx$", "^/if/tx$", "^/acl/", "^/net/route/to$")
	if err != nil {
		return c
	}
	c.known = true
	for _, entry := range entries {
		stat, ok := entry.Data.(adapter.CombinedCounterStat)
		if !ok {
			continue
		}
		sum := addThreads(stat)
		switch name := string(entry.Name); name {
		case "/if/rx":
			maps.Copy(c.rx, byteCounts(sum))
		case "/if/tx":
			maps.Copy(c.tx, byteCounts(sum))
		case "/net/route/to":
			c.routes = sum
		default:
			// /acl/INDEX/matches
			if index, err := strconv.ParseUint(strings.Split(name+"//", "/")[2], 10, 32); err == nil {
				c.rules[uint32(index)] = sum
			}
		}
	}
	return c
}

// addThreads adds up what VPP's threads have counted.
func addThreads(stat adapter.CombinedCounterStat) []adapter.CombinedCounter {
	var sum []adapter.CombinedCounter
	for _, thread := range stat {
		for i, counter := range thread {
			if i == len(sum) {
				sum = append(sum, adapter.CombinedCounter{})
			}
			sum[i][0] += counter[0]
			sum[i][1] += counter[1]
		}
	}
	return sum
}

func byteCounts(sum []adapter.CombinedCounter) map[uint32]uint64 {
	counts := map[uint32]uint64{}
	for i, counter := range sum {
		counts[uint32(i)] = counter.Bytes()
	}
	return counts
}

// at is a counter, zero when there is none.
func at(sum []adapter.CombinedCounter, i int) adapter.CombinedCounter {
	if i < 0 || i >= len(sum) {
		return adapter.CombinedCounter{}
	}
	return sum[i]
}
