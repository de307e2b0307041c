// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/hostfiles"
)

// bootFiles writes what cloud-init writes for the WireGuard unit of a host, into a folder, and returns the path of the unit's script there.
func bootFiles(t *testing.T, e encryption.Expectation, key string) string {
	t.Helper()
	files := hostfiles.Render(t, bootstrap.Dataplane{
		Type: infrav1.DataplaneCalicoNftables, Network: "cluster", HoldPods: true, PodCIDRs: e.PodCIDRs, ServiceCIDRs: e.ServiceCIDRs,
		WireGuard: &bootstrap.WireGuard{PrivateKey: bootstrap.PrivateKey(key)},
	}, e.Address)
	const etc = "/etc/edgemetal/"
	dir := t.TempDir() + "/"
	for _, file := range files {
		if name, found := strings.CutPrefix(file.Path, etc); found {
			if err := os.WriteFile(dir+name, []byte(strings.ReplaceAll(file.Content, etc, dir)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return filepath.Join(dir, "wireguard.sh")
}

// TestBootGuard: after a host has started nothing leaves it in clear before the node agent runs, nor while its guard takes over.
func TestBootGuard(t *testing.T) {
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("needs nft, of the package nftables")
	}
	p := newPair(t)
	p.a.run("ip route add 10.244.2.0/24 via " + addressB.String())
	p.a.run("ip route add 10.96.0.0/12 via " + addressB.String())
	// The device is there with a key already, as wg is made to say.
	p.a.ask(request{Device: true})
	script := bootFiles(t, p.ea, newKey(t).String())
	if err := os.WriteFile(filepath.Join(filepath.Dir(script), "wg"), []byte("#!/bin/sh\necho "+newKey(t).PublicKey().String()+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	boot := "env PATH=" + filepath.Dir(script) + ":" + os.Getenv("PATH") + " sh " + script
	p.a.run(boot)
	p.a.run(boot) // Again, as when the unit is restarted.
	nothingLeaves := func(when string) {
		t.Helper()
		p.b.ask(request{Sniff: "uplink0"})
		p.a.ask(request{Send: append(leaks(), allowed()...)})
		if got, want := p.seen(t, 5), (wire{WireGuard: 1, Other: 4}); got != want {
			t.Fatalf("%s %+v arrives, want %+v", when, got, want)
		}
	}
	nothingLeaves("with the host's guard")
	if table := p.a.run("nft list table inet " + encryption.BootGuardTable); strings.Count(table, "counter packets 1 ") != 3 || !strings.Contains(table, "counter packets 2 ") {
		t.Errorf("not every rule has dropped what is its own:\n%s", table)
	}

	// A pod of this host is reached, also by the host.
	p.a.run("ip link add cali1 type veth peer name eth1")
	p.a.run("ip link set cali1 addrgenmode none") // It is to send nothing of its own.
	p.a.run("ip link set cali1 up")
	p.a.run("ip link set eth1 up")
	p.a.run("ip route add 10.244.1.7/32 dev cali1")
	p.a.run("ip neigh add 10.244.1.7 lladdr ff:ff:ff:ff:ff:ff dev cali1")
	before := received(t, p.a, "eth1")
	for deadline := time.Now().Add(30 * time.Second); received(t, p.a, "eth1") == before; time.Sleep(20 * time.Millisecond) {
		// Again: a link that has just been brought up takes none for a moment.
		p.a.ask(request{Send: []packet{{To: netip.MustParseAddr("10.244.1.7"), Bytes: ipPacket(17, addressA, netip.MustParseAddr("10.244.1.7"), udp(80, nil))}}})
		if time.Now().After(deadline) {
			t.Fatal("a packet to a pod of this host is dropped")
		}
	}

	if o := p.a.complete(p.ea); !o.Guard.InForce || !o.Guard.Boot {
		t.Fatalf("guard: %+v", o.Guard)
	}
	if o := p.a.complete(p.ea); !o.Guard.InForce || o.Guard.Boot {
		t.Fatalf("guard after the host's should be gone: %+v", o.Guard)
	}
	nothingLeaves("with the agent's guard")

	// With another mode both go.
	p.a.run(boot)
	p.ea.Mode = encryption.ModePreferred
	if o := p.a.complete(p.ea); o.Guard.Present || o.Guard.Boot {
		t.Errorf("guard with mode Preferred: %+v", o.Guard)
	}
	if tables := p.a.run("nft list tables"); strings.Contains(tables, encryption.BootGuardTable) {
		t.Errorf("tables: %s", tables)
	}
}

// received counts the packets that a device has received.
func received(t *testing.T, n *node, device string) string {
	t.Helper()
	lines := strings.Split(n.run("ip -s link show "+device), "\n")
	i := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, "RX:") })
	if i < 0 || i+1 == len(lines) {
		t.Fatalf("%s has no counters", device)
	}
	return strings.Fields(lines[i+1])[1]
}
