// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ipamv1 "sigs.k8s.io/cluster-api/api/ipam/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// Fields by which the cache finds objects.
const (
	// hostIndex finds EdgeMachines by the name of their host.
	hostIndex = "edgemachine.host"
	// waitingIndex finds EdgeMachines by what they wait for that another object's change can bring.
	waitingIndex = "edgemachine.waiting"
	// addressIndex finds EdgeMachines by <cluster>/<IP address>.
	addressIndex = "edgemachine.address"
	// clusterIndex finds EdgeMachines by the name of their Cluster.
	clusterIndex = "edgemachine.cluster"
	// hostAddressIndex finds claimed BareMetalHosts by the IP addresses in their annotation.
	hostAddressIndex = "baremetalhost.address"
	// claimOwnerIndex finds IPAddressClaims by the name of the EdgeMachine that controls them.
	claimOwnerIndex = "ipaddressclaim.owner"
	// bootstrapIndex finds Machines by the name of the Secret with their bootstrap data.
	bootstrapIndex = "machine.bootstrap"
	// secretIndex finds EdgeClusters by the names of the Secrets that their dataplane reads.
	secretIndex = "edgecluster.secret"
	// templateClusterIndex finds EdgeMachineTemplates by the name of the Cluster that owns them.
	templateClusterIndex = "edgemachinetemplate.cluster"
)

// Values of waitingIndex.
const (
	waitingForHost    = "host"
	waitingForAddress = "address"
)

// AddIndexes teaches the cache how the controllers look things up.
func AddIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	for _, index := range []struct {
		object  client.Object
		field   string
		extract client.IndexerFunc
	}{
		{&infrav1.EdgeMachine{}, hostIndex, indexHost},
		{&infrav1.EdgeMachine{}, waitingIndex, indexWaiting},
		{&infrav1.EdgeMachine{}, addressIndex, indexAddresses},
		{&infrav1.EdgeMachine{}, clusterIndex, indexCluster},
		{&bmov1.BareMetalHost{}, hostAddressIndex, indexHostAddresses},
		{&ipamv1.IPAddressClaim{}, claimOwnerIndex, indexClaimOwner},
		{&clusterv1.Machine{}, bootstrapIndex, indexBootstrap},
		{&infrav1.EdgeCluster{}, secretIndex, indexSecrets},
		{&infrav1.EdgeMachineTemplate{}, templateClusterIndex, indexTemplateCluster},
	} {
		if err := indexer.IndexField(ctx, index.object, index.field, index.extract); err != nil {
			return fmt.Errorf("adding index %s: %w", index.field, err)
		}
	}
	return nil
}

func indexHost(obj client.Object) []string {
	if host := obj.GetAnnotations()[infrav1.HostAnnotation]; host != "" {
		return []string{host}
	}
	return nil
}

func indexCluster(obj client.Object) []string {
	if cluster := obj.GetLabels()[clusterv1.ClusterNameLabel]; cluster != "" {
		return []string{cluster}
	}
	return nil
}

func indexWaiting(obj client.Object) []string {
	machine, ok := obj.(*infrav1.EdgeMachine)
	switch {
	case !ok || !machine.DeletionTimestamp.IsZero() || machine.Spec.ProviderID != "":
		return nil
	case machine.Annotations[infrav1.HostAnnotation] == "":
		if conditions.GetReason(machine, infrav1.HostClaimedCondition) == infrav1.NoHostMatchesReason {
			return []string{waitingForHost}
		}
		// It waits for its Machine or Cluster. When it gets to choose and finds no host, writing that down wakes it once more,
		// so that a host which came free in between is not missed.
		return nil
	case slices.Contains([]string{infrav1.AddressTakenReason, infrav1.UplinkInvalidReason}, conditions.GetReason(machine, infrav1.NetworkDataValidCondition)):
		return []string{waitingForAddress}
	default:
		return nil
	}
}

func indexAddresses(obj client.Object) []string {
	machine, ok := obj.(*infrav1.EdgeMachine)
	if !ok {
		return nil
	}
	var keys []string
	for _, address := range machine.Status.Addresses {
		if address.Type == clusterv1.MachineInternalIP {
			keys = append(keys, machine.Labels[clusterv1.ClusterNameLabel]+"/"+address.Address)
		}
	}
	return keys
}

func indexClaimOwner(obj client.Object) []string {
	owner := metav1.GetControllerOf(obj)
	if owner == nil || owner.Kind != "EdgeMachine" {
		return nil
	}
	return []string{owner.Name}
}

func indexBootstrap(obj client.Object) []string {
	machine, ok := obj.(*clusterv1.Machine)
	if !ok || machine.Spec.Bootstrap.DataSecretName == nil || machine.Spec.InfrastructureRef.Kind != "EdgeMachine" {
		return nil
	}
	return []string{*machine.Spec.Bootstrap.DataSecretName}
}

func indexTemplateCluster(obj client.Object) []string {
	for _, owner := range obj.GetOwnerReferences() {
		if owner.Kind == "Cluster" {
			return []string{owner.Name}
		}
	}
	return nil
}

// isNodeChange tells whether an update of a Node can matter to an EdgeMachine. Heartbeats do not, unless one had been missed.
func isNodeChange(before, after *corev1.Node) bool {
	was, is := nodeEncryption(before), nodeEncryption(after)
	missed := is.LastHeartbeatTime.Sub(was.LastHeartbeatTime.Time) >= DefaultReportTimeout
	was.LastHeartbeatTime, is.LastHeartbeatTime = metav1.Time{}, metav1.Time{}
	return missed || !equality.Semantic.DeepEqual(was, is) ||
		before.Status.NodeInfo.BootID != after.Status.NodeInfo.BootID ||
		before.Spec.ProviderID != after.Spec.ProviderID || !slices.Equal(before.Status.Addresses, after.Status.Addresses) ||
		before.Annotations[encryption.PublicKeyAnnotation] != after.Annotations[encryption.PublicKeyAnnotation] ||
		before.Labels[encryption.FailureDomainLabel] != after.Labels[encryption.FailureDomainLabel]
}
