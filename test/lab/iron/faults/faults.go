// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package faults reads what is to go wrong with a simulated host from an annotation of its BareMetalHost.
package faults

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Annotation names the faults of a host, separated by commas; without it the host is healthy:
//
//	slow=<duration>       every operation on the host takes that much longer
//	fail-provision=<n>    the next n attempts to provision fail
//	wrong-mac             the NICs in the machine are not the ones that inspection told of
//	disappear             the provisioned machine dies; its power goes off and stays off
//	bmc-unreachable       the BMC does not answer
//	withhold-key          the other nodes' Calico agents never learn the WireGuard key of this node, so that they would send its
//	                      pods' traffic in clear
const Annotation = "lab.edgemetal.io/fault"

// Set are the faults of one host. The zero value is a healthy host.
type Set struct {
	// Slow is added to the time that every operation takes.
	Slow time.Duration
	// FailProvision is how many attempts to provision fail before one succeeds.
	FailProvision int
	// WrongMAC gives the machine NICs with other addresses than inspection told of.
	WrongMAC bool
	// Disappear kills the machine once it is provisioned.
	Disappear bool
	// BMCUnreachable makes the BMC deaf.
	BMCUnreachable bool
	// WithholdKey keeps the node's WireGuard key from the other nodes' Calico agents.
	WithholdKey bool
}

// Parse reads the annotation's value. An error names the word that is wrong.
func Parse(value string) (Set, error) {
	var set Set
	for word := range strings.SplitSeq(value, ",") {
		name, argument, _ := strings.Cut(strings.TrimSpace(word), "=")
		var err error
		switch name {
		case "":
		case "slow":
			set.Slow, err = time.ParseDuration(argument)
			if err == nil && set.Slow < 0 {
				err = fmt.Errorf("negative duration")
			}
		case "fail-provision":
			set.FailProvision, err = strconv.Atoi(argument)
			if err == nil && set.FailProvision < 0 {
				err = fmt.Errorf("negative count")
			}
		case "wrong-mac":
			set.WrongMAC = true
		case "disappear":
			set.Disappear = true
		case "bmc-unreachable":
			set.BMCUnreachable = true
		case "withhold-key":
			set.WithholdKey = true
		default:
			err = fmt.Errorf("unknown fault, want slow=<duration>, fail-provision=<n>, wrong-mac, disappear, bmc-unreachable or withhold-key")
		}
		if err != nil {
			return Set{}, fmt.Errorf("annotation %s: %q: %w", Annotation, word, err)
		}
	}
	return set, nil
}
