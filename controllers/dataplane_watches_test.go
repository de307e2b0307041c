// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/apply"
)

// Users' DaemonSets, and what nobody reads of ours, must not have a whole dataplane looked at.
func TestDaemonSetsThatWake(t *testing.T) {
	daemons := func(namespace string, labels map[string]string, change func(*appsv1.DaemonSet)) *appsv1.DaemonSet {
		d := &appsv1.DaemonSet{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "d", UID: "u", Generation: 2, Labels: labels},
			Status:     appsv1.DaemonSetStatus{ObservedGeneration: 2, DesiredNumberScheduled: 3, CurrentNumberScheduled: 3, UpdatedNumberScheduled: 3, NumberReady: 3, NumberAvailable: 3},
		}
		change(d)
		return d
	}
	nothing := func(*appsv1.DaemonSet) {}
	ours := map[string]string{apply.Label: apply.LabelOwned}
	let := objectPredicates()
	update := func(before, after client.Object) bool {
		return let.Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after})
	}
	mine := func(change func(*appsv1.DaemonSet)) bool {
		return update(daemons("edgemetal-system", ours, nothing), daemons("edgemetal-system", ours, change))
	}
	notReady := func(d *appsv1.DaemonSet) { d.Status.NumberReady = 2 }
	for name, test := range map[string]struct{ got, want bool }{
		"a user's is made":         {let.Create(event.CreateEvent{Object: daemons("logging", nil, nothing)}), false},
		"a user's changes":         {update(daemons("logging", nil, nothing), daemons("logging", nil, notReady)), false},
		"a user's is gone":         {let.Delete(event.DeleteEvent{Object: daemons("logging", nil, nothing)}), false},
		"calico-node is made":      {let.Create(event.CreateEvent{Object: daemons("calico-system", nil, nothing)}), true},
		"calico-node changes":      {update(daemons("calico-system", nil, nothing), daemons("calico-system", nil, notReady)), true},
		"ours is made":             {let.Create(event.CreateEvent{Object: daemons("edgemetal-system", ours, nothing)}), true},
		"ours is gone":             {let.Delete(event.DeleteEvent{Object: daemons("edgemetal-system", ours, nothing)}), true},
		"nothing":                  {mine(nothing), false},
		"specification":            {mine(func(d *appsv1.DaemonSet) { d.Generation = 3 }), true},
		"taken up":                 {mine(func(d *appsv1.DaemonSet) { d.Status.ObservedGeneration = 1 }), true},
		"nodes":                    {mine(func(d *appsv1.DaemonSet) { d.Status.DesiredNumberScheduled = 4 }), true},
		"pods":                     {mine(func(d *appsv1.DaemonSet) { d.Status.CurrentNumberScheduled = 2 }), true},
		"new pods":                 {mine(func(d *appsv1.DaemonSet) { d.Status.UpdatedNumberScheduled = 2 }), true},
		"ready pods":               {mine(notReady), true},
		"available pods, not read": {mine(func(d *appsv1.DaemonSet) { d.Status.NumberAvailable = 2 }), false},
		"version only":             {mine(func(d *appsv1.DaemonSet) { d.ResourceVersion = "9" }), false},
		"annotation":               {mine(func(d *appsv1.DaemonSet) { d.Annotations = map[string]string{"a": "b"} }), true},
		"label lost":               {mine(func(d *appsv1.DaemonSet) { d.Labels = nil }), true},
		"being deleted":            {mine(func(d *appsv1.DaemonSet) { d.DeletionTimestamp = new(metav1.Now()) }), true},
		"another of the same name": {mine(func(d *appsv1.DaemonSet) { d.UID = "v" }), true},
	} {
		if test.got != test.want {
			t.Errorf("%s: wakes the controller %t, want %t", name, test.got, test.want)
		}
	}
}
