// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/hosts"
)

// claimHost makes a matching host ours. The choice is recorded on the EdgeMachine first, together with the finalizer, so
// that whatever happens between the two writes, the machine never holds two hosts and never loses one.
func (r *EdgeMachineReconciler) claimHost(ctx context.Context, s *machineScope) (proceed, error) {
	if name := s.edgeMachine.Annotations[infrav1.HostAnnotation]; name != "" {
		host, err := r.getHost(ctx, s.edgeMachine.Namespace, name)
		if err != nil {
			return false, err
		}
		switch {
		case host != nil && hosts.IsClaimedBy(host, s.edgeMachine):
			return r.claimed(ctx, s, host)
		case host != nil && hosts.Unavailable(host) == "":
			return r.claim(ctx, s, host)
		}
		ctrl.LoggerFrom(ctx).Info("The chosen host is gone or taken, choosing another", "BareMetalHost", name)
	}
	return r.chooseHost(ctx, s)
}

func (r *EdgeMachineReconciler) chooseHost(ctx context.Context, s *machineScope) (proceed, error) {
	request, err := r.hostRequest(ctx, s)
	if err != nil {
		return s.wait(infrav1.HostClaimedCondition, infrav1.InvalidHostSelectorReason, "%v", err), nil
	}
	all := r.inventory.hosts(s.edgeMachine.Namespace)
	// A claim of ours that the record has lost, for example because the annotation was removed by hand.
	if host := claimedBy(s.edgeMachine, all); host != nil {
		return r.recordAndClaim(ctx, s, host)
	}
	choice := hosts.Choose(request, all, r.hardwareOf(ctx))
	if len(choice.Hosts) == 0 {
		if err := r.forgetHost(ctx, s); err != nil {
			return false, err
		}
		where := ""
		if request.FailureDomain != "" {
			where = " in failure domain " + request.FailureDomain
		}
		return s.wait(infrav1.HostClaimedCondition, infrav1.NoHostMatchesReason, "Waiting for a BareMetalHost%s: %s", where, choice), nil
	}
	best := choice.Hosts[rand.IntN(len(choice.Hosts))] //nolint:gosec // G404: spreads load, protects nothing.
	return r.recordAndClaim(ctx, s, best.DeepCopy())
}

func (r *EdgeMachineReconciler) recordAndClaim(ctx context.Context, s *machineScope, host *bmov1.BareMetalHost) (proceed, error) {
	if err := r.recordHost(ctx, s, host.Name); err != nil {
		return false, err
	}
	if hosts.IsClaimedBy(host, s.edgeMachine) {
		return r.claimed(ctx, s, host)
	}
	return r.claim(ctx, s, host)
}

// claimedBy finds the host among all that belongs to the machine, nil when none does.
func claimedBy(machine *infrav1.EdgeMachine, all []*bmov1.BareMetalHost) *bmov1.BareMetalHost {
	i := slices.IndexFunc(all, func(h *bmov1.BareMetalHost) bool { return hosts.IsClaimedBy(h, machine) })
	if i < 0 {
		return nil
	}
	return all[i].DeepCopy()
}

// recordHost writes down the choice of a host, together with the finalizer.
func (r *EdgeMachineReconciler) recordHost(ctx context.Context, s *machineScope, host string) error {
	return r.patchMachine(ctx, s, func(m *infrav1.EdgeMachine) {
		controllerutil.AddFinalizer(m, infrav1.MachineFinalizer)
		if m.Annotations == nil {
			m.Annotations = map[string]string{}
		}
		m.Annotations[infrav1.HostAnnotation] = host
	})
}

// recordedHost is the name of the host that the machine has chosen. Should somebody have removed the annotation, a
// provisioned machine still has it in its provider ID.
func recordedHost(machine *infrav1.EdgeMachine) string {
	if name := machine.Annotations[infrav1.HostAnnotation]; name != "" {
		return name
	}
	path, _ := strings.CutPrefix(machine.Spec.ProviderID, infrav1.ProviderIDPrefix)
	if parts := strings.Split(path, "/"); len(parts) == 3 {
		return parts[1]
	}
	return ""
}

func (r *EdgeMachineReconciler) forgetHost(ctx context.Context, s *machineScope) error {
	if s.edgeMachine.Annotations[infrav1.HostAnnotation] == "" {
		return nil
	}
	return r.patchMachine(ctx, s, func(m *infrav1.EdgeMachine) { delete(m.Annotations, infrav1.HostAnnotation) })
}

func (r *EdgeMachineReconciler) claim(ctx context.Context, s *machineScope, host *bmov1.BareMetalHost) (proceed, error) {
	claimed, err := r.hosts.Claim(ctx, host, s.edgeMachine)
	if err != nil {
		return false, err
	}
	r.Recorder.Eventf(s.edgeMachine, claimed, corev1.EventTypeNormal, infrav1.HostClaimedReason, "Claim", "Claimed BareMetalHost %s", host.Name)
	return r.claimed(ctx, s, claimed)
}

func (r *EdgeMachineReconciler) claimed(ctx context.Context, s *machineScope, host *bmov1.BareMetalHost) (proceed, error) {
	host, err := r.hosts.Unpark(ctx, host)
	if err != nil {
		return false, err
	}
	s.host = host
	return s.reached(infrav1.HostClaimedCondition, infrav1.HostClaimedReason, "BareMetalHost %s", host.Name), nil
}

// findProvisionedHost finds the host of a machine that was provisioned. Losing it is not repaired by taking another one:
// what ran on it is gone, and replacing the machine is up to its owner or a MachineHealthCheck.
func (r *EdgeMachineReconciler) findProvisionedHost(ctx context.Context, s *machineScope) (proceed, error) {
	name := recordedHost(s.edgeMachine)
	if err := r.recordHost(ctx, s, name); err != nil {
		return false, err
	}
	host, err := r.getHost(ctx, s.edgeMachine.Namespace, name)
	switch {
	case err != nil:
		return false, err
	case host == nil:
		return s.wait(infrav1.HostClaimedCondition, infrav1.HostLostReason, "BareMetalHost %s was deleted; delete the Machine to get another host", name), nil
	case !hosts.IsClaimedBy(host, s.edgeMachine):
		return s.wait(infrav1.HostClaimedCondition, infrav1.HostLostReason, "BareMetalHost %s is no longer claimed by this machine (spec.consumerRef); delete the Machine to get another host", name), nil
	default:
		return r.claimed(ctx, s, host)
	}
}

func (r *EdgeMachineReconciler) getHost(ctx context.Context, namespace, name string) (*bmov1.BareMetalHost, error) {
	if name == "" {
		return nil, nil
	}
	host := &bmov1.BareMetalHost{}
	if err := r.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, host); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("reading BareMetalHost %s: %w", name, err)
	}
	return host, nil
}

// hostRequest says what the machine wants of a host.
func (r *EdgeMachineReconciler) hostRequest(ctx context.Context, s *machineScope) (hosts.Request, error) {
	selector, err := hosts.Selector(s.edgeMachine.Spec.HostSelector)
	if err != nil {
		return hosts.Request{}, err
	}
	request := hosts.Request{
		Labels:        selector,
		Hardware:      s.edgeMachine.Spec.HostSelector.Hardware,
		RunsOn:        dataplaneRunsOn(s.edgeCluster),
		FailureDomain: s.machine.Spec.FailureDomain,
	}
	if len(s.edgeCluster.Spec.FailureDomains) == 0 || request.FailureDomain != "" {
		return request, nil
	}
	siblings := &infrav1.EdgeMachineList{}
	if err := r.Client.List(ctx, siblings, client.InNamespace(s.edgeMachine.Namespace), client.MatchingLabels(siblingLabels(s.machine)), client.UnsafeDisableDeepCopy); err != nil {
		return hosts.Request{}, fmt.Errorf("listing EdgeMachines: %w", err)
	}
	request.InFailureDomain = map[string]int{}
	for _, sibling := range siblings.Items {
		if sibling.Status.FailureDomain != "" {
			request.InFailureDomain[sibling.Status.FailureDomain]++
		}
	}
	return request, nil
}

// siblingLabels select the EdgeMachines of the same cluster and, for workers, of the same MachineDeployment.
func siblingLabels(machine *clusterv1.Machine) map[string]string {
	selected := map[string]string{clusterv1.ClusterNameLabel: machine.Spec.ClusterName}
	for _, key := range []string{clusterv1.MachineDeploymentNameLabel, clusterv1.MachineControlPlaneLabel} {
		if value, found := machine.Labels[key]; found {
			selected[key] = value
		}
	}
	return selected
}

// readHardware finds the inspection results: HardwareData, else the status of the host.
func (r *EdgeMachineReconciler) readHardware(ctx context.Context, s *machineScope) (proceed, error) {
	s.hardware = r.hardwareOf(ctx)(s.host)
	if s.hardware == nil {
		return s.wait(infrav1.NetworkDataValidCondition, infrav1.NoHardwareDataReason,
			"BareMetalHost %s has no inspection results, so its NICs are unknown; inspect it or set the annotation %s", s.host.Name, bmov1.HardwareDetailsAnnotation), nil
	}
	return true, nil
}

func (r *EdgeMachineReconciler) hardwareOf(ctx context.Context) hosts.HardwareOf {
	return hardwareReader(ctx, r.Client)
}

// hardwareReader reads inspection results from the cache. A result must not be changed.
func hardwareReader(ctx context.Context, c client.Reader) hosts.HardwareOf {
	return func(host *bmov1.BareMetalHost) *bmov1.HardwareDetails {
		data := &bmov1.HardwareData{}
		err := c.Get(ctx, client.ObjectKeyFromObject(host), data, client.UnsafeDisableDeepCopy)
		if err == nil && data.Spec.HardwareDetails != nil {
			return data.Spec.HardwareDetails
		}
		return host.Status.HardwareDetails
	}
}
