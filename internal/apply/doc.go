// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package apply keeps a set of objects in a cluster as they are wanted: it applies them on the server's side with one field owner,
// corrects what others change of them, and removes what is no longer wanted.
//
// What it wrote is remembered in the cluster itself, in a ConfigMap: for each object a hash of what was wanted and the state that
// the API server gave it. As long as both are the same, nothing is sent, also after a restart. An object that was there before and
// is not ours is shared: only fields that nobody else owns are set, and when it is no longer wanted it stays.
package apply
