// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

const (
	// writtenTTL is how long a write is remembered. A cache that is further behind is no longer waited for.
	writtenTTL = time.Minute
	// outdatedRetry is when to look again at an EdgeMachine whose newest version has not arrived yet.
	outdatedRetry = 100 * time.Millisecond
)

// writtenVersion remembers which version of an EdgeMachine this manager has written last. A reconciliation that reads an
// older one from the cache would repeat what is done.
type writtenVersion struct {
	uid     types.UID
	version string
}

// Key identifies the EdgeMachine.
func (w writtenVersion) Key() string { return string(w.uid) }

func (r *EdgeMachineReconciler) remember(written *infrav1.EdgeMachine) {
	r.written.Add(writtenVersion{uid: written.UID, version: written.ResourceVersion})
}

// isOutdated tells whether the cache has not seen our last write yet.
func (r *EdgeMachineReconciler) isOutdated(read *infrav1.EdgeMachine) bool {
	written, found := r.written.Has(string(read.UID))
	if !found {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(read.ResourceVersion, written.version)
	return err == nil && order < 0
}
