// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Facts of a booted host.
type Facts struct {
	// BootID differs from boot to boot; MachineID is systemd's, and stays.
	BootID    string
	MachineID string
	// Hostname as the kernel has it, StaticHostname as /etc/hostname does.
	Hostname       string
	StaticHostname string
	// Links by name, without the loopback.
	Links map[string]Link
	// Bonds by name, as the bonding driver describes them.
	Bonds map[string]Bond
	// Routes of the main table, IPv4, without those of the kernel's own.
	Routes []Route
	// Resolver is what systemd-resolved asks.
	Resolver Resolver
	// Hugepages in the kernel's pools, of the default size.
	Hugepages Hugepages
	// Modules that are loaded, sorted.
	Modules []string
	// Files by path; those that do not exist are left out.
	Files map[string]File
	// Devices of WireGuard by name.
	Devices map[string]Device
	// CloudInit is what cloud-init says of its work.
	CloudInit CloudInit
}

// Hugepages are the kernel's counters.
type Hugepages struct {
	// Reserved is vm.nr_hugepages, Total is HugePages_Total of /proc/meminfo.
	Reserved, Total int
}

// Route to a destination; "default" is 0.0.0.0/0.
type Route struct {
	Destination netip.Prefix
	Gateway     netip.Addr
	Link        string
	// Protocol is who made it: "static", "dhcp", "boot".
	Protocol string
}

// File in a host.
type File struct {
	// Mode in octal, for example "600".
	Mode string
	// Owner as user:group.
	Owner string
	// Inode and Modified (seconds since 1970) tell whether it was written again.
	Inode    string
	Modified string
	// SHA256 of the content in hexadecimal.
	SHA256 string
}

// Device of WireGuard.
type Device struct {
	// PublicKey in base64, "(none)" without a key.
	PublicKey string
	// Port is the UDP port on which it listens.
	Port int
}

// Run runs a program in a host and returns its standard output. It is an error when the program ends with another status than 0.
type Run func(ctx context.Context, argv ...string) (string, error)

// source is a program whose output holds facts.
type source struct {
	argv  []string
	parse func(f *Facts, output string) error
}

// Read reads the facts. The files are those to look at.
func Read(ctx context.Context, run Run, files []string) (Facts, error) {
	f := Facts{}
	for _, from := range sources(files) {
		output, err := run(ctx, from.argv...)
		if err != nil {
			return Facts{}, fmt.Errorf("read facts: %w", err)
		}
		if err := from.parse(&f, output); err != nil {
			return Facts{}, fmt.Errorf("read facts from %q: %w", from.argv[0], err)
		}
	}
	return f, nil
}

func sources(files []string) []source {
	shell := func(script string) []string { return []string{"sh", "-c", script} }
	return []source{
		{shell("cat /proc/sys/kernel/random/boot_id /etc/machine-id /proc/sys/kernel/hostname /etc/hostname"), parseIdentity},
		{[]string{"ip", "-j", "-d", "addr", "show"}, parseLinks},
		{[]string{"ip", "-j", "-4", "route", "show", "table", "main"}, parseRoutes},
		{shell(`for bond in /proc/net/bonding/*; do [ ! -e "$bond" ] || { echo "== ${bond##*/}"; cat "$bond"; }; done`), parseBonds},
		{[]string{"resolvectl", "dns"}, parseResolver},
		{shell("cat /proc/sys/vm/nr_hugepages; grep HugePages_Total /proc/meminfo"), parseHugepages},
		{[]string{"cat", "/proc/modules"}, parseModules},
		{append(shell(`for file; do [ ! -e "$file" ] || { stat -c '%n|%a|%U:%G|%i|%Y' "$file"; if [ -f "$file" ]; then sha256sum <"$file"; else echo -; fi; }; done`),
			append([]string{"stat"}, files...)...), parseFiles},
		{shell(`for device in $(wg show interfaces); do echo "$device $(wg show "$device" public-key) $(wg show "$device" listen-port)"; done`), parseDevices},
		{shell("cloud-init status --long || true"), parseStatus},
		{[]string{"cat", "/run/cloud-init/result.json"}, parseResult},
		{[]string{"cat", "/run/cloud-init/status.json"}, parseStages},
		{[]string{"grep", "-aE", "Running command|[[](WARNING|ERROR|CRITICAL)[]]", "/var/log/cloud-init.log"}, parseLog},
	}
}

func parseIdentity(f *Facts, output string) error {
	lines := strings.Fields(output)
	if len(lines) != 4 {
		return fmt.Errorf("want 4 lines, got %q", output)
	}
	f.BootID, f.MachineID, f.Hostname, f.StaticHostname = lines[0], lines[1], lines[2], lines[3]
	return nil
}

func parseHugepages(f *Facts, output string) error {
	words := strings.Fields(output)
	if len(words) != 3 {
		return fmt.Errorf("want a number and HugePages_Total, got %q", output)
	}
	var err error
	if f.Hugepages.Reserved, err = strconv.Atoi(words[0]); err != nil {
		return fmt.Errorf("nr_hugepages: %w", err)
	}
	if f.Hugepages.Total, err = strconv.Atoi(words[2]); err != nil {
		return fmt.Errorf("HugePages_Total: %w", err)
	}
	return nil
}

func parseModules(f *Facts, output string) error {
	for line := range strings.Lines(output) {
		name, _, _ := strings.Cut(line, " ")
		f.Modules = append(f.Modules, name)
	}
	slices.Sort(f.Modules)
	return nil
}

func parseFiles(f *Facts, output string) error {
	f.Files = map[string]File{}
	lines := strings.Split(strings.TrimSpace(output), "\n")
	if output == "" {
		return nil
	}
	if len(lines)%2 != 0 {
		return fmt.Errorf("want two lines a file, got %q", output)
	}
	for pair := range slices.Chunk(lines, 2) {
		fields := strings.Split(pair[0], "|")
		if len(fields) != 5 {
			return fmt.Errorf("want name, mode, owner, inode and time, got %q", pair[0])
		}
		digest, _, _ := strings.Cut(pair[1], " ")
		f.Files[fields[0]] = File{Mode: fields[1], Owner: fields[2], Inode: fields[3], Modified: fields[4], SHA256: digest}
	}
	return nil
}

func parseDevices(f *Facts, output string) error {
	f.Devices = map[string]Device{}
	for line := range strings.Lines(output) {
		words := strings.Fields(line)
		if len(words) != 3 {
			return fmt.Errorf("want name, key and port, got %q", line)
		}
		port, err := strconv.Atoi(words[2])
		if err != nil {
			return fmt.Errorf("port of %s: %w", words[0], err)
		}
		f.Devices[words[0]] = Device{PublicKey: words[1], Port: port}
	}
	return nil
}
