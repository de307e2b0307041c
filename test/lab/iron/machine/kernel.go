// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/shell"
)

// kernelModules are those of the image's kernel that somebody may load.
const kernelModules = `8021q af_packet bonding br_netfilter bridge dummy ip6_tables ip6table_filter ip6table_nat ip_set ip_tables
	ip_vs ip_vs_rr ip_vs_sh ip_vs_wrr ipip iptable_filter iptable_nat iscsi_tcp macvlan mpls_router nbd nf_conntrack nf_nat nf_tables
	nft_chain_nat nvme_tcp overlay rbd sctp tap tun uio uio_pci_generic veth vfio vfio_iommu_type1 vfio_pci vhost vhost_net vhost_vsock
	virtio_net virtio_pci vxlan wireguard xt_conntrack xt_set zram`

// loadKernelSettings does what systemd does early in the boot: modules first, then sysctl settings.
func (s *system) loadKernelSettings(ctx context.Context) {
	if err := errors.Join(s.loadModules(), s.applySysctls()); err != nil && ctx.Err() == nil {
		s.console.Logf("%v", err)
	}
}

// loadModules loads what modules-load.d names.
func (s *system) loadModules() error {
	if err := s.disk.Write("/proc/modules", nil, 0o444); err != nil {
		return err
	}
	var errs []error
	lines, err := s.settingLines("modules-load.d")
	errs = append(errs, err)
	for _, line := range lines {
		errs = append(errs, s.loadModule(line))
	}
	return errors.Join(errs...)
}

func (s *system) loadModule(name string) error {
	name = strings.ReplaceAll(name, "-", "_")
	if !slices.Contains(strings.Fields(kernelModules), name) {
		return fmt.Errorf("modprobe: FATAL: Module %s not found in directory /lib/modules/6.1.0-lab", name)
	}
	loaded, err := s.disk.Read("/proc/modules")
	if err != nil || slices.Contains(strings.Split(string(loaded), "\n"), name+" 16384 0 - Live 0x0") {
		return err
	}
	return s.disk.Append("/proc/modules", []byte(name+" 16384 0 - Live 0x0\n"), 0o444)
}

// applySysctls applies what sysctl.d and sysctl.conf say.
func (s *system) applySysctls() error {
	lines, err := s.settingLines("sysctl.d")
	errs := []error{err}
	if content, err := s.disk.Read("/etc/sysctl.conf"); err == nil {
		lines = append(lines, settingsOf(content)...)
	}
	for _, line := range lines {
		errs = append(errs, s.setSysctl(strings.TrimPrefix(line, "-")))
	}
	return errors.Join(errs...)
}

// setSysctl sets "name = value"; it shows under /proc/sys.
func (s *system) setSysctl(assignment string) error {
	name, value, ok := strings.Cut(assignment, "=")
	name = strings.TrimSpace(name)
	if !ok || name == "" {
		return fmt.Errorf("sysctl: %q must be of the form name=value", assignment)
	}
	value = strings.TrimSpace(value) + "\n"
	if name == "vm.nr_hugepages" {
		// The kernel shows it twice.
		if err := s.disk.Write("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", []byte(value), 0o644); err != nil {
			return err
		}
	}
	return s.disk.Write(sysctlPath(name), []byte(value), 0o644)
}

func sysctlPath(name string) string {
	if !strings.Contains(name, "/") {
		name = strings.ReplaceAll(name, ".", "/")
	}
	return "/proc/sys/" + name
}

// settingLines are the lines of the *.conf files of a configuration directory, by systemd's rules: sorted by
// file name, and a file in /etc hides one of the same name elsewhere.
func (s *system) settingLines(dir string) ([]string, error) {
	files := map[string]string{}
	for _, parent := range []string{"/usr/lib/", "/run/", "/etc/"} {
		names, err := s.disk.List(parent+dir, "*.conf")
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			files[name] = parent + dir + "/" + name
		}
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		content, err := s.disk.Read(files[name])
		if err != nil {
			return nil, err
		}
		lines = append(lines, settingsOf(content)...)
	}
	return lines, nil
}

func settingsOf(content []byte) []string {
	var lines []string
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSpace(line)
		if line != "" && line[0] != '#' && line[0] != ';' {
			lines = append(lines, line)
		}
	}
	return lines
}

func (s *system) modprobe(_ context.Context, call shell.Call) uint8 {
	status := uint8(0)
	for _, name := range call.Args[1:] {
		switch {
		case name == "-r" || name == "--remove":
			return 0
		case strings.HasPrefix(name, "-"):
		case strings.Contains(name, "="):
			// A parameter of the module before it.
		default:
			if err := s.loadModule(name); err != nil {
				fmt.Fprintln(call.Stderr, err)
				status = 1
			}
		}
	}
	return status
}

func (s *system) sysctl(_ context.Context, call shell.Call) uint8 {
	var errs []error
	args := call.Args[1:]
	for i := 0; i < len(args); i++ {
		switch arg := args[i]; {
		case arg == "--system":
			errs = append(errs, s.applySysctls())
		case arg == "-p" || arg == "--load":
			name := "/etc/sysctl.conf"
			if i+1 < len(args) {
				i++
				name = call.Path(args[i])
			}
			content, err := s.disk.Read(name)
			errs = append(errs, err)
			for _, line := range settingsOf(content) {
				errs = append(errs, s.setSysctl(strings.TrimPrefix(line, "-")))
			}
		case strings.HasPrefix(arg, "-"):
		case strings.Contains(arg, "="):
			errs = append(errs, s.setSysctl(arg))
		default:
			content, err := s.disk.Read(sysctlPath(arg))
			if err != nil {
				err = fmt.Errorf("sysctl: cannot stat %s: No such file or directory", sysctlPath(arg))
			} else {
				_, err = fmt.Fprintf(call.Stdout, "%s = %s", arg, content)
			}
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintln(call.Stderr, err)
		return 1
	}
	return 0
}
