// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	metav1apply "k8s.io/client-go/applyconfigurations/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap"
)

// FieldOwner is the name under which this provider applies objects.
const FieldOwner = "capem"

// hostConfigName is the name of the Secret with user data, network data and metadata of a machine. One Secret, so that
// the three are always of one piece; its keys are those that baremetal-operator looks for.
func hostConfigName(machine *infrav1.EdgeMachine) string { return machine.Name + "-host-config" }

// providerID of the machine on its chosen host.
func providerID(machine *infrav1.EdgeMachine, host string) string {
	return infrav1.ProviderIDPrefix + machine.Namespace + "/" + host + "/" + machine.Name
}

// composeHostConfig stores what the host boots with.
func (r *EdgeMachineReconciler) composeHostConfig(ctx context.Context, s *machineScope) (proceed, error) {
	existing, err := r.readHostConfig(ctx, s)
	switch {
	case err != nil:
		return false, err
	case existing != nil && !metav1.IsControlledBy(existing, s.edgeMachine):
		return s.foreignHostConfig(), nil
	case existing != nil && s.host.Spec.UserData != nil && s.host.Spec.UserData.Name == existing.Name:
		// The host has been told to boot with it: changing it now could split the three documents over two versions.
		return s.reached(infrav1.BootstrapDataReadyCondition, infrav1.BootstrapDataReadyReason, ""), nil
	}
	return r.storeHostConfig(ctx, s)
}

func (r *EdgeMachineReconciler) readHostConfig(ctx context.Context, s *machineScope) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: s.edgeMachine.Namespace, Name: hostConfigName(s.edgeMachine)}
	if err := r.SecretCache.Get(ctx, key, secret); apierrors.IsNotFound(err) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("reading Secret %s: %w", key.Name, err)
	}
	return secret, nil
}

func (r *EdgeMachineReconciler) storeHostConfig(ctx context.Context, s *machineScope) (proceed, error) {
	name := s.machine.Spec.Bootstrap.DataSecretName
	if name == nil {
		return s.wait(infrav1.BootstrapDataReadyCondition, infrav1.WaitingForBootstrapDataReason, "%s", bootstrapHint(s)), nil
	}
	payload := &corev1.Secret{}
	if err := r.Client.Get(ctx, client.ObjectKey{Namespace: s.machine.Namespace, Name: *name}, payload); apierrors.IsNotFound(err) {
		return s.wait(infrav1.BootstrapDataReadyCondition, infrav1.WaitingForBootstrapDataReason, "Secret %s with the bootstrap data does not exist", *name), nil
	} else if err != nil {
		return false, fmt.Errorf("reading bootstrap data Secret %s: %w", *name, err)
	}
	input := renderInput(s, payload)
	if s.usesWireGuard() {
		key, goOn, err := r.privateKey(ctx, s)
		if err != nil || !bool(goOn) {
			return false, err
		}
		input.Dataplane.WireGuard = &bootstrap.WireGuard{PrivateKey: key, Port: s.edgeCluster.Spec.Dataplane.Encryption.Port}
	}
	documents, err := bootstrap.Render(input)
	switch {
	case errors.Is(err, bootstrap.ErrFormatUnsupported):
		return s.wait(infrav1.BootstrapDataReadyCondition, infrav1.BootstrapFormatUnsupportedReason, "Secret %s: %v", *name, err), nil
	case err != nil:
		return s.wait(infrav1.BootstrapDataReadyCondition, infrav1.BootstrapDataInvalidReason, "Secret %s: %v", *name, err), nil
	}
	// The cache knows only Secrets with the label of a cluster: what it does not have may exist and be somebody else's.
	stored := &corev1.Secret{}
	if err := r.Client.Get(ctx, client.ObjectKey{Namespace: s.edgeMachine.Namespace, Name: hostConfigName(s.edgeMachine)}, stored); err == nil && !metav1.IsControlledBy(stored, s.edgeMachine) {
		return s.foreignHostConfig(), nil
	} else if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("reading Secret %s: %w", hostConfigName(s.edgeMachine), err)
	}
	if err := r.Client.Apply(ctx, hostConfigSecret(s, documents), client.FieldOwner(FieldOwner), client.ForceOwnership); err != nil {
		return false, fmt.Errorf("writing Secret %s: %w", hostConfigName(s.edgeMachine), err)
	}
	return s.reached(infrav1.BootstrapDataReadyCondition, infrav1.BootstrapDataReadyReason, ""), nil
}

// foreignHostConfig waits for somebody else's Secret to make room.
func (s *machineScope) foreignHostConfig() proceed {
	return s.wait(infrav1.BootstrapDataReadyCondition, infrav1.BootstrapDataInvalidReason,
		"Secret %s exists and is not ours; rename or delete it", hostConfigName(s.edgeMachine))
}

func bootstrapHint(s *machineScope) string {
	ref := s.machine.Spec.Bootstrap.ConfigRef
	switch {
	case !ref.IsDefined():
		return "Waiting for spec.bootstrap.dataSecretName of the Machine to be set"
	case !isControlPlane(s.machine) && !isTrue(s.cluster.Status.Initialization.ControlPlaneInitialized):
		return fmt.Sprintf("Waiting for the first control-plane machine; until then %s %s has no bootstrap data", ref.Kind, ref.Name)
	default:
		return fmt.Sprintf("Waiting for %s %s to publish its Secret", ref.Kind, ref.Name)
	}
}

func renderInput(s *machineScope, payload *corev1.Secret) bootstrap.Input {
	input := bootstrap.Input{
		Payload:       bootstrap.Payload{Format: string(payload.Data["format"]), Value: payload.Data["value"]},
		Cluster:       s.cluster.Name,
		Namespace:     s.edgeMachine.Namespace,
		Machine:       s.edgeMachine.Name,
		InstanceID:    string(s.edgeMachine.UID),
		Host:          s.host.Name,
		ProviderID:    providerID(s.edgeMachine, s.host.Name),
		FailureDomain: s.host.Labels[infrav1.FailureDomainLabel],
		Plan:          *s.plan,
	}
	if hasDataplane(s.edgeCluster) {
		input.Dataplane = &bootstrap.Dataplane{
			Type:     dataplaneType(s.edgeCluster),
			Network:  dataplaneNetwork(s.edgeCluster),
			HoldPods: s.requiresEncryption(),

			PodCIDRs:     parsePrefixes(s.cluster.Spec.ClusterNetwork.Pods.CIDRBlocks),
			ServiceCIDRs: parsePrefixes(s.cluster.Spec.ClusterNetwork.Services.CIDRBlocks),
		}
	}
	if isControlPlane(s.machine) {
		input.ControlPlane = &bootstrap.ControlPlane{
			Endpoint: s.edgeCluster.Spec.ControlPlaneEndpoint,
			VIP:      s.edgeCluster.Spec.ControlPlaneVIP,
			Init:     !isTrue(s.cluster.Status.Initialization.ControlPlaneInitialized),
		}
	}
	return input
}

// parsePrefixes leaves out what is no address range: a dataplane is refused with it.
func parsePrefixes(ranges []string) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, r := range ranges {
		if prefix, err := netip.ParsePrefix(r); err == nil {
			prefixes = append(prefixes, prefix.Masked())
		}
	}
	return prefixes
}

func hostConfigSecret(s *machineScope, documents bootstrap.Output) *corev1apply.SecretApplyConfiguration {
	owner := metav1.NewControllerRef(s.edgeMachine, infrav1.GroupVersion.WithKind("EdgeMachine"))
	return corev1apply.Secret(hostConfigName(s.edgeMachine), s.edgeMachine.Namespace).
		WithLabels(map[string]string{clusterv1.ClusterNameLabel: s.cluster.Name}).
		WithOwnerReferences(metav1apply.OwnerReference().
			WithAPIVersion(owner.APIVersion).WithKind(owner.Kind).WithName(owner.Name).WithUID(owner.UID).
			WithController(true).WithBlockOwnerDeletion(true)).
		WithType(corev1.SecretTypeOpaque).
		WithData(map[string][]byte{
			"userData":    documents.UserData,
			"networkData": documents.NetworkData,
			"metaData":    documents.MetaData,
		})
}

// keepHostConfig makes sure that the documents of a provisioned machine are still there, in case baremetal-operator needs
// them again. What can no longer be composed (a bootstrap Secret that is gone) is not missed by a running host.
func (r *EdgeMachineReconciler) keepHostConfig(ctx context.Context, s *machineScope) (proceed, error) {
	s.hardware = r.hardwareOf(ctx)(s.host)
	if s.hardware != nil {
		if addresses, err := r.addresses(ctx, s); err == nil {
			if plan, err := newPlan(s, addresses); err == nil {
				s.plan = &plan
			}
		}
	}
	s.reached(infrav1.NetworkDataValidCondition, infrav1.NetworkDataValidReason, "")
	s.reached(infrav1.ReleasedCondition, infrav1.ReleasedReason, "")
	existing, err := r.readHostConfig(ctx, s)
	if err != nil {
		return false, err
	}
	if s.hasJudged(infrav1.BootstrapDataReadyCondition) {
		// The key is lost: a host that was installed with other documents would be another host.
		return true, nil
	}
	if existing == nil && s.plan != nil && s.machine.Spec.Bootstrap.DataSecretName != nil {
		if _, err := r.storeHostConfig(ctx, s); err != nil {
			return false, err
		}
	}
	return s.reached(infrav1.BootstrapDataReadyCondition, infrav1.BootstrapDataReadyReason, ""), nil
}
