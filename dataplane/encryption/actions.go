// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package encryption

// ActionKind names something that the node agent does to the dataplane.
type ActionKind string

const (
	// InstallGuard puts the guard in force.
	InstallGuard ActionKind = "InstallGuard"
	// RemoveGuard takes the guard away and restores what was there.
	RemoveGuard ActionKind = "RemoveGuard"
	// RemoveBootGuard takes away what the host has loaded when it started, once the guard is in force.
	RemoveBootGuard ActionKind = "RemoveBootGuard"
	// CreateDevice makes the kernel's WireGuard device, with the host's key. Never with VPP, where the host's start-up file does.
	CreateDevice ActionKind = "CreateDevice"
	// SetKey gives a kernel device that has no key the host's, and the cluster's port.
	SetKey ActionKind = "SetKey"
	// SetUnnumbered makes VPP's tunnel borrow the uplink's address.
	SetUnnumbered ActionKind = "SetUnnumbered"
	// EnableGSO lets large packets through VPP's tunnel.
	EnableGSO ActionKind = "EnableGSO"
	// EnableCNAT lets services work through VPP's tunnel.
	EnableCNAT ActionKind = "EnableCNAT"
	// SetUp brings the tunnel up.
	SetUp ActionKind = "SetUp"
)

// Action is something to do to the dataplane.
type Action struct {
	Kind ActionKind `json:"kind"`
	// Interface that it is done to; the uplink's for the guard.
	Interface Interface `json:"interface,omitzero"`
}

// Actions are what to do next, in order. They are none once the tunnel is complete and the guard as it should be. A second tunnel is
// never made: VPP and the Calico agent would send by either.
func Actions(e Expectation, o Observation) []Action {
	if o.Unreachable != "" {
		return nil
	}
	actions := guardActions(e, o)
	if e.Protocol != WireGuard {
		return actions
	}
	own := ownTunnels(e, o)
	switch {
	case o.Backend == Kernel && len(own) == 0 && e.FileKey != "":
		return append(actions, Action{Kind: CreateDevice, Interface: Interface{Name: KernelDevice}})
	case len(own) != 1:
		return actions
	case o.Backend == Kernel:
		return append(actions, deviceActions(e, own[0])...)
	default:
		return append(actions, tunnelActions(o, own[0])...)
	}
}

// guardActions come first: nothing may leave in clear before the tunnel is there either.
func guardActions(e Expectation, o Observation) []Action {
	switch {
	case e.Mode != ModeRequired && (o.Guard.Present || o.Guard.Boot):
		return []Action{{Kind: RemoveGuard, Interface: o.Uplink}}
	case o.Guard.InForce && o.Guard.Boot:
		return []Action{{Kind: RemoveBootGuard}}
	case e.Mode != ModeRequired || o.Guard.InForce || o.Guard.Problem != "" || len(e.PodCIDRs) == 0:
		return nil
	case o.Uplink.Name != "" || !o.Guard.Early:
		return []Action{{Kind: InstallGuard, Interface: o.Uplink}}
	default:
		return nil
	}
}

// deviceActions leave it to Felix to bring the device up, and touch no key that is there.
func deviceActions(e Expectation, device Tunnel) []Action {
	if device.PublicKey == "" && e.FileKey != "" {
		return []Action{{Kind: SetKey, Interface: device.Interface}}
	}
	return nil
}

// tunnelActions are in the order of Calico's agent: up comes last, until then VPP drops what is routed into the tunnel.
func tunnelActions(o Observation, tunnel Tunnel) []Action {
	if o.Uplink.Name == "" {
		return nil
	}
	var actions []Action
	for _, step := range []struct {
		done bool
		kind ActionKind
	}{
		{tunnel.Addressed, SetUnnumbered},
		{tunnel.GSO, EnableGSO},
		{tunnel.CNAT, EnableCNAT},
		{tunnel.Up, SetUp},
	} {
		if !step.done {
			actions = append(actions, Action{Kind: step.kind, Interface: tunnel.Interface})
		}
	}
	return actions
}

// ownTunnels are the WireGuard interfaces that send from the node's address: with the kernel, Felix's device.
func ownTunnels(e Expectation, o Observation) []Tunnel {
	var own []Tunnel
	for _, tunnel := range o.Tunnels {
		if o.Backend == Kernel && tunnel.Name == KernelDevice || o.Backend == VPP && tunnel.Source == e.Address {
			own = append(own, tunnel)
		}
	}
	return own
}
