// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Link is a network device.
type Link struct {
	// MAC that it uses, and that it was made with where that is another one.
	MAC          string
	PermanentMAC string
	// Kind is empty for an ethernet, else "bond", "vlan", "wireguard" and so on.
	Kind string
	MTU  int
	// Carrier tells whether it is up and has a carrier.
	Carrier bool
	// Bond of which it is a member; empty when it is none.
	Bond string
	// Parent and VLAN of a VLAN.
	Parent string
	VLAN   int
	// Addresses without those of link scope, in the order of the device.
	Addresses []Address
}

// Address of a link.
type Address struct {
	Prefix netip.Prefix
	// Dynamic is true when it was leased.
	Dynamic bool
}

// Bond is what the bonding driver says of a bond.
type Bond struct {
	// Mode in the driver's words, for example "IEEE 802.3ad Dynamic link aggregation".
	Mode string
	// HashPolicy chooses the member for a packet; empty where the mode has none.
	HashPolicy string
	// LACPRate is slow or fast; empty in other modes than 802.3ad.
	LACPRate string
	// MIIMon in milliseconds.
	MIIMon int
	// Primary and Active members; empty where the mode has none.
	Primary string
	Active  string
	// Partner is the MAC address of the switch as LACP tells it, and Aggregated how many members send at the same time; empty in other
	// modes than 802.3ad.
	Partner    string
	Aggregated int
	// Members by name, true when their link is up.
	Members map[string]bool
}

// Resolver is what systemd-resolved asks.
type Resolver struct {
	// Global servers, asked for everything.
	Global []netip.Addr
	// Links have servers of their own; those without are left out.
	Links map[string][]netip.Addr
}

// ipAddr is an element of what `ip -j -d addr` prints, as far as it is used here.
type ipAddr struct {
	Name      string   `json:"ifname"`
	Parent    string   `json:"link"`
	Master    string   `json:"master"`
	Flags     []string `json:"flags"`
	MTU       int      `json:"mtu"`
	MAC       string   `json:"address"`
	Permanent string   `json:"permaddr"`
	Info      struct {
		Kind string `json:"info_kind"`
		Data struct {
			ID int `json:"id"`
		} `json:"info_data"`
		MemberKind string `json:"info_slave_kind"`
	} `json:"linkinfo"`
	Addresses []struct {
		Local   netip.Addr `json:"local"`
		Length  int        `json:"prefixlen"`
		Scope   string     `json:"scope"`
		Dynamic bool       `json:"dynamic"`
	} `json:"addr_info"`
}

func parseLinks(f *Facts, output string) error {
	var found []ipAddr
	if err := json.Unmarshal([]byte(output), &found); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	f.Links = map[string]Link{}
	for _, l := range found {
		if slices.Contains(l.Flags, "LOOPBACK") {
			continue
		}
		link := Link{MAC: l.MAC, PermanentMAC: l.Permanent, Kind: l.Info.Kind, MTU: l.MTU, Carrier: slices.Contains(l.Flags, "UP") && slices.Contains(l.Flags, "LOWER_UP")}
		if l.Info.MemberKind == "bond" {
			link.Bond = l.Master
		}
		if l.Info.Kind == "vlan" {
			link.Parent, link.VLAN = l.Parent, l.Info.Data.ID
		}
		for _, a := range l.Addresses {
			if a.Scope != "link" {
				link.Addresses = append(link.Addresses, Address{Prefix: netip.PrefixFrom(a.Local, a.Length), Dynamic: a.Dynamic})
			}
		}
		f.Links[l.Name] = link
	}
	return nil
}

func parseRoutes(f *Facts, output string) error {
	var found []struct {
		Destination string     `json:"dst"`
		Gateway     netip.Addr `json:"gateway"`
		Link        string     `json:"dev"`
		Protocol    string     `json:"protocol"`
	}
	if err := json.Unmarshal([]byte(output), &found); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	for _, r := range found {
		if r.Protocol == "kernel" {
			continue
		}
		destination, err := parseDestination(r.Destination)
		if err != nil {
			return err
		}
		f.Routes = append(f.Routes, Route{Destination: destination, Gateway: r.Gateway, Link: r.Link, Protocol: r.Protocol})
	}
	return nil
}

// parseDestination reads a prefix, an address or "default".
func parseDestination(text string) (netip.Prefix, error) {
	if text == "default" {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0), nil
	}
	if address, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("destination of a route: %w", err)
	}
	return prefix, nil
}

// parseBonds reads files of /proc/net/bonding, each after a line "== <name>". The driver first describes the bond, then its members.
func parseBonds(f *Facts, output string) error {
	f.Bonds = map[string]Bond{}
	name, member := "", ""
	lines := bufio.NewScanner(strings.NewReader(output))
	for lines.Scan() {
		if next, found := strings.CutPrefix(lines.Text(), "== "); found {
			name, member = next, ""
			f.Bonds[name] = Bond{Members: map[string]bool{}}
			continue
		}
		key, value, _ := strings.Cut(strings.TrimSpace(lines.Text()), ": ")
		if key == "Slave Interface" {
			member = value
		}
		bond := f.Bonds[name]
		if member != "" {
			if key == "MII Status" {
				bond.Members[member] = value == "up"
			}
			continue
		}
		if err := bond.describe(key, value); err != nil {
			return fmt.Errorf("bond %s: %w", name, err)
		}
		f.Bonds[name] = bond
	}
	return lines.Err()
}

func (b *Bond) describe(key, value string) error {
	word, _, _ := strings.Cut(value, " ")
	var err error
	switch key {
	case "Bonding Mode":
		b.Mode = value
	case "Transmit Hash Policy":
		b.HashPolicy = word
	case "LACP rate":
		b.LACPRate = word
	case "Primary Slave":
		b.Primary = strings.TrimPrefix(word, "None")
	case "Currently Active Slave":
		b.Active = strings.TrimPrefix(word, "None")
	case "Partner Mac Address":
		b.Partner = word
	case "Number of ports":
		b.Aggregated, err = strconv.Atoi(word)
	case "MII Polling Interval (ms)":
		b.MIIMon, err = strconv.Atoi(word)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// parseResolver reads lines like "Link 3 (bond0.61): 192.0.2.53", and "Global: 192.0.2.53".
func parseResolver(f *Facts, output string) error {
	f.Resolver.Links = map[string][]netip.Addr{}
	for line := range strings.Lines(output) {
		scope, list, found := strings.Cut(line, ":")
		if !found {
			return fmt.Errorf("want a colon in %q", line)
		}
		var servers []netip.Addr
		for word := range strings.FieldsSeq(list) {
			server, err := netip.ParseAddr(word)
			if err != nil {
				return fmt.Errorf("servers of %s: %w", scope, err)
			}
			servers = append(servers, server)
		}
		switch _, link, named := strings.Cut(scope, "("); {
		case len(servers) == 0:
		case named:
			f.Resolver.Links[strings.TrimSuffix(link, ")")] = servers
		default:
			f.Resolver.Global = servers
		}
	}
	return nil
}
