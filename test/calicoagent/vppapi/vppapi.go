// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package vppapi holds what tests do to VPP over its binary API: the typed calls behind a few plain functions.
package vppapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"go.fd.io/govpp/adapter/socketclient"
	"go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/fib_types"
	"go.fd.io/govpp/binapi/gso"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/ip_types"
	"go.fd.io/govpp/binapi/vlib"
	"go.fd.io/govpp/core"
)

// None is VPP's ~0: no index, or all of them.
const None = ^uint32(0)

// callTimeout of one request.
const callTimeout = 5 * time.Second

// VPP is a connection to a VPP.
type VPP struct {
	conn *core.Connection
}

// Connect makes one attempt.
func Connect(socket string) (*VPP, error) {
	conn, err := core.Connect(socketclient.NewVppClient(socket))
	if err != nil {
		return nil, fmt.Errorf("connect to VPP at %s: %w", socket, err)
	}
	return &VPP{conn: conn}, nil
}

// Close ends the connection.
func (v *VPP) Close() {
	v.conn.Disconnect()
}

// API is the connection for typed calls.
func (v *VPP) API() api.Connection {
	return v.conn
}

// Lacks lists, as name_crc, those of the messages that this VPP does not know.
func (v *VPP) Lacks(messages ...api.Message) ([]string, error) {
	channel, err := v.conn.NewAPIChannel()
	if err != nil {
		return nil, err
	}
	defer channel.Close()
	err = channel.CheckCompatiblity(messages...)
	if incompatible, is := errors.AsType[*api.CompatibilityError](err); is {
		return incompatible.IncompatibleMessages, nil
	}
	return nil, err
}

// Collect receives what a dump streams.
func Collect[T any](receive func() (T, error), err error) ([]T, error) {
	if err != nil {
		return nil, err
	}
	var all []T
	for {
		item, err := receive()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, item)
	}
}

// Interfaces lists all of VPP's interfaces.
func (v *VPP) Interfaces(ctx context.Context) ([]*interfaces.SwInterfaceDetails, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	stream, err := interfaces.NewServiceClient(v.conn).SwInterfaceDump(ctx, &interfaces.SwInterfaceDump{SwIfIndex: interface_types.InterfaceIndex(None)})
	if err != nil {
		return nil, err
	}
	return Collect(stream.Recv, nil)
}

// Find returns the first interface that fits; nil when none does.
func (v *VPP) Find(ctx context.Context, fits func(*interfaces.SwInterfaceDetails) bool) (*interfaces.SwInterfaceDetails, error) {
	all, err := v.Interfaces(ctx)
	if err != nil {
		return nil, err
	}
	for _, details := range all {
		if fits(details) {
			return details, nil
		}
	}
	return nil, nil
}

// SetUp brings an interface up.
func (v *VPP) SetUp(ctx context.Context, index interface_types.InterfaceIndex) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := interfaces.NewServiceClient(v.conn).SwInterfaceSetFlags(ctx, &interfaces.SwInterfaceSetFlags{
		SwIfIndex: index, Flags: interface_types.IF_STATUS_API_FLAG_ADMIN_UP,
	})
	return err
}

// Borrow makes an interface use the address of another one.
func (v *VPP) Borrow(ctx context.Context, index, lender interface_types.InterfaceIndex) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := interfaces.NewServiceClient(v.conn).SwInterfaceSetUnnumbered(ctx, &interfaces.SwInterfaceSetUnnumbered{
		SwIfIndex: lender, UnnumberedSwIfIndex: index, IsAdd: true,
	})
	return err
}

// EnableGSO lets large packets through an interface.
func (v *VPP) EnableGSO(ctx context.Context, index interface_types.InterfaceIndex) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := gso.NewServiceClient(v.conn).FeatureGsoEnableDisable(ctx, &gso.FeatureGsoEnableDisable{SwIfIndex: index, EnableDisable: true})
	return err
}

// CLI runs a command; its output may hold private keys.
func (v *VPP) CLI(ctx context.Context, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	reply, err := vlib.NewServiceClient(v.conn).CliInband(ctx, &vlib.CliInband{Cmd: command})
	if err != nil {
		return "", fmt.Errorf("%s: %w", strings.Join(strings.Fields(command)[:2], " "), err)
	}
	return reply.Reply, nil
}

// Output is what a command prints, whether it fails or not.
func (v *VPP) Output(ctx context.Context, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	reply := &vlib.CliInbandReply{}
	// Invoke leaves the return value alone.
	if err := v.conn.Invoke(ctx, &vlib.CliInband{Cmd: command}, reply); err != nil {
		return "", err
	}
	return reply.Reply, nil
}

// Route is a route with one path.
type Route struct {
	Table  uint32
	Prefix netip.Prefix
	// Link to leave by; None for a gateway that is looked up, or another table.
	Link uint32
	// Gateway; not valid when the destination is on the link itself.
	Gateway netip.Addr
	// Drop drops what goes there.
	Drop bool
	// InTable looks the packet up again in this table, when there is neither link nor gateway.
	InTable uint32
}

// SetRoute adds a route, or takes it away.
func (v *VPP) SetRoute(ctx context.Context, r Route, add bool) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	path := fib_types.FibPath{SwIfIndex: r.Link, TableID: r.InTable, Weight: 1}
	if r.Drop {
		path.Type = fib_types.FIB_API_PATH_TYPE_DROP
	}
	if r.Gateway.IsValid() {
		path.Nh.Address = ip_types.AddressUnionIP4(r.Gateway.As4())
	}
	_, err := ip.NewServiceClient(v.conn).IPRouteAddDel(ctx, &ip.IPRouteAddDel{IsAdd: add, Route: ip.IPRoute{
		TableID: r.Table, Prefix: Prefix(r.Prefix), NPaths: 1, Paths: []fib_types.FibPath{path},
	}})
	if err != nil {
		return fmt.Errorf("route %s: %w", r.Prefix, err)
	}
	return nil
}

// Address converts an address.
func Address(a netip.Addr) ip_types.Address {
	return ip_types.NewAddress(a.AsSlice())
}

// Prefix converts a prefix.
func Prefix(p netip.Prefix) ip_types.Prefix {
	return ip_types.NewPrefix(net.IPNet{IP: p.Masked().Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())})
}

// Host is the prefix of one address.
func Host(a netip.Addr) netip.Prefix {
	return netip.PrefixFrom(a, a.BitLen())
}
