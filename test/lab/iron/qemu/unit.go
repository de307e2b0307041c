// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/hardware"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/plane"
)

// Files of a machine. QEMU runs in the machine's directory and is given these names, since a socket's path has
// at most 107 bytes.
const (
	stateName   = "machine.json"
	consoleName = "console.log"
	logName     = "qemu.log"
	driveName   = "config-drive.iso"
	monitorName = "monitor.sock"
	agentName   = "agent.sock"
)

const (
	maxSocketPath = 107
	// stopGrace is how long QEMU may take to write what it holds of a disk before it is killed.
	stopGrace = 30 * time.Second
)

func diskName(i int) string           { return fmt.Sprintf("disk%d.qcow2", i) }
func captureName(nic string) string   { return nic + ".pcap" }
func netdev(nic int) string           { return fmt.Sprintf("net%d", nic) }
func timestamp(now time.Time) string  { return now.UTC().Format("2006-01-02T15:04:05.000Z") }
func isSocketOrDisk(name string) bool { return strings.HasSuffix(name, ".sock") || isDisk(name) }
func isDisk(name string) bool {
	return strings.HasPrefix(name, "disk") || name == driveName || strings.HasSuffix(name, ".pcap")
}

// record is a machine's machine.json.
type record struct {
	hardware.Machine
	PoweredOn bool   `json:"poweredOn"`
	Image     string `json:"image,omitempty"`
}

// unit is one machine in the rack.
type unit struct {
	key types.NamespacedName
	dir string
	log logr.Logger

	mu      sync.Mutex
	state   record
	running *plane.Running // nil unless it runs

	// agent is held while one speaks with the guest agent, which knows one client at a time.
	agent sync.Mutex
}

// restore reads the machine's state and boots it if it was on.
func (u *unit) restore(ctx context.Context, r *Rack) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	content, err := os.ReadFile(filepath.Join(u.dir, stateName))
	if err != nil {
		return fmt.Errorf("reading the state of machine %s: %w", u.key, err)
	}
	if err := json.Unmarshal(content, &u.state); err != nil {
		return fmt.Errorf("%s/%s: %w", u.dir, stateName, err)
	}
	if !u.state.PoweredOn || u.running != nil {
		return nil
	}
	return u.boot(ctx, r)
}

// boot starts QEMU, if there is something on the disk. The caller holds the lock.
func (u *unit) boot(ctx context.Context, r *Rack) error {
	if u.state.Image == "" {
		return nil
	}
	socket, err := shortPath(u.dir, r.config.Network.Socket())
	if err != nil {
		return fmt.Errorf("switching on machine %s: %w", u.key, err)
	}
	if err := u.removeFiles(func(name string) bool { return strings.HasSuffix(name, ".sock") }); err != nil {
		return err
	}
	accelerator := r.accelerator()
	u.note("power: on, accelerated by " + accelerator)
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	running, err := plane.Start(ctx, plane.Process{
		Name: "machine " + u.key.String(), Path: r.config.Program, Dir: u.dir, LogFile: filepath.Join(u.dir, logName), Grace: stopGrace,
		Args: arguments(settings{
			Machine: u.state.Machine, Accelerator: accelerator, Firmware: r.config.Firmware, Switch: socket, Capture: r.config.Capture,
		}),
		Ready: func(ctx context.Context) error { return u.command(ctx, "query-status", nil) },
	})
	if err != nil {
		u.note("power: off, QEMU did not start")
		return err
	}
	u.running = running
	go u.watch(running)
	return nil
}

// watch notes when a machine ends by itself.
func (u *unit) watch(running *plane.Running) {
	<-running.Done()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.running == running {
		u.ended(running.Err())
	}
}

// ended is called once when the machine has ended by itself. The caller holds the lock.
func (u *unit) ended(reason error) {
	u.running, u.state.PoweredOn = nil, false
	u.note("power: off by itself, QEMU ended with " + reason.Error())
	if err := u.save(); err != nil {
		u.log.Error(err, "A machine's state is not saved", "machine", u.key)
	}
}

// halt cuts the power. QEMU gets to write what it holds of the disk's format; what the guest had not written is
// lost. The caller holds the lock.
func (u *unit) halt(reason string) {
	if u.running == nil {
		return
	}
	running := u.running
	if err := running.Err(); err != nil { // watch has not come to it yet
		u.ended(err)
		return
	}
	u.running = nil
	running.Stop()
	u.note("power: off, " + reason)
}

// note writes a line of ours to the console.
func (u *unit) note(text string) {
	err := os.MkdirAll(u.dir, 0o755)
	if err == nil {
		err = appendLine(filepath.Join(u.dir, consoleName), fmt.Sprintf("\r\n--- %s %s\r\n", timestamp(time.Now()), text))
	}
	if err != nil {
		u.log.Error(err, "The console takes no line", "machine", u.key)
	}
}

func appendLine(name, text string) error {
	file, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}

// save writes machine.json, for its owner's eyes: with the config drive beside it, nobody else has business here.
func (u *unit) save() error {
	content, err := json.MarshalIndent(u.state, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the state of machine %s: %w", u.key, err)
	}
	name := filepath.Join(u.dir, stateName)
	err = os.MkdirAll(u.dir, 0o755)
	if err == nil {
		err = os.WriteFile(name+".new", content, 0o600)
	}
	if err == nil {
		err = os.Rename(name+".new", name)
	}
	if err != nil {
		return fmt.Errorf("writing the state of machine %s: %w", u.key, err)
	}
	return nil
}

// wipe removes what was deployed and what came of it. The console stays.
func (u *unit) wipe() error { return u.removeFiles(isSocketOrDisk) }

func (u *unit) removeFiles(match func(name string) bool) error {
	entries, err := os.ReadDir(u.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cleaning machine %s: %w", u.key, err)
	}
	for _, entry := range entries {
		if !match(entry.Name()) {
			continue
		}
		if err := os.Remove(filepath.Join(u.dir, entry.Name())); err != nil {
			return fmt.Errorf("cleaning machine %s: %w", u.key, err)
		}
	}
	return nil
}

// makeDisks makes the machine's disks: the first is a layer over the image, the others are empty.
func (u *unit) makeDisks(ctx context.Context, program string, image imageFile, disks []bmov1.Storage) error {
	if err := os.MkdirAll(u.dir, 0o755); err != nil {
		return fmt.Errorf("making the directory of machine %s: %w", u.key, err)
	}
	if image.Size > int64(disks[0].SizeBytes) {
		return &ImageError{Reason: fmt.Sprintf("the image needs a disk of %d bytes, the host's has %d", image.Size, disks[0].SizeBytes)}
	}
	for i, disk := range disks {
		args := []string{"create", "-q", "-f", "qcow2"}
		if i == 0 {
			args = append(args, "-b", image.Path, "-F", image.Format)
		}
		name := filepath.Join(u.dir, diskName(i))
		output, err := exec.CommandContext(ctx, program, append(args, name, fmt.Sprint(int64(disk.SizeBytes)))...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("making disk %d of machine %s: %w: %s", i, u.key, err, strings.TrimSpace(string(output)))
		}
		if err := os.Chmod(name, 0o600); err != nil {
			return fmt.Errorf("making disk %d of machine %s: %w", i, u.key, err)
		}
	}
	return nil
}

// shortPath is how a process in dir names a socket.
func shortPath(dir, socket string) (string, error) {
	relative, err := filepath.Rel(dir, socket)
	if err != nil {
		return "", fmt.Errorf("finding the switch: %w", err)
	}
	short := socket
	if len(relative) < len(socket) {
		short = relative
	}
	if len(short) > maxSocketPath {
		return "", fmt.Errorf("the switch's socket %s is too far from %s: put the machines and the network in one folder", socket, dir)
	}
	return short, nil
}
