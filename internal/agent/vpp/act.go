// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vpp

import (
	"context"
	"errors"
	"fmt"

	"go.fd.io/govpp/binapi/gso"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// act does one thing. All are idempotent, but for the features, which are looked at before they are asked for.
func (s *session) act(ctx context.Context, e encryption.Expectation, action encryption.Action) error {
	index := interface_types.InterfaceIndex(action.Interface.Index)
	switch action.Kind {
	case encryption.InstallGuard:
		return s.installGuard(ctx, e, action.Interface)
	case encryption.RemoveGuard:
		return s.removeGuard(ctx, e)
	case encryption.SetUnnumbered:
		return s.borrowAddress(ctx, index)
	case encryption.EnableGSO:
		return s.enableGSO(ctx, action.Interface)
	case encryption.EnableCNAT:
		// The binary message for it is not the same in every VPP.
		return s.quiet(ctx, "set cnat feature "+action.Interface.Name+" enable")
	case encryption.SetUp:
		_, err := interfaces.NewServiceClient(s.conn).SwInterfaceSetFlags(ctx, &interfaces.SwInterfaceSetFlags{
			SwIfIndex: index, Flags: interface_types.IF_STATUS_API_FLAG_ADMIN_UP,
		})
		return err
	default:
		return fmt.Errorf("VPP has no %s", action.Kind)
	}
}

// borrowAddress makes an interface use the uplink's address.
func (s *session) borrowAddress(ctx context.Context, index interface_types.InterfaceIndex) error {
	if s.uplink == every {
		return errors.New("no interface of VPP has the node's address")
	}
	_, err := interfaces.NewServiceClient(s.conn).SwInterfaceSetUnnumbered(ctx, &interfaces.SwInterfaceSetUnnumbered{
		SwIfIndex: interface_types.InterfaceIndex(s.uplink), UnnumberedSwIfIndex: index, IsAdd: true,
	})
	return err
}

func (s *session) enableGSO(ctx context.Context, on encryption.Interface) error {
	if s.noGSO != nil {
		return s.quiet(ctx, "set interface feature gso "+on.Name+" enable")
	}
	_, err := gso.NewServiceClient(s.conn).FeatureGsoEnableDisable(ctx, &gso.FeatureGsoEnableDisable{
		SwIfIndex: interface_types.InterfaceIndex(on.Index), EnableDisable: true,
	})
	return err
}

// quiet runs a command that prints something only when it fails.
func (s *session) quiet(ctx context.Context, command string) error {
	text, err := s.cli(ctx, command)
	if err == nil && text != "" {
		err = fmt.Errorf("VPP command %q: %s", command, text)
	}
	return err
}
