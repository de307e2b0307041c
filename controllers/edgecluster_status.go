// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	ctrl "sigs.k8s.io/controller-runtime"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/hosts"
)

// updateClusterStatus computes the status of an EdgeCluster from what was read. Apart from the hardware cache it is pure.
func updateClusterStatus(ctx context.Context, s *clusterScope, hardwareOf hosts.HardwareOf) {
	c := s.edgeCluster
	judgements := []metav1.Condition{
		judgeNetworks(s),
		judgeEndpoint(s),
		judgeHosts(ctx, s, hardwareOf),
	}
	if encryptionProtocol(c) != "" {
		judgements = append(judgements, judgeClusterEncryption(s))
	}
	for _, judgement := range judgements {
		judgement.ObservedGeneration = c.Generation
		conditions.Set(c, judgement)
	}
	if conditions.IsTrue(c, infrav1.NetworksValidCondition) && conditions.IsTrue(c, infrav1.ControlPlaneEndpointReadyCondition) {
		c.Status.Initialization.Provisioned = new(true)
	}
	c.Status.FailureDomains = nil
	for _, domain := range c.Spec.FailureDomains {
		controlPlane := domain.ControlPlane == nil || *domain.ControlPlane
		c.Status.FailureDomains = append(c.Status.FailureDomains, clusterv1.FailureDomain{Name: domain.Name, ControlPlane: &controlPlane})
	}
	slices.SortFunc(c.Status.FailureDomains, func(a, b clusterv1.FailureDomain) int { return cmp.Compare(a.Name, b.Name) })
	conditions.Set(c, summarizeSite(s))
}

func verdict(condition string, ok bool, reason, format string, args ...any) metav1.Condition {
	status := metav1.ConditionFalse
	if ok {
		status = metav1.ConditionTrue
	}
	return metav1.Condition{Type: condition, Status: status, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// judgeNetworks looks for what one object cannot know: pod and service networks that overlap the site's.
func judgeNetworks(s *clusterScope) metav1.Condition {
	const condition = infrav1.NetworksValidCondition
	if s.cluster == nil {
		return verdict(condition, false, infrav1.WaitingForClusterReason, "Waiting for a Cluster to refer to this EdgeCluster")
	}
	// In this order, so that the message is the same each time.
	for _, ranges := range []struct {
		field  string
		blocks []string
	}{
		{"pods", s.cluster.Spec.ClusterNetwork.Pods.CIDRBlocks},
		{"services", s.cluster.Spec.ClusterNetwork.Services.CIDRBlocks},
	} {
		for _, block := range ranges.blocks {
			if network, cidr := overlapping(s.edgeCluster.Spec.Networks, block); network != "" {
				return verdict(condition, false, infrav1.NetworksInvalidReason,
					"spec.clusterNetwork.%s of Cluster %s contains %s, which overlaps %s of network %q; use another range", ranges.field, s.cluster.Name, block, cidr, network)
			}
		}
	}
	return verdict(condition, true, infrav1.NetworksValidReason, "")
}

func overlapping(networks []infrav1.Network, block string) (network, cidr string) {
	prefix, err := netip.ParsePrefix(block)
	if err != nil {
		return "", ""
	}
	for _, network := range networks {
		for _, subnet := range network.Subnets {
			if other, err := netip.ParsePrefix(subnet.CIDR); err == nil && other.Overlaps(prefix) {
				return network.Name, subnet.CIDR
			}
		}
	}
	return "", ""
}

// judgeEndpoint checks the control-plane endpoint against the networks.
func judgeEndpoint(s *clusterScope) metav1.Condition {
	const condition = infrav1.ControlPlaneEndpointReadyCondition
	spec := s.edgeCluster.Spec
	endpoint := spec.ControlPlaneEndpoint.Host
	if endpoint == "" && s.cluster != nil {
		endpoint = s.cluster.Spec.ControlPlaneEndpoint.Host
	}
	if endpoint == "" {
		return verdict(condition, false, infrav1.WaitingForEndpointReason,
			"Waiting for spec.controlPlaneEndpoint, here or on the Cluster; set it, or use a control-plane provider that sets it")
	}
	vip, err := netip.ParseAddr(endpoint)
	if err != nil {
		return verdict(condition, true, infrav1.ControlPlaneEndpointReadyReason, "")
	}
	for _, network := range spec.Networks {
		if field := addressUse(network, vip); field != "" {
			return verdict(condition, false, infrav1.EndpointTakenReason, "spec.controlPlaneEndpoint.host %s is a %s of network %q; use a free address", vip, field, network.Name)
		}
	}
	if spec.ControlPlaneVIP.Mode == infrav1.VIPModeARP && !insideAny(spec.Networks, vip) {
		return verdict(condition, false, infrav1.EndpointOutsideNetworksReason,
			"spec.controlPlaneEndpoint.host %s lies in no subnet of spec.networks, so no host can announce it with ARP; use an address inside one, or mode BGP", vip)
	}
	return verdict(condition, true, infrav1.ControlPlaneEndpointReadyReason, "")
}

func addressUse(network infrav1.Network, address netip.Addr) string {
	is := func(text string) bool { parsed, err := netip.ParseAddr(text); return err == nil && parsed == address }
	switch {
	case slices.ContainsFunc(network.Subnets, func(s infrav1.Subnet) bool { return is(s.Gateway) }):
		return "gateway"
	case slices.ContainsFunc(network.Nameservers, is):
		return "nameserver"
	default:
		return ""
	}
}

// insideAny tells whether the address lies in a subnet. A DHCP network without subnets may hold any address.
func insideAny(networks []infrav1.Network, address netip.Addr) bool {
	for _, network := range networks {
		if len(network.Subnets) == 0 {
			return true
		}
		for _, subnet := range network.Subnets {
			if prefix, err := netip.ParsePrefix(subnet.CIDR); err == nil && prefix.Contains(address) {
				return true
			}
		}
	}
	return false
}

// judgeHosts compares the hosts that the cluster can count on with the machines it wants. A host that the cluster has
// claimed still counts, so that the number does not change while machines come up.
func judgeHosts(ctx context.Context, s *clusterScope, hardwareOf hosts.HardwareOf) metav1.Condition {
	const condition = infrav1.HostsAvailableCondition
	if s.cluster == nil {
		return verdict(condition, false, infrav1.WaitingForClusterReason, "Waiting for a Cluster to refer to this EdgeCluster")
	}
	requests := requestsOf(ctx, s.selectors, dataplaneRunsOn(s.edgeCluster))
	missing := map[string]bool{}
	for _, domain := range s.edgeCluster.Spec.FailureDomains {
		missing[domain.Name] = true
	}
	usable := 0
	for _, host := range s.hosts {
		if !s.isOurs(host) && (hosts.Unavailable(host) != "" || !matchesAny(requests, host, hardwareOf)) {
			continue
		}
		usable++
		delete(missing, host.Labels[infrav1.FailureDomainLabel])
	}
	wanted := wantedMachines(s.cluster)
	switch {
	case usable < wanted:
		return verdict(condition, false, infrav1.NotEnoughHostsReason, "%d hosts for %d machines; add or free hosts that the templates' hostSelector matches, or scale down", usable, wanted)
	case len(missing) > 0:
		return verdict(condition, false, infrav1.FailureDomainWithoutHostsReason, "No usable host has the label %s=%s; label one or remove the failure domain",
			infrav1.FailureDomainLabel, slices.Sorted(maps.Keys(missing))[0])
	default:
		return verdict(condition, true, infrav1.HostsAvailableReason, "%d hosts for %d machines", usable, wanted)
	}
}

func (s *clusterScope) isOurs(host *bmov1.BareMetalHost) bool {
	ref := host.Spec.ConsumerRef
	return ref != nil && ref.Kind == "EdgeMachine" && s.machines[ref.Name]
}

func requestsOf(ctx context.Context, selectors []infrav1.HostSelector, runsOn func(architecture string) bool) []hosts.Request {
	if len(selectors) == 0 {
		selectors = []infrav1.HostSelector{{}}
	}
	var requests []hosts.Request
	for _, selector := range selectors {
		labels, err := hosts.Selector(selector)
		if err != nil {
			ctrl.LoggerFrom(ctx).Info("Leaving out a template with an invalid hostSelector", "error", err.Error())
			continue
		}
		requests = append(requests, hosts.Request{Labels: labels, Hardware: selector.Hardware, RunsOn: runsOn})
	}
	return requests
}

func matchesAny(requests []hosts.Request, host *bmov1.BareMetalHost, hardwareOf hosts.HardwareOf) bool {
	return slices.ContainsFunc(requests, func(r hosts.Request) bool { return r.Matches(host, hardwareOf) })
}

// wantedMachines is the number of machines that control plane and workers ask for.
func wantedMachines(cluster *clusterv1.Cluster) int {
	wanted := 0
	if s := cluster.Status.ControlPlane; s != nil && s.DesiredReplicas != nil {
		wanted += int(*s.DesiredReplicas)
	}
	if s := cluster.Status.Workers; s != nil && s.DesiredReplicas != nil {
		wanted += int(*s.DesiredReplicas)
	}
	return wanted
}

// isInventoryChange tells whether a change of a host can change what a cluster can count on.
func isInventoryChange(before, after *bmov1.BareMetalHost) bool {
	available := func(h *bmov1.BareMetalHost) bool {
		o := hosts.Unavailable(h)
		return o == "" || o == hosts.ObstacleInUse
	}
	consumer := func(h *bmov1.BareMetalHost) string {
		if h.Spec.ConsumerRef == nil {
			return ""
		}
		return h.Spec.ConsumerRef.Namespace + "/" + h.Spec.ConsumerRef.Name
	}
	return available(before) != available(after) || consumer(before) != consumer(after) || !maps.Equal(before.Labels, after.Labels)
}
