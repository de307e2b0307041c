// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

const (
	// MachineFinalizer keeps an EdgeMachine until its host is free, its address claims and Secrets are gone.
	MachineFinalizer = "edgemachine.infrastructure.cluster.x-k8s.io"

	// ProviderIDPrefix starts every provider ID: edgemetal://<namespace>/<host>/<EdgeMachine>.
	ProviderIDPrefix = "edgemetal://"

	// FailureDomainLabel on a BareMetalHost names its failure domain. It is Metal3's own label, so existing inventories work.
	FailureDomainLabel = "infrastructure.cluster.x-k8s.io/failure-domain"

	annotationPrefix = "edgemetal.infrastructure.cluster.x-k8s.io/"

	// HostAnnotation on an EdgeMachine names the BareMetalHost it has chosen. It is written before the host is claimed, so
	// that a controller that is killed between the two writes goes on with the same host.
	HostAnnotation = annotationPrefix + "host"

	// HoldAnnotation on an EdgeMachine (any value but "false") stops it after validation, before any disk is written.
	HoldAnnotation = annotationPrefix + "hold"

	// AddressesAnnotation on a BareMetalHost fixes its addresses: a comma-separated list of <network>=<IP>,
	// for example "cluster=192.0.2.21,storage=198.51.100.21". Read by networks whose addresses come fromHost.
	AddressesAnnotation = annotationPrefix + "addresses"

	// UnhealthyAnnotation on a BareMetalHost (any value) keeps it from being claimed.
	UnhealthyAnnotation = annotationPrefix + "unhealthy"

	// MaintenanceAnnotation on a BareMetalHost (any value) keeps it from being claimed.
	MaintenanceAnnotation = annotationPrefix + "maintenance"

	// BeforeClaimAnnotation on a claimed BareMetalHost remembers, as JSON, the fields that provisioning changes and that
	// release puts back: spec.online and spec.automatedCleaningMode.
	BeforeClaimAnnotation = annotationPrefix + "before-claim"

	// HostPausedValue is the value of Metal3's paused annotation on hosts that we paused together with their Cluster.
	HostPausedValue = "edgemetal.infrastructure.cluster.x-k8s.io"

	// HostDetachedValue is the value of Metal3's detached annotation on hosts that we detached for a move. It says that a host
	// that is deleted while detached goes at once, as is Metal3's default.
	HostDetachedValue = `{"deleteAction":"delete"}`
)
