// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package bmo

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
)

// hardwareDataFinalizer keeps HardwareData until its host is being deleted.
const hardwareDataFinalizer = bmov1.BareMetalHostFinalizer + "/hardwareData"

// prepare does what comes before the state machine. It tells whether it changed the host, which ends the step.
func (r *Reconciler) prepare(ctx context.Context, host *bmov1.BareMetalHost) (bool, error) {
	data, err := r.hardwareData(ctx, host)
	if err != nil {
		return false, err
	}
	if !host.DeletionTimestamp.IsZero() {
		return false, r.releaseHardwareData(ctx, data)
	}
	for _, step := range []func(context.Context, *bmov1.BareMetalHost, *bmov1.HardwareData) (bool, error){
		r.restoreStatus, r.setArchitecture, r.takeHardwareDetails, r.addFinalizer,
	} {
		if changed, err := step(ctx, host, data); changed || err != nil {
			return changed, err
		}
	}
	return false, nil
}

// hardwareData is the host's, or an empty one.
func (r *Reconciler) hardwareData(ctx context.Context, host *bmov1.BareMetalHost) (*bmov1.HardwareData, error) {
	data := &bmov1.HardwareData{}
	if err := r.client.Get(ctx, client.ObjectKeyFromObject(host), data); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("reading HardwareData: %w", err)
	}
	return data, nil
}

func (r *Reconciler) releaseHardwareData(ctx context.Context, data *bmov1.HardwareData) error {
	if !controllerutil.RemoveFinalizer(data, hardwareDataFinalizer) {
		return nil
	}
	if err := r.client.Update(ctx, data); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("releasing HardwareData: %w", err)
	}
	return nil
}

// restoreStatus brings back the status of a host that was moved from another cluster, from its annotation,
// and removes the annotation once there is a status.
func (r *Reconciler) restoreStatus(ctx context.Context, host *bmov1.BareMetalHost, data *bmov1.HardwareData) (bool, error) {
	text, ok := host.Annotations[bmov1.StatusAnnotation]
	if !ok {
		return false, nil
	}
	status := bmov1.BareMetalHostStatus{}
	if host.Status.LastUpdated.IsZero() && text != "" && json.Unmarshal([]byte(text), &status) == nil {
		if data.Spec.HardwareDetails != nil {
			status.HardwareDetails = data.Spec.HardwareDetails
		}
		if status.LastUpdated.IsZero() {
			status.LastUpdated = new(metav1.Now())
		}
		host.Status = status
		if err := r.client.Status().Update(ctx, host); err != nil {
			return false, fmt.Errorf("could not restore status from annotation: %w", err)
		}
		return true, nil
	}
	delete(host.Annotations, bmov1.StatusAnnotation)
	if err := r.client.Update(ctx, host); err != nil {
		return false, fmt.Errorf("could not delete status annotation: %w", err)
	}
	return true, nil
}

// setArchitecture fills in spec.architecture from what inspection found.
func (r *Reconciler) setArchitecture(ctx context.Context, host *bmov1.BareMetalHost, data *bmov1.HardwareData) (bool, error) {
	if host.Spec.Architecture != "" || data.Spec.HardwareDetails == nil || data.Spec.HardwareDetails.CPU.Arch == "" {
		return false, nil
	}
	host.Spec.Architecture = data.Spec.HardwareDetails.CPU.Arch
	if err := r.client.Update(ctx, host); err != nil {
		return false, fmt.Errorf("failed to update architecture: %w", err)
	}
	return true, nil
}

// takeHardwareDetails uses the operator's own hardware annotation when the host has no details or is not to
// be inspected, and removes it in any case.
func (r *Reconciler) takeHardwareDetails(ctx context.Context, host *bmov1.BareMetalHost, data *bmov1.HardwareData) (bool, error) {
	if host.Status.HardwareDetails == nil || host.InspectionDisabled() {
		details, err := knownDetails(host, data)
		if err != nil {
			return false, err
		}
		if details != nil && !equality.Semantic.DeepEqual(details, host.Status.HardwareDetails) {
			host.Status.HardwareDetails = details
			host.Status.LastUpdated = new(metav1.Now())
			if err := r.client.Status().Update(ctx, host); err != nil {
				return false, fmt.Errorf("could not update hardwaredetails: %w", err)
			}
			return true, nil
		}
	}
	if _, ok := host.Annotations[bmov1.HardwareDetailsAnnotation]; !ok {
		return false, nil
	}
	delete(host.Annotations, bmov1.HardwareDetailsAnnotation)
	if err := r.client.Update(ctx, host); err != nil {
		return false, fmt.Errorf("could not remove hardwaredetails annotation: %w", err)
	}
	return true, nil
}

func knownDetails(host *bmov1.BareMetalHost, data *bmov1.HardwareData) (*bmov1.HardwareDetails, error) {
	if data.Spec.HardwareDetails != nil {
		return data.Spec.HardwareDetails, nil
	}
	text := host.Annotations[bmov1.HardwareDetailsAnnotation]
	if text == "" {
		return nil, nil
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	details := &bmov1.HardwareDetails{}
	if err := decoder.Decode(details); err != nil {
		return nil, fmt.Errorf("error parsing HardwareDetails from annotation: %w", err)
	}
	return details, nil
}

func (r *Reconciler) addFinalizer(ctx context.Context, host *bmov1.BareMetalHost, _ *bmov1.HardwareData) (bool, error) {
	if !controllerutil.AddFinalizer(host, bmov1.BareMetalHostFinalizer) {
		return false, nil
	}
	if err := r.client.Update(ctx, host); err != nil {
		return false, fmt.Errorf("failed to add finalizer: %w", err)
	}
	return true, nil
}

// publishHardware writes what inspection found as HardwareData; older data are replaced.
func (r *Reconciler) publishHardware(ctx context.Context, host *bmov1.BareMetalHost) error {
	old, err := r.hardwareData(ctx, host)
	if err != nil {
		return err
	}
	if old.Name != "" {
		if equality.Semantic.DeepEqual(old.Spec.HardwareDetails, host.Status.HardwareDetails) {
			return nil
		}
		if err := r.releaseHardwareData(ctx, old); err != nil {
			return err
		}
		if err := r.client.Delete(ctx, old); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("failed to delete hardwareData: %w", err)
		}
	}
	data := &bmov1.HardwareData{
		ObjectMeta: metav1.ObjectMeta{
			Name: host.Name, Namespace: host.Namespace, Finalizers: []string{hardwareDataFinalizer},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(host, bmov1.GroupVersion.WithKind("BareMetalHost"))},
		},
		Spec: bmov1.HardwareDataSpec{HardwareDetails: host.Status.HardwareDetails},
	}
	if err := r.client.Create(ctx, data); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("failed to create hardwareData: %w", err)
	}
	return nil
}
