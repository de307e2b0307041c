// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package metal3 plays the part of baremetal-operator for the BareMetalHosts of a namespace: it registers and inspects them,
// provisions those that are given an image, deprovisions those that it is taken from, and frees what is deleted. Tests can
// hold a host in a state, and break and repair it.
package metal3

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/integration/loop"
)

// usedLabel is what baremetal-operator puts on the Secrets that it reads.
const usedLabel = "environment.metal3.io"

// Boot is what a host was provisioned with.
type Boot struct {
	Image                           string
	UserData, NetworkData, MetaData string
}

// Operator of the hosts of one namespace.
type Operator struct {
	client    client.WithWatch
	namespace string
	nudge     chan struct{}

	mu   sync.Mutex
	iron map[string]*iron
}

// iron is the machine behind a BareMetalHost.
type iron struct {
	hardware    *bmov1.HardwareDetails
	inStatus    bool
	heldIn      bmov1.ProvisioningState
	faultType   bmov1.ErrorType
	fault       string
	boots       []Boot
	deprovision int
}

// NewOperator makes an operator; Run starts it.
func NewOperator(c client.WithWatch, namespace string) *Operator {
	return &Operator{client: c, namespace: namespace, nudge: make(chan struct{}, 1), iron: map[string]*iron{}}
}

// Run until the context ends.
func (o *Operator) Run(ctx context.Context) {
	loop.Loop{
		Client:    o.client,
		Namespace: o.namespace,
		List:      func() client.ObjectList { return &bmov1.BareMetalHostList{} },
		Handle: func(ctx context.Context, object client.Object) error {
			host, isHost := object.(*bmov1.BareMetalHost)
			if !isHost {
				return nil
			}
			return o.handle(ctx, host)
		},
		Nudge: o.nudge,
	}.Run(ctx)
}

// Install the hardware that the inspection of a host will find. Without it the inspection finds nothing.
func (o *Operator) Install(host string, hardware *bmov1.HardwareDetails) {
	o.change(host, func(i *iron) { i.hardware = hardware })
}

// ReportInStatus leaves out HardwareData for a host and reports its hardware in the status alone.
func (o *Operator) ReportInStatus(host string) {
	o.change(host, func(i *iron) { i.inStatus = true })
}

// HoldIn keeps a host in a state once it has reached it.
func (o *Operator) HoldIn(host string, state bmov1.ProvisioningState) {
	o.change(host, func(i *iron) { i.heldIn = state })
}

// LetGo of a host that was held.
func (o *Operator) LetGo(host string) { o.HoldIn(host, bmov1.StateNone) }

// Break a host: it stays in its state and reports the error.
func (o *Operator) Break(host string, kind bmov1.ErrorType, message string) {
	o.change(host, func(i *iron) { i.faultType, i.fault = kind, message })
}

// Repair a host that was broken.
func (o *Operator) Repair(host string) { o.Break(host, "", "") }

// Boots lists what a host was provisioned with, in order.
func (o *Operator) Boots(host string) []Boot {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.get(host).boots)
}

// Deprovisionings counts how often a host was deprovisioned.
func (o *Operator) Deprovisionings(host string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.get(host).deprovision
}

func (o *Operator) change(host string, change func(*iron)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change(o.get(host))
	select {
	case o.nudge <- struct{}{}:
	default:
	}
}

func (o *Operator) get(host string) *iron {
	if o.iron[host] == nil {
		o.iron[host] = &iron{}
	}
	return o.iron[host]
}

// handle takes one step with a host. A write is one step: it comes back as the next change.
func (o *Operator) handle(ctx context.Context, host *bmov1.BareMetalHost) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, paused := host.Annotations[bmov1.PausedAnnotation]; paused {
		return nil
	}
	if saved, found := host.Annotations[bmov1.StatusAnnotation]; found {
		return o.restore(ctx, host, saved)
	}
	machine := o.get(host.Name)
	if !host.DeletionTimestamp.IsZero() {
		return o.remove(ctx, host, machine)
	}
	if controllerutil.AddFinalizer(host, bmov1.BareMetalHostFinalizer) {
		return o.client.Update(ctx, host)
	}
	before, was := host.DeepCopy(), *machine
	if _, detached := host.Annotations[bmov1.DetachedAnnotation]; detached && host.Status.Provisioning.State == bmov1.StateProvisioned {
		host.Status.OperationalStatus = bmov1.OperationalStatusDetached
	} else if machine.fault != "" {
		fail(host, machine)
	} else if err := o.proceed(ctx, host, machine); err != nil {
		return err
	}
	if equality.Semantic.DeepEqual(before.Status, host.Status) {
		return nil
	}
	if err := o.client.Status().Update(ctx, host); err != nil {
		if apierrors.IsConflict(err) {
			*machine = was // What was decided on an outdated host has not happened.
		}
		return err
	}
	return nil
}

// restore a status from the annotation in which it was moved; an existing status wins.
func (o *Operator) restore(ctx context.Context, host *bmov1.BareMetalHost, saved string) error {
	if host.Status.Provisioning.State == bmov1.StateNone {
		if err := json.Unmarshal([]byte(saved), &host.Status); err != nil {
			return fmt.Errorf("restoring the status of host %s: %w", host.Name, err)
		}
		if err := o.client.Status().Update(ctx, host); err != nil {
			return err
		}
	}
	delete(host.Annotations, bmov1.StatusAnnotation)
	return o.client.Update(ctx, host)
}

// remove a host that is being deleted, after wiping it.
func (o *Operator) remove(ctx context.Context, host *bmov1.BareMetalHost, machine *iron) error {
	if machine.heldIn == bmov1.StateDeleting {
		return nil
	}
	if controllerutil.RemoveFinalizer(host, bmov1.BareMetalHostFinalizer) {
		return client.IgnoreNotFound(o.client.Update(ctx, host))
	}
	return nil
}

func fail(host *bmov1.BareMetalHost, machine *iron) {
	if host.Status.ErrorMessage == machine.fault {
		return
	}
	host.Status.OperationalStatus = bmov1.OperationalStatusError
	host.Status.ErrorType, host.Status.ErrorMessage = machine.faultType, machine.fault
	host.Status.ErrorCount++
}

// proceed from one state to the next.
func (o *Operator) proceed(ctx context.Context, host *bmov1.BareMetalHost, machine *iron) error {
	status := &host.Status
	status.OperationalStatus, status.ErrorType, status.ErrorMessage, status.ErrorCount = bmov1.OperationalStatusOK, "", "", 0
	state := &status.Provisioning.State
	if machine.heldIn != "" && machine.heldIn == *state {
		return nil
	}
	switch *state {
	case bmov1.StateNone:
		*state = bmov1.StateRegistering
	case bmov1.StateRegistering:
		*state = bmov1.StateInspecting
	case bmov1.StateInspecting:
		*state = bmov1.StateAvailable
		return o.inspect(ctx, host, machine)
	case bmov1.StateAvailable:
		if host.Spec.Image != nil && host.Spec.Online {
			*state = bmov1.StateProvisioning
		}
	case bmov1.StateProvisioning:
		if host.Spec.Image == nil {
			*state = bmov1.StateDeprovisioning
			return nil
		}
		return o.provision(ctx, host, machine)
	case bmov1.StateProvisioned:
		status.PoweredOn = host.Spec.Online
		if host.Spec.Image == nil || host.Spec.Image.URL != status.Provisioning.Image.URL {
			*state = bmov1.StateDeprovisioning
		}
	case bmov1.StateDeprovisioning:
		machine.deprovision++
		status.Provisioning.Image = bmov1.Image{}
		status.PoweredOn = host.Spec.Online
		*state = bmov1.StateAvailable
	}
	return nil
}

func (o *Operator) inspect(ctx context.Context, host *bmov1.BareMetalHost, machine *iron) error {
	if machine.hardware == nil {
		return nil
	}
	host.Status.HardwareDetails = machine.hardware
	if machine.inStatus {
		return nil
	}
	data := &bmov1.HardwareData{}
	data.Name, data.Namespace = host.Name, host.Namespace
	data.Spec.HardwareDetails = machine.hardware
	return client.IgnoreAlreadyExists(o.client.Create(ctx, data))
}

// provision a host: a Secret that is missing is an error that goes away when it appears.
func (o *Operator) provision(ctx context.Context, host *bmov1.BareMetalHost, machine *iron) error {
	boot := Boot{Image: host.Spec.Image.URL}
	for _, document := range []struct {
		ref *corev1.SecretReference
		key string
		to  *string
	}{
		{host.Spec.UserData, "userData", &boot.UserData},
		{host.Spec.NetworkData, "networkData", &boot.NetworkData},
		{host.Spec.MetaData, "metaData", &boot.MetaData},
	} {
		text, err := o.read(ctx, document.ref, document.key)
		if err != nil {
			return err
		}
		*document.to = text
	}
	machine.boots = append(machine.boots, boot)
	host.Status.Provisioning.State = bmov1.StateProvisioned
	host.Status.Provisioning.Image = *host.Spec.Image
	host.Status.PoweredOn = true
	return nil
}

func (o *Operator) read(ctx context.Context, ref *corev1.SecretReference, key string) (string, error) {
	if ref == nil {
		return "", nil
	}
	secret := &corev1.Secret{}
	if err := o.client.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, secret); err != nil {
		return "", fmt.Errorf("reading %s of a host: %w", key, err)
	}
	if _, used := secret.Labels[usedLabel]; !used {
		before := secret.DeepCopy()
		if secret.Labels == nil {
			secret.Labels = map[string]string{}
		}
		secret.Labels[usedLabel] = "baremetal"
		if err := o.client.Patch(ctx, secret, client.MergeFrom(before)); err != nil {
			return "", fmt.Errorf("labelling %s of a host: %w", key, err)
		}
	}
	text, found := secret.Data[key]
	if !found {
		return "", fmt.Errorf("reading %s of a host: the Secret %s has no such key", key, ref.Name)
	}
	return string(text), nil
}
