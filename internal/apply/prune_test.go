// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// What is used goes after what uses it: a BGPPeer without its filter exchanges every route with the router.
func TestPruneOrder(t *testing.T) {
	state := &State{records: map[Key]*record{}}
	scheme := runtime.NewScheme()
	builder := fake.NewClientBuilder().WithScheme(scheme)
	for _, each := range []struct{ api, kind, namespace string }{
		{"crd.projectcalico.org/v1", "BGPFilter", ""},
		{"crd.projectcalico.org/v1", "BGPPeer", ""},
		{"crd.projectcalico.org/v1", "IPPool", ""},
		{"apps/v1", "DaemonSet", "ns"},
		{"rbac.authorization.k8s.io/v1", "ClusterRole", ""},
		{"rbac.authorization.k8s.io/v1", "ClusterRoleBinding", ""},
		{"v1", "Secret", "ns"},
		{"v1", "ServiceAccount", "ns"},
	} {
		object := &unstructured.Unstructured{}
		object.SetAPIVersion(each.api)
		object.SetKind(each.kind)
		object.SetNamespace(each.namespace)
		object.SetName("edgemetal-tor")
		object.SetLabels(map[string]string{Label: LabelOwned})
		builder = builder.WithObjects(object)
		state.records[Key{GroupVersionKind: object.GroupVersionKind(), Namespace: each.namespace, Name: object.GetName()}] = &record{seen: "x"}
	}
	var removed []string
	live := interceptor.NewClient(builder.Build(), interceptor.Funcs{
		Delete: func(ctx context.Context, c client.WithWatch, obj client.Object, options ...client.DeleteOption) error {
			removed = append(removed, obj.GetObjectKind().GroupVersionKind().Kind)
			return c.Delete(ctx, obj, options...)
		},
	})
	applier := Applier{Live: live, Cache: live, Now: time.Now}
	if err := applier.Prune(t.Context(), state, nil); err != nil {
		t.Fatal(err)
	}
	want := []string{"DaemonSet", "BGPPeer", "BGPFilter", "IPPool", "Secret", "ClusterRoleBinding", "ClusterRole", "ServiceAccount"}
	if diff := cmp.Diff(want, removed); diff != "" {
		t.Errorf("order of removal (-want +got):\n%s", diff)
	}
	if len(state.records) > 0 {
		t.Errorf("%d records are left", len(state.records))
	}
}
