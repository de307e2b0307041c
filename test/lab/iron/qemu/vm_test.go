// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package qemu_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/image"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/hardware"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/qemu"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/sitenet"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

const userData = `#cloud-config
write_files:
- path: /etc/marker
  content: from user data
runcmd:
- [sh, -c, "date >> /var/log/first-boot"]
bootcmd:
- [sh, -c, "date >> /var/log/boots"]
`

// networkData gives the first NIC a name and an address; the second asks for one.
const networkData = `{
  "links": [
    {"id": "uplink", "type": "phy", "name": "uplink", "ethernet_mac_address": %q, "mtu": 9000},
    {"id": "second", "type": "phy", "name": "second", "ethernet_mac_address": %q}
  ],
  "networks": [
    {"id": "static", "type": "ipv4", "link": "uplink", "ip_address": "10.64.9.20", "netmask": "255.255.255.0", "gateway": "10.64.9.1"},
    {"id": "dhcp", "type": "ipv4_dhcp", "link": "second"}
  ],
  "services": [{"type": "dns", "address": "10.64.9.1"}]
}`

// bench is a rack with one machine that has the base image.
type bench struct {
	rack    *qemu.Rack
	network *sitenet.Network
	key     types.NamespacedName
	machine hardware.Machine
	guest   *qemu.Guest
}

func newBench(t *testing.T) *bench {
	t.Helper()
	parts := strings.Split(os.Getenv("EDGEMETAL_VM"), ",")
	if !slices.Contains(parts, "all") && !slices.Contains(parts, "hosts") {
		t.Skip("boots a virtual machine, which takes minutes without KVM: run `make test-vm`, or set EDGEMETAL_VM to hosts or all")
	}
	root, err := tools.Root()
	if err != nil {
		t.Fatal(err)
	}
	built, err := image.Build(t.Context(), image.Options{Toolbox: tools.Toolbox{Root: root, Out: os.Stderr}, Name: image.Base, Out: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	network, err := sitenet.New(sitenet.Config{
		Prefix: netip.MustParsePrefix("10.64.9.0/24"), Gateway: netip.MustParseAddr("10.64.9.1"),
		DHCPFirst: netip.MustParseAddr("10.64.9.200"), DHCPLast: netip.MustParseAddr("10.64.9.250"), Dir: filepath.Join(dir, "network"), Log: testr.New(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- network.Run(running) }()
	rack, err := qemu.NewRack(qemu.Config{
		Dir: filepath.Join(dir, "hosts"), ImageCache: filepath.Join(dir, "images"), Network: network, Capture: true, Log: testr.New(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	key := types.NamespacedName{Namespace: "default", Name: "host-1"}
	t.Cleanup(func() {
		rack.Close()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if t.Failed() {
			content, _ := os.ReadFile(rack.ConsoleFile(key))
			t.Logf("the console:\n%s", content[max(0, len(content)-20000):])
		}
	})
	b := &bench{rack: rack, network: network, key: key, guest: rack.Guest(key)}
	b.deploy(t, built)
	return b
}

// deploy fetches the image over HTTP, as a host's provisioning does.
func (b *bench) deploy(t *testing.T, built image.Image) {
	t.Helper()
	host := &bmov1.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: b.key.Namespace, Name: b.key.Name}}
	host.Spec.BootMACAddress = "52:54:00:ed:9e:01"
	details, err := hardware.InspectVirtual(host)
	if err != nil {
		t.Fatal(err)
	}
	b.machine = hardware.Machine{UID: "8e4a1c9e-7b0f-4e0e-9f57-0d6f5f5b7a11", Hardware: details, NICs: hardware.NICs(details, false)}
	server := httptest.NewServer(http.FileServer(http.Dir(filepath.Dir(built.Disk))))
	defer server.Close()
	begin := time.Now()
	err = b.rack.Deploy(t.Context(), b.key, b.machine, bmov1.Image{
		URL: server.URL + "/" + filepath.Base(built.Disk), Checksum: built.SHA256, ChecksumType: bmov1.SHA256, DiskFormat: new("qcow2"),
	}, hardware.Drive{
		UserData:    []byte(userData),
		NetworkData: fmt.Appendf(nil, networkData, details.NIC[0].MAC, details.NIC[1].MAC),
		MetaData:    []byte(`{"uuid": "8e4a1c9e-7b0f-4e0e-9f57-0d6f5f5b7a11", "hostname": "host-1", "local-hostname": "host-1"}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("deployed after %s", time.Since(begin).Round(time.Millisecond))
}

// boot switches the machine on and returns when cloud-init is done.
func (b *bench) boot(t *testing.T) {
	t.Helper()
	begin := time.Now()
	if err := b.rack.PowerOn(t.Context(), b.key, b.machine); err != nil {
		t.Fatal(err)
	}
	b.await(t, "guest agent", 15*time.Minute, b.guest.Ping)
	if got := b.run(t, "cloud-init", "status", "--wait"); !strings.Contains(got, "status: done") {
		t.Fatalf("cloud-init: %s", got)
	}
	t.Logf("cloud-init is done %s after power-on, accelerated by %s", time.Since(begin).Round(time.Second), b.rack.Accelerator())
}

func (b *bench) await(t *testing.T, what string, limit time.Duration, test func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	begin := time.Now()
	for {
		err := test(ctx)
		if err == nil {
			t.Logf("%s: after %s", what, time.Since(begin).Round(time.Second))
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %s: %v", what, limit, err)
		case <-time.After(time.Second):
		}
	}
}

// run is the output of a command in the guest, which must succeed.
func (b *bench) run(t *testing.T, argv ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	result, err := b.guest.Exec(ctx, argv...)
	if err != nil || result.ExitCode != 0 {
		t.Fatalf("%v: %v, result %+v", argv, err, result)
	}
	return strings.TrimSpace(result.Stdout)
}

func (b *bench) read(t *testing.T, path string) string {
	t.Helper()
	content, err := b.guest.ReadFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(content))
}

func (b *bench) expect(t *testing.T, path, want string) {
	t.Helper()
	if got := b.read(t, path); got != want {
		t.Errorf("%s is %q, want %q", path, got, want)
	}
}

// TestBoot takes a machine through its life: a first boot from image and config drive, a cable that is pulled and plugged in, a
// power cut, a second boot from its own disk, and a shutdown by its system.
func TestBoot(t *testing.T) {
	b := newBench(t)
	b.boot(t)
	b.expect(t, "/etc/marker", "from user data")
	b.expect(t, "/etc/hostname", "host-1")
	b.expect(t, "/sys/class/dmi/id/product_serial", b.machine.Hardware.SystemVendor.SerialNumber)
	b.expect(t, "/sys/class/dmi/id/sys_vendor", "QEMU")
	b.expect(t, "/sys/class/net/uplink/address", b.machine.NICs[0].MAC)
	b.expect(t, "/sys/class/net/uplink/mtu", "9000")
	b.expect(t, "/sys/class/net/uplink/speed", "10000")
	for name, nic := range map[string]string{"uplink": b.machine.NICs[0].Name, "second": b.machine.NICs[1].Name} {
		if got := b.run(t, "udevadm", "info", "-q", "property", "-p", "/sys/class/net/"+name); !strings.Contains(got, "ID_NET_NAME_PATH="+nic+"\n") {
			t.Errorf("the kernel's name of %s is not %s: %s", name, nic, got)
		}
	}
	if got := b.run(t, "readlink", "-f", b.machine.Hardware.Storage[0].Name); got != "/dev/vda" {
		t.Errorf("the disk is %s", got)
	}
	b.await(t, "an address by DHCP", time.Minute, func(context.Context) error {
		if got := b.run(t, "ip", "-4", "-br", "addr", "show", "second"); !strings.Contains(got, "10.64.9.200/24") {
			return errors.New(got)
		}
		return nil
	})
	b.run(t, "ping", "-c", "1", "-W", "20", "10.64.9.1")
	b.run(t, "systemd-run", "--working-directory=/etc", "python3", "-m", "http.server", "8080")
	b.await(t, "a connection from the gateway", 3*time.Minute, func(ctx context.Context) error {
		client := &http.Client{Transport: &http.Transport{DialContext: b.network.DialContext}}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://10.64.9.20:8080/marker", nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if content, err := io.ReadAll(response.Body); err != nil || string(content) != "from user data" {
			return fmt.Errorf("got %q: %w", content, err)
		}
		return nil
	})
	for _, up := range []bool{false, true} {
		if err := b.rack.SetLink(t.Context(), b.key, 1, up); err != nil {
			t.Error(err)
		}
		want := map[bool]string{false: "0", true: "1"}[up]
		b.await(t, "a cable that is pulled or plugged in", time.Minute, func(ctx context.Context) error {
			if got, err := b.guest.ReadFile(ctx, "/sys/class/net/second/carrier"); err != nil || strings.TrimSpace(string(got)) != want {
				return errors.Join(fmt.Errorf("carrier %q, want %s", got, want), err)
			}
			return nil
		})
	}
	b.run(t, "sync")
	first := b.read(t, "/proc/sys/kernel/random/boot_id")

	if err := b.rack.PowerOff(b.key); err != nil {
		t.Fatal(err)
	}
	if err := b.guest.Ping(t.Context()); !errors.Is(err, qemu.ErrNoAgent) {
		t.Errorf("a machine without power: %v", err)
	}
	b.boot(t)
	if b.read(t, "/proc/sys/kernel/random/boot_id") == first {
		t.Error("the machine did not boot again")
	}
	for file, want := range map[string]int{"/var/log/first-boot": 1, "/var/log/boots": 2} {
		if got := len(strings.Split(b.read(t, file), "\n")); got != want {
			t.Errorf("%s has %d lines, want %d", file, got, want)
		}
	}
	if err := b.rack.Shutdown(t.Context(), b.key); err != nil || b.rack.PoweredOn(b.key) {
		t.Errorf("a shutdown: %v", err)
	}
	console, err := os.ReadFile(b.rack.ConsoleFile(b.key))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"power: on", "power: off, power cut", "power: button pressed", "power: off by itself"} {
		if !strings.Contains(string(console), want) {
			t.Errorf("the console lacks %q", want)
		}
	}
	if info, err := os.Stat(b.rack.CaptureFile(b.key, b.machine.NICs[1].Name)); err != nil || info.Size() < 1000 {
		t.Errorf("the capture: %v, %d bytes", err, info.Size())
	}
}
