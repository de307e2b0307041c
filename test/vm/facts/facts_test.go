// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"context"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// Each folder has what the programs printed on a host, in the order in which Read runs them, and what becomes of it.
func TestReadRealHosts(t *testing.T) {
	for _, name := range []string{"lacp", "active-backup"} {
		outputs, err := filepath.Glob(filepath.Join("testdata", name, "[0-9]*"))
		if err != nil || len(outputs) != len(sources(nil)) {
			t.Fatalf("%s: %d outputs of %d programs, error %v", name, len(outputs), len(sources(nil)), err)
		}
		next := 0
		got, err := Read(t.Context(), func(context.Context, ...string) (string, error) {
			content, err := os.ReadFile(outputs[next])
			next++
			return string(content), err
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", name, "facts.txt")
		if *update {
			if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

var update = flag.Bool("update", false, "rewrite golden files")

func byValue() []cmp.Option {
	return []cmp.Option{cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})}
}

func TestParse(t *testing.T) {
	bond := func(name string, b Bond) Facts { return Facts{Bonds: map[string]Bond{name: b}} }
	for name, c := range map[string]struct {
		parse  func(*Facts, string) error
		output string
		want   Facts
	}{
		"identity": {parseIdentity, "11-22\n33\nhost-1\nhost-2\n", Facts{BootID: "11-22", MachineID: "33", Hostname: "host-1", StaticHostname: "host-2"}},
		"hugepages": {
			parseHugepages, "4\nHugePages_Total:       3\n", Facts{Hugepages: Hugepages{Reserved: 4, Total: 3}},
		},
		"modules": {parseModules, "wireguard 1 0 - Live 0x0\nbonding 2 0 - Live 0x0\n", Facts{Modules: []string{"bonding", "wireguard"}}},
		"files": {
			parseFiles, "/etc/key|600|root:root|12|1700000000\nabc123  -\n/etc/vpp|700|root:root|13|1700000001\n-\n", Facts{Files: map[string]File{
				"/etc/key": {Mode: "600", Owner: "root:root", Inode: "12", Modified: "1700000000", SHA256: "abc123"},
				"/etc/vpp": {Mode: "700", Owner: "root:root", Inode: "13", Modified: "1700000001", SHA256: "-"},
			}},
		},
		"no files":   {parseFiles, "", Facts{Files: map[string]File{}}},
		"devices":    {parseDevices, "wireguard.cali kEy= 51820\n", Facts{Devices: map[string]Device{"wireguard.cali": {PublicKey: "kEy=", Port: 51820}}}},
		"no devices": {parseDevices, "", Facts{Devices: map[string]Device{}}},
		"no bonds":   {parseBonds, "", Facts{Bonds: map[string]Bond{}}},
		"a bond with a member down": {
			parseBonds, "== bond0\nBonding Mode: fault-tolerance (active-backup)\nPrimary Slave: None\nCurrently Active Slave: nic1\nMII Status: up\n" +
				"MII Polling Interval (ms): 50\n\nSlave Interface: nic0\nMII Status: down\n\nSlave Interface: nic1\nMII Status: up\n",
			bond("bond0", Bond{Mode: "fault-tolerance (active-backup)", Active: "nic1", MIIMon: 50, Members: map[string]bool{"nic0": false, "nic1": true}}),
		},
		"routes": {
			parseRoutes, `[{"dst":"default","gateway":"192.0.2.1","dev":"a","protocol":"static"},{"dst":"192.0.2.0/24","dev":"a","protocol":"kernel"},` +
				`{"dst":"192.0.2.1","dev":"a","protocol":"dhcp"}]`, Facts{Routes: []Route{
				{Destination: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("192.0.2.1"), Link: "a", Protocol: "static"},
				{Destination: netip.MustParsePrefix("192.0.2.1/32"), Link: "a", Protocol: "dhcp"},
			}},
		},
		"servers": {
			parseResolver, "Global: 192.0.2.53 2001:db8::53\nLink 2 (eth0):\nLink 3 (bond0.61): 192.0.2.54\n", Facts{Resolver: Resolver{
				Global: []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("2001:db8::53")},
				Links:  map[string][]netip.Addr{"bond0.61": {netip.MustParseAddr("192.0.2.54")}},
			}},
		},
		"status": {parseStatus, "status: error\nboot_status_code: enabled-by-generator\n", Facts{CloudInit: CloudInit{Status: "error"}}},
		"result": {
			parseResult, `{"v1": {"datasource": "DataSourceConfigDrive [net,ver=2][source=/dev/sr0]", "errors": ["('scripts-user', RuntimeError('1 failed'))"]}}`,
			Facts{CloudInit: CloudInit{Datasource: "DataSourceConfigDrive", Errors: []string{"('scripts-user', RuntimeError('1 failed'))"}}},
		},
		"stages": {
			parseStages, `{"v1": {"datasource": "x", "stage": null, "init": {"errors": ["no"], "start": 1.5}, "modules-final": {"errors": []}}}`,
			Facts{CloudInit: CloudInit{Errors: []string{"init: no"}}},
		},
		"log": {
			parseLog, "2026-01-02 03:04:05,678 - subp.py[DEBUG]: Running command ['mount', '/dev/sr0'] with allowed return codes [0]\n" +
				"2026-01-02 03:04:06,678 - util.py[WARNING]: Running module x failed\n" +
				"2026-01-02 03:04:07,678 - subp.py[DEBUG]: Running command ['/var/lib/cloud/instance/scripts/runcmd'] with allowed return codes [0]\n" +
				"what a program prints: Running command [WARNING]\n",
			Facts{CloudInit: CloudInit{Warnings: []string{"util.py[WARNING]: Running module x failed"}, Scripts: []string{"/var/lib/cloud/instance/scripts/runcmd"}}},
		},
		"log with a hole": {
			parseLog, "2026-01-02 03:04:05,678 - subp.py[DEBUG]: Running comm\x00\x00\x002026-01-02 03:05:06,678 - util.py[WARNING]: Running module x failed\n",
			Facts{CloudInit: CloudInit{Warnings: []string{"util.py[WARNING]: Running module x failed"}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got Facts
			if err := c.parse(&got, c.output); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, byValue()...); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseRefusesOtherThings(t *testing.T) {
	for name, c := range map[string]struct {
		parse  func(*Facts, string) error
		output string
	}{
		"identity":    {parseIdentity, "a b c"},
		"hugepages":   {parseHugepages, "no HugePages_Total: 3"},
		"pages":       {parseHugepages, "3 HugePages_Total: no"},
		"few words":   {parseHugepages, "3"},
		"files":       {parseFiles, "/etc/key|600|root:root|12|1\n"},
		"a file":      {parseFiles, "/etc/key\nabc\n"},
		"devices":     {parseDevices, "wg0 key\n"},
		"port":        {parseDevices, "wg0 key high\n"},
		"links":       {parseLinks, "{"},
		"routes":      {parseRoutes, "{"},
		"destination": {parseRoutes, `[{"dst":"there"}]`},
		"bond":        {parseBonds, "== bond0\nMII Polling Interval (ms): often\n"},
		"resolver":    {parseResolver, "no colon"},
		"server":      {parseResolver, "Global: dns"},
		"status":      {parseStatus, "what"},
		"result":      {parseResult, "{"},
		"stages":      {parseStages, "{"},
	} {
		if err := c.parse(&Facts{}, c.output); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestReadTellsWhatFails(t *testing.T) {
	broken := errors.New("no guest agent")
	_, err := Read(t.Context(), func(context.Context, ...string) (string, error) { return "", broken }, nil)
	if !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	_, err = Read(t.Context(), func(context.Context, ...string) (string, error) { return "x", nil }, nil)
	if err == nil || !strings.Contains(err.Error(), "sh") {
		t.Errorf("error %v", err)
	}
}
