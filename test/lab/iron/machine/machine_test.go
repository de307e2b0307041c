// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/types"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/hostfiles"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/hardware"
)

const userData = `#cloud-config
hostname: renamed.example.org
users: [{name: ops, ssh_authorized_keys: [key-of-ops], sudo: 'ALL=(ALL) NOPASSWD:ALL'}]
mounts: [[LABEL=data, /srv/data]]
write_files:
- {path: /etc/modules-load.d/edge.conf, content: "tun\nvhost_net\n"}
- {path: /etc/sysctl.d/99-edge.conf, content: "vm.nr_hugepages = 0\n"}
- {path: /etc/systemd/system/hello.service, content: "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'echo hello from a unit'\n[Install]\nWantedBy=multi-user.target\n"}
- {path: /late, content: x, defer: true}
bootcmd: ['echo bootcmd runs', 'test -e /etc/modules-load.d/edge.conf || echo before files']
runcmd:
- modprobe tun
- modprobe no_such_module || echo no module
- [systemctl, restart, systemd-modules-load, systemd-sysctl]
- sysctl vm.nr_hugepages
- sysctl -w net.ipv4.tcp_rmem="4096 1 2"
- cat /proc/sys/net/ipv4/tcp_rmem
- systemctl daemon-reload
- systemctl enable --now hello
- systemctl is-active hello
- systemctl start no-such-unit || echo status $?
- hostname
- test -f /late && echo late file is there
`

func powerOn(t *testing.T, rack *Rack, key types.NamespacedName, userData string) {
	t.Helper()
	computer := deploy(t, rack, key, userData)
	if err := rack.PowerOn(key, computer); err != nil {
		t.Fatal(err)
	}
}

func deploy(t *testing.T, rack *Rack, key types.NamespacedName, userData string) hardware.Machine {
	t.Helper()
	computer := hardware.Machine{UID: "uid-1", Hardware: &bmov1.HardwareDetails{}, NICs: []hardware.NIC{{Name: "eth0", MAC: "02:00:00:00:00:01"}}}
	drive := hardware.Drive{UserData: []byte(userData), MetaData: []byte(`{"uuid": "uid-1", "local-hostname": "host-1"}`)}
	if err := rack.Deploy(key, computer, "https://example.org/image", drive); err != nil {
		t.Fatal(err)
	}
	return computer
}

func awaitConsole(t *testing.T, dir, text string, times int) string {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		content, err := os.ReadFile(filepath.Join(dir, "console.log"))
		if err == nil && strings.Count(string(content), text) >= times {
			return string(content)
		}
		if time.Now().After(deadline) {
			t.Fatalf("the console does not say %q %d times: %v\n%s", text, times, err, content)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func newTestRack(t *testing.T, dir string) *Rack {
	t.Helper()
	site := &DHCPRange{First: netip.MustParseAddr("127.93.6.200"), Last: netip.MustParseAddr("127.93.6.201"), Bits: 24}
	rack := NewRack(Config{Dir: dir, KubernetesVersion: "v1.36.3", DHCP: NewDHCP(site, filepath.Join(dir, "dhcp.json"))})
	t.Cleanup(rack.Close)
	return rack
}

func TestBoot(t *testing.T) {
	dir := t.TempDir()
	rack := newTestRack(t, dir)
	key := types.NamespacedName{Namespace: "default", Name: "host-1"}
	powerOn(t, rack, key, userData)
	home := filepath.Join(dir, "default", "host-1")
	console := awaitConsole(t, home, "cloud-init: finished", 1)
	for _, want := range []string{
		"network: eth0 physical 02:00:00:00:00:01 mtu 1500 127.93.6.200/24", "bootcmd runs", "before files", "Module no_such_module not found", "no module",
		"vm.nr_hugepages = 0", "4096 1 2", "hello from a unit", " active", "Unit no-such-unit.service not found", "status 5", " renamed", "late file is there",
	} {
		if !strings.Contains(console, want) {
			t.Errorf("the console lacks %q", want)
		}
	}
	for file, want := range map[string]string{
		"proc/modules": "vhost_net ", "etc/hostname": "renamed\n", "home/ops/.ssh/authorized_keys": "key-of-ops\n", "etc/fstab": "/srv/data",
		"etc/sudoers.d/90-cloud-init-users": "ops ALL=(ALL) NOPASSWD:ALL", "run/cloud-init/result.json": `"errors": []`,
	} {
		content, err := os.ReadFile(filepath.Join(home, "root", file))
		if err != nil || !strings.Contains(string(content), want) {
			t.Errorf("%s: %q, %v; want %q", file, content, err, want)
		}
	}
	if t.Failed() {
		t.Log(console)
	}

	// The lab stops and starts: the machine boots from its disk, and runs bootcmd and its units, not runcmd.
	rack.Close()
	again := newTestRack(t, dir)
	if err := again.Restore(); err != nil {
		t.Fatal(err)
	}
	console = awaitConsole(t, home, "cloud-init: finished", 2)
	if strings.Count(console, "bootcmd runs") != 2 || strings.Count(console, "late file is there") != 1 || strings.Count(console, "hello from a unit") != 2 {
		t.Errorf("the second boot:\n%s", console)
	}
	if strings.Count(console, "127.93.6.200/24") != 2 {
		t.Error("the machine did not get its address again")
	}
	if !again.PoweredOn(key) {
		t.Error("the machine is not on")
	}
	if err := again.Remove(key); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(home); !os.IsNotExist(err) {
		t.Errorf("the machine's directory is there: %v", err)
	}
}

func TestBootFailures(t *testing.T) {
	for name, test := range map[string]struct{ userData, want string }{
		"bad user data":    {"#cloud-config\nruncmd: nonsense\n", "runcmd: want a list"},
		"failing script":   {"#cloud-config\nruncmd: ['exit 3']\n", "runcmd ended with status 3"},
		"failing bootcmd":  {"#cloud-config\nbootcmd: [nonsense-program]\n", "bootcmd ended with status 127"},
		"packages":         {"#cloud-config\npackages: [jq]\n", "no package mirror"},
		"unknown language": {"#!/usr/bin/perl\nprint 1\n", `interpreter "perl" is not on this host`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			rack := newTestRack(t, dir)
			powerOn(t, rack, types.NamespacedName{Namespace: "default", Name: "host-1"}, test.userData)
			awaitConsole(t, filepath.Join(dir, "default", "host-1"), test.want, 1)
			awaitConsole(t, filepath.Join(dir, "default", "host-1"), "this host will not become a node", 1)
		})
	}
}

// TestPowerLostBeforeThePayload boots a host whose power was lost on its first boot, before the payload's commands began.
func TestPowerLostBeforeThePayload(t *testing.T) {
	dir := t.TempDir()
	rack := newTestRack(t, dir)
	key := types.NamespacedName{Namespace: "default", Name: "host-1"}
	home := filepath.Join(dir, "default", "host-1")
	payload := "#cloud-config\nbootcmd: [echo payload boots]\nruncmd: [echo payload runs]\n"
	data := hostfiles.UserData(t, []byte(payload), bootstrap.Dataplane{Type: infrav1.DataplaneNone}, netip.MustParseAddr("192.0.2.21"))
	computer := deploy(t, rack, key, string(data))
	for _, seen := range []struct{ name, content string }{{"data/instance-id", "uid-1\n"}, {"instance/edgemetal-begun", ""}} {
		file := filepath.Join(home, "root/var/lib/cloud", seen.name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(seen.content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := rack.PowerOn(key, computer); err != nil {
		t.Fatal(err)
	}
	console := awaitConsole(t, home, "cloud-init: finished", 1)
	for text, times := range map[string]int{"starting over": 1, "reboot\n": 1, "booting image": 2, "payload boots": 1, "payload runs": 1, "edgemetal.sh": 1} {
		if got := strings.Count(console, text); got != times {
			t.Errorf("the console says %q %d times, want %d", text, got, times)
		}
	}
	if t.Failed() {
		t.Log(console)
	}
}

func TestWipeAndRedeploy(t *testing.T) {
	dir := t.TempDir()
	rack := newTestRack(t, dir)
	key := types.NamespacedName{Namespace: "default", Name: "host-1"}
	home := filepath.Join(dir, "default", "host-1")
	powerOn(t, rack, key, "#cloud-config\nwrite_files: [{path: /first, content: x}]\n")
	awaitConsole(t, home, "cloud-init: finished", 1)
	if err := rack.Wipe(key); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(home, "root")); !os.IsNotExist(err) || rack.PoweredOn(key) {
		t.Errorf("after the wipe: on is %t, root: %v", rack.PoweredOn(key), err)
	}
	// The same instance id, but a new disk: everything runs again.
	powerOn(t, rack, key, "#cloud-config\nwrite_files: [{path: /second, content: x}]\n")
	awaitConsole(t, home, "cloud-init: finished", 2)
	if _, err := os.Stat(filepath.Join(home, "root/first")); !os.IsNotExist(err) {
		t.Errorf("a file of the first deployment is there: %v", err)
	}
	if _, err := os.Stat(filepath.Join(home, "root/second")); err != nil {
		t.Error(err)
	}
}

func TestDHCP(t *testing.T) {
	file := filepath.Join(t.TempDir(), "dhcp.json")
	site := &DHCPRange{First: netip.MustParseAddr("192.0.2.200"), Last: netip.MustParseAddr("192.0.2.201"), Bits: 24}
	server := NewDHCP(site, file)
	first, err := server("02:00:00:00:00:01")
	if err != nil || first.Address != netip.MustParsePrefix("192.0.2.200/24") {
		t.Errorf("first lease %+v, %v", first, err)
	}
	if second, err := NewDHCP(site, file)("02:00:00:00:00:02"); err != nil || second.Address == first.Address {
		t.Errorf("second lease %+v, %v", second, err)
	}
	if again, err := NewDHCP(site, file)("02:00:00:00:00:01"); err != nil || again.Address != first.Address {
		t.Errorf("the first lease again: %+v, %v", again, err)
	}
	if _, err := server("02:00:00:00:00:03"); err == nil || !strings.Contains(err.Error(), "used up") {
		t.Errorf("a full range: %v", err)
	}
	if _, err := NewDHCP(nil, "")("02:00:00:00:00:01"); err == nil {
		t.Error("no server: no error")
	}
}
