// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/agent"
)

var update = flag.Bool("update", false, "write the golden files")

func parse(t *testing.T, args ...string) *options {
	t.Helper()
	o := &options{}
	flags := pflag.NewFlagSet("edge-agent", pflag.ContinueOnError)
	o.addFlags(flags, func(name string) string { return map[string]string{"NODE_NAME": "from-environment"}[name] })
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestConfig(t *testing.T) {
	o := parse(t, "--pod-cidrs=10.244.0.1/16,10.245.0.0/16", "--service-cidrs=10.96.0.0/12", "--announced-cidrs=203.0.113.0/24")
	got, err := o.config()
	if err != nil {
		t.Fatal(err)
	}
	want := agent.Config{
		Node: "from-environment", Mode: encryption.ModeRequired, Protocol: encryption.WireGuard, Port: 51820,
		PodCIDRs:     []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("10.245.0.0/16")},
		ServiceCIDRs: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")}, AnnouncedCIDRs: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")},
		RxMode: "interrupt", HugepagesForbidden: true,
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Error("config (-want +got):\n" + diff)
	}
	o = parse(t, "--pod-cidrs=10.244.0.0/16", "--rx-mode=any", "--hugepages=allowed", "--backend=kernel")
	if got, err := o.config(); err != nil || got.RxMode != "" || got.HugepagesForbidden || o.keyPath() != encryption.KernelKeyFile {
		t.Errorf("%+v, %s, %v", got, o.keyPath(), err)
	}
}

func TestConfigRefused(t *testing.T) {
	for arg, want := range map[string]string{
		"--mode=Disabled":                 "--mode=Disabled: must be one of [Required Preferred]",
		"--protocol=OpenVPN":              "--protocol=OpenVPN",
		"--backend=dpdk":                  "--backend=dpdk",
		"--rx-mode=sometimes":             "--rx-mode=sometimes",
		"--hugepages=some":                "--hugepages=some",
		"--node-name=":                    "--node-name is not set",
		"--pod-cidrs=":                    "--pod-cidrs is not set",
		"--pod-cidrs=10.244.0.0":          "--pod-cidrs=10.244.0.0: must be an address range",
		"--pod-cidrs=0.0.0.0/0":           "--pod-cidrs=0.0.0.0/0",
		"--service-cidrs=10.244.128.0/17": "overlaps",
		"--announced-cidrs=203.0.113.0":   "--announced-cidrs=203.0.113.0: must be an address range",
		"--metrics-bind-address=9470":     "--metrics-bind-address=9470: must be address:port",
	} {
		if _, err := parse(t, "--pod-cidrs=10.244.0.0/16", arg).config(); err == nil || !strings.Contains(err.Error(), want) {
			// The flag of a list adds to what is given before.
			if _, err = parse(t, arg).config(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v; want %q", arg, err, want)
			}
		}
	}
	if _, err := parse(t, "--pod-cidrs=10.244.0.0/16", "--protocol=IPsec", "--backend=kernel").config(); err == nil {
		t.Error("IPsec in the kernel is accepted")
	}
}

func testStatus() *agent.Status {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	return &agent.Status{
		Node: "worker-1", Address: "192.0.2.11", Mode: encryption.ModeRequired, Protocol: encryption.WireGuard, Backend: encryption.Kernel, ObservedAt: now,
		Uplink: "uplink0",
		Verdict: encryption.Verdict{
			Reason: encryption.ReasonPeerMissing, Message: "worker-1 has no WireGuard peer for worker-3",
			Missing: []encryption.Finding{{Reason: encryption.ReasonPeerMissing, Node: "worker-3", Message: "worker-1 has no WireGuard peer for worker-3"}},
			Peers: []encryption.PeerVerdict{
				{Node: "worker-2", Address: "192.0.2.12", PublicKey: "BBBB=", State: encryption.PeerEncrypted, HandshakeAge: 75, RxBytes: 3 << 20, TxBytes: 17},
				{Node: "worker-3", Address: "192.0.2.13", PublicKey: "CCCC=", State: encryption.PeerFailed, Reason: encryption.ReasonPeerMissing, HandshakeAge: -1},
				{Node: "worker-4", State: encryption.PeerNotExpected, HandshakeAge: -1},
			},
			Strays: []encryption.StrayPeer{{Tunnel: "wireguard.cali", PublicKey: "DDDD=", Endpoint: "192.0.2.77:51820", Established: true}},
		},
		Tunnels:   []agent.TunnelStatus{{Name: "wireguard.cali", PublicKey: "AAAA=", Port: 51820, Up: true, RxBytes: 3 << 20, TxBytes: 2048}},
		Guard:     agent.GuardStatus{InForce: true, Drops: []agent.DropStatus{{Rule: "ipip", Packets: 3}, {Rule: "pods"}}},
		Hugepages: &agent.HugepageStatus{Before: new(0), Now: 0, VPPPageSize: 4096},
	}
}

func TestWriteText(t *testing.T) {
	encrypted := testStatus()
	encrypted.Verdict = encryption.Verdict{Encrypted: true, Reason: encryption.ReasonEncrypted, Message: "There is no other node yet; the tunnel is ready"}
	encrypted.Mode, encrypted.Guard, encrypted.Hugepages = encryption.ModePreferred, agent.GuardStatus{}, nil
	for name, status := range map[string]*agent.Status{"not-encrypted": testStatus(), "encrypted": encrypted} {
		t.Run(name, func(t *testing.T) {
			out := &strings.Builder{}
			if err := writeText(out, status, status.ObservedAt.Add(3*time.Second)); err != nil {
				t.Fatal(err)
			}
			golden := "testdata/status-" + name + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(out.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), out.String()); diff != "" {
				t.Error("status (-want +got):\n" + diff)
			}
		})
	}
}
