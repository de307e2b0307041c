// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/hosts"
)

// provisionHost asks for the image and waits until the host runs it.
func (r *EdgeMachineReconciler) provisionHost(ctx context.Context, s *machineScope) (proceed, error) {
	host, err := r.hosts.Provision(ctx, s.host, hosts.Order{
		Image:             wantedImage(s.edgeMachine.Spec.Image),
		ConfigSecret:      hostConfigName(s.edgeMachine),
		AutomatedCleaning: s.edgeMachine.Spec.AutomatedCleaning,
	})
	if err != nil {
		return false, err
	}
	s.host = host
	if goOn := s.observeHost(); !bool(goOn) {
		return false, nil
	}
	if err := r.patchMachine(ctx, s, func(m *infrav1.EdgeMachine) { m.Spec.ProviderID = providerID(m, host.Name) }); err != nil {
		return false, err
	}
	return true, nil
}

// observeProvisionedHost reports on a host that was provisioned, and goes on in any case: a Node may well run on a host
// whose BMC does not answer.
func (r *EdgeMachineReconciler) observeProvisionedHost(_ context.Context, s *machineScope) (proceed, error) {
	s.observeHost()
	return true, nil
}

// observeHost judges HostProvisioned from what baremetal-operator reports.
func (s *machineScope) observeHost() proceed {
	status := s.host.Status
	image := status.Provisioning.Image
	wanted := wantedImage(s.edgeMachine.Spec.Image)
	switch {
	case status.ErrorMessage != "" || status.OperationalStatus == bmov1.OperationalStatusError:
		return s.wait(infrav1.HostProvisionedCondition, infrav1.HostErrorReason, "%s", hostError(s.host))
	case status.Provisioning.State != bmov1.StateProvisioned:
		return s.wait(infrav1.HostProvisionedCondition, infrav1.HostProvisioningReason, "BareMetalHost %s is %s", s.host.Name, hostState(s.host))
	case image.URL != wanted.URL || image.Checksum != wanted.Checksum:
		return s.wait(infrav1.HostProvisionedCondition, infrav1.HostProvisioningReason, "BareMetalHost %s runs image %s instead of %s", s.host.Name, image.URL, wanted.URL)
	default:
		return s.reached(infrav1.HostProvisionedCondition, infrav1.HostProvisionedReason, "")
	}
}

// hostError is baremetal-operator's own text.
func hostError(host *bmov1.BareMetalHost) string {
	status := host.Status
	return fmt.Sprintf("BareMetalHost %s (%s): %s: %s (%d errors; baremetal-operator tries again)",
		host.Name, hostState(host), status.ErrorType, status.ErrorMessage, status.ErrorCount)
}

// hostState names the state of the host, and what keeps it from changing.
func hostState(host *bmov1.BareMetalHost) string {
	state := string(host.Status.Provisioning.State)
	switch {
	case state == "":
		state = "not registered yet"
	case hosts.IsIdle(host) && host.Spec.Image != nil:
		// The moment until baremetal-operator begins is not worth a write of its own.
		state = string(bmov1.StateProvisioning)
	}
	if _, paused := host.Annotations[bmov1.PausedAnnotation]; paused {
		state += ", and paused by the annotation " + bmov1.PausedAnnotation
	}
	if _, detached := host.Annotations[bmov1.DetachedAnnotation]; detached {
		state += ", and detached by the annotation " + bmov1.DetachedAnnotation
	}
	return state
}

func wantedImage(image infrav1.Image) bmov1.Image {
	wanted := bmov1.Image{URL: image.URL, Checksum: image.Checksum, ChecksumType: bmov1.ChecksumType(image.ChecksumType)}
	if image.Format != "" {
		wanted.DiskFormat = &image.Format
	}
	return wanted
}
