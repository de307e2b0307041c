// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Labels of every rendered object, by which an installer finds what it may change and prune.
const (
	// ManagedByLabel has the value ManagedBy.
	ManagedByLabel = "app.kubernetes.io/managed-by"
	// ManagedBy is the name under which this provider manages objects.
	ManagedBy = "edgemetal"
	// StepLabel names the step of the plan that the object belongs to.
	StepLabel = "edgemetal.infrastructure.cluster.x-k8s.io/dataplane-step"
)

// Names of the steps, in the order in which they are taken. A plan has those that its dataplane needs.
const (
	// StepCRDs are the definitions of Calico's and the operator's kinds.
	StepCRDs = "crds"
	// StepConfiguration is what Felix and the BGP speakers must find when they start.
	StepConfiguration = "configuration"
	// StepPeers are the routers that nodes peer with. They come after their filters, or routes would pass unfiltered for a moment.
	StepPeers = "peers"
	// StepAgent is the node agent.
	StepAgent = "agent"
	// StepOperator is the Tigera operator.
	StepOperator = "operator"
	// StepInstallation asks the operator for Calico.
	StepInstallation = "installation"
	// StepVPP is VPP and its Calico agent.
	StepVPP = "vpp"
	// StepLoadBalancers are the ranges from which Calico assigns addresses to services of type LoadBalancer.
	StepLoadBalancers = "load-balancers"
)

// Plan is what has to be in the workload cluster, in order.
type Plan struct {
	Steps []Step
}

// Step is applied as a whole: first Secrets' namespaces and the objects in the order given, with the chart's objects after
// them, then Ready is awaited before the next step is begun.
type Step struct {
	// Name is one of the Step constants, and the value of StepLabel.
	Name string
	// Title for humans, for example "Calico's custom resource definitions".
	Title string
	// Objects in the order in which they are applied, server-side.
	Objects []*unstructured.Unstructured
	// Secrets are copied from the management cluster, after Objects.
	Secrets []SecretCopy
	// Chart, if any, is rendered and applied after Secrets.
	Chart *Chart
	// Ready is what must hold before the next step is begun, and after the last step before the dataplane counts as installed.
	Ready []Readiness
}

// Chart is a Helm chart with its values.
type Chart struct {
	// Name of the chart, and of its archive.
	Name string
	// Version of the chart, for example v3.32.1.
	Version string
	// Namespace is the release's.
	Namespace string
	// Digest of the archive, sha256:<hex>; empty when it is not pinned.
	Digest string
	// Values override the chart's own.
	Values map[string]any
}

// SecretCopy is a Secret of the workload cluster whose content comes from the management cluster. The object gets the labels
// ManagedByLabel and StepLabel.
type SecretCopy struct {
	// From says which Secret of the EdgeCluster's namespace is copied.
	From SecretSource
	// Namespace and Name of the copy.
	Namespace, Name string
	// Type of the copy, for example kubernetes.io/dockerconfigjson. Opaque when empty.
	Type string
	// Keys of the copy with the keys of the source that they hold. Other keys are not copied, and each must exist.
	Keys map[string]string
}

// SecretSource says where the content of a Secret comes from.
type SecretSource struct {
	// Name of the Secret; empty when IPsecPSK is set.
	Name string
	// IPsecPSK is set for the pre-shared key that the provider makes for the cluster.
	IPsecPSK bool
	// Field of the EdgeCluster that names the Secret, for messages.
	Field string
}

// ReadinessKind says how readiness is read from an object.
type ReadinessKind string

const (
	// Established means that a CustomResourceDefinition's condition Established is True.
	Established ReadinessKind = "Established"
	// Available means that a Deployment has rolled out and its condition Available is True.
	Available ReadinessKind = "Available"
	// RolledOut means that every pod of a DaemonSet is there, up to date and ready; or, with updateStrategy OnDelete, there and ready.
	RolledOut ReadinessKind = "RolledOut"
	// TigeraAvailable means that a TigeraStatus' condition Available is True and Degraded is not.
	TigeraAvailable ReadinessKind = "TigeraAvailable"
)

// Readiness is something to wait for.
type Readiness struct {
	Kind ReadinessKind
	// APIVersion and ObjectKind of the object.
	APIVersion, ObjectKind string
	// Namespace of the object; empty for cluster-wide kinds.
	Namespace string
	// Name of the object.
	Name string
	// Hint is what to look at when it takes long.
	Hint string
}
