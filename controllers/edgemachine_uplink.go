// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap/hostnet"
)

// checkUplink makes sure that the machine can carry the dataplane: it has an interface in the dataplane's network. VPP takes the whole
// link with the Node's address, by one name for all nodes, because all share one configuration.
func (r *EdgeMachineReconciler) checkUplink(ctx context.Context, s *machineScope) error {
	if !hasDataplane(s.edgeCluster) {
		return nil
	}
	spec, network := s.edgeMachine.Spec, dataplaneNetwork(s.edgeCluster)
	uplink, err := hostnet.UplinkOf(spec.Links, spec.Interfaces, s.edgeCluster.Spec.Networks, network)
	if err != nil || dataplaneType(s.edgeCluster) != infrav1.DataplaneCalicoVPP {
		return err
	}
	if spec.Interfaces[0].Network != network {
		return notYet(infrav1.UplinkInvalidReason,
			"interfaces[0].network: %q; the first interface carries the Node's address, which VPP takes over, so it must be the one in network %q (spec.dataplane.network of the EdgeCluster); change their order", spec.Interfaces[0].Network, network)
	}
	list := &infrav1.EdgeMachineList{}
	if err := r.Client.List(ctx, list, client.InNamespace(s.edgeMachine.Namespace), client.MatchingFields{clusterIndex: s.cluster.Name}, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("listing EdgeMachines of the cluster: %w", err)
	}
	for i := range list.Items {
		other := &list.Items[i]
		link := linkIn(other, network)
		if other.Name != s.edgeMachine.Name && other.DeletionTimestamp.IsZero() && !younger(other, s.edgeMachine) && link != "" && link != uplink.Link {
			return notYet(infrav1.UplinkInvalidReason,
				"links: network %q is on %q here and on %q of EdgeMachine %s; VPP has one configuration for all nodes: give that link the same name in all machine templates of the cluster", network, uplink.Link, link, other.Name)
		}
	}
	return nil
}

// linkIn is the name of the machine's link in a network; empty when it has none.
func linkIn(machine *infrav1.EdgeMachine, network string) string {
	i := slices.IndexFunc(machine.Spec.Interfaces, func(iface infrav1.Interface) bool { return iface.Network == network })
	if i < 0 {
		return ""
	}
	return machine.Spec.Interfaces[i].Link
}
