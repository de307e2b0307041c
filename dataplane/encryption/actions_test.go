// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package encryption

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestActions(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(s *site)
		want   []ActionKind
	}{
		{"nothing to do", func(*site) {}, nil},
		{"nothing to do, kernel", (*site).onKernel, nil},
		{"nothing to do, IPsec", (*site).onIPsec, nil},
		{"unreachable", func(s *site) { s.o.Unreachable, s.o.Tunnels[0].Up = "gone", false }, nil},
		{"a bare tunnel", func(s *site) { s.o.Tunnels[0] = Tunnel{Interface: s.o.Tunnels[0].Interface, Source: addressA} }, []ActionKind{SetUnnumbered, EnableGSO, EnableCNAT, SetUp}},
		{"a half-done tunnel", func(s *site) { s.o.Tunnels[0].CNAT, s.o.Tunnels[0].Up = false, false }, []ActionKind{EnableCNAT, SetUp}},
		{"no uplink yet", func(s *site) {
			s.o.Tunnels[0] = Tunnel{Interface: s.o.Tunnels[0].Interface, Source: addressA}
			s.o.Uplink, s.o.Guard = Interface{}, Guard{Early: true}
		}, nil},
		{"no uplink yet, and nothing that drops", func(s *site) { s.o.Uplink, s.o.Guard = Interface{}, Guard{} }, []ActionKind{InstallGuard}},
		{"no tunnel", func(s *site) { s.o.Tunnels = nil }, nil},
		{"two tunnels", func(s *site) {
			s.o.Tunnels[0].Up = false
			s.o.Tunnels = append(s.o.Tunnels, s.o.Tunnels[0])
		}, nil},
		{"a stranger's tunnel", func(s *site) { s.o.Tunnels[0].Source, s.o.Tunnels[0].Up = addressB, false }, nil},
		{"no guard", func(s *site) { s.o.Guard = Guard{} }, []ActionKind{InstallGuard}},
		{"the guard comes first", func(s *site) { s.o.Guard, s.o.Tunnels[0].Up = Guard{}, false }, []ActionKind{InstallGuard, SetUp}},
		{"a guard that cannot be", func(s *site) { s.o.Guard = Guard{Problem: "no acl plugin"} }, nil},
		{"no pods to guard", func(s *site) { s.o.Guard, s.e.PodCIDRs = Guard{}, nil }, nil},
		{"a guard that nobody asks for", func(s *site) { s.e.Mode = ModePreferred }, []ActionKind{RemoveGuard}},
		{"part of a guard that nobody asks for", func(s *site) { s.e.Mode, s.o.Guard.InForce = ModePreferred, false }, []ActionKind{RemoveGuard}},
		{"no guard, and none asked for", func(s *site) { s.e.Mode, s.o.Guard = ModePreferred, Guard{} }, nil},
		{"the host's guard, until the agent's is in force", func(s *site) { s.onKernel(); s.o.Guard = Guard{Boot: true} }, []ActionKind{InstallGuard}},
		{"the host's guard beside the agent's", func(s *site) { s.onKernel(); s.o.Guard.Boot = true }, []ActionKind{RemoveBootGuard}},
		{"the host's guard that nobody asks for", func(s *site) { s.onKernel(); s.e.Mode, s.o.Guard = ModePreferred, Guard{Boot: true} }, []ActionKind{RemoveGuard}},
		{"no device", func(s *site) { s.onKernel(); s.o.Tunnels = nil }, []ActionKind{CreateDevice}},
		{"no device and no key", func(s *site) { s.onKernel(); s.o.Tunnels, s.e.FileKey = nil, "" }, nil},
		{"a device without a key", func(s *site) { s.onKernel(); s.o.Tunnels[0].PublicKey = "" }, []ActionKind{SetKey}},
		{"a device with another key", func(s *site) { s.onKernel(); s.o.Tunnels[0].PublicKey = keyC }, nil},
		{"a device that Felix has not brought up", func(s *site) { s.onKernel(); s.o.Tunnels[0].Up = false }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite()
			c.change(s)
			var got []ActionKind
			for _, action := range Actions(s.e, s.o) {
				got = append(got, action.Kind)
				if want := s.o.Uplink.Name; (action.Kind == InstallGuard || action.Kind == RemoveGuard) && action.Interface.Name != want {
					t.Errorf("%s at %q, want %q", action.Kind, action.Interface.Name, want)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error("actions (-want +got):\n" + diff)
			}
		})
	}
}
