// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/hosts"
)

// secureAddresses lets a machine go on when no other machine of its cluster has one of its addresses.
//
// A pool gives each address once, but the annotations of two hosts may hold the same, and their machines may come at the same
// moment. What tells a machine of the other is the other's claim on its host, a write that each has made before it looks. The
// cache sees claims in the order in which they were made, so of two machines at least the later one sees both, provided that
// it sees its own.
func (r *EdgeMachineReconciler) secureAddresses(ctx context.Context, s *machineScope, addresses map[string]netip.Addr) (proceed, error) {
	for _, network := range s.edgeCluster.Spec.Networks {
		address, static := addresses[network.Name]
		if !static {
			continue
		}
		find := r.holderOf
		if network.Addresses.FromHost != nil {
			find = r.rivalOf
		}
		holder, err := find(ctx, s, address)
		if err != nil {
			return false, err
		}
		if holder != "" {
			return s.wait(infrav1.NetworkDataValidCondition, infrav1.AddressTakenReason,
				"Address %s is also that of EdgeMachine %s; correct the annotation %s of one of the hosts, or the pools", address, holder, infrav1.AddressesAnnotation), nil
		}
	}
	return s.reached(infrav1.NetworkDataValidCondition, infrav1.NetworkDataValidReason, ""), nil
}

// holderOf finds an older machine of the cluster that has the address, whatever its source.
func (r *EdgeMachineReconciler) holderOf(ctx context.Context, s *machineScope, address netip.Addr) (string, error) {
	list := &infrav1.EdgeMachineList{}
	err := r.Client.List(ctx, list, client.InNamespace(s.edgeMachine.Namespace),
		client.MatchingFields{addressIndex: s.cluster.Name + "/" + address.String()}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return "", fmt.Errorf("listing EdgeMachines by address: %w", err)
	}
	for i := range list.Items {
		if other := &list.Items[i]; other.Name != s.edgeMachine.Name && !younger(other, s.edgeMachine) {
			return other.Name, nil
		}
	}
	return "", nil
}

// rivalOf finds a machine of the cluster on another host with the address in its annotation, to which this one has to give way.
func (r *EdgeMachineReconciler) rivalOf(ctx context.Context, s *machineScope, address netip.Addr) (string, error) {
	if isCommitted(s.host) {
		return "", nil
	}
	if seen, err := r.getHost(ctx, s.host.Namespace, s.host.Name); err != nil {
		return "", err
	} else if seen == nil || !hosts.IsClaimedBy(seen, s.edgeMachine) {
		return "", apierrors.NewConflict(schema.GroupResource{Group: bmov1.GroupVersion.Group, Resource: "baremetalhosts"}, s.host.Name, errors.New("the cache has not seen our claim yet"))
	}
	list := &bmov1.BareMetalHostList{}
	err := r.Client.List(ctx, list, client.InNamespace(s.host.Namespace), client.MatchingFields{hostAddressIndex: address.String()}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return "", fmt.Errorf("listing BareMetalHosts by address: %w", err)
	}
	for i := range list.Items {
		host := &list.Items[i]
		if host.Name == s.host.Name {
			continue
		}
		other := &infrav1.EdgeMachine{}
		err := r.Client.Get(ctx, client.ObjectKey{Namespace: host.Namespace, Name: host.Spec.ConsumerRef.Name}, other, client.UnsafeDisableDeepCopy)
		if client.IgnoreNotFound(err) != nil {
			return "", fmt.Errorf("reading EdgeMachine %s: %w", host.Spec.ConsumerRef.Name, err)
		}
		if err == nil && other.Labels[clusterv1.ClusterNameLabel] == s.cluster.Name && givesWay(s.edgeMachine, other, host) {
			return other.Name, nil
		}
	}
	return "", nil
}

// givesWay tells whether a machine has to wait for another one with its address, which is on the host: the one that is being
// installed stays, else the one that was valid first, else the older one. The older one waits until it sees that the younger
// one has given way, because that may have looked before the older one was there.
func givesWay(machine, other *infrav1.EdgeMachine, host *bmov1.BareMetalHost) bool {
	switch {
	case isCommitted(host):
		return true
	case hasValidNetwork(machine) != hasValidNetwork(other):
		return hasValidNetwork(other)
	case younger(machine, other):
		return true
	default:
		return conditions.GetReason(other, infrav1.NetworkDataValidCondition) != infrav1.AddressTakenReason
	}
}

// isCommitted tells whether something is being written to the host's disk, or has been.
func isCommitted(host *bmov1.BareMetalHost) bool {
	return host.Spec.Image != nil || isOccupied(host.Status.Provisioning.State)
}

// hasValidNetwork tells whether the machine's network was found valid on the host that it has now.
func hasValidNetwork(machine *infrav1.EdgeMachine) bool {
	return conditions.IsTrue(machine, infrav1.NetworkDataValidCondition) && machine.Status.Host == machine.Annotations[infrav1.HostAnnotation]
}

// younger orders two machines, so that of two with one address exactly one gives way.
func younger(a, b *infrav1.EdgeMachine) bool {
	if a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.Name > b.Name
	}
	return b.CreationTimestamp.Before(&a.CreationTimestamp)
}

// indexHostAddresses finds claimed hosts by the addresses in their annotation.
func indexHostAddresses(obj client.Object) []string {
	host, ok := obj.(*bmov1.BareMetalHost)
	if !ok || host.Spec.ConsumerRef == nil || host.Spec.ConsumerRef.Kind != "EdgeMachine" {
		return nil
	}
	byNetwork, err := hostAddresses(host.Annotations[infrav1.AddressesAnnotation])
	if err != nil {
		return nil
	}
	keys := make([]string, 0, len(byNetwork))
	for _, address := range byNetwork {
		keys = append(keys, address.String())
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}
