// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

const (
	macA, macB, macC = "52:54:00:00:00:0a", "52:54:00:00:00:0b", "52:54:00:00:00:0c"
	// A key that is nobody's: "edgemetal-test-key-do-not-use-it" in base64.
	testKey   = "ZWRnZW1ldGFsLXRlc3Qta2V5LWRvLW5vdC11c2UtaXQ="
	publicKey = "cHVibGljLWtleS1vZi10aGUtdGVzdC1ub3QtYS1rZXk="
)

// asks is a machine with a bond, two VLANs on it and a NIC with DHCP.
func asks(dataplane infrav1.DataplaneType) Asked {
	fromHost := infrav1.AddressSource{FromHost: &infrav1.FromHost{}}
	return Asked{
		Machine: &infrav1.EdgeMachine{
			Spec: infrav1.EdgeMachineSpec{
				Links: []infrav1.Link{
					{Name: "nic0", Match: &infrav1.NICMatch{BootNIC: new(true)}},
					{Name: "nic1", Match: &infrav1.NICMatch{Name: "eth1"}},
					{Name: "mgmt0", Match: &infrav1.NICMatch{PCIAddress: "0000:00:04.0"}},
					{Name: "bond0", Bond: &infrav1.Bond{Mode: infrav1.BondMode8023AD, Members: []string{"nic0", "nic1"}, XmitHashPolicy: "layer3+4", LACPRate: "fast"}},
					{Name: "bond0.61", VLAN: &infrav1.VLAN{ID: 61, Parent: "bond0"}},
					{Name: "bond0.62", VLAN: &infrav1.VLAN{ID: 62, Parent: "bond0"}},
				},
				Interfaces: []infrav1.Interface{{Network: "cluster", Link: "bond0.61"}, {Network: "storage", Link: "bond0.62"}, {Network: "leased", Link: "mgmt0"}},
			},
			Status: infrav1.EdgeMachineStatus{WireGuardPublicKey: publicKey},
		},
		Cluster: &infrav1.EdgeCluster{Spec: infrav1.EdgeClusterSpec{
			Dataplane: infrav1.Dataplane{Type: dataplane, Network: "cluster"},
			Networks: []infrav1.Network{
				{Name: "cluster", MTU: 1450, Nameservers: []string{"192.0.2.53"}, Addresses: fromHost, Subnets: []infrav1.Subnet{{CIDR: "192.0.2.0/24", Gateway: "192.0.2.1"}}},
				{
					Name: "storage", MTU: 9000, Nameservers: []string{"192.0.2.53", "198.51.100.53"}, Addresses: fromHost, Subnets: []infrav1.Subnet{{CIDR: "198.51.100.0/25"}},
					Routes: []infrav1.Route{{Destination: "203.0.113.0/24", Gateway: "198.51.100.1"}},
				},
				{Name: "leased", Addresses: infrav1.AddressSource{DHCP: &infrav1.DHCP{}}},
			},
		}},
		Host: &bmov1.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Name: "host-1"}, Spec: bmov1.BareMetalHostSpec{BootMACAddress: strings.ToUpper(macA)}},
		Hardware: &bmov1.HardwareDetails{NIC: []bmov1.NIC{
			{Name: "eth0", MAC: macA}, {Name: "eth1", MAC: macB}, {Name: "eth2", MAC: macC, PCIAddress: "0000:00:04.0"},
		}},
		Addresses: map[string]netip.Addr{"cluster": netip.MustParseAddr("192.0.2.21"), "storage": netip.MustParseAddr("198.51.100.21")},
		Key:       testKey,
		Scripts:   []string{Commands},
	}
}

func static(prefix string) []Address { return []Address{{Prefix: netip.MustParsePrefix(prefix)}} }

// has are the facts of a host that has all that was asked for.
func has(dataplane infrav1.DataplaneType) Facts {
	file := func(mode string) File { return File{Mode: mode, Owner: "root:root"} }
	dns, both := netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("198.51.100.53")
	f := Facts{
		Hostname: "host-1", StaticHostname: "host-1",
		Links: map[string]Link{
			"nic0":     {MAC: macA, MTU: 9000, Carrier: true, Bond: "bond0"},
			"nic1":     {MAC: macA, PermanentMAC: macB, MTU: 9000, Carrier: true, Bond: "bond0"},
			"mgmt0":    {MAC: macC, MTU: 1500, Carrier: true, Addresses: []Address{{Prefix: netip.MustParsePrefix("10.0.0.9/24"), Dynamic: true}}},
			"bond0":    {MAC: macA, Kind: "bond", MTU: 9000, Carrier: true},
			"bond0.61": {MAC: macA, Kind: "vlan", Parent: "bond0", VLAN: 61, MTU: 1450, Carrier: true, Addresses: static("192.0.2.21/24")},
			"bond0.62": {MAC: macA, Kind: "vlan", Parent: "bond0", VLAN: 62, MTU: 9000, Carrier: true, Addresses: static("198.51.100.21/25")},
		},
		Bonds: map[string]Bond{"bond0": {
			Mode: "IEEE 802.3ad Dynamic link aggregation", HashPolicy: "layer3+4", LACPRate: "fast", MIIMon: 100, Aggregated: 2,
			Members: map[string]bool{"nic0": true, "nic1": true},
		}},
		Routes: []Route{
			{Destination: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("192.0.2.1"), Link: "bond0.61", Protocol: "static"},
			{Destination: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.0.0.1"), Link: "mgmt0", Protocol: "dhcp"},
			{Destination: netip.MustParsePrefix("203.0.113.0/24"), Gateway: netip.MustParseAddr("198.51.100.1"), Link: "bond0.62", Protocol: "static"},
		},
		Resolver: Resolver{Links: map[string][]netip.Addr{"bond0.61": {dns}, "bond0.62": {both}, "mgmt0": {netip.MustParseAddr("10.0.0.1")}}},
		Files:    map[string]File{kubeletDropIn: file("644"), kubeletScript: file("755"), commandsFile: file("700")},
		CloudInit: CloudInit{
			Status: "done", Datasource: "DataSourceConfigDrive", Scripts: []string{Commands},
		},
	}
	key := file("600")
	switch dataplane {
	case infrav1.DataplaneCalicoVPP:
		f.Resolver.Global = []netip.Addr{dns, both}
		f.Modules = []string{"tun", "vhost_net"}
		f.Files[vppFolder] = File{Mode: "700", Owner: "root:root", SHA256: "-"}
		key.SHA256 = digest("wireguard create listen-port 51820 private-key " + testKey + " src 192.0.2.21 instance 0\n")
		f.Files[encryption.VPPExecFile] = key
	case infrav1.DataplaneNone:
	default:
		f.Modules = []string{"wireguard"}
		key.SHA256 = digest(testKey + "\n")
		f.Files[encryption.KernelKeyFile] = key
		f.Devices = map[string]Device{encryption.KernelDevice: {PublicKey: publicKey, Port: 51820}}
	}
	return f
}

func TestNoDifferences(t *testing.T) {
	for _, dataplane := range []infrav1.DataplaneType{infrav1.DataplaneCalicoVPP, infrav1.DataplaneCalicoNftables, infrav1.DataplaneNone} {
		asked := asks(dataplane)
		if dataplane == infrav1.DataplaneNone {
			asked.Key = ""
		}
		if got := asked.Differences(has(dataplane)); len(got) != 0 {
			t.Errorf("%s: %s", dataplane, strings.Join(got, "\n"))
		}
	}
	asked := asks(infrav1.DataplaneCalicoNftables)
	asked.Machine.Spec.Links[3].Bond = &infrav1.Bond{Mode: infrav1.BondModeActiveBackup, Members: []string{"nic0", "nic1"}, Primary: "nic1", MIIMon: new(int32(50))}
	f := has(infrav1.DataplaneCalicoNftables)
	f.Bonds["bond0"] = Bond{Mode: "fault-tolerance (active-backup)", MIIMon: 50, Primary: "nic1", Members: map[string]bool{"nic0": true, "nic1": true}}
	if got := asked.Differences(f); len(got) != 0 {
		t.Errorf("active-backup: %s", strings.Join(got, "\n"))
	}
}

func TestDifferences(t *testing.T) {
	link := func(name string, change func(*Link)) func(*Facts) {
		return func(f *Facts) {
			l := f.Links[name]
			change(&l)
			f.Links[name] = l
		}
	}
	bond := func(change func(*Bond)) func(*Facts) {
		return func(f *Facts) {
			b := f.Bonds["bond0"]
			change(&b)
			f.Bonds["bond0"] = b
		}
	}
	file := func(path string, change func(*File)) func(*Facts) {
		return func(f *Facts) {
			found := f.Files[path]
			change(&found)
			f.Files[path] = found
		}
	}
	kernel, vpp := infrav1.DataplaneCalicoNftables, infrav1.DataplaneCalicoVPP
	for name, c := range map[string]struct {
		dataplane infrav1.DataplaneType
		change    func(*Facts)
		want      string
	}{
		"host name":          {kernel, func(f *Facts) { f.Hostname = "localhost" }, "host name: localhost, want host-1"},
		"static host name":   {kernel, func(f *Facts) { f.StaticHostname = "localhost" }, "/etc/hostname"},
		"not renamed":        {kernel, func(f *Facts) { f.Links["eth1"] = f.Links["nic1"]; delete(f.Links, "nic1") }, "link nic1: there is none"},
		"other NIC":          {kernel, link("mgmt0", func(l *Link) { l.MAC = macA }), "link mgmt0"},
		"MTU":                {kernel, link("bond0.61", func(l *Link) { l.MTU = 1500 }), "link bond0.61"},
		"MTU of a member":    {kernel, link("nic1", func(l *Link) { l.MTU = 1500 }), "link nic1"},
		"no carrier":         {kernel, link("bond0", func(l *Link) { l.Carrier = false }), "link bond0"},
		"not a member":       {kernel, link("nic0", func(l *Link) { l.Bond = "" }), "link nic0"},
		"VLAN":               {kernel, link("bond0.62", func(l *Link) { l.VLAN = 63 }), "link bond0.62"},
		"VLAN's parent":      {kernel, link("bond0.62", func(l *Link) { l.Parent = "nic0" }), "link bond0.62"},
		"address":            {kernel, link("bond0.61", func(l *Link) { l.Addresses = static("192.0.2.22/24") }), "static addresses of bond0.61"},
		"prefix":             {kernel, link("bond0.62", func(l *Link) { l.Addresses = static("198.51.100.21/24") }), "static addresses of bond0.62"},
		"address of a NIC":   {kernel, link("nic0", func(l *Link) { l.Addresses = static("192.0.2.99/24") }), "static addresses of nic0"},
		"no lease":           {kernel, link("mgmt0", func(l *Link) { l.Addresses = nil }), "leased addresses of mgmt0: 0, want 1"},
		"mode":               {kernel, bond(func(b *Bond) { b.Mode = "load balancing (round-robin)" }), "mode of bond0"},
		"hash policy":        {kernel, bond(func(b *Bond) { b.HashPolicy = "layer2" }), "hash policy of bond0"},
		"LACP rate":          {kernel, bond(func(b *Bond) { b.LACPRate = "slow" }), "LACP rate of bond0"},
		"monitoring":         {kernel, bond(func(b *Bond) { b.MIIMon = 0 }), "link monitoring of bond0"},
		"primary":            {kernel, bond(func(b *Bond) { b.Primary = "nic1" }), "primary of bond0"},
		"not joined":         {kernel, bond(func(b *Bond) { b.Aggregated = 1 }), "LACP has joined of bond0"},
		"member down":        {kernel, bond(func(b *Bond) { b.Members = map[string]bool{"nic0": true, "nic1": false} }), "member nic1 of bond0"},
		"member missing":     {kernel, bond(func(b *Bond) { b.Members = map[string]bool{"nic0": true} }), "number of members of bond0"},
		"no default route":   {kernel, func(f *Facts) { f.Routes = f.Routes[1:] }, "route {0.0.0.0/0 192.0.2.1 bond0.61 static}: there is none"},
		"other route":        {kernel, func(f *Facts) { f.Routes[2].Gateway = netip.MustParseAddr("198.51.100.2") }, "nobody asked for it"},
		"route of a lease":   {kernel, func(f *Facts) { f.Routes[1].Link = "bond0.61" }, "nobody asked for it"},
		"nameserver":         {kernel, func(f *Facts) { delete(f.Resolver.Links, "bond0.61") }, "nameservers of bond0.61"},
		"other nameserver":   {kernel, func(f *Facts) { f.Resolver.Links["bond0"] = f.Resolver.Links["bond0.61"] }, "nameservers of bond0: [192.0.2.53], want none"},
		"global nameserver":  {kernel, func(f *Facts) { f.Resolver.Global = f.Resolver.Links["bond0.61"] }, "nameservers of the host"},
		"no nameserver":      {vpp, func(f *Facts) { f.Resolver.Global = nil }, "nameservers of the host"},
		"hugepages":          {vpp, func(f *Facts) { f.Hugepages.Total = 1 }, "hugepages"},
		"hugepages reserved": {vpp, func(f *Facts) { f.Hugepages.Reserved = 1 }, "hugepages"},
		"module":             {vpp, func(f *Facts) { f.Modules = f.Modules[:1] }, "module vhost_net"},
		"mode of exec file":  {vpp, file(encryption.VPPExecFile, func(x *File) { x.Mode = "644" }), "mode of " + encryption.VPPExecFile},
		"key in exec file":   {vpp, file(encryption.VPPExecFile, func(x *File) { x.SHA256 = digest("") }), "content of " + encryption.VPPExecFile},
		"folder":             {vpp, file(vppFolder, func(x *File) { x.Mode = "755" }), "mode of /etc/vpp"},
		"key of the kernel":  {vpp, func(f *Facts) { f.Files[encryption.KernelKeyFile] = File{} }, "file " + encryption.KernelKeyFile + ": nobody asked for it"},
		"device":             {vpp, func(f *Facts) { f.Devices = map[string]Device{"wg0": {}} }, "devices of WireGuard in the kernel"},
		"key file":           {kernel, file(encryption.KernelKeyFile, func(x *File) { x.Owner = "root:staff" }), "owner of " + encryption.KernelKeyFile},
		"key in file":        {kernel, file(encryption.KernelKeyFile, func(x *File) { x.SHA256 = digest("") }), "content of " + encryption.KernelKeyFile},
		"no device":          {kernel, func(f *Facts) { f.Devices = nil }, "device wireguard.cali: there is none"},
		"public key":         {kernel, func(f *Facts) { f.Devices[encryption.KernelDevice] = Device{PublicKey: "(none)", Port: 51820} }, "public key of wireguard.cali: (none)"},
		"port":               {kernel, func(f *Facts) { f.Devices[encryption.KernelDevice] = Device{PublicKey: publicKey} }, "port of wireguard.cali"},
		"second device":      {kernel, func(f *Facts) { f.Devices["wg0"] = Device{} }, "devices of WireGuard in the kernel: 2, want 1"},
		"drop-in":            {kernel, func(f *Facts) { delete(f.Files, kubeletDropIn) }, "file " + kubeletDropIn + ": there is none"},
		"unasked":            {infrav1.DataplaneNone, func(f *Facts) { f.Files[encryption.VPPExecFile] = File{} }, "nobody asked for it"},
		"status":             {kernel, func(f *Facts) { f.CloudInit.Status = "error" }, "cloud-init's status"},
		"datasource":         {kernel, func(f *Facts) { f.CloudInit.Datasource = "DataSourceNone" }, "cloud-init's datasource"},
		"error":              {kernel, func(f *Facts) { f.CloudInit.Errors = []string{"no"} }, "cloud-init's errors: no"},
		"warning":            {kernel, func(f *Facts) { f.CloudInit.Warnings = []string{"oh"} }, "cloud-init's warnings: oh"},
		"order":              {kernel, func(f *Facts) { f.CloudInit.Scripts = []string{"/x", Commands} }, "scripts that cloud-init has run"},
	} {
		t.Run(name, func(t *testing.T) {
			f := has(c.dataplane)
			f.Links, f.Files = maps.Clone(f.Links), maps.Clone(f.Files)
			c.change(&f)
			got := asks(c.dataplane).Differences(f)
			if !slices.ContainsFunc(got, func(line string) bool { return strings.Contains(line, c.want) }) {
				t.Errorf("want %q among:\n%s", c.want, strings.Join(got, "\n"))
			}
			if strings.Contains(strings.Join(got, "\n"), testKey) {
				t.Error("a difference shows the key")
			}
		})
	}
}
