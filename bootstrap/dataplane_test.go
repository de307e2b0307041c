// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap_test

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap"
	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap/hostnet"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// testKey is 32 bytes of text that says what it is.
func testKey() bootstrap.PrivateKey {
	return bootstrap.PrivateKey(base64.StdEncoding.EncodeToString([]byte("edgemetal-test-key-do-not-use-it")))
}

func prefixes(ranges ...string) []netip.Prefix {
	var parsed []netip.Prefix
	for _, r := range ranges {
		parsed = append(parsed, netip.MustParsePrefix(r))
	}
	return parsed
}

// dataplaneCases pair dataplanes with modes of encryption and networks.
func dataplaneCases(t testing.TB) []renderCase {
	t.Helper()
	withKey := func(kind infrav1.DataplaneType, hold bool, port int32) *bootstrap.Dataplane {
		return &bootstrap.Dataplane{Type: kind, Network: "cluster", HoldPods: hold, PodCIDRs: prefixes("10.244.0.0/16"), ServiceCIDRs: prefixes("10.96.0.0/12"), WireGuard: &bootstrap.WireGuard{PrivateKey: testKey(), Port: port}}
	}
	cases := []struct {
		name      string
		network   hostnet.Input
		dataplane *bootstrap.Dataplane
	}{
		{"vpp-required", staticNetwork(), withKey(infrav1.DataplaneCalicoVPP, true, 0)},
		{"vpp-preferred-bond", bondNetwork(), withKey(infrav1.DataplaneCalicoVPP, false, 51900)},
		{"vpp-ipsec-required", staticNetwork(), &bootstrap.Dataplane{Type: infrav1.DataplaneCalicoVPP, Network: "cluster", HoldPods: true}},
		{"vpp-disabled-dhcp", dhcpNetwork(), &bootstrap.Dataplane{Type: infrav1.DataplaneCalicoVPP, Network: "cluster"}},
		{"ebpf-required-dhcp", dhcpNetwork(), withKey(infrav1.DataplaneCalicoEBPF, true, 0)},
		{"nftables-preferred", staticNetwork(), withKey(infrav1.DataplaneCalicoNftables, false, 51900)},
		{"iptables-disabled", staticNetwork(), &bootstrap.Dataplane{Type: infrav1.DataplaneCalicoIptables, Network: "cluster"}},
		{"none", staticNetwork(), &bootstrap.Dataplane{Type: infrav1.DataplaneNone, Network: "cluster"}},
	}
	rendered := make([]renderCase, 0, len(cases))
	for _, c := range cases {
		in := input(t, []byte(k3sScript), c.network)
		in.Dataplane = c.dataplane
		rendered = append(rendered, renderCase{name: "dataplane-" + c.name, input: in})
	}
	return rendered
}

func TestDataplaneNoneChangesNothing(t *testing.T) {
	in := input(t, []byte(k3sScript), staticNetwork())
	without, err := bootstrap.Render(in)
	if err != nil {
		t.Fatal(err)
	}
	in.Dataplane = &bootstrap.Dataplane{Type: infrav1.DataplaneNone}
	with, err := bootstrap.Render(in)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(without, with); diff != "" {
		t.Error(diff)
	}
}

// TestPrivateKeyIsOnlyWhereItBelongs looks for the key in everything that is rendered, and in what is printed of an input.
func TestPrivateKeyIsOnlyWhereItBelongs(t *testing.T) {
	for _, tc := range dataplaneCases(t) {
		t.Run(tc.name, func(t *testing.T) {
			out, err := bootstrap.Render(tc.input)
			if err != nil {
				t.Fatal(err)
			}
			key := string(testKey())
			want := 0
			if tc.input.Dataplane.WireGuard != nil {
				want = 1
			}
			if got := strings.Count(string(out.UserData), key); got != want {
				t.Errorf("the key is %d times in the user data, want %d", got, want)
			}
			for _, text := range []string{string(out.NetworkData), string(out.MetaData), fmt.Sprintf("%v %+v %#v %s", tc.input.Dataplane, tc.input, *tc.input.Dataplane, testKey())} {
				if strings.Contains(text, key) {
					t.Errorf("the key shows in\n%s", text)
				}
			}
			holders := map[string]string{}
			for path, mode := range writtenModes(t, tc.input) {
				if strings.Contains(writtenFiles(t, tc.input)[path], key) {
					holders[path] = mode
				}
			}
			for path, mode := range holders {
				if mode != "0600" || !slices.Contains([]string{encryption.VPPExecFile, encryption.KernelKeyFile}, path) {
					t.Errorf("the key is in %s with mode %s", path, mode)
				}
			}
			if len(holders) != want {
				t.Errorf("the key is in %d files, want %d", len(holders), want)
			}
		})
	}
}

func TestDataplaneWithoutWhatItNeeds(t *testing.T) {
	for name, tc := range map[string]struct {
		network   hostnet.Input
		dataplane bootstrap.Dataplane
		want      string
	}{
		"no key": {staticNetwork(), bootstrap.Dataplane{Type: infrav1.DataplaneCalicoEBPF, WireGuard: &bootstrap.WireGuard{}}, "PrivateKey is not set"},
		"VPP with DHCP": {dhcpNetwork(), bootstrap.Dataplane{Type: infrav1.DataplaneCalicoVPP, Network: "cluster", WireGuard: &bootstrap.WireGuard{PrivateKey: testKey()}},
			`no static IPv4 address in network "cluster"`},
		"VPP with IPv6": {dualStack(), bootstrap.Dataplane{Type: infrav1.DataplaneCalicoVPP, Network: "cluster6", WireGuard: &bootstrap.WireGuard{PrivateKey: testKey()}},
			`no static IPv4 address in network "cluster6"`},
	} {
		t.Run(name, func(t *testing.T) {
			in := input(t, []byte(k3sScript), tc.network)
			in.Dataplane = &tc.dataplane
			_, err := bootstrap.Render(in)
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), string(testKey())) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

// TestVPPExecFile checks the one line that VPP runs.
func TestVPPExecFile(t *testing.T) {
	in := input(t, []byte(k3sScript), staticNetwork())
	in.Dataplane = &bootstrap.Dataplane{Type: infrav1.DataplaneCalicoVPP, Network: "cluster", WireGuard: &bootstrap.WireGuard{PrivateKey: testKey(), Port: 51900}}
	want := "wireguard create listen-port 51900 private-key " + string(testKey()) + " src 192.0.2.21 instance 0\n"
	if got := writtenFiles(t, in)[encryption.VPPExecFile]; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// host is a folder with programs that note how they are called, and what the script of the WireGuard device reads and writes.
type host struct {
	root, bin string
	guarded   bool
}

func newHost(t *testing.T, programs map[string]string) host {
	t.Helper()
	h := host{root: t.TempDir()}
	h.bin = filepath.Join(h.root, "bin")
	for _, dir := range []string{h.bin, filepath.Join(h.root, "sys/class/net"), filepath.Join(h.root, "etc")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"sh", "mkdir", "sleep", "cat", "rm"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(h.bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, script := range programs {
		content := "#!/bin/sh\necho " + name + " \"$@\" >> " + h.root + "/calls\n" + strings.ReplaceAll(script, "ROOT", h.root)
		if err := os.WriteFile(filepath.Join(h.bin, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// run the script of the WireGuard device; returns what it printed and the calls of programs.
func (h host) run(t *testing.T) (printed string, calls []string, failure error) {
	t.Helper()
	in := input(t, []byte(k3sScript), staticNetwork())
	in.Dataplane = &bootstrap.Dataplane{
		Type: infrav1.DataplaneCalicoNftables, Network: "cluster", HoldPods: h.guarded, PodCIDRs: prefixes("10.244.0.0/16"), WireGuard: &bootstrap.WireGuard{PrivateKey: testKey()},
	}
	files := writtenFiles(t, in)
	script := files["/etc/edgemetal/wireguard.sh"]
	if guard, found := files[encryption.KernelBootGuard]; found {
		if err := os.MkdirAll(filepath.Join(h.root, "etc/edgemetal"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(h.root, encryption.KernelBootGuard), []byte(guard), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"/sys/", "/run/", "/etc/edgemetal/guard"} {
		script = strings.ReplaceAll(script, dir, h.root+dir)
	}
	command := exec.CommandContext(t.Context(), filepath.Join(h.bin, "sh"), "-c", script)
	command.Env = []string{"PATH=" + h.bin}
	out, failure := command.CombinedOutput()
	noted, err := os.ReadFile(filepath.Join(h.root, "calls"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(out), strings.Split(strings.TrimSpace(strings.ReplaceAll(string(noted), h.root, "")), "\n"), failure
}

func TestWireGuardDevice(t *testing.T) {
	const (
		noDevice   = "[ \"$2\" != show ]\n"
		setKey     = "wg set wireguard.cali listen-port 51820 private-key /etc/edgemetal/wireguard.key"
		publicKey  = "wg show wireguard.cali public-key"
		showDevice = "ip link show dev wireguard.cali"
		isActive   = "systemctl --quiet is-active systemd-networkd"
		hasIP      = "ip -V"
		hasWG      = "wg --version"
	)
	networkd := map[string]string{
		"systemctl": "", "install": "for last; do :; done\n: > \"$last\"\n",
		"networkctl": "[ -e ROOT/run/edgemetal/wireguard.key ] && [ -e ROOT/run/systemd/network/80-edgemetal-wireguard.netdev ] && : > ROOT/sys/class/net/wireguard.cali\n",
	}
	noFiles := func(t *testing.T, h host) {
		t.Helper()
		for _, path := range []string{"run/edgemetal/wireguard.key", "run/systemd/network/80-edgemetal-wireguard.netdev"} {
			if _, err := os.Stat(filepath.Join(h.root, path)); !os.IsNotExist(err) {
				t.Errorf("/%s stays: %v", path, err)
			}
		}
	}
	for name, tc := range map[string]struct {
		programs  map[string]string
		hasDevice bool
		guarded   bool
		want      []string
		fails     string
		says      string
	}{
		"with wg": {programs: map[string]string{"ip": noDevice, "wg": "[ \"$1\" != show ] || echo '(none)'\n"},
			want: []string{hasIP, hasWG, showDevice, "ip link add dev wireguard.cali type wireguard", publicKey, setKey}},
		"with wg, device without a key": {programs: map[string]string{"ip": "", "wg": "[ \"$1\" != show ] || echo '(none)'\n"},
			want: []string{hasIP, hasWG, showDevice, publicKey, setKey}},
		"with wg, device with a key": {programs: map[string]string{"ip": "", "wg": "echo 2wEfKG9yUUo6hNRK0uTdYyJEuJVDhJsmlqzFMNnAC2c=\n"},
			want: []string{hasIP, hasWG, showDevice, publicKey}},
		"with systemd-networkd": {programs: networkd,
			want: []string{isActive,
				"install -o root -g systemd-network -m 0640 /etc/edgemetal/wireguard.key /run/edgemetal/wireguard.key",
				"install -m 0644 /etc/edgemetal/wireguard.netdev /run/systemd/network/80-edgemetal-wireguard.netdev", "networkctl reload"}},
		"with systemd-networkd, device there": {programs: networkd, hasDevice: true, want: []string{""}},
		"with a guard": {programs: map[string]string{"nft": "", "ip": "", "wg": "echo 2wEfKG9yUUo6hNRK0uTdYyJEuJVDhJsmlqzFMNnAC2c=\n"}, guarded: true,
			want: []string{"nft -f /etc/edgemetal/guard.nft", hasIP, hasWG, showDevice, publicKey}},
		"with a guard that cannot be loaded": {programs: map[string]string{"nft": "exit 1\n", "ip": noDevice, "wg": "[ \"$1\" != show ] || echo '(none)'\n"}, guarded: true,
			want: []string{"nft -f /etc/edgemetal/guard.nft", hasIP, hasWG, showDevice, "ip link add dev wireguard.cali type wireguard", publicKey, setKey}, says: "install nftables in the image"},
		"with a guard and no nft": {programs: networkd, guarded: true, hasDevice: true, want: []string{""}, says: "install nftables in the image"},
		"with neither":            {programs: map[string]string{"systemctl": "exit 3\n"}, want: []string{isActive}, fails: "install wireguard-tools and iproute2"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, tc.programs)
			h.guarded = tc.guarded
			if tc.hasDevice {
				if err := os.WriteFile(filepath.Join(h.root, "sys/class/net/wireguard.cali"), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			printed, calls, err := h.run(t)
			if (err != nil) != (tc.fails != "") || !strings.Contains(printed, tc.fails) || !strings.Contains(printed, tc.says) || tc.fails+tc.says == "" && printed != "" {
				t.Errorf("got %v and %q, want failure %q and %q", err, printed, tc.fails, tc.says)
			}
			noFiles(t, h)
			if diff := cmp.Diff(tc.want, calls); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUplinkOf(t *testing.T) {
	in := bondNetwork()
	in.Networks[0].MTU = 1600
	for network, want := range map[string]hostnet.Uplink{"cluster": {Link: "bond0.10", MTU: 1600}, "storage": {Link: "bond0.20", MTU: 9000}} {
		got, err := hostnet.UplinkOf(in.Links, in.Interfaces, in.Networks, network)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", network, got, err, want)
		}
	}
	in.Links[3].MTU = 2000
	if got, err := hostnet.UplinkOf(in.Links, in.Interfaces, in.Networks, "cluster"); err != nil || got.MTU != 2000 {
		t.Errorf("the link's own MTU: got %+v, %v", got, err)
	}
	_, err := hostnet.UplinkOf(in.Links, in.Interfaces[1:], in.Networks, "cluster")
	if err == nil || !strings.Contains(err.Error(), `none is in network "cluster"`) {
		t.Errorf("without an interface: got %v", err)
	}
	plan, err := hostnet.NewPlan(dualStack())
	if err != nil {
		t.Fatal(err)
	}
	address, found := plan.Address("cluster")
	if servers := plan.Nameservers(); !found || address != netip.MustParsePrefix("192.0.2.21/24") || len(servers) != 3 {
		t.Errorf("got address %s (%t) and nameservers %s", address, found, servers)
	}
}
