// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// String is the facts for people, without what makes no difference to them.
func (f Facts) String() string {
	var b strings.Builder
	say := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "  %-12s "+format+"\n", append([]any{what}, args...)...)
	}
	say("host", "%s, machine %s, boot %s", f.Hostname, f.MachineID, f.BootID)
	for _, name := range slices.Sorted(maps.Keys(f.Links)) {
		say("link", "%-15s %s", name, f.Links[name])
	}
	for _, name := range slices.Sorted(maps.Keys(f.Bonds)) {
		bond := f.Bonds[name]
		say("bond", "%s: %s, hash policy %q, LACP rate %q, monitored every %d ms, members up: %v, primary %q, active %q, LACP partner %q with %d members",
			name, bond.Mode, bond.HashPolicy, bond.LACPRate, bond.MIIMon, bond.Members, bond.Primary, bond.Active, bond.Partner, bond.Aggregated)
	}
	for _, route := range f.Routes {
		say("route", "%s via %s on %s, %s", route.Destination, route.Gateway, route.Link, route.Protocol)
	}
	say("nameservers", "%v, by link %v", f.Resolver.Global, f.Resolver.Links)
	say("hugepages", "nr_hugepages %d, HugePages_Total %d", f.Hugepages.Reserved, f.Hugepages.Total)
	say("modules", "%s", strings.Join(f.Modules, " "))
	for _, path := range slices.Sorted(maps.Keys(f.Files)) {
		say("file", "%4s %s %s", f.Files[path].Mode, f.Files[path].Owner, path)
	}
	for _, name := range slices.Sorted(maps.Keys(f.Devices)) {
		say("WireGuard", "%s: public key %s, port %d", name, f.Devices[name].PublicKey, f.Devices[name].Port)
	}
	say("cloud-init", "%s from %s, errors %q, warnings %q, has run %v", f.CloudInit.Status, f.CloudInit.Datasource, f.CloudInit.Errors, f.CloudInit.Warnings, f.CloudInit.Scripts)
	return b.String()
}

// String describes the link.
func (l Link) String() string {
	words := []string{cmp.Or(l.Kind, "ethernet"), l.MAC, "mtu", strconv.Itoa(l.MTU)}
	if l.PermanentMAC != "" {
		words = append(words, "permanent", l.PermanentMAC)
	}
	if l.Bond != "" {
		words = append(words, "in", l.Bond)
	}
	if l.Parent != "" {
		words = append(words, "id", strconv.Itoa(l.VLAN), "on", l.Parent)
	}
	if !l.Carrier {
		words = append(words, "down")
	}
	for _, address := range l.Addresses {
		words = append(words, address.Prefix.String())
		if address.Dynamic {
			words = append(words, "(leased)")
		}
	}
	return strings.Join(words, " ")
}
