// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/kubelet"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/shell"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/systemd"
)

// services plays systemd for services. Unit files are read when a unit is first used and again after
// daemon-reload, as systemd does: a drop-in that nobody reloads for has no effect.
type services struct {
	system *system

	mu     sync.Mutex
	loaded map[string]*systemd.Service
	active map[string]func() // how to stop it
	// closed: what starts from now on is stopped at once.
	closed bool
}

func newServices(s *system) *services {
	return &services{system: s, loaded: map[string]*systemd.Service{}, active: map[string]func(){}}
}

// boot starts what is enabled. The kubelet, which would only crash before kubeadm has run, waits for that.
func (v *services) boot(ctx context.Context) {
	for _, name := range imageServices() {
		v.set(name+".service", func() {})
	}
	if _, err := v.load("kubelet.service"); err != nil {
		v.system.console.Logf("systemd: %v", err)
	}
	wanted := []string{}
	if v.system.disk.Exists("/var/lib/kubelet/config.yaml") {
		wanted = append(wanted, "kubelet.service")
	}
	enabled, err := v.system.disk.List("/etc/systemd/system/multi-user.target.wants", "*.service")
	if err != nil {
		v.system.console.Logf("systemd: %v", err)
	}
	for _, name := range append(wanted, enabled...) {
		if err := v.start(ctx, name); err != nil {
			v.system.console.Logf("systemd: %v", err)
		}
	}
}

// stopAll is what happens to services when the power goes.
func (v *services) stopAll() {
	v.mu.Lock()
	stops := v.active
	v.active, v.closed = map[string]func(){}, true
	v.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
}

func (v *services) set(name string, stop func()) {
	v.mu.Lock()
	closed := v.closed
	if !closed {
		v.active[name] = stop
	}
	v.mu.Unlock()
	if closed {
		stop()
	}
}

func (v *services) isActive(name string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, ok := v.active[name]
	return ok
}

func (v *services) stop(name string) {
	v.mu.Lock()
	stop, ok := v.active[name]
	delete(v.active, name)
	v.mu.Unlock()
	if ok {
		stop()
	}
}

func (v *services) reload() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.loaded = map[string]*systemd.Service{}
}

func (v *services) load(name string) (*systemd.Service, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if service, ok := v.loaded[name]; ok {
		return service, nil
	}
	service, err := systemd.Load(v.system.disk, name)
	if err != nil {
		return nil, err
	}
	v.loaded[name] = service
	return service, nil
}

// start starts a service, unless it is running.
func (v *services) start(ctx context.Context, name string) error {
	switch name {
	case "systemd-modules-load.service":
		return v.system.loadModules()
	case "systemd-sysctl.service":
		return v.system.applySysctls()
	}
	if v.isActive(name) {
		return nil
	}
	service, err := v.load(name)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("Failed to start %s: Unit %s not found", name, name) //nolint:staticcheck // systemd's words
	}
	if err != nil {
		return err
	}
	if err := v.prepare(ctx, name, service); err != nil {
		return err
	}
	line, err := service.CommandLine(v.system.disk)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	switch {
	case name == "kubelet.service":
		running := kubelet.Start(v.system.kubeletHost(), line[1:])
		v.set(name, running.Stop)
	case slices.Contains(imageServices(), strings.TrimSuffix(name, ".service")):
		v.set(name, func() {})
	case slices.Contains(service.Settings["Type"], "oneshot"):
		return v.runOneShot(ctx, name, service)
	default:
		v.runInBackground(name, line)
	}
	return nil
}

// prepare runs the service's ExecStartPre commands.
func (v *services) prepare(ctx context.Context, name string, service *systemd.Service) error {
	for command, err := range service.StartPre(v.system.disk) {
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if status := v.system.shell.Exec(ctx, command.Line, command.Environment); status != 0 && !command.MayFail {
			return fmt.Errorf("Job for %s failed because its control process exited with error code %d", name, status) //nolint:staticcheck // systemd's words
		}
	}
	return nil
}

func (v *services) runOneShot(ctx context.Context, name string, service *systemd.Service) error {
	for _, command := range service.Settings["ExecStart"] {
		single := &systemd.Service{Settings: map[string][]string{
			"ExecStart": {command}, "Environment": service.Settings["Environment"], "EnvironmentFile": service.Settings["EnvironmentFile"],
		}}
		line, err := single.CommandLine(v.system.disk)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if status := v.system.shell.Exec(ctx, line, nil); status != 0 && !strings.HasPrefix(command, "-") {
			return fmt.Errorf("Job for %s failed because the control process exited with error code %d", name, status) //nolint:staticcheck // systemd's words
		}
	}
	if slices.Contains(service.Settings["RemainAfterExit"], "yes") {
		v.set(name, func() {})
	}
	return nil
}

// runInBackground runs a service's command until it ends or is stopped.
func (v *services) runInBackground(name string, line []string) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	v.set(name, func() { cancel(); done.Wait() })
	done.Go(func() {
		status := v.system.shell.Exec(ctx, line, nil)
		v.system.console.Logf("systemd: %s ended with status %d", name, status)
	})
}

// kubeletHost is this machine as its kubelet sees it.
func (s *system) kubeletHost() kubelet.Host {
	return kubelet.Host{
		Disk: s.disk, Hostname: s.hostname, Interfaces: s.interfaces, Hardware: s.state.Hardware, Programs: s.config.Programs,
		Images: s.config.Images, Withheld: s.withheld,
		LogDir: filepath.Join(s.dir, "logs"), MachineID: s.state.UID, Version: s.config.KubernetesVersion, Logf: s.console.Logf,
	}
}

// systemctl knows the verbs that boot scripts use.
func (s *system) systemctl(ctx context.Context, call shell.Call) uint8 {
	var verb string
	var names []string
	now := false
	for _, arg := range call.Args[1:] {
		switch {
		case arg == "--now":
			now = true
		case strings.HasPrefix(arg, "-"):
		case verb == "":
			verb = arg
		default:
			if path.Ext(arg) == "" {
				arg += ".service"
			}
			names = append(names, arg)
		}
	}
	switch verb {
	case "daemon-reload":
		s.services.reload()
		return 0
	case "reboot":
		s.reboot()
		return 0
	}
	status := uint8(0)
	for _, name := range names {
		if result := s.systemctlOne(ctx, call, verb, name, now); result != 0 {
			status = result
		}
	}
	return status
}

func (s *system) systemctlOne(ctx context.Context, call shell.Call, verb, name string, now bool) uint8 {
	var err error
	switch verb {
	case "start":
		err = s.services.start(ctx, name)
	case "restart", "reload-or-restart", "try-restart":
		s.services.stop(name)
		err = s.services.start(ctx, name)
	case "stop", "kill":
		s.services.stop(name)
	case "enable":
		err = s.enable(name)
		if err == nil && now {
			err = s.services.start(ctx, name)
		}
	case "disable", "mask":
		if now {
			s.services.stop(name)
		}
	case "reload", "unmask", "reset-failed":
	case "is-active", "status":
		if !s.services.isActive(name) {
			fmt.Fprintln(call.Stdout, "inactive")
			return 3
		}
		fmt.Fprintln(call.Stdout, "active")
	case "is-enabled":
		fmt.Fprintln(call.Stdout, "enabled")
	default:
		fmt.Fprintf(call.Stderr, "Unknown command verb %s.\n", verb)
		return 1
	}
	if err != nil {
		fmt.Fprintf(call.Stderr, "%v\n", err)
		if strings.Contains(err.Error(), "not found") {
			return 5
		}
		return 1
	}
	return 0
}

// enable notes that the unit starts with the system, if there is such a unit.
func (s *system) enable(name string) error {
	if strings.HasPrefix(name, "systemd-") {
		return nil
	}
	if _, err := s.services.load(name); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("Failed to enable unit: Unit file %s not found", name) //nolint:staticcheck // systemd's words
	} else if err != nil {
		return err
	}
	if name == "kubelet.service" || slices.Contains(imageServices(), strings.TrimSuffix(name, ".service")) {
		return nil
	}
	return s.disk.Write("/etc/systemd/system/multi-user.target.wants/"+name, nil, 0o644)
}
