// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package hostnet_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap/hostnet"
)

var update = flag.Bool("update", false, "write the documents to testdata instead of comparing them")

func static(name string, subnets ...infrav1.Subnet) infrav1.Network {
	return infrav1.Network{Name: name, Subnets: subnets, Addresses: infrav1.AddressSource{FromHost: &infrav1.FromHost{}}}
}

// single is the smallest plan: one NIC, one network, a static address. Tests change it.
func single() hostnet.Input {
	cluster := static("cluster", infrav1.Subnet{CIDR: "192.0.2.0/24", Gateway: "192.0.2.1"})
	cluster.Nameservers = []string{"192.0.2.53"}
	return hostnet.Input{
		Links:      []infrav1.Link{ethernet("uplink0", infrav1.NICMatch{BootNIC: new(true)})},
		Interfaces: []infrav1.Interface{{Network: "cluster", Link: "uplink0"}},
		Networks:   []infrav1.Network{cluster},
		Hardware:   hardware(),
		Addresses:  addresses("cluster", "192.0.2.21"),
		VIP:        netip.MustParseAddr("192.0.2.10"),
	}
}

func withDHCP() hostnet.Input {
	in := single()
	in.Networks = []infrav1.Network{{Name: "cluster", Addresses: infrav1.AddressSource{DHCP: &infrav1.DHCP{}}, Nameservers: []string{"192.0.2.53"},
		Subnets: []infrav1.Subnet{{CIDR: "2001:db8::/64", Gateway: "2001:db8::1"}, {CIDR: "192.0.2.0/24", Gateway: "192.0.2.1"}},
		Routes:  []infrav1.Route{{Destination: "198.51.100.0/24"}}}}
	in.Addresses = nil
	return in
}

func withSecondNIC() hostnet.Input {
	in := single()
	in.Links = append(in.Links, ethernet("storage0", infrav1.NICMatch{Name: "eno2"}))
	storage := static("storage", infrav1.Subnet{CIDR: "198.51.100.0/24", Gateway: "198.51.100.1"})
	storage.Routes = []infrav1.Route{{Destination: "203.0.113.0/25"}, {Destination: "203.0.113.128/25", Gateway: "198.51.100.2"}}
	storage.Nameservers = []string{"192.0.2.53", "198.51.100.53"}
	in.Networks = append(in.Networks, storage)
	in.Interfaces = append(in.Interfaces, infrav1.Interface{Network: "storage", Link: "storage0"})
	in.Addresses["storage"] = netip.MustParseAddr("198.51.100.21")
	return in
}

// withBonds has two bonds, the second listed first, VLANs before their parents and MTUs to derive.
func withBonds() hostnet.Input {
	in := withSecondNIC()
	in.Networks[1].MTU = 9000
	in.Links = []infrav1.Link{
		{Name: "bond1.20", VLAN: &infrav1.VLAN{ID: 20, Parent: "bond1"}},
		{Name: "bond1", Bond: &infrav1.Bond{Mode: infrav1.BondModeActiveBackup, Members: []string{"nic2"}, MIIMon: new(int32(0)), Primary: "nic2"}},
		{Name: "bond0", MTU: 9216, Bond: &infrav1.Bond{Mode: infrav1.BondMode8023AD, Members: []string{"nic0", "nic1"}, LACPRate: "fast", XmitHashPolicy: "layer3+4"}},
		{Name: "bond0.10", VLAN: &infrav1.VLAN{ID: 10, Parent: "bond0"}},
		ethernet("nic0", infrav1.NICMatch{Name: "eno1"}), ethernet("nic1", infrav1.NICMatch{Name: "eno2"}), ethernet("nic2", infrav1.NICMatch{Name: "eno3"}),
	}
	in.Interfaces = []infrav1.Interface{{Network: "cluster", Link: "bond0.10"}, {Network: "storage", Link: "bond1.20"}}
	return in
}

func withDualStack() hostnet.Input {
	in := single()
	six := static("cluster6", infrav1.Subnet{CIDR: "2001:db8:1::/64", Gateway: "2001:db8:1::1"})
	six.Routes = []infrav1.Route{{Destination: "2001:db8:2::/48"}}
	third := static("legacy", infrav1.Subnet{CIDR: "198.51.100.0/24", Gateway: "198.51.100.1"})
	in.Networks = append(in.Networks, six, third)
	in.Interfaces = append(in.Interfaces, infrav1.Interface{Network: "cluster6", Link: "uplink0"}, infrav1.Interface{Network: "legacy", Link: "uplink0"})
	in.Addresses = addresses("cluster", "192.0.2.21", "cluster6", "2001:db8:1::21", "legacy", "198.51.100.21")
	return in
}

func jumbo() hostnet.Input {
	in := single()
	in.Networks[0].MTU = 9216
	return in
}

func TestNetworkData(t *testing.T) {
	for name, in := range map[string]hostnet.Input{
		"static": single(), "dhcp": withDHCP(), "two-nics": withSecondNIC(), "bonds-vlans": withBonds(), "dual-stack": withDualStack(), "jumbo": jumbo(),
	} {
		t.Run(name, func(t *testing.T) {
			got := string(plan(t, in).NetworkData())
			path := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatalf("%v; run go test with -update to write it", err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s differs (-want +got):\n%s", path, diff)
			}
		})
	}
}

func plan(t testing.TB, in hostnet.Input) hostnet.Plan {
	t.Helper()
	out, err := hostnet.NewPlan(in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestNodeAddresses(t *testing.T) {
	reversed := withDualStack()
	slices.Reverse(reversed.Interfaces[:2])
	for name, tc := range map[string]struct {
		in   hostnet.Input
		want []string
	}{
		"static":                      {single(), []string{"192.0.2.21"}},
		"DHCP":                        {withDHCP(), nil},
		"not of other links":          {withSecondNIC(), []string{"192.0.2.21"}},
		"one of each family":          {withDualStack(), []string{"192.0.2.21", "2001:db8:1::21"}},
		"the first interface's first": {reversed, []string{"2001:db8:1::21", "192.0.2.21"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, address := range plan(t, tc.in).NodeAddresses() {
				got = append(got, address.String())
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if got := (hostnet.Plan{}).NodeAddresses(); got != nil {
		t.Errorf("the zero plan has addresses %v", got)
	}
}

func TestVIPInterface(t *testing.T) {
	unknown := withDHCP()
	unknown.Networks[0].Subnets, unknown.Networks[0].Routes = nil, nil
	for name, tc := range map[string]struct {
		in   hostnet.Input
		vip  string
		want string
		err  string
	}{
		"in the first network":     {in: single(), vip: "192.0.2.10", want: "uplink0"},
		"in the second network":    {in: withSecondNIC(), vip: "198.51.100.10", want: "storage0"},
		"on a VLAN":                {in: withBonds(), vip: "192.0.2.10", want: "bond0.10"},
		"IPv6":                     {in: withDualStack(), vip: "2001:db8:1::10", want: "uplink0"},
		"DHCP with known subnets":  {in: withDHCP(), vip: "192.0.2.10", want: "uplink0"},
		"DHCP with unknown subnet": {in: unknown, vip: "203.0.113.10", want: "uplink0"},
		"nowhere": {in: withSecondNIC(), vip: "203.0.113.10",
			err: "controlPlaneEndpoint.host 203.0.113.10 lies in no subnet of this machine's interfaces; add an interface on its network"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.in.VIP = netip.MustParseAddr(tc.vip)
			got, err := plan(t, tc.in).VIPInterface(tc.in.VIP)
			expectError(t, err, infrav1.AddressInvalidReason, tc.err)
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestNewPlanIsDeterministic(t *testing.T) {
	first := plan(t, withBonds()).NetworkData()
	for range 20 {
		if diff := cmp.Diff(string(first), string(plan(t, withBonds()).NetworkData())); diff != "" {
			t.Fatalf("planned again the document differs:\n%s", diff)
		}
	}
}

func TestNewPlanErrors(t *testing.T) {
	for _, tc := range planErrors() {
		t.Run(tc.name, func(t *testing.T) {
			in := tc.base()
			tc.change(&in)
			_, err := hostnet.NewPlan(in)
			expectError(t, err, tc.reason, tc.message)
		})
	}
}

// FuzzNewPlan holds that a plan's addresses are what was asked for, whatever the site says, and that nothing panics.
func FuzzNewPlan(f *testing.F) {
	f.Add("192.0.2.0/24", "192.0.2.1", "192.0.2.21", "198.51.100.0/24", "", "192.0.2.53", int32(1500), int32(0))
	f.Add("2001:db8::/64", "2001:db8::1", "2001:db8::21", "2001:db8:2::/48", "2001:db8::2", "::1", int32(0), int32(9216))
	f.Add("192.0.2.0/33", "x", "192.0.2.21", "", "y", "z", int32(-1), int32(70000))
	f.Fuzz(func(t *testing.T, cidr, gateway, address, destination, hop, nameserver string, mtu, linkMTU int32) {
		in := single()
		in.Links[0].MTU = linkMTU
		in.Networks[0] = static("cluster", infrav1.Subnet{CIDR: cidr, Gateway: gateway})
		in.Networks[0].MTU = mtu
		in.Networks[0].Nameservers = []string{nameserver}
		in.Networks[0].Routes = []infrav1.Route{{Destination: destination, Gateway: hop}}
		parsed, err := netip.ParseAddr(address)
		if err == nil {
			in.Addresses["cluster"] = parsed
		}
		got, err := hostnet.NewPlan(in)
		if err != nil {
			return
		}
		if diff := cmp.Diff(fmt.Sprint([]netip.Addr{in.Addresses["cluster"].Unmap()}), fmt.Sprint(got.NodeAddresses())); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if len(got.NetworkData()) == 0 {
			t.Error("no network data")
		}
	})
}

func BenchmarkNewPlan(b *testing.B) {
	in := withBonds()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := hostnet.NewPlan(in); err != nil {
			b.Fatal(err)
		}
	}
}
