// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/cloudinit"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/hardware"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/netdata"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/rootfs"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/shell"
)

// system is a running operating system.
type system struct {
	config  Config
	dir     string
	state   record
	disk    rootfs.FS
	console *console

	drive      hardware.Drive
	metadata   map[string]any
	interfaces []netdata.Interface
	hostname   string
	services   *services
	shell      *shell.Shell
	// withheld tells whose WireGuard keys a fault keeps from this machine, by the names of nodes.
	withheld func(node string) bool

	// reboot ends what runs and boots again.
	reboot func()
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// startSystem boots the machine in the background.
func startSystem(config Config, dir string, state record, withheld func(node string) bool) *system {
	ctx, cancel := context.WithCancel(context.Background())
	s := &system{config: config, dir: dir, state: state, disk: rootfs.New(filepath.Join(dir, "root")), cancel: cancel, withheld: withheld}
	s.done.Go(func() { s.run(ctx) })
	return s
}

// stop cuts the power: everything that runs ends, and stop returns when it has.
func (s *system) stop() {
	s.cancel()
	s.done.Wait()
}

func (s *system) run(ctx context.Context) {
	out, err := openConsole(filepath.Join(s.dir, "console.log"))
	if err != nil {
		s.config.Log.Error(err, "no console", "machine", s.dir)
		return
	}
	s.console = out
	defer out.Close()
	s.shell = &shell.Shell{Disk: s.disk, Output: out, Programs: s.programs()}
	for ctx.Err() == nil {
		s.runOnce(ctx)
	}
	s.console.Logf("power off")
}

// runOnce goes from a boot to the next, or to the end of the context.
func (s *system) runOnce(ctx context.Context) {
	running, end := context.WithCancel(ctx)
	defer end()
	s.reboot = func() {
		s.console.Logf("reboot")
		end()
	}
	s.services = newServices(s)
	begin := time.Now()
	if err := s.boot(running); err != nil && running.Err() == nil {
		s.console.Logf("%v", err)
		s.console.Logf("boot ended with errors after %s: this host will not become a node", time.Since(begin).Round(time.Millisecond))
		s.config.Log.Info("Host did not come up", "machine", filepath.Base(s.dir), "reason", err.Error(), "console", filepath.Join(s.dir, "console.log"))
	}
	<-running.Done()
	s.services.stopAll()
}

// boot is one start of the operating system, to the end of cloud-init.
func (s *system) boot(ctx context.Context) error {
	s.console.Logf("booting image %s", s.state.Image)
	if err := s.emptyRun(); err != nil {
		return err
	}
	if err := s.readMetadata(); err != nil {
		return fmt.Errorf("cloud-init: reading the config drive: %w", err)
	}
	if err := s.configureNetwork(); err != nil {
		return fmt.Errorf("cloud-init: failed to configure the network: %w", err)
	}
	s.setHostname(s.metadataText("local-hostname", "hostname", "local_hostname", "name"))
	s.loadKernelSettings(ctx)
	s.services.boot(ctx)
	userData, err := cloudinit.Parse(s.drive.UserData, cloudinit.InstanceData(s.metadata))
	if err != nil {
		return fmt.Errorf("cloud-init: %w", err)
	}
	return s.runCloudInit(ctx, userData)
}

// emptyRun empties /run, which is a file system in memory.
func (s *system) emptyRun() error {
	real, err := s.disk.Real("/run")
	if err != nil {
		return err
	}
	if err := os.RemoveAll(real); err != nil {
		return fmt.Errorf("emptying /run: %w", err)
	}
	return s.disk.MkdirAll("/run", 0o755)
}

func (s *system) readMetadata() error {
	drive, err := readDrive(s.dir)
	if err != nil {
		return err
	}
	s.drive, s.metadata = drive, map[string]any{}
	if len(drive.MetaData) == 0 {
		return errors.New("there is no meta_data.json: no data source found")
	}
	if err := json.Unmarshal(drive.MetaData, &s.metadata); err != nil {
		return fmt.Errorf("meta_data.json: %w", err)
	}
	if s.metadataText("uuid") == "" {
		return errors.New("meta_data.json has no uuid")
	}
	return nil
}

// metadataText is the first of the metadata's values that is a string.
func (s *system) metadataText(keys ...string) string {
	for _, key := range keys {
		if text, _ := s.metadata[key].(string); text != "" {
			return text
		}
	}
	return ""
}

func (s *system) configureNetwork() error {
	var document *netdata.Document
	if len(s.drive.NetworkData) > 0 {
		var err error
		if document, err = netdata.Parse(s.drive.NetworkData); err != nil {
			return err
		}
	}
	interfaces, err := netdata.Apply(document, s.state.NICs, s.config.DHCP)
	if err != nil {
		return err
	}
	s.interfaces = interfaces
	var servers []string
	for _, configured := range interfaces {
		var words []string
		for _, prefix := range configured.Addresses {
			words = append(words, prefix.String())
		}
		s.console.Logf("network: %s %s %s mtu %d %s", configured.Name, configured.Kind, configured.MAC, configured.MTU, strings.Join(words, " "))
		for _, server := range configured.Nameservers {
			servers = append(servers, "nameserver "+server.String()+"\n")
		}
	}
	return s.disk.Write("/etc/resolv.conf", []byte(strings.Join(servers, "")), 0o644)
}

// setHostname takes the short name, as Debian's cloud-init does.
func (s *system) setHostname(name string) {
	short, _, _ := strings.Cut(name, ".")
	if short == "" {
		short = "localhost"
	}
	s.hostname = short
	if err := s.disk.Write("/etc/hostname", []byte(short+"\n"), 0o644); err != nil {
		s.console.Logf("hostname: %v", err)
	}
}
