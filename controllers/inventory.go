// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"sync"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// inventory knows the BareMetalHosts of each namespace by pointers into the cache. A list of the client's would copy every one, for
// each claim and each count of them: with a thousand hosts that is most of what a manager does. The zero value is ready to use.
type inventory struct {
	mu          sync.RWMutex
	byNamespace map[string]map[string]*bmov1.BareMetalHost
}

// hosts are all of a namespace, in no order. They are the cache's: do not change them.
func (i *inventory) hosts(namespace string) []*bmov1.BareMetalHost {
	i.mu.RLock()
	defer i.mu.RUnlock()
	all := make([]*bmov1.BareMetalHost, 0, len(i.byNamespace[namespace]))
	for _, host := range i.byNamespace[namespace] {
		all = append(all, host)
	}
	return all
}

// size is the number of hosts in a namespace.
func (i *inventory) size(namespace string) int {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return len(i.byNamespace[namespace])
}

func (i *inventory) put(obj client.Object) {
	host, ok := obj.(*bmov1.BareMetalHost)
	if !ok {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.byNamespace == nil {
		i.byNamespace = map[string]map[string]*bmov1.BareMetalHost{}
	}
	if i.byNamespace[host.Namespace] == nil {
		i.byNamespace[host.Namespace] = map[string]*bmov1.BareMetalHost{}
	}
	i.byNamespace[host.Namespace][host.Name] = host
}

func (i *inventory) remove(key types.NamespacedName) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.byNamespace[key.Namespace], key.Name)
	if len(i.byNamespace[key.Namespace]) == 0 {
		delete(i.byNamespace, key.Namespace)
	}
}

// before keeps the inventory up to date with the events of a watch, and hands on to next those that the predicate lets through: what
// next enqueues finds the inventory as the event has left it. A controller begins its work when its watches have brought all hosts.
func (i *inventory) before(next handler.EventHandler, through predicate.Predicate) handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) {
			i.put(e.Object)
			if through.Create(e) {
				next.Create(ctx, e, q)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			i.put(e.ObjectNew)
			if through.Update(e) {
				next.Update(ctx, e, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) {
			i.remove(client.ObjectKeyFromObject(e.Object))
			if through.Delete(e) {
				next.Delete(ctx, e, q)
			}
		},
	}
}
