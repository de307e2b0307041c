// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"context"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/fakevpp"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/fakevpp/control"
)

// serve runs a fake with its control socket on a wire of files, and returns a client.
func serve(t *testing.T, wire fakevpp.Wire, number byte) *control.Client {
	t.Helper()
	dir := t.TempDir()
	address := netip.AddrFrom4([4]byte{192, 0, 2, number})
	vpp := fakevpp.New(fakevpp.Config{Socket: filepath.Join(dir, "api.sock"), Wire: wire, Uplink: &fakevpp.Uplink{
		Name: "uplink0", Address: netip.PrefixFrom(address, 24), Gateway: netip.MustParseAddr("192.0.2.254"),
	}})
	if err := vpp.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(vpp.Stop)
	path := filepath.Join(dir, "control.sock")
	done := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() { done <- control.Serve(ctx, path, vpp) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	client := control.NewClient(path)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, err := client.Sent(t.Context()); err == nil {
			return client
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func run(t *testing.T, client *control.Client, commands ...string) string {
	t.Helper()
	var out string
	for _, command := range commands {
		var err error
		if out, err = client.CLI(t.Context(), command); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestSendFaultRestart(t *testing.T) {
	client := serve(t, nil, 11)
	away := fakevpp.Packet{Source: netip.MustParseAddr("10.244.1.1"), Destination: netip.MustParseAddr("10.244.2.1")}
	verdict, err := client.Send(t.Context(), away)
	if err != nil || verdict.Outcome != fakevpp.Plain {
		t.Errorf("to the default gateway: %+v, %v; want Plain", verdict, err)
	}
	if err := client.Fault(t.Context(), control.Fault{Down: "host-uplink0", Poll: "host-uplink0"}); err != nil {
		t.Fatal(err)
	}
	if out := run(t, client, "show interface rx-placement"); !strings.Contains(out, "host-uplink0 queue 0 (polling)") {
		t.Errorf("rx placement after the fault:\n%s", out)
	}
	if verdict, err := client.Send(t.Context(), away); err != nil || verdict.Outcome != fakevpp.Dropped {
		t.Errorf("with the uplink down: %+v, %v; want Dropped", verdict, err)
	}
	sent, err := client.Sent(t.Context())
	if err != nil || sent[fakevpp.Plain] != 1 || sent[fakevpp.Dropped] != 1 {
		t.Errorf("counted %v, %v; want 1 Plain and 1 Dropped", sent, err)
	}
	if err := client.Fault(t.Context(), control.Fault{SecondTunnel: true}); err == nil {
		t.Error("a second tunnel without a first: no error")
	}
	if err := client.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if sent, err := client.Sent(t.Context()); err != nil || sent[fakevpp.Plain] != 0 {
		t.Errorf("after the restart: counted %v, %v; want nothing", sent, err)
	}
}

// TestWireOfFiles joins two fakes as processes are joined.
func TestWireOfFiles(t *testing.T) {
	wire := fakevpp.Directory(t.TempDir())
	clients := []*control.Client{serve(t, wire, 11), serve(t, wire, 12)}
	var keys [2]string
	for i, client := range clients {
		run(t, client, "wireguard create listen-port 51820 generate-key src 192.0.2."+[]string{"11", "12"}[i]+" instance 0",
			"set interface unnumbered wg0 use host-uplink0", "set interface state wg0 up")
		_, after, _ := strings.Cut(run(t, client, "show wireguard interface"), "public-key:")
		keys[i], _, _ = strings.Cut(after, " ")
	}
	run(t, clients[0], "wireguard peer add wg0 public-key "+keys[1]+" endpoint 192.0.2.12 allowed-ip 10.244.2.0/24 dst-port 51820",
		"ip route add 10.244.2.0/24 via 10.244.2.0 wg0")
	run(t, clients[1], "wireguard peer add wg0 public-key "+keys[0]+" endpoint 192.0.2.11 allowed-ip 10.244.1.0/24 dst-port 51820")
	away := fakevpp.Packet{Source: netip.MustParseAddr("10.244.1.1"), Destination: netip.MustParseAddr("10.244.2.1")}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		verdict, err := clients[0].Send(t.Context(), away)
		if err != nil {
			t.Fatal(err)
		}
		if verdict.Outcome == fakevpp.Encrypted && verdict.Peer == keys[1] {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("never encrypted: %+v", verdict)
		}
	}
	run(t, clients[0], "wireguard peer remove 0")
	if verdict, err := clients[0].Send(t.Context(), away); err != nil || verdict.Outcome != fakevpp.Dropped {
		t.Errorf("without the peer: %+v, %v; want Dropped", verdict, err)
	}
}
