// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/agent/hostkey"
)

// Backend is the network of this host.
type Backend struct {
	key     *hostkey.File
	wg      *wgctrl.Client
	log     *slog.Logger
	changed chan struct{}
}

// New makes a backend of the network namespace that the process is in.
func New(key *hostkey.File, log *slog.Logger) (*Backend, error) {
	client, err := wgctrl.New()
	if err != nil {
		return nil, fmt.Errorf("asking for WireGuard devices: %w", err)
	}
	return &Backend{key: key, wg: client, log: log, changed: make(chan struct{}, 1)}, nil
}

// Changed receives when a device has come, gone or changed.
func (b *Backend) Changed() <-chan struct{} { return b.changed }

// Run follows the host's devices until ctx is done.
func (b *Backend) Run(ctx context.Context) error {
	updates := make(chan netlink.LinkUpdate)
	if err := netlink.LinkSubscribe(updates, ctx.Done()); err != nil {
		return fmt.Errorf("following the host's devices: %w", err)
	}
	for range updates {
		select {
		case b.changed <- struct{}{}:
		default: // One is waiting to be read.
		}
	}
	// The subscription ends with ctx, or when the kernel had more to tell than could be read: looks at intervals go on.
	<-ctx.Done()
	return b.wg.Close()
}

// Observe asks the kernel for everything that the verdict needs.
func (b *Backend) Observe(_ context.Context, e encryption.Expectation) encryption.Observation {
	o, err := b.observe(e)
	if err != nil {
		return encryption.Observation{Backend: encryption.Kernel, Unreachable: fmt.Sprintf("The network of %s cannot be asked: %v; see that the node agent is privileged and uses the host's network", e.Node, err)}
	}
	return o
}

// Act does what is asked for.
func (b *Backend) Act(_ context.Context, e encryption.Expectation, actions []encryption.Action) error {
	for _, action := range actions {
		if err := b.act(e, action); err != nil {
			return fmt.Errorf("%s %s: %w", action.Kind, action.Interface.Name, err)
		}
		b.log.Info("Done", "action", action.Kind, "interface", action.Interface.Name)
	}
	return nil
}

func (b *Backend) act(e encryption.Expectation, action encryption.Action) error {
	switch action.Kind {
	case encryption.InstallGuard:
		return installGuard(e)
	case encryption.RemoveGuard:
		return errors.Join(removeGuard(), removeBootGuard())
	case encryption.RemoveBootGuard:
		return removeBootGuard()
	case encryption.CreateDevice:
		device := &netlink.Wireguard{LinkAttrs: netlink.LinkAttrs{Name: action.Interface.Name}}
		if err := netlink.LinkAdd(device); err != nil {
			return fmt.Errorf("making the device: %w", err)
		}
		return b.setKey(e, action.Interface.Name)
	case encryption.SetKey:
		return b.setKey(e, action.Interface.Name)
	default:
		return fmt.Errorf("the kernel has no %s", action.Kind)
	}
}

// setKey gives a device without a key the host's, before Felix makes one of its own.
func (b *Backend) setKey(e encryption.Expectation, device string) error {
	key, err := b.key.PrivateKey()
	if err != nil {
		return err
	}
	current, err := b.wg.Device(device)
	if err != nil {
		return fmt.Errorf("reading the device: %w", err)
	}
	if current.PrivateKey != (wgtypes.Key{}) {
		return nil
	}
	if err := b.wg.ConfigureDevice(device, wgtypes.Config{PrivateKey: &key, ListenPort: new(int(e.Port))}); err != nil {
		return fmt.Errorf("setting the key: %w", err)
	}
	return nil
}

// awake makes WireGuard try a handshake with a peer that has none, or none of late: it does so only when there is something to send, and
// Felix asks for no keepalives. The datagram is for nobody: the discard port (RFC 863) of the first address of the peer's block.
func awake(device netlink.Link, to net.IP) error {
	dialer := net.Dialer{Control: bindTo(device.Attrs().Name)}
	conn, err := dialer.Dial("udp", net.JoinHostPort(to.String(), "9"))
	if err != nil {
		return err
	}
	_, err = conn.Write([]byte{0})
	return errors.Join(err, conn.Close())
}
