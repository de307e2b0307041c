// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package calicoagent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"

	"go.fd.io/govpp/binapi/interface_types"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/calicoagent/vppapi"
)

// provider is a way to reach the pods of a node.
type provider interface {
	add(ctx context.Context, n node) error
	remove(ctx context.Context, n node) error
}

// connection is how a node is reached now.
type connection struct {
	node
	by string
}

// Names of providers.
const (
	byWireGuard = "wireguard"
	byIPIP      = "ipip"
	byIPsec     = "ipsec"
)

// connectivity keeps how the other nodes are reached.
type connectivity struct {
	own       string
	log       *slog.Logger
	wireguard *wireguardProvider
	ipip      *ipipProvider
	// ipsec takes the place of both; nil without it.
	ipsec *ipsecProvider
	// keys by node. None is ever forgotten: the agent ignores that a key is taken away.
	keys map[string]string
	// renewed is true when a key has changed since the last update: all connections are gone through then.
	renewed     bool
	connections map[string]connection
}

func newConnectivity(config Config, vpp *vppapi.VPP, uplink interface_types.InterfaceIndex, address netip.Addr) *connectivity {
	c := &connectivity{
		own: config.Node, log: config.Log,
		wireguard: &wireguardProvider{vpp: vpp, uplink: uplink, address: address, port: config.Port},
		ipip:      &ipipProvider{vpp: vpp, uplink: uplink, address: address},
		keys:      map[string]string{}, connections: map[string]connection{},
	}
	if config.IPsecPSK != "" {
		c.ipsec = &ipsecProvider{vpp: vpp, uplink: uplink, address: address, psk: config.IPsecPSK, log: config.Log}
	}
	return c
}

func (c *connectivity) rescan(ctx context.Context) error {
	if c.ipsec != nil {
		return c.ipsec.rescan(ctx)
	}
	if err := c.wireguard.rescan(ctx); err != nil {
		return err
	}
	if c.wireguard.tunnel != nil {
		c.log.Info("Found existing v4 tunnel", "interface", c.wireguard.tunnel.index)
	}
	return c.ipip.rescan(ctx)
}

// enable makes a tunnel when there is none. IPsec has one for each node.
func (c *connectivity) enable(ctx context.Context) error {
	if c.ipsec != nil || c.wireguard.tunnel != nil {
		return nil
	}
	if err := c.wireguard.create(ctx); err != nil {
		return err
	}
	if c.wireguard.tunnel == nil {
		return errors.New("the tunnel is not there after it was made")
	}
	c.log.Info("connectivity(add) Wireguard Done", "interface", c.wireguard.tunnel.index)
	return nil
}

// learn takes the keys of the other nodes.
func (c *connectivity) learn(nodes []node) {
	for _, n := range nodes {
		if n.name != c.own && n.key != "" && c.keys[n.name] != n.key {
			c.log.Info("connectivity(upd) WireguardPublicKey Changed", "node", n.name, "from", c.keys[n.name], "to", n.key)
			c.keys[n.name] = n.key
			c.renewed = true
		}
	}
}

// update reaches the nodes that there are, and no others.
func (c *connectivity) update(ctx context.Context, nodes []node) error {
	wanted := map[string]node{}
	for _, n := range nodes {
		if n.name != c.own && n.address.IsValid() && n.block.IsValid() {
			n.key = c.keys[n.name]
			wanted[n.name] = n
		}
	}
	var problems []error
	for name, existing := range c.connections {
		if n, still := wanted[name]; !still || n.address != existing.address || n.block != existing.block {
			c.log.Info("connectivity(del)", "node", existing.String(), "provider", existing.by)
			problems = append(problems, c.provider(existing.by).remove(ctx, existing.node))
			delete(c.connections, name)
		}
	}
	sorted := slices.SortedFunc(maps.Values(wanted), func(a, b node) int { return cmp.Compare(a.name, b.name) })
	for _, n := range sorted {
		problems = append(problems, c.reach(ctx, n))
	}
	c.renewed = false
	return errors.Join(problems...)
}

// reach adds the connection to a node, or changes how it is reached.
func (c *connectivity) reach(ctx context.Context, n node) error {
	by := c.choose(n)
	existing, found := c.connections[n.name]
	switch {
	case found && existing.by == by && !c.renewed:
		return nil
	case found && existing.by != by:
		c.log.Info("connectivity(upd) provider Change", "node", n.String(), "from", existing.by, "to", by)
		if err := c.provider(existing.by).remove(ctx, existing.node); err != nil {
			c.log.Error("Error del connectivity when changing provider", "error", err)
		}
	case !found:
		c.log.Info("connectivity(add)", "node", n.String(), "provider", by)
	}
	c.connections[n.name] = connection{node: n, by: by}
	if err := c.provider(by).add(ctx, n); err != nil {
		return fmt.Errorf("connectivity to %s by %s: %w", n.name, by, err)
	}
	return nil
}

// choose the way to a node.
func (c *connectivity) choose(n node) string {
	switch {
	case c.ipsec != nil:
		return byIPsec
	case n.key != "":
		return byWireGuard
	default:
		return byIPIP
	}
}

func (c *connectivity) provider(by string) provider {
	switch by {
	case byIPsec:
		return c.ipsec
	case byWireGuard:
		return c.wireguard
	default:
		return c.ipip
	}
}

// retry goes on with what was not finished.
func (c *connectivity) retry(ctx context.Context) error {
	if c.ipsec == nil {
		return nil
	}
	return c.ipsec.retry(ctx)
}
