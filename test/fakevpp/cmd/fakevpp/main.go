// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Command fakevpp runs a stand-in for VPP with an uplink that is configured as vpp-manager does it. Processes with the same --wire
// directory are on one network.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/fakevpp"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/fakevpp/control"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "fakevpp:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := pflag.NewFlagSet("fakevpp", pflag.ContinueOnError)
	socket := flags.String("socket", "/run/vpp/vpp-api.sock", "Path of the binary API's socket.")
	exec := flags.String("exec", "", "File with CLI commands that VPP runs when it has started, for example /etc/vpp/startup.exec; empty for none.")
	root := flags.String("root", "", "Directory that stands for / in the paths of these files; empty for / itself.")
	delay := flags.Duration("exec-delay", fakevpp.DefaultExecDelay, "Time between the API's first answer and these commands.")
	uplink := flags.String("uplink", "", "Name of the host's interface that VPP takes over; empty for none.")
	address := flags.String("address", "", "Address of the node with the prefix length of its subnet, for example 192.0.2.21/24.")
	gateway := flags.String("gateway", "", "Gateway of the default route; empty for none.")
	mtu := flags.Uint32("mtu", 1500, "MTU of the uplink.")
	wire := flags.String("wire", "", "Directory in which the processes on one network find each other; it must exist. Empty: alone.")
	controls := flags.String("control", "", "Path of the control socket; empty for none.")
	lifetime := flags.Duration("session-lifetime", fakevpp.DefaultSessionLifetime, "Time that a WireGuard session lasts without a new handshake.")
	hugepages := flags.Bool("hugepages", false, "Take buffers from hugepages.")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return nil
		}
		return err
	}
	config := fakevpp.Config{Socket: *socket, Exec: *exec, Root: *root, ExecDelay: *delay, SessionLifetime: *lifetime, Hugepages: *hugepages}
	if *wire != "" {
		config.Wire = fakevpp.Directory(*wire)
	}
	if *uplink != "" {
		parsed, err := parseUplink(*uplink, *address, *gateway, *mtu)
		if err != nil {
			return err
		}
		config.Uplink = parsed
	}
	return serve(ctx, fakevpp.New(config), *controls, *delay)
}

func parseUplink(name, address, gateway string, mtu uint32) (*fakevpp.Uplink, error) {
	uplink := &fakevpp.Uplink{Name: name, MTU: mtu}
	var err error
	if uplink.Address, err = netip.ParsePrefix(address); err != nil {
		return nil, fmt.Errorf("--address: %w", err)
	}
	if gateway != "" {
		if uplink.Gateway, err = netip.ParseAddr(gateway); err != nil {
			return nil, fmt.Errorf("--gateway: %w", err)
		}
	}
	return uplink, nil
}

func serve(ctx context.Context, vpp *fakevpp.VPP, controls string, delay time.Duration) error {
	if err := vpp.Start(ctx); err != nil {
		return err
	}
	defer vpp.Stop()
	fmt.Println("serving VPP's API on", vpp.Socket())
	go func() {
		select {
		case <-ctx.Done():
		case <-time.After(delay + time.Second):
			if err := vpp.ExecError(); err != nil {
				fmt.Fprintln(os.Stderr, "fakevpp:", err)
			}
		}
	}()
	if controls == "" {
		<-ctx.Done()
		return nil
	}
	return control.Serve(ctx, controls, vpp)
}
