// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/faults"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/hardware"
)

// socket is a switch that nobody is at.
type socket string

func (s socket) Socket() string { return string(s) }

func host1() types.NamespacedName { return types.NamespacedName{Namespace: "default", Name: "host-1"} }

// testMachine is a default virtual machine.
func testMachine(t *testing.T) hardware.Machine {
	t.Helper()
	host := &bmov1.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "host-1"}}
	host.Spec.BootMACAddress = "52:54:00:ed:9e:01"
	details, err := hardware.InspectVirtual(host)
	if err != nil {
		t.Fatal(err)
	}
	return hardware.Machine{UID: "8e4a1c9e-7b0f-4e0e-9f57-0d6f5f5b7a11", Hardware: details, NICs: hardware.NICs(details, false)}
}

// serve offers an image over HTTP.
func serve(t *testing.T) bmov1.Image {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(content)) }))
	t.Cleanup(server.Close)
	sum := sha256.Sum256([]byte(content))
	return bmov1.Image{URL: server.URL + "/image.qcow2", Checksum: hex.EncodeToString(sum[:]), ChecksumType: bmov1.SHA256}
}

func newTestRack(t *testing.T, dir string) *Rack {
	t.Helper()
	system, image := fakes(t)
	rack, err := NewRack(Config{
		Dir: filepath.Join(dir, strings.Repeat("deep/", 25)), ImageCache: filepath.Join(dir, "images"), Network: socket(filepath.Join(dir, strings.Repeat("deep/", 25), "site.sock")),
		Accelerator: acceleratorTCG, Capture: true, Program: system, ImageProgram: image, Firmware: os.Args[0], ShutdownTimeout: 30 * time.Second, Log: testr.New(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rack.Close)
	return rack
}

func testDrive() hardware.Drive {
	return hardware.Drive{UserData: []byte("#cloud-config\n"), NetworkData: []byte(`{"links": []}`), MetaData: []byte(`{"uuid": "u"}`)}
}

// diskEvents are what happened to the machine's first disk.
func diskEvents(t *testing.T, u *unit) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(u.dir, diskName(0)))
	if err != nil {
		t.Fatal(err)
	}
	_, events, _ := strings.Cut(string(content), "\n")
	return strings.ReplaceAll(strings.TrimSpace(events), "\n", ", then ")
}

func console(t *testing.T, rack *Rack) string {
	t.Helper()
	content, err := os.ReadFile(rack.ConsoleFile(host1()))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestMachineLifecycle(t *testing.T) {
	dir := t.TempDir()
	rack, machine, image := newTestRack(t, dir), testMachine(t), serve(t)
	u := rack.unit(host1())

	if err := rack.PowerOn(t.Context(), host1(), machine); err != nil || !rack.PoweredOn(host1()) || u.running != nil {
		t.Errorf("an empty machine: error %v, on %t, running %v", err, rack.PoweredOn(host1()), u.running)
	}
	if err := rack.Deploy(t.Context(), host1(), machine, image, testDrive()); err != nil {
		t.Fatal(err)
	}
	if rack.PoweredOn(host1()) {
		t.Error("a machine is on after deployment")
	}
	created, _ := os.ReadFile(filepath.Join(u.dir, diskName(0)))
	if want := "create -q -f qcow2 -b " + filepath.Join(dir, "images", "sha256-"+image.Checksum) + " -F qcow2 "; !strings.HasPrefix(string(created), want) || !strings.HasSuffix(string(created), " 20000000000\n") {
		t.Errorf("the disk was made by %q, want %q", created, want)
	}
	for range 2 {
		if err := rack.PowerOn(t.Context(), host1(), machine); err != nil || !rack.PoweredOn(host1()) {
			t.Fatalf("error %v, on %t", err, rack.PoweredOn(host1()))
		}
	}
	if err := rack.PowerOff(host1()); err != nil || rack.PoweredOn(host1()) {
		t.Errorf("error %v, on %t", err, rack.PoweredOn(host1()))
	}
	if got := diskEvents(t, u); got != "boot" {
		t.Errorf("a power cut: the disk saw %q", got)
	}
	if err := rack.PowerOn(t.Context(), host1(), machine); err != nil {
		t.Fatal(err)
	}
	if err := rack.Shutdown(t.Context(), host1()); err != nil || rack.PoweredOn(host1()) {
		t.Errorf("error %v, on %t", err, rack.PoweredOn(host1()))
	}
	if got := diskEvents(t, u); got != "boot, then boot, then shutdown" {
		t.Errorf("a shutdown: the disk saw %q", got)
	}
	for _, name := range []string{stateName, driveName, diskName(0), consoleName} {
		if info, err := os.Stat(filepath.Join(u.dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, mode %v", name, err, info.Mode())
		}
	}
	if _, err := os.Stat(rack.CaptureFile(host1(), "enp0s3")); err != nil {
		t.Errorf("no capture: %v", err)
	}
	if err := rack.Wipe(host1()); err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(filepath.Join(u.dir, "*"))
	for i := range left {
		left[i] = filepath.Base(left[i])
	}
	if got := strings.Join(left, " "); got != "console.log machine.json qemu.log" {
		t.Errorf("after cleaning there are %s", got)
	}
	log := console(t, rack)
	for _, want := range []string{"power: on, accelerated by tcg", "login:", "power: off, power cut", "power: button pressed", "power: off by itself"} {
		if !strings.Contains(log, want) {
			t.Errorf("the console lacks %q:\n%s", want, log)
		}
	}
	if err := rack.Remove(host1()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(u.dir); err == nil {
		t.Error("a removed machine has a directory")
	}
}

func TestRestore(t *testing.T) {
	dir := t.TempDir()
	first, machine, image := newTestRack(t, dir), testMachine(t), serve(t)
	if err := first.Deploy(t.Context(), host1(), machine, image, testDrive()); err != nil {
		t.Fatal(err)
	}
	if err := first.PowerOn(t.Context(), host1(), machine); err != nil {
		t.Fatal(err)
	}
	first.Close()
	if !first.PoweredOn(host1()) {
		t.Error("Close switched the machine off")
	}
	second := newTestRack(t, dir)
	if err := second.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := diskEvents(t, second.unit(host1())); got != "boot, then boot" || !second.PoweredOn(host1()) {
		t.Errorf("the disk saw %q, on %t", got, second.PoweredOn(host1()))
	}
	if err := second.PowerOff(host1()); err != nil {
		t.Fatal(err)
	}
	third := newTestRack(t, dir)
	if err := third.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	if third.PoweredOn(host1()) || third.unit(host1()).running != nil {
		t.Error("a machine that was off is on")
	}
}

func TestMachineThatEndsByItself(t *testing.T) {
	rack, machine, image := newTestRack(t, t.TempDir()), testMachine(t), serve(t)
	if err := rack.Deploy(t.Context(), host1(), machine, image, testDrive()); err != nil {
		t.Fatal(err)
	}
	if err := rack.PowerOn(t.Context(), host1(), machine); err != nil {
		t.Fatal(err)
	}
	if err := rack.SetLink(t.Context(), host1(), 1, false); err != nil {
		t.Errorf("pulling a cable: %v", err)
	}
	if err := rack.unit(host1()).command(t.Context(), "device_del", nil); err == nil || !strings.Contains(err.Error(), "no such device") {
		t.Errorf("an error of the monitor is %v", err)
	}
	_ = rack.SetLink(t.Context(), host1(), 9, false) // on which the played machine ends
	for end := time.Now().Add(time.Minute); rack.PoweredOn(host1()); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the machine is still on")
		}
	}
	if log := console(t, rack); !strings.Contains(log, "power: off by itself, QEMU ended with exit status 0") {
		t.Errorf("the console:\n%s", log)
	}
}

func TestStubbornSystemIsCutOff(t *testing.T) {
	rack, machine, image := newTestRack(t, t.TempDir()), testMachine(t), serve(t)
	rack.config.ShutdownTimeout = 100 * time.Millisecond
	if err := rack.Deploy(t.Context(), host1(), machine, image, testDrive()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(rack.unit(host1()).dir, "stubborn"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := rack.PowerOn(t.Context(), host1(), machine); err != nil {
		t.Fatal(err)
	}
	if err := rack.Shutdown(t.Context(), host1()); err != nil || rack.PoweredOn(host1()) {
		t.Errorf("error %v, on %t", err, rack.PoweredOn(host1()))
	}
	if got := diskEvents(t, rack.unit(host1())); got != "boot" {
		t.Errorf("the disk saw %q", got)
	}
}

func TestMachineThatDoesNotStart(t *testing.T) {
	rack, machine, image := newTestRack(t, t.TempDir()), testMachine(t), serve(t)
	machine.Hardware.Hostname = "broken"
	if err := rack.Deploy(t.Context(), host1(), machine, image, testDrive()); err != nil {
		t.Fatal(err)
	}
	err := rack.PowerOn(t.Context(), host1(), machine)
	if err == nil || !strings.Contains(err.Error(), "a broken machine") || rack.PoweredOn(host1()) {
		t.Errorf("error %v, on %t", err, rack.PoweredOn(host1()))
	}
}

func TestDiskTooSmall(t *testing.T) {
	rack, machine := newTestRack(t, t.TempDir()), testMachine(t)
	machine.Hardware.Storage[0].SizeBytes = 5
	err := rack.Deploy(t.Context(), host1(), machine, serve(t), testDrive())
	if err == nil || !strings.Contains(err.Error(), "needs a disk of 13 bytes, the host's has 5") {
		t.Errorf("error %v", err)
	}
}

func TestFaultOfSimulatedMachines(t *testing.T) {
	rack := newTestRack(t, t.TempDir())
	rack.SetFaults(host1(), faults.Set{WithholdKey: true})
	if !rack.withheld[host1()] {
		t.Error("the fault is not noted, and would be told again and again")
	}
	rack.SetFaults(host1(), faults.Set{})
	if rack.withheld[host1()] {
		t.Error("the fault is not forgotten")
	}
}

func TestNewRackNamesWhatIsMissing(t *testing.T) {
	system, image := fakes(t)
	good := Config{Dir: "/d", ImageCache: "/i", Network: socket("/s"), Program: system, ImageProgram: image, Firmware: os.Args[0]}
	for want, change := range map[string]func(*Config){
		"Config.Dir":         func(c *Config) { c.Dir = "relative" },
		"Config.Network":     func(c *Config) { c.Network = nil },
		"Config.Accelerator": func(c *Config) { c.Accelerator = "xen" },
		"qemu-system-x86":    func(c *Config) { c.Program = "/nowhere/qemu" },
		"qemu-utils":         func(c *Config) { c.ImageProgram = "/nowhere/qemu-img" },
		"ovmf":               func(c *Config) { c.Firmware = "/nowhere/OVMF.fd" },
	} {
		config := good
		change(&config)
		if _, err := NewRack(config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one about %s", err, want)
		}
	}
	if _, err := NewRack(good); err != nil {
		t.Error(err)
	}
}
