// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package support

import (
	"slices"
)

// Rule refuses a combination of settings.
type Rule struct {
	// When says in words which combination is refused.
	When string
	// Field of the EdgeCluster, or of the Cluster, that has to be changed.
	Field string
	// Why it is refused.
	Why string
	// Fix says what to do instead.
	Fix string
	// Leaks is true when traffic would leave a node in clear although encryption is asked for.
	Leaks bool
	// broken returns what breaks the rule: names or values to put in front of the message, or "" when the rule says it all.
	// Nothing when the rule is kept.
	broken func(Values) []string
}

// Fields that several rules name.
const (
	fieldPools       = "spec.dataplane.ipPools"
	fieldNetwork     = "spec.dataplane.network"
	fieldEncryption  = "spec.dataplane.encryption"
	fieldPeers       = "spec.dataplane.bgp.peers"
	fieldAdvertise   = "spec.dataplane.bgp.advertise"
	fieldVPP         = "spec.dataplane.vpp"
	fieldMTU         = "spec.dataplane.mtu"
	fieldCalico      = "spec.dataplane.calico"
	fieldPodCIDRs    = "Cluster spec.clusterNetwork.pods.cidrBlocks"
	fieldServiceCIDR = "Cluster spec.clusterNetwork.services.cidrBlocks"
)

// Rules returns all rules. Those that keep traffic from leaving in clear come first.
func Rules() []Rule {
	return slices.Concat(encryptionRules(), tunnelRules(), rangeRules(), mtuRules(), vppRules(), linuxRules(), bgpRules(), versionRules())
}

// when is for rules whose text says it all.
func when(broken bool) []string {
	if broken {
		return []string{""}
	}
	return nil
}
