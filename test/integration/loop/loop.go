// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package loop calls a function for every object of a kind whenever the object changes: the smallest controller that can play
// somebody else's part in a test.
package loop

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// retryEvery is how long an object waits whose handling failed.
const retryEvery = 50 * time.Millisecond

// Loop handles the objects of one kind in one namespace.
type Loop struct {
	// Client of the API server.
	Client client.WithWatch
	// Namespace of the objects.
	Namespace string
	// List makes an empty list of the kind.
	List func() client.ObjectList
	// Handle one object, which it may change. It is called for every change of the object, and again after an error.
	Handle func(ctx context.Context, object client.Object) error
	// Nudge makes the loop handle every object once more.
	Nudge <-chan struct{}
}

// Run until the context ends.
func (l Loop) Run(ctx context.Context) {
	for ctx.Err() == nil {
		watcher, err := l.Client.Watch(ctx, l.List(), client.InNamespace(l.Namespace))
		if err != nil {
			pause(ctx)
			continue
		}
		l.follow(ctx, watcher.ResultChan())
		watcher.Stop()
	}
}

// follow a watch, which begins with every object that exists, until it ends.
func (l Loop) follow(ctx context.Context, events <-chan watch.Event) {
	objects := map[client.ObjectKey]client.Object{}
	failed := map[client.ObjectKey]bool{}
	handle := func(key client.ObjectKey) {
		object, _ := objects[key].DeepCopyObject().(client.Object)
		delete(failed, key)
		if err := l.Handle(ctx, object); err != nil {
			failed[key] = true
		}
	}
	retry := time.NewTicker(retryEvery)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case event, open := <-events:
			object, isObject := event.Object.(client.Object)
			if !open || !isObject {
				return
			}
			key := client.ObjectKeyFromObject(object)
			if event.Type == watch.Deleted {
				delete(objects, key)
				delete(failed, key)
				continue
			}
			objects[key] = object
			handle(key)
		case <-l.Nudge:
			for key := range objects {
				handle(key)
			}
		case <-retry.C:
			for key := range failed {
				handle(key)
			}
		}
	}
}

func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(retryEvery):
	}
}
