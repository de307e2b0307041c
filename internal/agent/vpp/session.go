// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vpp

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"go.fd.io/govpp/adapter/socketclient"
	"go.fd.io/govpp/adapter/statsclient"
	"go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/acl"
	"go.fd.io/govpp/binapi/gso"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/ipip"
	"go.fd.io/govpp/binapi/ipsec"
	"go.fd.io/govpp/binapi/memclnt"
	"go.fd.io/govpp/binapi/vlib"
	"go.fd.io/govpp/binapi/vpe"
	"go.fd.io/govpp/binapi/wireguard"
	"go.fd.io/govpp/core"
)

// every is VPP's index for all.
const every = ^uint32(0)

// session is one connection with one VPP process.
type session struct {
	conn    *core.Connection
	stats   *statsclient.StatsClient
	cancel  context.CancelFunc
	version string

	// What this VPP's API lacks, by group; see optional.
	noACL, noGSO, noIPIP, noIPsec error

	// pageSize is the largest page size in bytes of VPP's memory. It is decided when VPP starts.
	pageSize int64
	// uplink was found to hold the node's address.
	uplink uint32
	// watched is how many peers' events are subscribed to.
	watched map[uint32]bool
}

// connect opens a session. It calls notify on every event, until the session is closed.
func connect(ctx context.Context, socket, statsSocket string, notify func()) (*session, error) {
	conn, err := core.Connect(socketclient.NewVppClient(socket))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &session{conn: conn, cancel: cancel, uplink: every}
	if err := s.open(ctx, notify); err != nil {
		s.close()
		return nil, err
	}
	if statsSocket != "" {
		// Counters are worth having, and nothing depends on them.
		stats := statsclient.NewStatsClient(statsSocket)
		if _, err := os.Stat(statsSocket); err == nil && stats.Connect() == nil {
			s.stats = stats
		}
	}
	return s, nil
}

func (s *session) open(ctx context.Context, notify func()) error {
	if err := s.checkAPI(); err != nil {
		return err
	}
	timeout, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	version, err := vpe.NewServiceClient(s.conn).ShowVersion(timeout, &vpe.ShowVersion{})
	if err != nil {
		return fmt.Errorf("asking for the version: %w", err)
	}
	s.version = version.Version
	if s.pageSize, err = s.readPageSize(timeout); err != nil {
		return err
	}
	return s.subscribe(ctx, timeout, notify)
}

// checkAPI compares the messages that are used, and no others, with those of this VPP: names and CRCs.
func (s *session) checkAPI() error {
	channel, err := s.conn.NewAPIChannel()
	if err != nil {
		return err
	}
	defer channel.Close()
	required := append(Messages(), &vpe.ShowVersion{}, &vpe.ShowVersionReply{})
	if err := describe(channel.CheckCompatiblity(required...)); err != nil {
		return fmt.Errorf("this VPP's API is not the one of Calico-VPP v3.32, or lacks a plugin: %w", err)
	}
	s.noACL = describe(channel.CheckCompatiblity(aclMessages()...))
	s.noGSO = describe(channel.CheckCompatiblity(&gso.FeatureGsoEnableDisable{}, &gso.FeatureGsoEnableDisableReply{}))
	s.noIPIP = describe(channel.CheckCompatiblity(&ipip.IpipTunnelDump{}, &ipip.IpipTunnelDetails{}))
	s.noIPsec = describe(channel.CheckCompatiblity(&ipsec.IpsecTunnelProtectDump{}, &ipsec.IpsecTunnelProtectDetails{}))
	return nil
}

// Messages are those without which nothing can be observed.
func Messages() []api.Message {
	return []api.Message{
		&memclnt.ControlPing{}, &memclnt.ControlPingReply{},
		&interfaces.SwInterfaceDump{}, &interfaces.SwInterfaceDetails{},
		&interfaces.SwInterfaceSetUnnumbered{}, &interfaces.SwInterfaceSetUnnumberedReply{},
		&interfaces.SwInterfaceSetFlags{}, &interfaces.SwInterfaceSetFlagsReply{},
		&interfaces.SwInterfaceRxPlacementDump{}, &interfaces.SwInterfaceRxPlacementDetails{},
		&interfaces.WantInterfaceEvents{}, &interfaces.WantInterfaceEventsReply{}, &interfaces.SwInterfaceEvent{},
		&wireguard.WireguardInterfaceDump{}, &wireguard.WireguardInterfaceDetails{},
		&wireguard.WireguardPeersDump{}, &wireguard.WireguardPeersDetails{},
		&wireguard.WantWireguardPeerEvents{}, &wireguard.WantWireguardPeerEventsReply{}, &wireguard.WireguardPeerEvent{},
		&ip.IPAddressDump{}, &ip.IPAddressDetails{},
		&ip.IPUnnumberedDump{}, &ip.IPUnnumberedDetails{},
		&ip.IPRouteDump{}, &ip.IPRouteDetails{},
		&ip.IPRouteAddDel{}, &ip.IPRouteAddDelReply{},
		&vlib.CliInband{}, &vlib.CliInbandReply{},
	}
}

// aclMessages are those of the guard.
func aclMessages() []api.Message {
	return []api.Message{
		&acl.ACLAddReplace{}, &acl.ACLAddReplaceReply{}, &acl.ACLDel{}, &acl.ACLDelReply{}, &acl.ACLDump{}, &acl.ACLDetails{},
		&acl.ACLInterfaceSetACLList{}, &acl.ACLInterfaceSetACLListReply{}, &acl.ACLInterfaceListDump{}, &acl.ACLInterfaceListDetails{},
		&acl.ACLStatsIntfCountersEnable{}, &acl.ACLStatsIntfCountersEnableReply{},
	}
}

// describe names the messages that are not compatible.
func describe(err error) error {
	if incompatible, ok := errors.AsType[*api.CompatibilityError](err); ok {
		return fmt.Errorf("messages %s are unknown to it", strings.Join(incompatible.IncompatibleMessages, ", "))
	}
	return err
}

// subscribe asks for events of interfaces and peers. The watchers live as long as ctx, the requests as long as timeout.
func (s *session) subscribe(ctx, timeout context.Context, notify func()) error {
	for _, event := range []api.Message{&interfaces.SwInterfaceEvent{}, &wireguard.WireguardPeerEvent{}} {
		watcher, err := s.conn.WatchEvent(ctx, event)
		if err != nil {
			return fmt.Errorf("watching %s: %w", event.GetMessageName(), err)
		}
		go func() {
			for range watcher.Events() {
				notify()
			}
		}()
	}
	request := &interfaces.WantInterfaceEvents{EnableDisable: 1, PID: processID()}
	if _, err := interfaces.NewServiceClient(s.conn).WantInterfaceEvents(timeout, request); err != nil {
		return fmt.Errorf("asking for events of interfaces: %w", err)
	}
	return nil
}

// watchPeers asks for the events of peers that are new: VPP subscribes to those that exist.
func (s *session) watchPeers(ctx context.Context, peers []wireguard.WireguardPeer) error {
	watched := map[uint32]bool{}
	missing := false
	for _, peer := range peers {
		watched[peer.PeerIndex] = true
		missing = missing || !s.watched[peer.PeerIndex]
	}
	if missing {
		request := &wireguard.WantWireguardPeerEvents{SwIfIndex: allInterfaces, PeerIndex: every, EnableDisable: 1, PID: processID()}
		if _, err := wireguard.NewServiceClient(s.conn).WantWireguardPeerEvents(ctx, request); err != nil {
			return fmt.Errorf("asking for events of peers: %w", err)
		}
	}
	s.watched = watched
	return nil
}

func processID() uint32 {
	return uint32(os.Getpid()) //nolint:gosec // G115: a process ID is positive and small.
}

// keepAlive returns when VPP answers no longer, or ctx is done.
func (s *session) keepAlive(ctx context.Context) error {
	client := memclnt.NewServiceClient(s.conn)
	failed := 0
	for {
		wait(ctx, pingInterval)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		timeout, cancel := context.WithTimeout(ctx, replyTimeout)
		_, err := client.ControlPing(timeout, &memclnt.ControlPing{})
		late := timeout.Err() != nil
		cancel()
		switch {
		case err == nil:
			failed = 0
			continue
		case late && failed == 0:
			// VPP may be held up for a moment, for example by a large route update.
			failed++
			continue
		default:
			return err
		}
	}
}

func (s *session) close() {
	s.cancel()
	if s.stats != nil {
		_ = s.stats.Disconnect()
	}
	s.conn.Disconnect()
}

// cli runs a command of VPP's command line and returns what it prints. Never run one that prints private keys.
func (s *session) cli(ctx context.Context, command string) (string, error) {
	reply, err := vlib.NewServiceClient(s.conn).CliInband(ctx, &vlib.CliInband{Cmd: command})
	if err != nil {
		return "", fmt.Errorf("VPP command %q: %w", command, err)
	}
	return reply.Reply, nil
}
