// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ipamv1 "sigs.k8s.io/cluster-api/api/ipam/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/hosts"
)

// reconcileDelete gives everything back: the trust in the key, the host, then its addresses and Secrets, and only then the finalizer.
func (r *EdgeMachineReconciler) reconcileDelete(ctx context.Context, s *machineScope) error {
	if !controllerutil.ContainsFinalizer(s.edgeMachine, infrav1.MachineFinalizer) {
		// The finalizer is set together with the choice of a host: without it nothing was ever claimed.
		return nil
	}
	for _, next := range []step{r.withdrawKey, r.freeHost, r.releaseAddresses, r.deleteSecrets} {
		if goOn, err := next(ctx, s); err != nil || !bool(goOn) {
			return err
		}
	}
	return r.patchMachine(ctx, s, func(m *infrav1.EdgeMachine) { controllerutil.RemoveFinalizer(m, infrav1.MachineFinalizer) })
}

// freeHost has the host cleaned and gives it back.
func (r *EdgeMachineReconciler) freeHost(ctx context.Context, s *machineScope) (proceed, error) {
	host, err := r.ownHost(ctx, s)
	if err != nil || host == nil {
		return err == nil, err
	}
	if host, err = r.hosts.Unpark(ctx, host); err != nil {
		return false, err
	}
	if host.DeletionTimestamp.IsZero() {
		if host, err = r.hosts.Deprovision(ctx, host); err != nil {
			return false, err
		}
		s.host = host
		if isOccupied(host.Status.Provisioning.State) {
			return s.wait(infrav1.HostProvisionedCondition, infrav1.HostDeprovisioningReason, "%s", deprovisioningMessage(host)), nil
		}
	}
	if err := r.hosts.Release(ctx, host); err != nil {
		return false, err
	}
	r.Recorder.Eventf(s.edgeMachine, host, corev1.EventTypeNormal, "HostReleased", "Release", "Released BareMetalHost %s", host.Name)
	return true, nil
}

// isOccupied tells whether something may be on the disk or is being put there or removed.
func isOccupied(state bmov1.ProvisioningState) bool {
	return slices.Contains([]bmov1.ProvisioningState{bmov1.StateProvisioning, bmov1.StateProvisioned, bmov1.StateDeprovisioning}, state)
}

func deprovisioningMessage(host *bmov1.BareMetalHost) string {
	if host.Status.ErrorMessage != "" {
		return "Waiting for the host to be cleaned: " + hostError(host)
	}
	return fmt.Sprintf("Waiting for the host to be cleaned: BareMetalHost %s is %s", host.Name, hostState(host))
}

// ownHost finds the host of the machine, nil when it has none. A cache that is behind must not lead to a host that stays
// claimed for ever, so "none" is confirmed by the API server.
func (r *EdgeMachineReconciler) ownHost(ctx context.Context, s *machineScope) (*bmov1.BareMetalHost, error) {
	name := recordedHost(s.edgeMachine)
	if name == "" {
		return claimedBy(s.edgeMachine, r.inventory.hosts(s.edgeMachine.Namespace)), nil
	}
	host, err := r.getHost(ctx, s.edgeMachine.Namespace, name)
	if err != nil {
		return nil, err
	}
	if host != nil && hosts.IsClaimedBy(host, s.edgeMachine) {
		return host, nil
	}
	live := &bmov1.BareMetalHost{}
	if err := r.APIReader.Get(ctx, client.ObjectKey{Namespace: s.edgeMachine.Namespace, Name: name}, live); err != nil {
		if client.IgnoreNotFound(err) == nil {
			return nil, nil
		}
		return nil, fmt.Errorf("reading BareMetalHost %s: %w", name, err)
	}
	if !hosts.IsClaimedBy(live, s.edgeMachine) {
		return nil, nil
	}
	return live, nil
}

func (r *EdgeMachineReconciler) releaseAddresses(ctx context.Context, s *machineScope) (proceed, error) {
	claims := &ipamv1.IPAddressClaimList{}
	err := r.Client.List(ctx, claims, client.InNamespace(s.edgeMachine.Namespace), client.MatchingFields{claimOwnerIndex: s.edgeMachine.Name})
	if err != nil {
		return false, fmt.Errorf("listing IPAddressClaims: %w", err)
	}
	var left []string
	for i := range claims.Items {
		claim := &claims.Items[i]
		if !metav1.IsControlledBy(claim, s.edgeMachine) {
			continue
		}
		left = append(left, claim.Name)
		if claim.DeletionTimestamp.IsZero() {
			if err := r.Client.Delete(ctx, claim); client.IgnoreNotFound(err) != nil {
				return false, fmt.Errorf("deleting IPAddressClaim %s: %w", claim.Name, err)
			}
		}
	}
	if len(left) > 0 {
		return s.wait(infrav1.NetworkDataValidCondition, infrav1.DeletingReason, "Waiting for the IPAM provider to release %s", strings.Join(left, ", ")), nil
	}
	return true, nil
}

// deleteSecrets deletes the Secrets of the machine, which it reads from the API server: a cache that is behind must not leave them there.
func (r *EdgeMachineReconciler) deleteSecrets(ctx context.Context, s *machineScope) (proceed, error) {
	for _, name := range []string{hostConfigName(s.edgeMachine), keySecretName(s.edgeMachine)} {
		if err := r.deleteSecret(ctx, s, name); err != nil {
			return false, err
		}
	}
	return true, nil
}

func (r *EdgeMachineReconciler) deleteSecret(ctx context.Context, s *machineScope, name string) error {
	secret := &corev1.Secret{}
	err := r.APIReader.Get(ctx, client.ObjectKey{Namespace: s.edgeMachine.Namespace, Name: name}, secret)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("reading Secret %s: %w", name, err)
	case !metav1.IsControlledBy(secret, s.edgeMachine):
		return nil
	}
	if err := r.Client.Delete(ctx, secret, client.Preconditions{UID: &secret.UID}); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting Secret %s: %w", name, err)
	}
	return nil
}

// parkHost prepares the host of a paused cluster for a move to another management cluster.
func (r *EdgeMachineReconciler) parkHost(ctx context.Context, s *machineScope) error {
	s.paused = true
	if s.cluster == nil || !isTrue(s.cluster.Spec.Paused) {
		return nil
	}
	host, err := r.getHost(ctx, s.edgeMachine.Namespace, recordedHost(s.edgeMachine))
	if err != nil || host == nil || !hosts.IsClaimedBy(host, s.edgeMachine) || hosts.IsParked(host) {
		return err
	}
	data := &bmov1.HardwareData{}
	err = r.Client.Get(ctx, client.ObjectKeyFromObject(host), data)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading HardwareData %s: %w", host.Name, err)
	}
	return r.hosts.Park(ctx, host, err == nil)
}
