// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package iron

import (
	"context"
	"sync"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/bmo"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/faults"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/hardware"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/machine"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/qemu"
)

// rackMetal puts simulated machines behind hosts.
type rackMetal struct {
	rack *machine.Rack
}

func describe(host *bmov1.BareMetalHost, nics []hardware.NIC) hardware.Machine {
	return hardware.Machine{UID: string(host.UID), Hardware: host.Status.HardwareDetails.DeepCopy(), NICs: nics}
}

// Deploy implements bmo.Metal.
func (m rackMetal) Deploy(_ context.Context, host *bmov1.BareMetalHost, drive hardware.Drive) error {
	return m.rack.Deploy(client.ObjectKeyFromObject(host), describe(host, nil), host.Spec.Image.URL, drive)
}

// Wipe implements bmo.Metal.
func (m rackMetal) Wipe(_ context.Context, key types.NamespacedName) error { return m.rack.Wipe(key) }

// PowerOn implements bmo.Metal.
func (m rackMetal) PowerOn(_ context.Context, host *bmov1.BareMetalHost, nics []hardware.NIC) error {
	return m.rack.PowerOn(client.ObjectKeyFromObject(host), describe(host, nics))
}

// PowerOff implements bmo.Metal.
func (m rackMetal) PowerOff(_ context.Context, key types.NamespacedName) error {
	return m.rack.PowerOff(key)
}

// Shutdown implements bmo.Metal. A simulated machine ends at once.
func (m rackMetal) Shutdown(_ context.Context, key types.NamespacedName) error {
	return m.rack.PowerOff(key)
}

// PoweredOn implements bmo.Metal.
func (m rackMetal) PoweredOn(key types.NamespacedName) bool { return m.rack.PoweredOn(key) }

// SetFaults implements bmo.Metal.
func (m rackMetal) SetFaults(key types.NamespacedName, set faults.Set) { m.rack.SetFaults(key, set) }

// Remove implements bmo.Metal.
func (m rackMetal) Remove(_ context.Context, key types.NamespacedName) error {
	return m.rack.Remove(key)
}

// virtualMetal puts virtual machines behind hosts.
type virtualMetal struct {
	rack *qemu.Rack
}

// Deploy implements bmo.Metal.
func (m virtualMetal) Deploy(ctx context.Context, host *bmov1.BareMetalHost, drive hardware.Drive) error {
	return ofHost(ctx, m.rack.Deploy(ctx, client.ObjectKeyFromObject(host), describe(host, nil), *host.Spec.Image, drive))
}

// Wipe implements bmo.Metal.
func (m virtualMetal) Wipe(_ context.Context, key types.NamespacedName) error {
	return m.rack.Wipe(key)
}

// PowerOn implements bmo.Metal.
func (m virtualMetal) PowerOn(ctx context.Context, host *bmov1.BareMetalHost, nics []hardware.NIC) error {
	return ofHost(ctx, m.rack.PowerOn(ctx, client.ObjectKeyFromObject(host), describe(host, nics)))
}

// PowerOff implements bmo.Metal.
func (m virtualMetal) PowerOff(_ context.Context, key types.NamespacedName) error {
	return m.rack.PowerOff(key)
}

// Shutdown implements bmo.Metal.
func (m virtualMetal) Shutdown(ctx context.Context, key types.NamespacedName) error {
	return m.rack.Shutdown(ctx, key)
}

// PoweredOn implements bmo.Metal.
func (m virtualMetal) PoweredOn(key types.NamespacedName) bool { return m.rack.PoweredOn(key) }

// SetFaults implements bmo.Metal.
func (m virtualMetal) SetFaults(key types.NamespacedName, set faults.Set) { m.rack.SetFaults(key, set) }

// Remove implements bmo.Metal.
func (m virtualMetal) Remove(_ context.Context, key types.NamespacedName) error {
	return m.rack.Remove(key)
}

// ofHost tells that an error is the host's own, unless it is only the lab that ends.
func ofHost(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	return &bmo.HostError{Err: err}
}

// instant has power switches and nothing behind them.
type instant struct {
	onPower func(ctx context.Context, host types.NamespacedName, on bool) error

	mu       sync.Mutex
	on       map[types.NamespacedName]bool
	deployed map[types.NamespacedName]bool
}

func newInstant(onPower func(context.Context, types.NamespacedName, bool) error) *instant {
	if onPower == nil {
		onPower = func(context.Context, types.NamespacedName, bool) error { return nil }
	}
	return &instant{onPower: onPower, on: map[types.NamespacedName]bool{}, deployed: map[types.NamespacedName]bool{}}
}

// Deploy implements bmo.Metal.
func (m *instant) Deploy(_ context.Context, host *bmov1.BareMetalHost, _ hardware.Drive) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.deployed[client.ObjectKeyFromObject(host)] = true
	return nil
}

// Wipe implements bmo.Metal.
func (m *instant) Wipe(_ context.Context, key types.NamespacedName) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.deployed, key)
	return nil
}

// PowerOn implements bmo.Metal.
func (m *instant) PowerOn(ctx context.Context, host *bmov1.BareMetalHost, _ []hardware.NIC) error {
	return m.turn(ctx, client.ObjectKeyFromObject(host), true)
}

// PowerOff implements bmo.Metal.
func (m *instant) PowerOff(ctx context.Context, key types.NamespacedName) error {
	return m.turn(ctx, key, false)
}

// Shutdown implements bmo.Metal.
func (m *instant) Shutdown(ctx context.Context, key types.NamespacedName) error {
	return m.turn(ctx, key, false)
}

// turn tells of the power of machines that have something to run.
func (m *instant) turn(ctx context.Context, key types.NamespacedName, on bool) error {
	m.mu.Lock()
	changes := m.on[key] != on && m.deployed[key]
	m.mu.Unlock()
	if changes {
		if err := m.onPower(ctx, key, on); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.on[key] = on
	return nil
}

// PoweredOn implements bmo.Metal.
func (m *instant) PoweredOn(key types.NamespacedName) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.on[key]
}

// SetFaults implements bmo.Metal. There is nothing that could go wrong in a machine.
func (m *instant) SetFaults(types.NamespacedName, faults.Set) {}

// Remove implements bmo.Metal.
func (m *instant) Remove(ctx context.Context, key types.NamespacedName) error {
	if err := m.turn(ctx, key, false); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.on, key)
	delete(m.deployed, key)
	return nil
}
