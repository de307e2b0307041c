// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ipamv1 "sigs.k8s.io/cluster-api/api/ipam/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap/hostnet"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/support"
)

// planNetwork resolves links to NICs, allocates addresses and checks that everything fits together on this host.
func (r *EdgeMachineReconciler) planNetwork(ctx context.Context, s *machineScope) (proceed, error) {
	// Links first: no address is allocated for a machine that cannot use it.
	if _, err := hostnet.ResolveLinks(s.edgeMachine.Spec.Links, s.hardware, s.host.Spec.BootMACAddress); err != nil {
		return s.waitForNetwork(err)
	}
	if err := r.checkUplink(ctx, s); err != nil {
		return s.waitForNetwork(err)
	}
	addresses, err := r.addresses(ctx, s)
	if err != nil {
		return s.waitForNetwork(err)
	}
	plan, err := newPlan(s, addresses)
	if err != nil {
		return s.waitForNetwork(err)
	}
	s.plan = &plan
	return r.secureAddresses(ctx, s, addresses)
}

// waitForNetwork turns an error of package hostnet into the condition it names.
func (s *machineScope) waitForNetwork(err error) (proceed, error) {
	if invalid, ok := errors.AsType[*hostnet.Error](err); ok {
		return s.wait(infrav1.NetworkDataValidCondition, invalid.Reason, "BareMetalHost %s: %s", s.host.Name, invalid.Message), nil
	}
	return false, err
}

func newPlan(s *machineScope, addresses map[string]netip.Addr) (hostnet.Plan, error) {
	return hostnet.NewPlan(hostnet.Input{
		Links:      s.edgeMachine.Spec.Links,
		Interfaces: s.edgeMachine.Spec.Interfaces,
		Networks:   s.edgeCluster.Spec.Networks,
		Hardware:   s.hardware,
		BootMAC:    s.host.Spec.BootMACAddress,
		Addresses:  addresses,
		VIP:        endpointAddress(s),
	})
}

// notYet is why the network of a host is not valid (yet), in the form of package hostnet.
func notYet(reason, format string, args ...any) error {
	return &hostnet.Error{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

func endpointAddress(s *machineScope) netip.Addr {
	if s.edgeCluster.Spec.ControlPlaneVIP.Mode == "" || s.edgeCluster.Spec.ControlPlaneVIP.Mode == infrav1.VIPModeExternal {
		return netip.Addr{}
	}
	address, err := netip.ParseAddr(s.edgeCluster.Spec.ControlPlaneEndpoint.Host)
	if err != nil {
		return netip.Addr{}
	}
	return address
}

// addresses collects the static addresses of the machine by network. DHCP networks have none.
// An address that is missing is a *hostnet.Error.
func (r *EdgeMachineReconciler) addresses(ctx context.Context, s *machineScope) (map[string]netip.Addr, error) {
	byNetwork := map[string]netip.Addr{}
	fromAnnotation, err := hostAddresses(s.host.Annotations[infrav1.AddressesAnnotation])
	if err != nil {
		return nil, notYet(infrav1.AddressInvalidReason, "annotation %s: %v", infrav1.AddressesAnnotation, err)
	}
	for _, iface := range s.edgeMachine.Spec.Interfaces {
		i := slices.IndexFunc(s.edgeCluster.Spec.Networks, func(n infrav1.Network) bool { return n.Name == iface.Network })
		if i < 0 {
			return nil, notYet(infrav1.NetworkUnknownReason, "spec.interfaces: EdgeCluster %s has no network %q; correct the name or add the network", s.edgeCluster.Name, iface.Network)
		}
		source := s.edgeCluster.Spec.Networks[i].Addresses
		switch {
		case source.FromPool != nil:
			if byNetwork[iface.Network], err = r.addressFromPool(ctx, s, iface.Network, *source.FromPool); err != nil {
				return nil, err
			}
		case source.FromHost != nil:
			address, found := fromAnnotation[iface.Network]
			if !found {
				return nil, notYet(infrav1.AddressMissingReason, "no address for network %q; add %s=<address> to the annotation %s", iface.Network, iface.Network, infrav1.AddressesAnnotation)
			}
			byNetwork[iface.Network] = address
		}
	}
	return byNetwork, nil
}

// hostAddresses parses "<network>=<IP>,<network>=<IP>".
func hostAddresses(annotation string) (map[string]netip.Addr, error) {
	byNetwork := map[string]netip.Addr{}
	for entry := range strings.SplitSeq(annotation, ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		network, value, found := strings.Cut(entry, "=")
		if !found {
			return nil, fmt.Errorf("%q is not of the form <network>=<address>", entry)
		}
		address, err := netip.ParseAddr(strings.TrimSpace(value))
		if err != nil {
			return nil, fmt.Errorf("network %q: %q is not an IP address (no prefix length; it comes from the subnet)", network, value)
		}
		network = strings.TrimSpace(network)
		if _, twice := byNetwork[network]; twice {
			return nil, fmt.Errorf("network %q is named twice", network)
		}
		byNetwork[network] = address
	}
	return byNetwork, nil
}

// claimName is the name of the IPAddressClaim of a machine in a network.
func claimName(machine *infrav1.EdgeMachine, network string) string {
	return machine.Name + "-" + network
}

func (r *EdgeMachineReconciler) addressFromPool(ctx context.Context, s *machineScope, network string, pool infrav1.PoolReference) (netip.Addr, error) {
	claim := &ipamv1.IPAddressClaim{}
	key := client.ObjectKey{Namespace: s.edgeMachine.Namespace, Name: claimName(s.edgeMachine, network)}
	if err := r.Client.Get(ctx, key, claim); apierrors.IsNotFound(err) {
		claim = newAddressClaim(s, network, pool)
		if err := r.Client.Create(ctx, claim); client.IgnoreAlreadyExists(err) != nil {
			return netip.Addr{}, fmt.Errorf("creating IPAddressClaim %s: %w", key.Name, err)
		}
	} else if err != nil {
		return netip.Addr{}, fmt.Errorf("reading IPAddressClaim %s: %w", key.Name, err)
	}
	if claim.Status.AddressRef.Name == "" {
		return netip.Addr{}, waitingForPool(claim, network, pool)
	}
	address := &ipamv1.IPAddress{}
	if err := r.Client.Get(ctx, client.ObjectKey{Namespace: key.Namespace, Name: claim.Status.AddressRef.Name}, address); apierrors.IsNotFound(err) {
		return netip.Addr{}, waitingForPool(claim, network, pool)
	} else if err != nil {
		return netip.Addr{}, fmt.Errorf("reading IPAddress %s: %w", claim.Status.AddressRef.Name, err)
	}
	parsed, err := netip.ParseAddr(address.Spec.Address)
	if err != nil {
		return netip.Addr{}, notYet(infrav1.AddressInvalidReason, "IPAddress %s of %s %s holds %q, which is not an IP address", address.Name, pool.Kind, pool.Name, address.Spec.Address)
	}
	return parsed, nil
}

func waitingForPool(claim *ipamv1.IPAddressClaim, network string, pool infrav1.PoolReference) error {
	ready := conditions.Get(claim, clusterv1.ReadyCondition)
	if ready != nil && ready.Status == metav1.ConditionFalse && ready.Message != "" {
		return notYet(infrav1.AddressPoolReason, "%s %s gives no address for network %q: %s", pool.Kind, pool.Name, network, ready.Message)
	}
	return notYet(infrav1.WaitingForAddressReason,
		"waiting for %s %s to give an address for network %q (IPAddressClaim %s); if it stays, check that the pool exists and that its IPAM provider runs",
		pool.Kind, pool.Name, network, claim.Name)
}

func newAddressClaim(s *machineScope, network string, pool infrav1.PoolReference) *ipamv1.IPAddressClaim {
	return &ipamv1.IPAddressClaim{
		ObjectMeta: metav1.ObjectMeta{
			Name:            claimName(s.edgeMachine, network),
			Namespace:       s.edgeMachine.Namespace,
			Labels:          map[string]string{clusterv1.ClusterNameLabel: s.cluster.Name},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(s.edgeMachine, infrav1.GroupVersion.WithKind("EdgeMachine"))},
		},
		Spec: ipamv1.IPAddressClaimSpec{
			ClusterName: s.cluster.Name,
			PoolRef:     ipamv1.IPPoolReference{APIGroup: pool.APIGroup, Kind: pool.Kind, Name: pool.Name},
		},
	}
}

// waitForRelease stops a machine that is held, or whose cluster's dataplane cannot work, before any disk is written.
func (r *EdgeMachineReconciler) waitForRelease(_ context.Context, s *machineScope) (proceed, error) {
	held, annotated := s.edgeMachine.Annotations[infrav1.HoldAnnotation]
	invalid := dataplaneProblem(s.edgeCluster)
	switch {
	case isTrue(s.edgeMachine.Spec.Hold):
		return s.wait(infrav1.ReleasedCondition, infrav1.HeldReason, "spec.hold is set; remove it to write the image to BareMetalHost %s", s.host.Name), nil
	case annotated && held != "false":
		return s.wait(infrav1.ReleasedCondition, infrav1.HeldReason, "Annotation %s is set; remove it to write the image to BareMetalHost %s", infrav1.HoldAnnotation, s.host.Name), nil
	case isTrue(s.edgeCluster.Spec.Hold):
		return s.wait(infrav1.ReleasedCondition, infrav1.HeldReason, "spec.hold of EdgeCluster %s is set; remove it to write images", s.edgeCluster.Name), nil
	case invalid != "" && !isCommitted(s.host):
		return s.wait(infrav1.ReleasedCondition, infrav1.DataplaneInvalidReason, "No image is written while the dataplane of EdgeCluster %s cannot work: %s", s.edgeCluster.Name, invalid), nil
	case !isCommitted(s.host) && s.hardware.CPU.Arch != "" && !support.RunsOn(dataplaneType(s.edgeCluster), s.hardware.CPU.Arch):
		return s.wait(infrav1.ReleasedCondition, infrav1.DataplaneInvalidReason,
			"No image is written to BareMetalHost %s: its CPU is %s, for which the dataplane of EdgeCluster %s has no images; delete the Machine to get another host", s.host.Name, s.hardware.CPU.Arch, s.edgeCluster.Name), nil
	default:
		return s.reached(infrav1.ReleasedCondition, infrav1.ReleasedReason, ""), nil
	}
}

// dataplaneProblem is why the dataplane of a cluster cannot work as it is asked for; "" when nothing is known to be wrong.
func dataplaneProblem(c *infrav1.EdgeCluster) string {
	if conditions.GetReason(c, infrav1.DataplaneInstalledCondition) != infrav1.DataplaneInvalidReason {
		return ""
	}
	return conditions.GetMessage(c, infrav1.DataplaneInstalledCondition)
}
