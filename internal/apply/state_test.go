// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func newObject(t *testing.T, from client.Object) Object {
	t.Helper()
	object, err := NewObject(from, scheme.Scheme)
	if err != nil {
		t.Fatal(err)
	}
	return object
}

func TestNewObject(t *testing.T) {
	typed := newObject(t, &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "d"},
		Status:     appsv1.DaemonSetStatus{NumberReady: 3},
	})
	content, err := typed.Content()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": map[string]any{"namespace": "ns", "name": "d"},
		"spec": map[string]any{"selector": nil, "template": map[string]any{"metadata": map[string]any{}, "spec": map[string]any{"containers": nil}}, "updateStrategy": map[string]any{}},
	}
	if diff := cmp.Diff(want, content); diff != "" {
		t.Errorf("content (-want +got):\n%s", diff)
	}
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "c"}, Data: map[string]string{"a": "1", "b": "2"}}
	one := newObject(t, config)
	if again := newObject(t, config.DeepCopy()); one.Hash() != again.Hash() {
		t.Error("the same object has two hashes")
	}
	config.Data["a"] = "2"
	if other := newObject(t, config); one.Hash() == other.Hash() {
		t.Error("two objects have the same hash")
	}
}

func TestSort(t *testing.T) {
	var objects []Object
	for _, kind := range []string{"DaemonSet", "FelixConfiguration", "ConfigMap", "ClusterRoleBinding", "ServiceAccount", "BGPPeer", "CustomResourceDefinition", "Namespace", "ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"} {
		object := Object{}
		object.Kind = kind
		objects = append(objects, object)
	}
	Sort(objects)
	var kinds []string
	for _, object := range objects {
		kinds = append(kinds, object.Kind)
	}
	want := []string{"Namespace", "CustomResourceDefinition", "ServiceAccount", "ClusterRoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "ConfigMap", "FelixConfiguration", "BGPPeer", "DaemonSet"}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestFingerprint(t *testing.T) {
	meta := func(change func(*metav1.PartialObjectMetadata)) string {
		m := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{UID: "u", ResourceVersion: "5", Generation: 2, Labels: map[string]string{"a": "1"}}}
		change(m)
		return fingerprint(m)
	}
	same := meta(func(*metav1.PartialObjectMetadata) {})
	if same != meta(func(m *metav1.PartialObjectMetadata) { m.ResourceVersion = "6" }) {
		t.Error("a change of the status counts")
	}
	for name, change := range map[string]func(*metav1.PartialObjectMetadata){
		"generation": func(m *metav1.PartialObjectMetadata) { m.Generation = 3 },
		"label":      func(m *metav1.PartialObjectMetadata) { m.Labels = nil },
		"annotation": func(m *metav1.PartialObjectMetadata) { m.Annotations = map[string]string{"b": "2"} },
		"new object": func(m *metav1.PartialObjectMetadata) { m.UID = "v" },
		"deletion":   func(m *metav1.PartialObjectMetadata) { m.DeletionTimestamp = new(metav1.Now()) },
	} {
		if same == meta(change) {
			t.Errorf("%s: not seen", name)
		}
	}
	uncounted := func(version string) string {
		return meta(func(m *metav1.PartialObjectMetadata) { m.Generation, m.ResourceVersion = 0, version })
	}
	if uncounted("5") == uncounted("6") {
		t.Error("without a generation a new resource version is not seen")
	}
}

// TestState: what is stored is read again, and holds no hash of a Secret.
func TestState(t *testing.T) {
	c := fake.NewClientBuilder().WithScheme(scheme.Scheme).Build()
	key := client.ObjectKey{Namespace: "edgemetal-system", Name: "inventory"}
	s, err := Load(t.Context(), c, key)
	if err != nil {
		t.Fatal(err)
	}
	config := newObject(t, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "c"}})
	secret := newObject(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "s"}})
	s.announce([]Object{config, secret})
	if s.Knows([]Object{config}) {
		t.Error("an object is known that was never applied")
	}
	for _, object := range []Object{config, secret} {
		s.records[object.Key].remember(object, &metav1.PartialObjectMetadata{}, nil, time.Now())
	}
	if err := s.Save(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	stored := &corev1.ConfigMap{}
	if err := c.Get(t.Context(), key, stored); err != nil {
		t.Fatal(err)
	}
	if text := stored.Data[inventoryKey]; !strings.Contains(text, config.Hash()) || strings.Contains(text, secret.Hash()) {
		t.Errorf("stored: %s", text)
	}
	again, err := Load(t.Context(), c, key)
	if err != nil {
		t.Fatal(err)
	}
	if !again.Knows([]Object{config, secret}) {
		t.Error("what was applied is not known any more")
	}
	version := stored.ResourceVersion
	if err := again.Save(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), key, stored); err != nil || stored.ResourceVersion != version {
		t.Errorf("written again without a change: %v", err)
	}
	// Somebody deletes it.
	if err := c.Delete(t.Context(), stored); err != nil {
		t.Fatal(err)
	}
	delete(again.records, secret.Key)
	if err := again.Save(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), key, stored); err != nil {
		t.Errorf("it is not made again: %v", err)
	}
}

// What the cache has from before a change tells nothing of it.
func TestIsShown(t *testing.T) {
	of := func(generation int64) *appsv1.DaemonSet {
		return &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "d", UID: "u", Generation: generation}}
	}
	object := newObject(t, of(0))
	s := &State{records: map[Key]*record{object.Key: {}}}
	s.records[object.Key].remember(object, meta.AsPartialObjectMetadata(of(2)), nil, time.Now())
	if s.IsShown(object.Key, of(1)) {
		t.Error("a version from before is taken for what was applied")
	}
	if !s.IsShown(object.Key, of(2)) {
		t.Error("what was applied is not recognised")
	}
	if other := (Key{GroupVersionKind: object.GroupVersionKind, Namespace: "ns", Name: "other"}); !s.IsShown(other, of(1)) {
		t.Error("an object of somebody else's is waited for")
	}
}

func TestDelay(t *testing.T) {
	r, now := &record{}, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range freeCorrections {
		if wait := r.delay(now); wait != 0 {
			t.Fatalf("correction %d waits %s", i, wait)
		}
	}
	for _, want := range []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second} {
		if wait := r.delay(now); wait != want {
			t.Fatalf("waits %s, want %s", wait, want)
		}
		now = now.Add(want)
		if wait := r.delay(now); wait != 0 {
			t.Fatalf("waits %s after the delay", wait)
		}
	}
	for range 20 {
		now = now.Add(lastDelay)
		if wait := r.delay(now); wait != 0 {
			t.Fatalf("waits %s, more than the longest delay", wait)
		}
	}
	now = now.Add(calmAfter + time.Second)
	if wait := r.delay(now); wait != 0 || r.corrections != 1 {
		t.Errorf("waits %s with %d corrections after a calm time", wait, r.corrections)
	}
}

func TestAwait(t *testing.T) {
	daemons := func(change func(*appsv1.DaemonSet)) string {
		d := &appsv1.DaemonSet{
			ObjectMeta: metav1.ObjectMeta{Generation: 2},
			Status:     appsv1.DaemonSetStatus{ObservedGeneration: 2, DesiredNumberScheduled: 3, CurrentNumberScheduled: 3, UpdatedNumberScheduled: 3, NumberReady: 3},
		}
		change(d)
		return AwaitDaemonSet(d)
	}
	deployment := func(change func(*appsv1.Deployment)) string {
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Generation: 1}, Status: appsv1.DeploymentStatus{ObservedGeneration: 1, UpdatedReplicas: 1, AvailableReplicas: 1}}
		change(d)
		return AwaitDeployment(d)
	}
	status := func(conditions ...map[string]any) string {
		var list []any
		for _, c := range conditions {
			list = append(list, c)
		}
		return AwaitStatus(&unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"conditions": list}}})
	}
	onDelete := appsv1.DaemonSetUpdateStrategy{Type: appsv1.OnDeleteDaemonSetStrategyType}
	for name, c := range map[string]struct{ got, want string }{
		"daemons ready":      {daemons(func(*appsv1.DaemonSet) {}), ""},
		"daemons changed":    {daemons(func(d *appsv1.DaemonSet) { d.Generation = 3 }), "its last change has not been taken up yet"},
		"no nodes":           {daemons(func(d *appsv1.DaemonSet) { d.Status = appsv1.DaemonSetStatus{ObservedGeneration: 2} }), "no node is there to run it"},
		"pods missing":       {daemons(func(d *appsv1.DaemonSet) { d.Status.CurrentNumberScheduled = 1 }), "1 of 3 nodes have its pod"},
		"pods outdated":      {daemons(func(d *appsv1.DaemonSet) { d.Status.UpdatedNumberScheduled = 2 }), "2 of 3 pods are up to date"},
		"outdated on delete": {daemons(func(d *appsv1.DaemonSet) { d.Status.UpdatedNumberScheduled, d.Spec.UpdateStrategy = 2, onDelete }), ""},
		"pods not ready":     {daemons(func(d *appsv1.DaemonSet) { d.Status.NumberReady = 0 }), "0 of 3 pods are ready"},
		"deployment ready":   {deployment(func(*appsv1.Deployment) {}), ""},
		"deployment changed": {deployment(func(d *appsv1.Deployment) { d.Generation = 2 }), "its last change has not been taken up yet"},
		"replicas":           {deployment(func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(2)) }), "1 of 2 pods are up to date"},
		"unavailable":        {deployment(func(d *appsv1.Deployment) { d.Status.AvailableReplicas = 0 }), "0 of 1 pods are available"},
		"no quota": {deployment(func(d *appsv1.Deployment) {
			d.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Message: "exceeded quota"}}
		}), "its pods cannot be created: exceeded quota"},
		"status":      {status(map[string]any{"type": "Available", "status": "True"}, map[string]any{"type": "Degraded", "status": "False"}), ""},
		"degraded":    {status(map[string]any{"type": "Available", "status": "True"}, map[string]any{"type": "Degraded", "status": "True", "message": "no\npools"}), "the operator reports it degraded: no pools"},
		"progressing": {status(map[string]any{"type": "Progressing", "status": "True", "reason": "ResourceNotReady"}), "ResourceNotReady"},
		"silent":      {status(), "the operator does not report it available yet"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", name, c.got, c.want)
		}
	}
}
