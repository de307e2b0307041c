// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/calico"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/apply"
)

// While the pre-shared key is lost, nodes go on with the copy that they have, and everything else is kept up to date.
func TestLostPSK(t *testing.T) {
	copied := calico.SecretCopy{
		From: calico.SecretSource{IPsecPSK: true, Field: "spec.dataplane.encryption"}, Namespace: "vpp", Name: "psk-copy", Keys: map[string]string{"psk": "psk"},
	}
	owned := map[string]string{apply.Label: apply.LabelOwned}
	copyThere := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "vpp", Name: "psk-copy", Labels: owned}, Data: map[string][]byte{"psk": []byte("a test key")}}
	outdated := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "vpp", Name: "outdated", Labels: owned}}
	inventory := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "inventory"}, Data: map[string]string{
		"objects.json": `[{"version":"v1","kind":"Secret","namespace":"vpp","name":"psk-copy","seen":"x"},{"version":"v1","kind":"ConfigMap","namespace":"vpp","name":"outdated","seen":"x"}]`,
	}}
	c := fake.NewClientBuilder().WithObjects(copyThere, outdated, inventory).Build()
	r := &DataplaneReconciler{Client: c}
	scope := func(inventory string) *dataplaneScope {
		t.Helper()
		applied, err := apply.Load(t.Context(), c, client.ObjectKey{Namespace: "ns", Name: inventory})
		if err != nil {
			t.Fatal(err)
		}
		s := &dataplaneScope{edgeCluster: &infrav1.EdgeCluster{}, cluster: &clusterv1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: "edge"}}, secrets: map[secretKey][]byte{}}
		s.memory, s.applier = &siteMemory{applied: applied}, apply.Applier{Live: c, Cache: c}
		return s
	}

	first := scope("none")
	if goOn, err := r.readCopy(t.Context(), first, copied); err != nil || bool(goOn) || first.condition.Reason != infrav1.SecretMissingReason {
		t.Errorf("a first installation goes on %t without the key: %v, %+v", goOn, err, first.condition)
	}

	s := scope("inventory")
	if goOn, err := r.readCopy(t.Context(), s, copied); err != nil || !bool(goOn) || !strings.Contains(s.missing, "Secret edge-ipsec-psk") {
		t.Fatalf("goes on %t, misses %q: %v", goOn, s.missing, err)
	}
	set, err := r.objectsOf(t.Context(), s, calico.Step{Name: "vpp", Secrets: []calico.SecretCopy{copied}})
	if err != nil {
		t.Fatal(err)
	}
	if len(set.objects) > 0 {
		t.Errorf("the copy would be written: %v", set.objects[0].Key)
	}
	s.sets = []stepObjects{set}
	if goOn, err := r.install(t.Context(), s); err != nil || !bool(goOn) {
		t.Fatalf("goes on %t: %v", goOn, err)
	}
	left := &corev1.Secret{}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(copyThere), left); err != nil || string(left.Data["psk"]) != "a test key" {
		t.Errorf("the copy was changed: %v", err)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(outdated), &corev1.ConfigMap{}); !apierrors.IsNotFound(err) {
		t.Errorf("nothing else is kept up to date: %v", err)
	}
}
