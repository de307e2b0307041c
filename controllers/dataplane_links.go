// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap/hostnet"
)

// linkHolder is a machine, or what machines are made from.
type linkHolder struct {
	name string
	spec infrav1.EdgeMachineSpec
}

// findLinks finds out by which names the dataplane knows the hosts' links.
func (r *DataplaneReconciler) findLinks(ctx context.Context, s *dataplaneScope, machines []infrav1.EdgeMachine) (proceed, error) {
	holders, err := r.linkHolders(ctx, s, machines)
	if err != nil {
		return false, err
	}
	dataplane := cmp.Or(s.edgeCluster.Spec.Dataplane.Type, infrav1.DataplaneCalicoVPP)
	if len(holders) == 0 && (dataplane == infrav1.DataplaneCalicoVPP || dataplane == infrav1.DataplaneCalicoEBPF) {
		return s.wait(infrav1.WaitingForControlPlaneReason, "Waiting for a machine, whose link in network %q carries the dataplane", s.input.Network.Name), nil
	}
	s.input.Links = linksWithNetworks(holders)
	if dataplane != infrav1.DataplaneCalicoVPP {
		return true, nil
	}
	return findUplink(s, holders), nil
}

// linkHolders are all machines that there are, those with a host first, or, while none has one, all templates before them.
func (r *DataplaneReconciler) linkHolders(ctx context.Context, s *dataplaneScope, machines []infrav1.EdgeMachine) ([]linkHolder, error) {
	var holders []linkHolder
	for i := range machines {
		if machines[i].Spec.ProviderID != "" {
			holders = append(holders, linkHolder{"EdgeMachine " + machines[i].Name, machines[i].Spec})
		}
	}
	if len(holders) == 0 {
		templates := &infrav1.EdgeMachineTemplateList{}
		if err := r.Client.List(ctx, templates, client.InNamespace(s.edgeCluster.Namespace), client.MatchingFields{templateClusterIndex: s.cluster.Name}, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("listing EdgeMachineTemplates: %w", err)
		}
		for i := range templates.Items {
			holders = append(holders, linkHolder{"EdgeMachineTemplate " + templates.Items[i].Name, templates.Items[i].Spec.Template.Spec})
		}
	}
	for i := range machines {
		holders = append(holders, linkHolder{"EdgeMachine " + machines[i].Name, machines[i].Spec})
	}
	return holders, nil
}

// linksWithNetworks are the names of all links that carry a network, each once and in order.
func linksWithNetworks(holders []linkHolder) []string {
	var links []string
	for _, h := range holders {
		for _, joined := range h.spec.Interfaces {
			links = append(links, joined.Link)
		}
	}
	slices.Sort(links)
	return slices.Compact(links)
}

// findUplink finds the name of the link that VPP takes over, which is the same in all holders. One machine that does not fit is judged
// by itself and gets no host.
func findUplink(s *dataplaneScope, holders []linkHolder) proceed {
	// In the order of their names, so that the same one is named each time.
	first := ""
	for _, h := range holders {
		uplink, err := hostnet.UplinkOf(h.spec.Links, h.spec.Interfaces, s.edgeCluster.Spec.Networks, s.input.Network.Name)
		if err != nil {
			return s.wait(infrav1.DataplaneInvalidReason, "%s: %v", h.name, err)
		}
		if s.input.Uplink == "" {
			s.input.Uplink, first = uplink.Link, h.name
		}
		if uplink.Link != s.input.Uplink {
			return s.wait(infrav1.DataplaneInvalidReason, "links: network %q is on %q in %s and on %q in %s; VPP has one configuration for all nodes: give that link the same name in all machine templates of the cluster",
				s.input.Network.Name, s.input.Uplink, first, uplink.Link, h.name)
		}
	}
	return true
}
