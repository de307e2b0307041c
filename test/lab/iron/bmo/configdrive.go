// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package bmo

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/hardware"
)

// Labels and finalizers that the operator puts on Secrets.
const (
	secretLabel      = "environment.metal3.io"
	secretLabelValue = "baremetal"
	secretFinalizer  = bmov1.BareMetalHostFinalizer + "/secret"
)

// configDrive puts the drive together from the Secrets that the host refers to, as the operator does.
func (r *Reconciler) configDrive(ctx context.Context, host *bmov1.BareMetalHost) (hardware.Drive, error) {
	if host.Spec.Image.IsLiveISO() {
		return hardware.Drive{}, nil
	}
	userData, _, err := r.hostSecret(ctx, host, host.Spec.UserData, "userData")
	if err != nil {
		return hardware.Drive{}, fmt.Errorf("could not retrieve user data: %w", err)
	}
	reference := host.Spec.NetworkData
	if reference == nil && host.Spec.PreprovisioningNetworkDataName != "" {
		reference = &corev1.SecretReference{Name: host.Spec.PreprovisioningNetworkDataName}
	}
	networkYAML, found, err := r.hostSecret(ctx, host, reference, "networkData")
	if err != nil && found {
		return hardware.Drive{}, fmt.Errorf("could not retrieve network data: %w", err)
	}
	drive := hardware.Drive{UserData: userData}
	if len(networkYAML) > 0 {
		if drive.NetworkData, err = yaml.YAMLToJSON(networkYAML); err != nil {
			return hardware.Drive{}, fmt.Errorf("failed to unmarshal network_data.json from secret: %w", err)
		}
	}
	metaYAML, _, err := r.hostSecret(ctx, host, host.Spec.MetaData, "metaData")
	if err != nil {
		return hardware.Drive{}, fmt.Errorf("could not retrieve metadata: %w", err)
	}
	if drive.MetaData, err = metadata(host, metaYAML); err != nil {
		return hardware.Drive{}, err
	}
	return drive, nil
}

// metadata is the host's identity with the user's metadata over it.
func metadata(host *bmov1.BareMetalHost, given []byte) ([]byte, error) {
	values := map[string]any{
		"uuid": string(host.UID), "metal3-namespace": host.Namespace, "metal3-name": host.Name,
		"local-hostname": host.Name, "local_hostname": host.Name, "name": host.Name,
	}
	if len(given) > 0 {
		var own map[string]any
		if err := yaml.Unmarshal(given, &own); err != nil {
			return nil, fmt.Errorf("failed to unmarshal metadata from secret: %w", err)
		}
		maps.Copy(values, own)
	}
	content, err := json.Marshal(values)
	if err != nil {
		return nil, fmt.Errorf("encoding metadata: %w", err)
	}
	return content, nil
}

// hostSecret reads one document from a Secret: the key, or else the key "value". found is false when the
// Secret is there but holds neither, which network data may.
func (r *Reconciler) hostSecret(ctx context.Context, host *bmov1.BareMetalHost, reference *corev1.SecretReference, key string) (content []byte, found bool, err error) {
	if reference == nil {
		return nil, true, nil
	}
	if reference.Namespace != "" && reference.Namespace != host.Namespace {
		return nil, true, fmt.Errorf("%s secret must be in same namespace as host %s/%s", key, host.Namespace, host.Name)
	}
	secret, err := r.secret(ctx, types.NamespacedName{Namespace: host.Namespace, Name: reference.Name})
	if err != nil {
		return nil, true, err
	}
	if err := r.claimSecret(ctx, secret, nil); err != nil {
		return nil, true, err
	}
	for _, candidate := range []string{key, "value"} {
		if content, ok := secret.Data[candidate]; ok {
			return content, true, nil
		}
	}
	return nil, false, fmt.Errorf("Secret %s does not contain key %s", reference.Name, key) //nolint:staticcheck // the operator's words
}

// secret reads a Secret past the cache, which holds labelled ones only.
func (r *Reconciler) secret(ctx context.Context, key types.NamespacedName) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	if err := r.reader.Get(ctx, key, secret); err != nil {
		return nil, fmt.Errorf("failed to fetch secret %s in namespace %s: %w", key.Name, key.Namespace, err)
	}
	return secret, nil
}

// claimSecret labels a Secret so that it is watched. The BMC's own is also given the host as an owner and a
// finalizer, so that it stays as long as the host does.
func (r *Reconciler) claimSecret(ctx context.Context, secret *corev1.Secret, owner *bmov1.BareMetalHost) error {
	before := secret.DeepCopy()
	if secret.Labels == nil {
		secret.Labels = map[string]string{}
	}
	if _, ok := secret.Labels[secretLabel]; !ok {
		secret.Labels[secretLabel] = secretLabelValue
	}
	if owner != nil {
		if err := setOwner(secret, owner, r.client.Scheme()); err != nil {
			return err
		}
	}
	if equalMeta(before, secret) {
		return nil
	}
	if err := r.client.Patch(ctx, secret, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("failed to update secret %s in namespace %s: %w", secret.Name, secret.Namespace, err)
	}
	return nil
}
