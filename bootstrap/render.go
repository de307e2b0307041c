// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap/hostnet"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// MaxSize of the three documents together in bytes: what one Secret may hold. Ironic's config drive takes 64 MiB, far more.
const MaxSize = corev1.MaxSecretSize

// Input is what the documents follow from.
type Input struct {
	// Payload is the bootstrap provider's data.
	Payload Payload
	// Cluster, Namespace and Machine are the names of the Cluster, of its namespace and of the EdgeMachine.
	Cluster, Namespace, Machine string
	// InstanceID identifies the machine to cloud-init, which sets up a host once per ID. The EdgeMachine's UID does.
	InstanceID string
	// Host is the name of the BareMetalHost, and becomes the hostname.
	Host string
	// ProviderID of the Node.
	ProviderID string
	// FailureDomain of the host; may be empty.
	FailureDomain string
	// Plan of the host's network.
	Plan hostnet.Plan
	// ControlPlane is set on control-plane machines.
	ControlPlane *ControlPlane
	// Dataplane of the cluster; nil when the host needs nothing for it.
	Dataplane *Dataplane
}

// Payload is what the bootstrap provider wants the host to run.
type Payload struct {
	// Format as the bootstrap Secret names it under the key format: cloud-config, ignition or empty. What cloud-init can read is
	// told from the content; only ignition is refused by name.
	Format string
	// Value of the bootstrap Secret's key value.
	Value []byte
}

// ControlPlane is what only control-plane machines have.
type ControlPlane struct {
	// Endpoint of the workload cluster's API server.
	Endpoint infrav1.APIEndpoint
	// VIP says who makes the endpoint reachable. Nothing is rendered for mode External, nor when it is not set.
	VIP infrav1.ControlPlaneVIP
	// Init is true on the machine that initialises the cluster, false on those that join it.
	Init bool
}

// Output is what the host's config drive is made of.
type Output struct {
	// UserData for cloud-init: a MIME multi-part document in UTF-8.
	UserData []byte
	// NetworkData is OpenStack's network_data.json.
	NetworkData []byte
	// MetaData is OpenStack's meta_data.json.
	MetaData []byte
}

// Render composes the documents.
//
// It returns ErrPayloadEmpty or ErrFormatUnsupported, wrapped, when the payload is nothing that cloud-init would run, a *SizeError
// when the documents exceed MaxSize, a *hostnet.Error when the virtual IP cannot be announced from this machine's interfaces,
// and a plain error when the input is incomplete.
func Render(in Input) (Output, error) {
	if err := in.check(); err != nil {
		return Output{}, err
	}
	payload, err := readPayload(in.Payload)
	if err != nil {
		return Output{}, err
	}
	parts, err := hostParts(in)
	if err != nil {
		return Output{}, err
	}
	config, err := cloudConfig(in.Host, parts)
	if err != nil {
		return Output{}, err
	}
	metaData, err := metaData(in)
	if err != nil {
		return Output{}, err
	}
	userData, err := compose(payload, config)
	if err != nil {
		return Output{}, err
	}
	out := Output{UserData: userData, NetworkData: in.Plan.NetworkData(), MetaData: metaData}
	if size := len(out.UserData) + len(out.NetworkData) + len(out.MetaData); size > MaxSize {
		return Output{}, &SizeError{Size: size, Limit: MaxSize}
	}
	return out, nil
}

// check refuses an input without the names that identify the host: a host set up with it could not be found again.
func (in Input) check() error {
	var missing []error
	for _, field := range []struct{ name, value string }{
		{"Cluster", in.Cluster}, {"Namespace", in.Namespace}, {"Machine", in.Machine},
		{"InstanceID", in.InstanceID}, {"Host", in.Host}, {"ProviderID", in.ProviderID},
	} {
		if field.value == "" {
			missing = append(missing, fmt.Errorf("%s is not set", field.name))
		} else if strings.ContainsFunc(field.value, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"'\$%`, r) }) {
			missing = append(missing, fmt.Errorf("%s %q has characters that cannot be passed to a host", field.name, field.value))
		}
	}
	return errors.Join(missing...)
}

// hostParts are the pieces of a host's configuration, in the order in which they are set up.
func hostParts(in Input) ([]part, error) {
	taint := ""
	if in.Dataplane != nil && in.Dataplane.HoldPods {
		taint = encryption.NotReadyTaint + ":" + string(corev1.TaintEffectNoSchedule)
	}
	dataplane, err := dataplanePart(in.Dataplane, in.Plan)
	if err != nil {
		return nil, err
	}
	vip, err := vipPart(in.ControlPlane, in.Plan)
	if err != nil {
		return nil, err
	}
	return []part{kubeletPart(in.ProviderID, in.Plan.NodeAddresses(), taint), dataplane, vip, flushPart()}, nil
}
