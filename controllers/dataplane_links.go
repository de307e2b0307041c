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

// linkHolder is a machine or a machine template.
type linkHolder struct {
	// name with kind, for messages.
	name string
	spec infrav1.EdgeMachineSpec
	// provisioned machines have their links for good.
	provisioned bool
}

// findLinks learns from machines and templates how the hosts' links are called, which the dataplane is configured with.
func (r *DataplaneReconciler) findLinks(ctx context.Context, s *dataplaneScope, machines []infrav1.EdgeMachine) (proceed, error) {
	templates := &infrav1.EdgeMachineTemplateList{}
	if err := r.Client.List(ctx, templates, client.InNamespace(s.edgeCluster.Namespace), client.MatchingFields{templateClusterIndex: s.cluster.Name}, client.UnsafeDisableDeepCopy); err != nil {
		return false, fmt.Errorf("listing EdgeMachineTemplates: %w", err)
	}
	var holders []linkHolder
	for i := range machines {
		holders = append(holders, linkHolder{"EdgeMachine " + machines[i].Name, machines[i].Spec, machines[i].Spec.ProviderID != ""})
	}
	for i := range templates.Items {
		holders = append(holders, linkHolder{name: "EdgeMachineTemplate " + templates.Items[i].Name, spec: templates.Items[i].Spec.Template.Spec})
	}
	dataplane := dataplaneType(s.edgeCluster)
	if len(holders) == 0 && (dataplane == infrav1.DataplaneCalicoVPP || dataplane == infrav1.DataplaneCalicoEBPF) {
		return s.wait(infrav1.WaitingForControlPlaneReason, "Waiting for a machine, whose link in network %q carries the dataplane", s.input.Network.Name), nil
	}
	// In the order of their names, so that a message names the same one each time.
	slices.SortFunc(holders, func(a, b linkHolder) int { return cmp.Compare(a.name, b.name) })
	s.input.Links = linksWithNetworks(holders)
	if dataplane != infrav1.DataplaneCalicoVPP {
		return true, nil
	}
	return s.findUplink(holders), nil
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

// findUplink finds the name of the link that VPP takes over. It must be the same everywhere: in all provisioned machines, and as long as
// there are none, in all machines and templates. A machine that does not fit the provisioned ones gets no host, and says so itself.
func (s *dataplaneScope) findUplink(holders []linkHolder) proceed {
	if slices.ContainsFunc(holders, func(h linkHolder) bool { return h.provisioned }) {
		holders = slices.DeleteFunc(holders, func(h linkHolder) bool { return !h.provisioned })
	}
	for _, holder := range holders {
		uplink, err := hostnet.UplinkOf(holder.spec.Links, holder.spec.Interfaces, s.edgeCluster.Spec.Networks, s.input.Network.Name)
		if err != nil {
			return s.wait(infrav1.DataplaneInvalidReason, "%s: %v", holder.name, err)
		}
		s.input.Uplink = cmp.Or(s.input.Uplink, uplink.Link)
		if uplink.Link != s.input.Uplink {
			return s.wait(infrav1.DataplaneInvalidReason, "links: network %q is on %q in %s and on %q in %s; VPP has one configuration for all nodes: give that link the same name in all machine templates of the cluster",
				s.input.Network.Name, s.input.Uplink, holders[0].name, uplink.Link, holder.name)
		}
	}
	return true
}
