// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package hosts finds, claims, provisions and releases Metal3 BareMetalHosts.
// It writes to a host by targeted patches only: what others own on it stays as it is.
package hosts

import (
	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// Obstacle is why a host cannot be claimed, in words that complete "3 hosts ...".
type Obstacle string

// Obstacles in the order in which they are looked for.
const (
	ObstacleDeleting      Obstacle = "being deleted"
	ObstacleInUse         Obstacle = "in use"
	ObstacleLabels        Obstacle = "without the labels asked for"
	ObstacleFailureDomain Obstacle = "in another failure domain"
	ObstaclePaused        Obstacle = "paused"
	ObstacleDetached      Obstacle = "detached"
	ObstacleUnhealthy     Obstacle = "marked unhealthy"
	ObstacleMaintenance   Obstacle = "in maintenance"
	ObstacleError         Obstacle = "in error"
	ObstacleByHand        Obstacle = "provisioned by somebody else"
	ObstacleNotAvailable  Obstacle = "not yet available"
	ObstacleArchitecture  Obstacle = "of an architecture that the dataplane has no images for"
	ObstacleNoHardware    Obstacle = "without inspection results"
	ObstacleHardware      Obstacle = "with too little or other hardware"
)

// capm3UnhealthyAnnotation is set by CAPM3 on hosts that its remediation gave up; a host that moves between the two
// providers stays marked. Source: cluster-api-provider-metal3, baremetal/metal3machine_manager.go.
const capm3UnhealthyAnnotation = "capm3.metal3.io/unhealthy"

// Unavailable tells why nobody can claim the host now, or "" when it is free.
func Unavailable(host *bmov1.BareMetalHost) Obstacle {
	annotated := func(key string) bool { _, found := host.Annotations[key]; return found }
	switch {
	case !host.DeletionTimestamp.IsZero():
		return ObstacleDeleting
	case host.Spec.ConsumerRef != nil:
		return ObstacleInUse
	case annotated(bmov1.PausedAnnotation):
		return ObstaclePaused
	case annotated(bmov1.DetachedAnnotation):
		return ObstacleDetached
	case annotated(infrav1.UnhealthyAnnotation), annotated(capm3UnhealthyAnnotation):
		return ObstacleUnhealthy
	case annotated(infrav1.MaintenanceAnnotation):
		return ObstacleMaintenance
	case host.Status.OperationalStatus == bmov1.OperationalStatusError, host.Status.ErrorType != "", host.Status.ErrorMessage != "":
		return ObstacleError
	case host.Spec.ExternallyProvisioned, host.Spec.Image != nil, host.Spec.CustomDeploy != nil:
		return ObstacleByHand
	case !IsIdle(host):
		return ObstacleNotAvailable
	default:
		return ""
	}
}

// IsIdle tells whether baremetal-operator is waiting for an image. "ready" is the name that old releases used.
func IsIdle(host *bmov1.BareMetalHost) bool {
	state := host.Status.Provisioning.State
	return state == bmov1.StateAvailable || state == bmov1.StateReady
}
