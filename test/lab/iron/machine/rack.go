// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/faults"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/hardware"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/kubelet"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/netdata"
)

// Config is what a rack needs.
type Config struct {
	// Dir keeps the machines, as <namespace>/<name>.
	Dir string
	// Programs are the paths of etcd, kube-apiserver, kube-controller-manager and kube-scheduler.
	Programs map[string]string
	// Images finds what stands in for other container images; see kubelet.Host.
	Images map[string]kubelet.Program
	// KubernetesVersion is the kubelet's and kubeadm's, e.g. "v1.36.3".
	KubernetesVersion string
	// DHCP leases addresses on the site's network.
	DHCP netdata.DHCP
	Log  logr.Logger
}

// record is a machine's machine.json.
type record struct {
	hardware.Machine
	PoweredOn bool   `json:"poweredOn"`
	Image     string `json:"image,omitempty"`
}

// Rack holds machines. Its methods may be called from several goroutines.
type Rack struct {
	config Config

	mu       sync.Mutex
	machines map[types.NamespacedName]*unit
	faults   map[types.NamespacedName]faults.Set
}

// unit is one machine in the rack.
type unit struct {
	mu     sync.Mutex
	dir    string
	state  record
	system *system // nil unless it runs
}

// NewRack opens the rack in the directory. Machines that were on are switched on again by Restore.
func NewRack(config Config) *Rack {
	return &Rack{config: config, machines: map[types.NamespacedName]*unit{}, faults: map[types.NamespacedName]faults.Set{}}
}

// Restore boots the machines that were on when the lab was stopped, from their disks.
func (r *Rack) Restore() error {
	files, err := filepath.Glob(filepath.Join(r.config.Dir, "*", "*", "machine.json"))
	if err != nil {
		return fmt.Errorf("listing machines: %w", err)
	}
	var errs []error
	for _, file := range files {
		dir := filepath.Dir(file)
		u := r.unit(types.NamespacedName{Namespace: filepath.Base(filepath.Dir(dir)), Name: filepath.Base(dir)})
		u.mu.Lock()
		err := u.load()
		if err == nil && u.state.PoweredOn {
			r.boot(u)
		}
		u.mu.Unlock()
		errs = append(errs, err)
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
			u.halt()
		})
	}
	group.Wait()
}

// Deploy writes an image and a config drive to a machine that is off. What was on the disk is lost.
func (r *Rack) Deploy(key types.NamespacedName, machine hardware.Machine, image string, drive hardware.Drive) error {
	u := r.unit(key)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.halt()
	if err := u.wipe(); err != nil {
		return err
	}
	if err := writeImage(u.root(), r.config.KubernetesVersion, image); err != nil {
		return fmt.Errorf("writing the image: %w", err)
	}
	if err := writeDrive(u.dir, drive); err != nil {
		return fmt.Errorf("writing the config drive: %w", err)
	}
	u.state = record{Machine: machine, Image: image}
	return u.save()
}

// Wipe cleans a machine's disk; it is off afterwards.
func (r *Rack) Wipe(key types.NamespacedName) error {
	u := r.unit(key)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.halt()
	u.state.PoweredOn, u.state.Image = false, ""
	return errors.Join(u.wipe(), u.save())
}

// PowerOn switches a machine on; one that is on stays on.
func (r *Rack) PowerOn(key types.NamespacedName, machine hardware.Machine) error {
	u := r.unit(key)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.state.PoweredOn {
		return nil
	}
	u.state.Machine, u.state.PoweredOn = machine, true
	if err := u.save(); err != nil {
		return err
	}
	r.boot(u)
	return nil
}

// PowerOff cuts a machine's power.
func (r *Rack) PowerOff(key types.NamespacedName) error {
	u := r.unit(key)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.halt()
	if !u.state.PoweredOn {
		return nil
	}
	u.state.PoweredOn = false
	return u.save()
}

// PoweredOn tells whether a machine is on.
func (r *Rack) PoweredOn(key types.NamespacedName) bool {
	u := r.unit(key)
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.state.PoweredOn
}

// Remove takes a machine out of the rack, with its disk and logs.
func (r *Rack) Remove(key types.NamespacedName) error {
	u := r.unit(key)
	u.mu.Lock()
	u.halt()
	err := os.RemoveAll(u.dir)
	u.mu.Unlock()
	r.mu.Lock()
	delete(r.machines, key)
	delete(r.faults, key)
	r.mu.Unlock()
	if err != nil {
		return fmt.Errorf("removing machine %s: %w", key, err)
	}
	return nil
}

// unit is the machine of that name, a new one if there is none.
func (r *Rack) unit(key types.NamespacedName) *unit {
	r.mu.Lock()
	defer r.mu.Unlock()
	u, ok := r.machines[key]
	if !ok {
		u = &unit{dir: filepath.Join(r.config.Dir, key.Namespace, key.Name)}
		r.machines[key] = u
	}
	return u
}

func (r *Rack) boot(u *unit) {
	u.halt()
	if u.state.Image == "" {
		// Powered on with an empty disk: a real machine would wait for a network boot.
		return
	}
	namespace := filepath.Base(filepath.Dir(u.dir))
	withheld := func(node string) bool {
		return r.faultsOf(types.NamespacedName{Namespace: namespace, Name: node}).WithholdKey
	}
	u.system = startSystem(r.config, u.dir, u.state, withheld)
}

// SetFaults says what goes wrong with a machine while it runs.
func (r *Rack) SetFaults(key types.NamespacedName, set faults.Set) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults[key] = set
}

func (r *Rack) faultsOf(key types.NamespacedName) faults.Set {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.faults[key]
}

func (u *unit) halt() {
	if u.system != nil {
		u.system.stop()
		u.system = nil
	}
}

func (u *unit) load() error {
	content, err := os.ReadFile(filepath.Join(u.dir, "machine.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading a machine's state: %w", err)
	}
	if err := json.Unmarshal(content, &u.state); err != nil {
		return fmt.Errorf("%s/machine.json: %w", u.dir, err)
	}
	return nil
}

func (u *unit) save() error {
	content, err := json.MarshalIndent(u.state, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding a machine's state: %w", err)
	}
	return writeFile(filepath.Join(u.dir, "machine.json"), content)
}

func (u *unit) root() string {
	return filepath.Join(u.dir, "root")
}

func (u *unit) wipe() error {
	err := errors.Join(os.RemoveAll(u.root()), os.RemoveAll(filepath.Join(u.dir, "drive")), os.RemoveAll(filepath.Join(u.dir, "logs")))
	if err != nil {
		return fmt.Errorf("wiping the disk: %w", err)
	}
	return nil
}

func writeDrive(dir string, drive hardware.Drive) error {
	var errs []error
	for name, content := range map[string][]byte{"user_data": drive.UserData, "network_data.json": drive.NetworkData, "meta_data.json": drive.MetaData} {
		if len(content) > 0 {
			errs = append(errs, writeFile(filepath.Join(dir, "drive", name), content))
		}
	}
	return errors.Join(errs...)
}

// writeFile writes a file of the lab's that only its owner may read: user data hold keys.
func writeFile(name string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	if err := os.WriteFile(name+".new", content, 0o600); err != nil {
		return fmt.Errorf("writing a file: %w", err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		return fmt.Errorf("writing a file: %w", err)
	}
	return nil
}

// readDrive reads the config drive back.
func readDrive(dir string) (hardware.Drive, error) {
	read := func(name string) ([]byte, error) {
		content, err := os.ReadFile(filepath.Join(dir, "drive", name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return content, err
	}
	userData, userErr := read("user_data")
	networkData, networkErr := read("network_data.json")
	metaData, metaErr := read("meta_data.json")
	return hardware.Drive{UserData: userData, NetworkData: networkData, MetaData: metaData}, errors.Join(userErr, networkErr, metaErr)
}
