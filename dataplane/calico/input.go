// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package calico

import (
	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// Input is what a plan follows from.
type Input struct {
	// Dataplane of the EdgeCluster, as the user wrote it; Defaults are filled in.
	Dataplane infrav1.Dataplane
	// Network of the EdgeCluster that carries the pods' traffic.
	Network infrav1.Network
	// FailureDomains of the EdgeCluster, by name.
	FailureDomains []string
	// Uplink is the name of the link that carries Network, the same on every host. Needed with type CalicoVPP.
	Uplink string
	// Links are the names of all links, of any host, that carry a network. Needed with type CalicoEBPF.
	Links []string
	// PodCIDRs and ServiceCIDRs are the Cluster's spec.clusterNetwork.pods.cidrBlocks and services.cidrBlocks.
	PodCIDRs, ServiceCIDRs []string
	// Endpoint of the workload cluster's API server.
	Endpoint infrav1.APIEndpoint
	// Architectures of the hosts, as their inspection names them, as far as they are known.
	Architectures []string
	// AgentVersion is the version of this provider, which is the tag of the node agent's image, for example v0.1.0.
	AgentVersion string
}
