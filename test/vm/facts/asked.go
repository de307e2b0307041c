// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap"
)

// Asked is what was asked of a host.
type Asked struct {
	Machine *infrav1.EdgeMachine
	Cluster *infrav1.EdgeCluster
	// Host on which the machine is, with its inspection.
	Host     *bmov1.BareMetalHost
	Hardware *bmov1.HardwareDetails
	// Addresses of the machine by network, but for those that are leased.
	Addresses map[string]netip.Addr
	// Key of the machine; empty without WireGuard.
	Key bootstrap.PrivateKey
	// Scripts that cloud-init runs once, in order.
	Scripts []string
}

// Commands is the script with our own commands.
const Commands = "/var/lib/cloud/scripts/per-instance/edgemetal.sh"

// Differences says what is not as it was asked for, a line each.
func (a Asked) Differences(f Facts) []string {
	var d differences
	d.compare("host name", f.Hostname, a.Host.Name)
	d.compare("/etc/hostname", f.StaticHostname, a.Host.Name)
	a.compareLinks(&d, f)
	a.compareAddresses(&d, f)
	a.compareRoutes(&d, f)
	a.compareResolver(&d, f)
	a.compareDataplane(&d, f)
	d.compare("cloud-init's status", f.CloudInit.Status, "done")
	d.compare("cloud-init's datasource", f.CloudInit.Datasource, "DataSourceConfigDrive")
	d.compare("cloud-init's errors", strings.Join(f.CloudInit.Errors, "; "), "")
	d.compare("cloud-init's warnings", strings.Join(f.CloudInit.Warnings, "; "), "")
	d.compare("scripts that cloud-init has run", fmt.Sprint(f.CloudInit.Scripts), fmt.Sprint(a.Scripts))
	return d
}

type differences []string

func (d *differences) add(format string, args ...any) { *d = append(*d, fmt.Sprintf(format, args...)) }

func (d *differences) compare(what string, got, want any) {
	if got != want {
		d.add("%s: %v, want %v", what, got, want)
	}
}

// Links that were asked for, by name, without addresses.
func (a Asked) links() map[string]Link {
	wanted := map[string]Link{}
	for _, link := range a.Machine.Spec.Links {
		want := Link{MAC: a.mac(link), MTU: a.mtu(link), Carrier: true}
		switch {
		case link.Bond != nil:
			want.Kind = "bond"
		case link.VLAN != nil:
			want.Kind, want.Parent, want.VLAN = "vlan", link.VLAN.Parent, int(link.VLAN.ID)
		default:
			if bond, found := a.bondOf(link.Name); found {
				// All members send with the address of the first.
				want.Bond, want.PermanentMAC = bond.Name, want.MAC
				if want.MAC = a.mac(bond); want.MAC == want.PermanentMAC {
					want.PermanentMAC = ""
				}
			}
		}
		wanted[link.Name] = want
	}
	return wanted
}

func (a Asked) compareLinks(d *differences, f Facts) {
	wanted := a.links()
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		got, found := f.Links[name]
		if !found {
			d.add("link %s: there is none; there are %v", name, slices.Sorted(maps.Keys(f.Links)))
			continue
		}
		got.Addresses = nil
		if want := wanted[name]; !reflect.DeepEqual(got, want) {
			d.add("link %s: %s, want %s", name, got, want)
		}
	}
	for _, link := range a.Machine.Spec.Links {
		if link.Bond != nil {
			compareBond(d, link, f.Bonds[link.Name])
		}
	}
}

func compareBond(d *differences, link infrav1.Link, got Bond) {
	want := link.Bond
	what := func(of string) string { return fmt.Sprintf("%s of %s", of, link.Name) }
	d.compare(what("mode"), got.Mode, driverMode(want.Mode))
	interval := int32(100) // our default
	if want.MIIMon != nil {
		interval = *want.MIIMon
	}
	d.compare(what("interval of link monitoring"), got.MIIMon, int(interval))
	d.compare(what("primary"), got.Primary, want.Primary)
	if want.XmitHashPolicy != "" {
		d.compare(what("hash policy"), got.HashPolicy, want.XmitHashPolicy)
	}
	if want.Mode == infrav1.BondMode8023AD {
		d.compare(what("LACP rate"), got.LACPRate, cmp.Or(want.LACPRate, "slow"))
		d.compare(what("number of members that LACP has joined"), got.Aggregated, len(want.Members))
	}
	for _, member := range want.Members {
		up, found := got.Members[member]
		d.compare(what("member "+member), fmt.Sprintf("found %t, up %t", found, up), "found true, up true")
	}
	d.compare(what("number of members"), len(got.Members), len(want.Members))
}

// driverMode is a mode in the words of the bonding driver (bond_mode_name in drivers/net/bonding/bond_main.c of the kernel).
func driverMode(mode infrav1.BondMode) string {
	return map[infrav1.BondMode]string{
		infrav1.BondModeBalanceRR:    "load balancing (round-robin)",
		infrav1.BondModeActiveBackup: "fault-tolerance (active-backup)",
		infrav1.BondModeBalanceXOR:   "load balancing (xor)",
		infrav1.BondModeBroadcast:    "fault-tolerance (broadcast)",
		infrav1.BondMode8023AD:       "IEEE 802.3ad Dynamic link aggregation",
		infrav1.BondModeBalanceTLB:   "transmit load balancing",
		infrav1.BondModeBalanceALB:   "adaptive load balancing",
	}[mode]
}

func (a Asked) link(name string) infrav1.Link {
	at := slices.IndexFunc(a.Machine.Spec.Links, func(l infrav1.Link) bool { return l.Name == name })
	if at < 0 {
		return infrav1.Link{Match: &infrav1.NICMatch{}}
	}
	return a.Machine.Spec.Links[at]
}

func (a Asked) bondOf(member string) (infrav1.Link, bool) {
	at := slices.IndexFunc(a.Machine.Spec.Links, func(l infrav1.Link) bool { return l.Bond != nil && slices.Contains(l.Bond.Members, member) })
	if at < 0 {
		return infrav1.Link{}, false
	}
	return a.Machine.Spec.Links[at], true
}

// mac of a link: of the NIC that it matches, of a bond's first member, of a VLAN's parent.
func (a Asked) mac(link infrav1.Link) string {
	switch {
	case link.Bond != nil:
		return a.mac(a.link(link.Bond.Members[0]))
	case link.VLAN != nil:
		return a.mac(a.link(link.VLAN.Parent))
	}
	for _, nic := range a.Hardware.NIC {
		match := link.Match
		if match.MAC != "" && strings.EqualFold(match.MAC, nic.MAC) || match.Name != "" && match.Name == nic.Name ||
			match.PCIAddress != "" && match.PCIAddress == nic.PCIAddress || match.BootNIC != nil && strings.EqualFold(nic.MAC, a.Host.Spec.BootMACAddress) {
			return strings.ToLower(nic.MAC)
		}
	}
	return "no NIC"
}

// mtu of a link: its own, else the largest of the networks on it and of the links above it, else 1500.
func (a Asked) mtu(link infrav1.Link) int {
	if link.MTU != 0 {
		return int(link.MTU)
	}
	largest := 0
	for _, item := range a.Machine.Spec.Interfaces {
		if item.Link == link.Name {
			largest = max(largest, cmp.Or(int(a.network(item.Network).MTU), 1500))
		}
	}
	for _, above := range a.Machine.Spec.Links {
		if above.VLAN != nil && above.VLAN.Parent == link.Name || above.Bond != nil && slices.Contains(above.Bond.Members, link.Name) {
			largest = max(largest, a.mtu(above))
		}
	}
	return cmp.Or(largest, 1500)
}

func (a Asked) network(name string) infrav1.Network {
	at := slices.IndexFunc(a.Cluster.Spec.Networks, func(n infrav1.Network) bool { return n.Name == name })
	if at < 0 {
		return infrav1.Network{}
	}
	return a.Cluster.Spec.Networks[at]
}
