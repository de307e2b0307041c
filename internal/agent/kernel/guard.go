// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// guardPriority puts the guard before Calico's programs on the older hook, clsact: theirs say that no later one is asked.
const guardPriority = 1

// guardRevision changes with what the program does, so that an agent replaces the guard of an older one.
const guardRevision = 2

// attached is the guard on one device.
type attached struct {
	program *ebpf.Program
	// first is true when no other program is asked before it.
	first bool
	// filter is the older hook's; nil with the newer one, TCX.
	filter *netlink.BpfFilter
}

// fingerprint of the rules, so that a guard for others is replaced.
func fingerprint(e encryption.Expectation) uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, guardRevision, rules(), e.PodCIDRs, e.ServiceCIDRs)
	return h.Sum64()
}

// observeGuard looks at the guard on all uplinks.
func observeGuard(e encryption.Expectation, uplinks []int) (encryption.Guard, error) {
	guard := encryption.Guard{InForce: len(uplinks) > 0, Early: true}
	sums := make([]counter, len(rules()))
	for _, index := range uplinks {
		guards, err := findGuards(index)
		if err != nil {
			return guard, err
		}
		ok := len(guards) == 1 && guards[0].first
		for _, g := range guards {
			guard.Present = true
			counters, found, err := readCounters(g.program)
			if err != nil {
				return guard, errors.Join(err, closeAll(guards))
			}
			ok = ok && found == fingerprint(e)
			for i := range sums {
				sums[i].Packets += counters[i].Packets
				sums[i].Bytes += counters[i].Bytes
			}
		}
		guard.InForce = guard.InForce && ok
		if err := closeAll(guards); err != nil {
			return guard, err
		}
	}
	if guard.Present {
		for i, name := range rules() {
			guard.Drops = append(guard.Drops, encryption.Drop{Rule: name, Packets: sums[i].Packets, Bytes: sums[i].Bytes})
		}
	}
	return guard, nil
}

// findGuards finds the guard on a device, on either hook. The programs are to be closed.
func findGuards(index int) ([]attached, error) {
	guards, err := findTCX(index)
	if err != nil {
		return nil, err
	}
	device, err := netlink.LinkByIndex(index)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading device %d: %w", index, err), closeAll(guards))
	}
	filters, err := netlink.FilterList(device, netlink.HANDLE_MIN_EGRESS)
	if err != nil {
		// There is no clsact, and so no filter.
		return guards, nil //nolint:nilerr // As the comment says.
	}
	for i, f := range filters {
		filter, ok := f.(*netlink.BpfFilter)
		if !ok || filter.Name != guardName {
			continue
		}
		program, err := ebpf.NewProgramFromID(ebpf.ProgramID(filter.Id)) //nolint:gosec // G115: the kernel's ID.
		if err != nil {
			return nil, errors.Join(fmt.Errorf("reading the guard of %s: %w", device.Attrs().Name, err), closeAll(guards))
		}
		guards = append(guards, attached{program: program, first: i == 0, filter: filter})
	}
	return guards, nil
}

func findTCX(index int) ([]attached, error) {
	found, err := link.QueryPrograms(link.QueryOptions{Target: index, Attach: ebpf.AttachTCXEgress})
	if isUnknownHook(err) {
		return nil, nil // Before Linux 6.6.
	}
	if err != nil {
		return nil, fmt.Errorf("listing the programs of device %d: %w", index, err)
	}
	var guards []attached
	for i, p := range found.Programs {
		program, err := ebpf.NewProgramFromID(p.ID)
		if errors.Is(err, os.ErrNotExist) {
			continue // Gone meanwhile.
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("reading a program of device %d: %w", index, err), closeAll(guards))
		}
		info, err := program.Info()
		if err == nil && info.Name == guardName {
			guards = append(guards, attached{program: program, first: i == 0})
			continue
		}
		if err := errors.Join(err, program.Close()); err != nil {
			return nil, errors.Join(err, closeAll(guards))
		}
	}
	return guards, nil
}

// isUnknownHook tells whether an error is that of a kernel which does not know the hook. It says that an argument is invalid; the library
// has a name only for kernels that know no hooks at all.
func isUnknownHook(err error) bool {
	return errors.Is(err, ebpf.ErrNotSupported) || errors.Is(err, unix.EINVAL)
}

func closeAll(guards []attached) error {
	var failed []error
	for _, g := range guards {
		failed = append(failed, g.program.Close())
	}
	return errors.Join(failed...)
}

// readCounters reads what a guard has dropped, and the fingerprint of its rules.
func readCounters(program *ebpf.Program) ([]counter, uint64, error) {
	info, err := program.Info()
	if err != nil {
		return nil, 0, fmt.Errorf("reading the guard: %w", err)
	}
	ids, _ := info.MapIDs()
	if len(ids) != 1 {
		return nil, 0, fmt.Errorf("the guard has %d maps, not one", len(ids))
	}
	m, err := ebpf.NewMapFromID(ids[0])
	if err != nil {
		return nil, 0, fmt.Errorf("reading the guard's counters: %w", err)
	}
	defer m.Close()
	values := make([]counter, len(rules())+1)
	for i := range values {
		if err := m.Lookup(uint32(i), &values[i]); err != nil {
			return nil, 0, fmt.Errorf("reading the guard's counters: %w", err)
		}
	}
	return values[:len(rules())], values[len(rules())].Packets, nil
}

// installGuard puts the guard on all uplinks, first in line. What is there of an older one goes only after the new one is in force.
func installGuard(e encryption.Expectation) error {
	uplinks, err := findUplinks(e)
	if err != nil {
		return err
	}
	// Before Linux 5.11 maps count against the limit of locked memory.
	if err := rlimit.RemoveMemlock(); err != nil {
		return fmt.Errorf("allowing memory for the guard: %w", err)
	}
	for _, index := range uplinks {
		if err := installOn(e, index); err != nil {
			return err
		}
	}
	return nil
}

func installOn(e encryption.Expectation, index int) error {
	old, err := findGuards(index)
	if err != nil {
		return err
	}
	defer func() { _ = closeAll(old) }()
	if len(old) == 1 && old[0].first {
		if _, found, err := readCounters(old[0].program); err == nil && found == fingerprint(e) {
			return nil
		}
	}
	program, err := loadGuard(e)
	if err != nil {
		return err
	}
	defer program.Close()
	err = link.RawAttachProgram(link.RawAttachProgramOptions{Target: index, Program: program, Attach: ebpf.AttachTCXEgress, Anchor: link.Head()})
	if isUnknownHook(err) {
		return attachFilter(index, program)
	}
	if err != nil {
		return fmt.Errorf("attaching the guard: %w", err)
	}
	return detach(index, old)
}

// loadGuard loads the program with counters of its own.
func loadGuard(e encryption.Expectation) (*ebpf.Program, error) {
	counters, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: guardName, Type: ebpf.Array, KeySize: 4, ValueSize: 16, MaxEntries: uint32(len(rules()) + 1), //nolint:gosec // G115: a few.
	})
	if err != nil {
		return nil, fmt.Errorf("making the guard's counters: %w", err)
	}
	// The program keeps them.
	defer counters.Close()
	if err := counters.Put(uint32(len(rules())), counter{Packets: fingerprint(e)}); err != nil { //nolint:gosec // G115: a few.
		return nil, fmt.Errorf("writing the guard's fingerprint: %w", err)
	}
	program, err := ebpf.NewProgram(guardSpec(e.PodCIDRs, e.ServiceCIDRs, counters))
	if err != nil {
		return nil, fmt.Errorf("loading the guard: %w", err)
	}
	return program, nil
}

// attachFilter puts the program on the older hook. It takes the place of an older guard in one step.
func attachFilter(index int, program *ebpf.Program) error {
	qdisc := &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}}
	if err := netlink.QdiscAdd(qdisc); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("preparing the device for the guard: %w", err)
	}
	filter := &netlink.BpfFilter{
		FilterAttrs:  netlink.FilterAttrs{LinkIndex: index, Parent: netlink.HANDLE_MIN_EGRESS, Handle: 1, Protocol: unix.ETH_P_ALL, Priority: guardPriority},
		Fd:           program.FD(),
		Name:         guardName,
		DirectAction: true,
	}
	if err := netlink.FilterReplace(filter); err != nil {
		return fmt.Errorf("attaching the guard: %w", err)
	}
	return nil
}

// detach takes guards from a device. Others' programs, and the clsact that they may need, stay.
func detach(index int, guards []attached) error {
	var failed []error
	for _, g := range guards {
		var err error
		if g.filter != nil {
			err = netlink.FilterDel(g.filter)
		} else {
			err = link.RawDetachProgram(link.RawDetachProgramOptions{Target: index, Program: g.program, Attach: ebpf.AttachTCXEgress})
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("detaching the guard: %w", err))
		}
	}
	return errors.Join(failed...)
}

// removeGuard takes the guard from every device.
func removeGuard() error {
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("listing devices: %w", err)
	}
	var failed []error
	for _, device := range links {
		guards, err := findGuards(device.Attrs().Index)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		failed = append(failed, detach(device.Attrs().Index, guards), closeAll(guards))
	}
	return errors.Join(failed...)
}
