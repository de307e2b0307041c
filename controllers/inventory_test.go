// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Whoever is woken by an event sees the inventory with it, and events that wake nobody are in it too.
func TestInventoryFollowsItsWatch(t *testing.T) {
	var i inventory
	names := func(namespace string) []string {
		var found []string
		for _, host := range i.hosts(namespace) {
			found = append(found, host.Name+"="+host.Spec.BootMACAddress)
		}
		slices.Sort(found)
		return found
	}
	var woken [][]string
	next := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		woken = append(woken, names("here"))
		return nil
	})
	events := i.before(next, predicate.Funcs{UpdateFunc: func(event.UpdateEvent) bool { return false }})
	host := func(namespace, name, mac string) *bmov1.BareMetalHost {
		return &bmov1.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: bmov1.BareMetalHostSpec{BootMACAddress: mac}}
	}
	events.Create(t.Context(), event.CreateEvent{Object: host("here", "a", "1")}, nil)
	events.Create(t.Context(), event.CreateEvent{Object: host("there", "a", "2")}, nil)
	events.Create(t.Context(), event.CreateEvent{Object: host("here", "b", "3")}, nil)
	events.Update(t.Context(), event.UpdateEvent{ObjectOld: host("here", "b", "3"), ObjectNew: host("here", "b", "4")}, nil)
	if diff := cmp.Diff([]string{"a=1", "b=4"}, names("here")); diff != "" {
		t.Errorf("hosts (-want +got):\n%s", diff)
	}
	events.Delete(t.Context(), event.DeleteEvent{Object: host("here", "a", "1")}, nil)
	if diff := cmp.Diff([][]string{{"a=1"}, {"a=1"}, {"a=1", "b=3"}, {"b=4"}}, woken); diff != "" {
		t.Errorf("what those saw that were woken (-want +got):\n%s", diff)
	}
	events.Delete(t.Context(), event.DeleteEvent{Object: host("there", "a", "2")}, nil)
	if got := names("there"); got != nil {
		t.Errorf("a namespace without hosts has %v", got)
	}
}
