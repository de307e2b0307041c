// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-logr/logr"
	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/faults"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/hardware"
)

const (
	// startTimeout is how long QEMU may take until its monitor answers, on a machine with more guests than CPUs.
	startTimeout = 3 * time.Minute
	// defaultShutdownTimeout is how long an operating system may take to end, under emulation.
	defaultShutdownTimeout = 2 * time.Minute
)

// Switch is a network switch.
type Switch interface {
	// Socket is the unix socket that cables are plugged into, in QEMU's stream protocol.
	Socket() string
}

// Config is what a rack needs.
type Config struct {
	// Dir keeps the machines, as <namespace>/<name>; an absolute path.
	Dir string
	// ImageCache keeps the images that were fetched; an absolute path. Disks refer to files in it.
	ImageCache string
	// Network is what NICs are plugged into: a *sitenet.Network.
	Network Switch
	// Accelerator is "kvm" or "tcg"; when empty, KVM is used where it works.
	Accelerator string
	// Capture keeps what goes over each NIC in a pcap file.
	Capture bool
	// Program is QEMU, ImageProgram qemu-img, and Firmware OVMF's file for -bios. Those of Debian when empty.
	Program, ImageProgram, Firmware string
	// ShutdownTimeout is after how long Shutdown cuts the power; 2 minutes when zero.
	ShutdownTimeout time.Duration
	// Log is where the rack tells what it does; nothing is logged by default.
	Log logr.Logger
}

// Rack holds machines. Its methods may be called from several goroutines.
type Rack struct {
	config Config
	images *imageCache

	accelerator func() string

	mu       sync.Mutex
	machines map[types.NamespacedName]*unit
	withheld map[types.NamespacedName]bool
}

// NewRack opens the rack in Config.Dir. Machines that were on are switched on again by Restore. An error names
// the program or file that is missing.
func NewRack(c Config) (*Rack, error) {
	if !filepath.IsAbs(c.Dir) || !filepath.IsAbs(c.ImageCache) {
		return nil, errors.New("qemu: Config.Dir and ImageCache must be absolute paths")
	}
	if c.Network == nil {
		return nil, errors.New("qemu: Config.Network is required")
	}
	if c.Accelerator != "" && c.Accelerator != acceleratorKVM && c.Accelerator != acceleratorTCG {
		return nil, fmt.Errorf("qemu: Config.Accelerator is %q, want %s, %s or nothing", c.Accelerator, acceleratorKVM, acceleratorTCG)
	}
	var errs []error
	for program, fallback := range map[*string]string{&c.Program: "qemu-system-x86_64", &c.ImageProgram: "qemu-img"} {
		path, err := exec.LookPath(cmp.Or(*program, fallback))
		errs = append(errs, err)
		*program = path
	}
	c.Firmware = cmp.Or(c.Firmware, defaultFirmware)
	_, err := os.Stat(c.Firmware)
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, fmt.Errorf("qemu: %w; install the packages qemu-system-x86, qemu-utils and ovmf", err)
	}
	c.ShutdownTimeout = cmp.Or(c.ShutdownTimeout, defaultShutdownTimeout)
	r := &Rack{
		config: c, images: newImageCache(c.ImageCache, c.ImageProgram, c.Log),
		machines: map[types.NamespacedName]*unit{}, withheld: map[types.NamespacedName]bool{},
	}
	r.accelerator = sync.OnceValue(func() string { return cmp.Or(c.Accelerator, detect(context.Background(), c.Program, c.Firmware)) })
	return r, nil
}

// Accelerator is "kvm" or "tcg".
func (r *Rack) Accelerator() string { return r.accelerator() }

// Restore boots the machines that were on when the lab was stopped, from their disks.
func (r *Rack) Restore(ctx context.Context) error {
	files, err := filepath.Glob(filepath.Join(r.config.Dir, "*", "*", stateName))
	if err != nil {
		return fmt.Errorf("listing machines: %w", err)
	}
	var errs []error
	for _, file := range files {
		dir := filepath.Dir(file)
		u := r.unit(types.NamespacedName{Namespace: filepath.Base(filepath.Dir(dir)), Name: filepath.Base(dir)})
		errs = append(errs, u.restore(ctx, r))
	}
	return errors.Join(errs...)
}

// Close stops all machines without switching them off: Restore brings them back.
func (r *Rack) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	var group sync.WaitGroup
	for _, u := range r.machines {
		group.Go(func() {
			u.mu.Lock()
			defer u.mu.Unlock()
			u.halt("the lab stops")
		})
	}
	group.Wait()
}

// Deploy writes an image and a config drive to a machine, which is off afterwards. What was on its disks is lost.
// An image that cannot be fetched or used is an *ImageError.
func (r *Rack) Deploy(ctx context.Context, key types.NamespacedName, machine hardware.Machine, image bmov1.Image, drive hardware.Drive) error {
	if machine.Hardware == nil || len(machine.Hardware.Storage) == 0 {
		return fmt.Errorf("deploying to machine %s: it has no disk", key)
	}
	file, err := r.images.get(ctx, image)
	if err != nil {
		return err
	}
	u := r.unit(key)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.halt("deployment")
	if err := u.wipe(); err != nil {
		return err
	}
	if err := u.makeDisks(ctx, r.config.ImageProgram, file, machine.Hardware.Storage); err != nil {
		return err
	}
	if err := writeDrive(filepath.Join(u.dir, driveName), drive); err != nil {
		return fmt.Errorf("writing the config drive of machine %s: %w", key, err)
	}
	u.state = record{Machine: machine, Image: image.URL}
	return u.save()
}

// Wipe cleans a machine's disks; it is off afterwards.
func (r *Rack) Wipe(key types.NamespacedName) error {
	u := r.unit(key)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.halt("cleaning")
	u.state.PoweredOn, u.state.Image = false, ""
	return errors.Join(u.wipe(), u.save())
}

// PowerOn switches a machine on; one that is on stays on. Without an image nothing runs: a real machine would
// wait for a network boot.
func (r *Rack) PowerOn(ctx context.Context, key types.NamespacedName, machine hardware.Machine) error {
	u := r.unit(key)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.state.PoweredOn {
		return nil
	}
	u.state.Machine = machine
	if err := u.boot(ctx, r); err != nil {
		return err
	}
	u.state.PoweredOn = true
	return u.save()
}

// PowerOff cuts a machine's power and returns when nothing runs any more.
func (r *Rack) PowerOff(key types.NamespacedName) error {
	u := r.unit(key)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.halt("power cut")
	if !u.state.PoweredOn {
		return nil
	}
	u.state.PoweredOn = false
	return u.save()
}

// Shutdown asks the operating system to switch the machine off, as its power button does, and cuts the power when
// it does not.
func (r *Rack) Shutdown(ctx context.Context, key types.NamespacedName) error {
	u := r.unit(key)
	u.mu.Lock()
	running := u.running
	u.mu.Unlock()
	if running == nil {
		return r.PowerOff(key)
	}
	u.note("power: button pressed")
	if err := u.command(ctx, "system_powerdown", nil); err != nil {
		r.config.Log.Info("A machine cannot be asked to switch itself off", "machine", key, "reason", err.Error())
		return r.PowerOff(key)
	}
	select {
	case <-running.Done():
	case <-ctx.Done():
		return fmt.Errorf("shutting down machine %s: %w", key, context.Cause(ctx))
	case <-time.After(r.config.ShutdownTimeout):
		r.config.Log.Info("A machine does not switch itself off", "machine", key, "after", r.config.ShutdownTimeout)
	}
	return r.PowerOff(key)
}

// PoweredOn tells whether a machine is on.
func (r *Rack) PoweredOn(key types.NamespacedName) bool {
	u := r.unit(key)
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.state.PoweredOn
}

// SetLink plugs a NIC's cable in or pulls it, while the machine is on. nic is its index.
func (r *Rack) SetLink(ctx context.Context, key types.NamespacedName, nic int, up bool) error {
	return r.unit(key).command(ctx, "set_link", map[string]any{"name": netdev(nic), "up": up})
}

// Remove takes a machine out of the rack, with its disks and console.
func (r *Rack) Remove(key types.NamespacedName) error {
	u := r.unit(key)
	u.mu.Lock()
	u.halt("removed")
	err := os.RemoveAll(u.dir)
	u.mu.Unlock()
	r.mu.Lock()
	delete(r.machines, key)
	delete(r.withheld, key)
	r.mu.Unlock()
	if err != nil {
		return fmt.Errorf("removing machine %s: %w", key, err)
	}
	return nil
}

// SetFaults says what goes wrong with a machine while it runs. Its one fault of that kind, withhold-key, is for
// simulated machines: a virtual one runs what its image has.
func (r *Rack) SetFaults(key types.NamespacedName, set faults.Set) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if set.WithholdKey && !r.withheld[key] {
		r.config.Log.Info("Ignoring the fault withhold-key, which virtual machines do not have", "machine", key)
	}
	r.withheld[key] = set.WithholdKey
}

// ConsoleFile is where the machine's serial console is kept.
func (r *Rack) ConsoleFile(key types.NamespacedName) string {
	return filepath.Join(r.unit(key).dir, consoleName)
}

// CaptureFile is what went over a NIC, by its kernel's name in the hardware details, with Config.Capture.
func (r *Rack) CaptureFile(key types.NamespacedName, nic string) string {
	return filepath.Join(r.unit(key).dir, captureName(nic))
}

// Guest is the operating system of a machine.
func (r *Rack) Guest(key types.NamespacedName) *Guest { return &Guest{unit: r.unit(key)} }

// unit is the machine of that name, a new one if there is none.
func (r *Rack) unit(key types.NamespacedName) *unit {
	r.mu.Lock()
	defer r.mu.Unlock()
	u, ok := r.machines[key]
	if !ok {
		u = &unit{key: key, dir: filepath.Join(r.config.Dir, key.Namespace, key.Name), log: r.config.Log}
		r.machines[key] = u
	}
	return u
}
