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
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/calico"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/support"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/apply"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/charts"
)

// checkDataplane judges the combination of EdgeCluster, Cluster and machines, before there is a control plane or even a host.
func (r *DataplaneReconciler) checkDataplane(ctx context.Context, s *dataplaneScope) (proceed, error) {
	site := s.edgeCluster.Spec
	at := slices.IndexFunc(site.Networks, func(n infrav1.Network) bool { return n.Name == dataplaneNetwork(s.edgeCluster) })
	if at < 0 {
		return s.wait(infrav1.DataplaneInvalidReason, "spec.dataplane.network: must name one of spec.networks"), nil
	}
	s.input = calico.Input{
		Dataplane:    *site.Dataplane.DeepCopy(),
		Network:      site.Networks[at],
		PodCIDRs:     s.cluster.Spec.ClusterNetwork.Pods.CIDRBlocks,
		ServiceCIDRs: s.cluster.Spec.ClusterNetwork.Services.CIDRBlocks,
		Endpoint:     site.ControlPlaneEndpoint,
		AgentVersion: r.Version,
	}
	if s.input.Endpoint.Host == "" {
		s.input.Endpoint = infrav1.APIEndpoint{Host: s.cluster.Spec.ControlPlaneEndpoint.Host, Port: s.cluster.Spec.ControlPlaneEndpoint.Port}
	}
	for _, domain := range site.FailureDomains {
		s.input.FailureDomains = append(s.input.FailureDomains, domain.Name)
	}
	slices.Sort(s.input.FailureDomains)
	machines, err := r.readMachines(ctx, s)
	if err != nil {
		return false, err
	}
	if s.input.Architectures, err = r.architectures(ctx, machines); err != nil {
		return false, err
	}
	if problems := calico.Check(s.input); len(problems) > 0 {
		return s.wait(infrav1.DataplaneInvalidReason, "%v", &support.Error{Problems: problems}), nil
	}
	return r.findLinks(ctx, s, machines)
}

// readMachines of the cluster, shared with the cache: not to be changed.
func (r *DataplaneReconciler) readMachines(ctx context.Context, s *dataplaneScope) ([]infrav1.EdgeMachine, error) {
	list := &infrav1.EdgeMachineList{}
	if err := r.Client.List(ctx, list, client.InNamespace(s.edgeCluster.Namespace), client.MatchingFields{clusterIndex: s.cluster.Name}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing EdgeMachines: %w", err)
	}
	return list.Items, nil
}

// architectures of the machines' hosts, as far as their inspection is known.
func (r *DataplaneReconciler) architectures(ctx context.Context, machines []infrav1.EdgeMachine) ([]string, error) {
	hardwareOf := hardwareReader(ctx, r.Client)
	var found []string
	for i := range machines {
		name := recordedHost(&machines[i])
		if name == "" {
			continue
		}
		host := &bmov1.BareMetalHost{}
		if err := r.Client.Get(ctx, client.ObjectKey{Namespace: machines[i].Namespace, Name: name}, host, client.UnsafeDisableDeepCopy); apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("reading BareMetalHost %s: %w", name, err)
		}
		if hardware := hardwareOf(host); hardware != nil && hardware.CPU.Arch != "" {
			found = append(found, hardware.CPU.Arch)
		}
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// secretKey is an entry of a Secret of the EdgeCluster's namespace; Name is empty for the pre-shared key of IPsec.
type secretKey struct{ name, entry string }

// readSecrets reads the source of the charts and everything that is copied to the workload cluster, from the API server.
func (r *DataplaneReconciler) readSecrets(ctx context.Context, s *dataplaneScope) (proceed, error) {
	plan, err := calico.Render(s.input)
	if err != nil {
		return false, fmt.Errorf("rendering the dataplane: %w", err)
	}
	s.plan = plan
	if goOn, err := r.readSource(ctx, s); err != nil || !bool(goOn) {
		return false, err
	}
	s.secrets = map[secretKey][]byte{}
	for _, step := range plan.Steps {
		for _, copied := range step.Secrets {
			if goOn, err := r.readCopy(ctx, s, copied); err != nil || !bool(goOn) {
				return false, err
			}
		}
	}
	return true, nil
}

func (r *DataplaneReconciler) readCopy(ctx context.Context, s *dataplaneScope, copied calico.SecretCopy) (proceed, error) {
	if copied.From.IPsecPSK {
		psk, err := readPSK(ctx, r.Client, s.edgeCluster, s.cluster)
		if err != nil {
			return false, err
		}
		if len(psk) == 0 {
			s.missing = fmt.Sprintf("%s: Secret %s with the pre-shared key of IPsec is not there; see condition %s", copied.From.Field, pskSecretName(s.cluster), infrav1.EncryptionReadyCondition)
			if s.memory.applied.Knows([]apply.Object{{Key: copyKey(copied)}}) {
				// Nodes have the key, and go on with it.
				return true, nil
			}
			return s.missSecret("%s", s.missing), nil
		}
		for _, entry := range copied.Keys {
			s.secrets[secretKey{entry: entry}] = psk
		}
		return true, nil
	}
	data, err := r.readSecret(ctx, s, copied.From.Name)
	if err != nil {
		return false, err
	}
	if data == nil {
		return s.missSecret("%s: Secret %s does not exist; create it", copied.From.Field, copied.From.Name), nil
	}
	for _, entry := range copied.Keys {
		if len(data[entry]) == 0 {
			return s.missSecret("%s: Secret %s has no key %s; add it", copied.From.Field, copied.From.Name, entry), nil
		}
		s.secrets[secretKey{name: copied.From.Name, entry: entry}] = data[entry]
	}
	return true, nil
}

// copyKey is the copy of a Secret in the workload cluster.
func copyKey(copied calico.SecretCopy) apply.Key {
	return apply.Key{GroupVersionKind: corev1.SchemeGroupVersion.WithKind("Secret"), Namespace: copied.Namespace, Name: copied.Name}
}

// readSource finds out where the charts come from.
func (r *DataplaneReconciler) readSource(ctx context.Context, s *dataplaneScope) (proceed, error) {
	const field = "spec.dataplane.calico.charts"
	from := calico.Defaults(s.input).Calico.Charts
	s.source = charts.Source{Repository: from.Repository}
	switch {
	case from.Secret != nil:
		data, err := r.readSecret(ctx, s, from.Secret.Name)
		if err != nil {
			return false, err
		}
		if data == nil {
			return s.missSecret("%s.secret: Secret %s does not exist; create it with the charts' archives", field, from.Secret.Name), nil
		}
		s.source = charts.Source{Archives: data, ArchivesFrom: "Secret " + from.Secret.Name}
	case from.Credentials != nil:
		data, err := r.readSecret(ctx, s, from.Credentials.Name)
		if err != nil {
			return false, err
		}
		if data == nil {
			return s.missSecret("%s.credentials: Secret %s does not exist; create it with the keys username, password and, for a private authority, ca.crt", field, from.Credentials.Name), nil
		}
		text := func(key string) string { return strings.TrimSpace(string(data[key])) }
		s.source.Username, s.source.Password, s.source.CA = text("username"), text("password"), data["ca.crt"]
	}
	return true, nil
}

// readSecret reads the data of a Secret in the EdgeCluster's namespace; nil when there is none. One that is not watched is read again after
// a while.
func (r *DataplaneReconciler) readSecret(ctx context.Context, s *dataplaneScope, name string) (map[string][]byte, error) {
	secret := &corev1.Secret{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: s.edgeCluster.Namespace, Name: name}, secret)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading Secret %s: %w", name, err)
	}
	if _, watched := secret.Labels[clusterv1.ClusterNameLabel]; !watched {
		s.requeueAfter = secretAge
	}
	if secret.Data == nil {
		return map[string][]byte{}, nil
	}
	return secret.Data, nil
}
