// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap"
)

// Keys of the Secret with a machine's WireGuard key pair, each 32 bytes in base64.
const (
	keySecretSuffix = "-wireguard"
	privateKeyEntry = "privateKey"
	publicKeyEntry  = "publicKey"
)

func keySecretName(machine *infrav1.EdgeMachine) string { return machine.Name + keySecretSuffix }

// provideKey makes the machine's key pair, once. A host that is being installed has its key on the disk already: for that no other one is
// made.
func (r *EdgeMachineReconciler) provideKey(ctx context.Context, s *machineScope) (proceed, error) {
	if !s.usesWireGuard() {
		return true, nil
	}
	secret, err := findKeySecret(ctx, r.SecretCache, r.Client, s.edgeMachine.Namespace, keySecretName(s.edgeMachine))
	if err != nil {
		return false, err
	}
	if secret == nil && isCommitted(s.host) {
		return s.keyLost(), nil
	}
	if secret == nil {
		if secret, err = r.createKey(ctx, s); err != nil {
			return false, err
		}
	}
	return s.adoptKey(secret), nil
}

// keepKey watches over the key of a machine that was provisioned. The host works on without the Secret.
func (r *EdgeMachineReconciler) keepKey(ctx context.Context, s *machineScope) (proceed, error) {
	if !s.usesWireGuard() {
		return true, nil
	}
	secret, err := findKeySecret(ctx, r.SecretCache, r.Client, s.edgeMachine.Namespace, keySecretName(s.edgeMachine))
	switch {
	case err != nil:
		return false, err
	case secret == nil:
		s.keyLost()
	default:
		s.adoptKey(secret)
	}
	return true, nil
}

func (s *machineScope) keyLost() proceed {
	return s.wait(infrav1.BootstrapDataReadyCondition, infrav1.KeyLostReason,
		"Secret %s was deleted, with the WireGuard key that host %s was given. The host keeps its key, but cannot be installed with it again, and no other key is made for it: restore the Secret from a backup, or delete the Machine to get a new one",
		keySecretName(s.edgeMachine), recordedHost(s.edgeMachine))
}

// adoptKey takes over the public key of a Secret.
func (s *machineScope) adoptKey(secret *corev1.Secret) proceed {
	if !metav1.IsControlledBy(secret, s.edgeMachine) {
		return s.wait(infrav1.BootstrapDataReadyCondition, infrav1.KeyUnavailableReason, "Secret %s exists and is not ours; rename or delete it", secret.Name)
	}
	public, valid := parseKey(secret.Data[publicKeyEntry])
	if !valid {
		return s.keyDamaged(publicKeyEntry)
	}
	s.edgeMachine.Status.WireGuardPublicKey = public.String()
	return true
}

func (r *EdgeMachineReconciler) createKey(ctx context.Context, s *machineScope) (*corev1.Secret, error) {
	private, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		return nil, fmt.Errorf("making a WireGuard key: %w", err)
	}
	secret := newKeySecret(keySecretName(s.edgeMachine), s.edgeMachine, "EdgeMachine", s.cluster,
		map[string][]byte{privateKeyEntry: []byte(private.String()), publicKeyEntry: []byte(private.PublicKey().String())})
	if err := r.Client.Create(ctx, secret); err != nil {
		if apierrors.IsAlreadyExists(err) {
			return nil, changedMeanwhile(secret.Name)
		}
		return nil, fmt.Errorf("creating Secret %s: %w", secret.Name, err)
	}
	return secret, nil
}

// privateKey reads the key that the host is to be given, from the API server.
func (r *EdgeMachineReconciler) privateKey(ctx context.Context, s *machineScope) (bootstrap.PrivateKey, proceed, error) {
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: s.edgeMachine.Namespace, Name: keySecretName(s.edgeMachine)}
	if err := r.Client.Get(ctx, key, secret); apierrors.IsNotFound(err) {
		return "", false, changedMeanwhile(key.Name)
	} else if err != nil {
		return "", false, fmt.Errorf("reading Secret %s: %w", key.Name, err)
	}
	private, valid := parseKey(secret.Data[privateKeyEntry])
	switch {
	case !valid:
		return "", s.keyDamaged(privateKeyEntry), nil
	case private.PublicKey().String() != string(secret.Data[publicKeyEntry]):
		return "", s.keyDamaged(publicKeyEntry), nil
	case !metav1.IsControlledBy(secret, s.edgeMachine) || private.PublicKey().String() != s.edgeMachine.Status.WireGuardPublicKey:
		return "", false, changedMeanwhile(key.Name)
	}
	return bootstrap.PrivateKey(private.String()), true, nil
}

// parseKey reads a key in base64. The error is left out: it might show a part of the key.
func parseKey(text []byte) (wgtypes.Key, bool) {
	key, err := wgtypes.ParseKey(string(text))
	return key, err == nil
}

func (s *machineScope) keyDamaged(entry string) proceed {
	return s.wait(infrav1.BootstrapDataReadyCondition, infrav1.KeyUnavailableReason,
		"Secret %s: the entry %s is damaged; restore the Secret from a backup, or delete it if the host has not been installed yet", keySecretName(s.edgeMachine), entry)
}

// changedMeanwhile has the reconciliation start over, in a moment.
func changedMeanwhile(secret string) error {
	return apierrors.NewConflict(schema.GroupResource{Resource: "secrets"}, secret, errors.New("it has changed since it was looked for"))
}

// machineOfKey is the EdgeMachine whose key a Secret holds, by its name: somebody else's in its place is of interest too.
func machineOfKey(_ context.Context, obj client.Object) []reconcile.Request {
	machine, found := strings.CutSuffix(obj.GetName(), keySecretSuffix)
	if !found || machine == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: obj.GetNamespace(), Name: machine}}}
}
