// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// Writer changes BareMetalHosts. Every change is one patch that fails with a conflict when the host has changed meanwhile.
type Writer struct {
	Client client.Client
}

// beforeClaim holds the fields that provisioning changes and release puts back.
type beforeClaim struct {
	Online                bool                        `json:"online"`
	AutomatedCleaningMode bmov1.AutomatedCleaningMode `json:"automatedCleaningMode,omitempty"`
}

// ConsumerRef is how a claimed host names its EdgeMachine. Without UID: it survives a move to another management cluster.
func ConsumerRef(machine *infrav1.EdgeMachine) *corev1.ObjectReference {
	return &corev1.ObjectReference{
		APIVersion: infrav1.GroupVersion.String(),
		Kind:       "EdgeMachine",
		Namespace:  machine.Namespace,
		Name:       machine.Name,
	}
}

// IsClaimedBy tells whether the host belongs to the machine.
func IsClaimedBy(host *bmov1.BareMetalHost, machine *infrav1.EdgeMachine) bool {
	ref := host.Spec.ConsumerRef
	return ref != nil && ref.Kind == "EdgeMachine" && ref.Namespace == machine.Namespace && ref.Name == machine.Name &&
		ref.GroupVersionKind().Group == infrav1.GroupVersion.Group
}

// Claim makes the host the machine's. A conflict means that somebody was faster.
func (w Writer) Claim(ctx context.Context, host *bmov1.BareMetalHost, machine *infrav1.EdgeMachine) (*bmov1.BareMetalHost, error) {
	was, err := json.Marshal(beforeClaim{Online: host.Spec.Online, AutomatedCleaningMode: host.Spec.AutomatedCleaningMode})
	if err != nil {
		return nil, fmt.Errorf("claiming host %s: %w", host.Name, err)
	}
	return w.patch(ctx, "claiming", host, func(h *bmov1.BareMetalHost) {
		h.Spec.ConsumerRef = ConsumerRef(machine)
		h.Annotations = with(h.Annotations, infrav1.BeforeClaimAnnotation, string(was))
		// A move must not copy the host before its status is written down; see Park.
		h.Annotations[clusterctlv1.BlockMoveAnnotation] = ""
	})
}

// Order is what a host is to be provisioned with.
type Order struct {
	Image             bmov1.Image
	ConfigSecret      string
	AutomatedCleaning infrav1.CleaningMode
}

// Provision asks baremetal-operator to write the image and to boot it with the documents in the Secret.
func (w Writer) Provision(ctx context.Context, host *bmov1.BareMetalHost, order Order) (*bmov1.BareMetalHost, error) {
	return w.patch(ctx, "provisioning", host, func(h *bmov1.BareMetalHost) {
		secret := corev1.SecretReference{Name: order.ConfigSecret, Namespace: h.Namespace}
		h.Spec.Image = &order.Image
		h.Spec.UserData, h.Spec.NetworkData, h.Spec.MetaData = &secret, &secret, &secret
		h.Spec.Online = true
		switch order.AutomatedCleaning {
		case infrav1.CleaningMetadata:
			h.Spec.AutomatedCleaningMode = bmov1.CleaningModeMetadata
		case infrav1.CleaningDisabled:
			h.Spec.AutomatedCleaningMode = bmov1.CleaningModeDisabled
		}
	})
}

// Deprovision takes image and documents away from the host; baremetal-operator then cleans it.
func (w Writer) Deprovision(ctx context.Context, host *bmov1.BareMetalHost) (*bmov1.BareMetalHost, error) {
	return w.patch(ctx, "deprovisioning", host, func(h *bmov1.BareMetalHost) {
		h.Spec.Image, h.Spec.UserData, h.Spec.NetworkData, h.Spec.MetaData = nil, nil, nil, nil
	})
}

// Release gives the host back as it was before it was claimed.
func (w Writer) Release(ctx context.Context, host *bmov1.BareMetalHost) error {
	var was beforeClaim
	recorded, found := host.Annotations[infrav1.BeforeClaimAnnotation]
	if found {
		if err := json.Unmarshal([]byte(recorded), &was); err != nil {
			found = false
		}
	}
	_, err := w.patch(ctx, "releasing", host, func(h *bmov1.BareMetalHost) {
		h.Spec.ConsumerRef = nil
		if found {
			h.Spec.Online, h.Spec.AutomatedCleaningMode = was.Online, was.AutomatedCleaningMode
		}
		h.Annotations = without(h.Annotations, infrav1.BeforeClaimAnnotation, clusterctlv1.BlockMoveAnnotation)
		if h.Annotations[bmov1.PausedAnnotation] == infrav1.HostPausedValue {
			h.Annotations = without(h.Annotations, bmov1.PausedAnnotation)
		}
	})
	return err
}

// Park makes a claimed host ready to be moved to another management cluster, in steps; IsParked tells when the last is done.
//
// First baremetal-operator detaches the host, if its state allows that, which takes it out of Ironic. clusterctl move deletes the
// host from its old cluster, and before that it replaces all annotations, a pause too: for an instant baremetal-operator sees a host
// that is not paused and is being deleted. One that is detached is let go; another one would be switched off and wiped. Then the
// host is paused, and its status, which a move does not carry, is written down in the annotation from which baremetal-operator
// restores it.
func (w Writer) Park(ctx context.Context, host *bmov1.BareMetalHost, hardwareDataExists bool) error {
	if _, paused := host.Annotations[bmov1.PausedAnnotation]; !paused {
		if canDetach(host) {
			_, err := w.patch(ctx, "detaching", host, func(h *bmov1.BareMetalHost) {
				if _, detached := h.Annotations[bmov1.DetachedAnnotation]; !detached {
					h.Annotations = with(h.Annotations, bmov1.DetachedAnnotation, infrav1.HostDetachedValue)
				}
			})
			return err
		}
		// The pause must be in force before the status is read, or the copy could be outdated.
		paused, err := w.patch(ctx, "pausing", host, func(h *bmov1.BareMetalHost) {
			h.Annotations = with(h.Annotations, bmov1.PausedAnnotation, infrav1.HostPausedValue)
		})
		if err != nil {
			return err
		}
		host = paused
	}
	status := host.Status.DeepCopy()
	if hardwareDataExists {
		status.HardwareDetails = nil
	}
	encoded, err := json.Marshal(status)
	if err != nil {
		return fmt.Errorf("writing down the status of host %s: %w", host.Name, err)
	}
	_, err = w.patch(ctx, "parking", host, func(h *bmov1.BareMetalHost) {
		h.Annotations = with(without(h.Annotations, clusterctlv1.BlockMoveAnnotation), bmov1.StatusAnnotation, string(encoded))
	})
	return err
}

// canDetach tells whether baremetal-operator would detach the host, and has not done so yet. It does in these states only.
func canDetach(host *bmov1.BareMetalHost) bool {
	detachable := []bmov1.ProvisioningState{
		bmov1.StateProvisioned, bmov1.StateExternallyProvisioned, bmov1.StateReady, bmov1.StateAvailable,
	}
	return host.DeletionTimestamp.IsZero() && slices.Contains(detachable, host.Status.Provisioning.State) &&
		host.Status.OperationalStatus != bmov1.OperationalStatusDetached
}

// IsParked tells whether Park has been done.
func IsParked(host *bmov1.BareMetalHost) bool {
	_, paused := host.Annotations[bmov1.PausedAnnotation]
	_, status := host.Annotations[bmov1.StatusAnnotation]
	_, blocked := host.Annotations[clusterctlv1.BlockMoveAnnotation]
	return paused && status && !blocked
}

// Unpark hands a parked host back to baremetal-operator. What somebody else has paused or detached stays so.
func (w Writer) Unpark(ctx context.Context, host *bmov1.BareMetalHost) (*bmov1.BareMetalHost, error) {
	paused := host.Annotations[bmov1.PausedAnnotation] == infrav1.HostPausedValue
	detached := host.Annotations[bmov1.DetachedAnnotation] == infrav1.HostDetachedValue
	if !paused && !detached {
		return host, nil
	}
	return w.patch(ctx, "unparking", host, func(h *bmov1.BareMetalHost) {
		if detached {
			h.Annotations = without(h.Annotations, bmov1.DetachedAnnotation)
		}
		h.Annotations = with(h.Annotations, clusterctlv1.BlockMoveAnnotation, "")
		if !paused {
			return
		}
		h.Annotations = without(h.Annotations, bmov1.PausedAnnotation)
		// A status that is already there is newer than the copy.
		if h.Status.Provisioning.State != bmov1.StateNone {
			h.Annotations = without(h.Annotations, bmov1.StatusAnnotation)
		}
	})
}

// patch changes a copy of the host and sends the difference, if any, with an optimistic lock.
func (w Writer) patch(ctx context.Context, doing string, host *bmov1.BareMetalHost, change func(*bmov1.BareMetalHost)) (*bmov1.BareMetalHost, error) {
	after := host.DeepCopy()
	change(after)
	if equality.Semantic.DeepEqual(host.Spec, after.Spec) && maps.Equal(host.Annotations, after.Annotations) {
		return after, nil
	}
	if err := w.Client.Patch(ctx, after, client.MergeFromWithOptions(host, client.MergeFromWithOptimisticLock{})); err != nil {
		return nil, fmt.Errorf("%s host %s: %w", doing, host.Name, err)
	}
	return after, nil
}

func with(annotations map[string]string, key, value string) map[string]string {
	changed := maps.Clone(annotations)
	if changed == nil {
		changed = map[string]string{}
	}
	changed[key] = value
	return changed
}

func without(annotations map[string]string, keys ...string) map[string]string {
	changed := maps.Clone(annotations)
	for _, key := range keys {
		delete(changed, key)
	}
	return changed
}
