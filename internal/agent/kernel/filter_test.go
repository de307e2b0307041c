// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// newNamespace moves the test into a network namespace with one device. The thread is not used again.
func newNamespace(t *testing.T) netlink.Link {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make a network namespace")
	}
	runtime.LockOSThread() // Never unlocked: the thread ends with the test.
	if err := unix.Unshare(unix.CLONE_NEWNET); errors.Is(err, unix.EPERM) {
		t.Skip("needs the right to make a network namespace")
	} else if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "uplink0"}, PeerName: "peer0"}); err != nil {
		t.Fatal(err)
	}
	link, err := netlink.LinkByName("uplink0")
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// TestUnknownHook asks this kernel for a hook that it does not know, as TCX is to kernels before 6.6.
func TestUnknownHook(t *testing.T) {
	device := newNamespace(t)
	const none = ebpf.AttachType(1000)
	if _, err := link.QueryPrograms(link.QueryOptions{Target: device.Attrs().Index, Attach: none}); !isUnknownHook(err) {
		t.Errorf("query: %v", err)
	}
	program, err := loadGuard(encryption.Expectation{PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}})
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	err = link.RawAttachProgram(link.RawAttachProgramOptions{Target: device.Attrs().Index, Program: program, Attach: none, Anchor: link.Head()})
	if !isUnknownHook(err) {
		t.Errorf("attach: %v", err)
	}
	if _, err := findGuards(1 << 30); err == nil {
		t.Error("there is no such device: no error")
	}
}

// TestFilter uses the hook that kernels before 6.6 have: it is found again, replaced in one step, and taken away.
func TestFilter(t *testing.T) {
	link := newNamespace(t)
	index := link.Attrs().Index
	e := encryption.Expectation{PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("2001:db8:244::/48")}}
	for _, pods := range [][]netip.Prefix{e.PodCIDRs, e.PodCIDRs[:1]} {
		e.PodCIDRs = pods
		program, err := loadGuard(e)
		if err != nil {
			t.Fatal(err)
		}
		if err := attachFilter(index, program); err != nil {
			t.Fatal(err)
		}
		if err := program.Close(); err != nil {
			t.Fatal(err)
		}
		guard, err := observeGuard(e, []int{index})
		if err != nil {
			t.Fatal(err)
		}
		if !guard.InForce || !guard.Present || len(guard.Drops) != len(rules()) {
			t.Errorf("guard: %+v", guard)
		}
	}
	// On a kernel with the newer hook the guard moves there.
	if err := installOn(e, index); err != nil {
		t.Fatal(err)
	}
	if err := removeGuard(); err != nil {
		t.Fatal(err)
	}
	guard, err := observeGuard(e, []int{index})
	if err != nil {
		t.Fatal(err)
	}
	if guard.Present || guard.InForce {
		t.Errorf("guard after it was removed: %+v", guard)
	}
}

func TestFingerprint(t *testing.T) {
	a := encryption.Expectation{PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}}
	b, same := a, a
	b.ServiceCIDRs = []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")}
	if fingerprint(a) != fingerprint(same) || fingerprint(a) == fingerprint(b) {
		t.Errorf("%d, %d", fingerprint(a), fingerprint(b))
	}
}

// run runs a command of iproute2 in the test's namespace.
func run(t *testing.T, command string) {
	t.Helper()
	fields := strings.Fields(command)
	if out, err := exec.CommandContext(t.Context(), fields[0], fields[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}

// TestUplinks: every device that leads to another node is guarded, by whatever route.
func TestUplinks(t *testing.T) {
	newNamespace(t)
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs ip, of the package iproute2")
	}
	for _, name := range []string{"storage0", "left0", "right0", "other0", "table0", "router0"} {
		run(t, "ip link add "+name+" type veth peer name peer-"+name)
		run(t, "ip link set peer-"+name+" up")
	}
	for _, command := range []string{
		"ip link set peer0 up", "ip addr add 192.0.2.11/24 dev uplink0", "ip link set uplink0 up",
		"ip addr add 198.51.100.11/25 dev storage0", "ip link set storage0 up", "ip route add 10.1.0.0/24 via 198.51.100.1",
		"ip addr add 172.16.1.11/24 dev left0", "ip link set left0 up", "ip addr add 172.16.2.11/24 dev right0", "ip link set right0 up",
		"ip route add 10.2.0.0/24 nexthop via 172.16.1.1 nexthop via 172.16.2.1",
		"ip addr add 172.16.3.11/24 dev table0", "ip link set table0 up", "ip route add 10.3.0.0/24 via 172.16.3.1 table 7", "ip rule add to 10.3.0.0/24 table 7",
		"ip addr add 172.16.4.11/24 dev router0", "ip link set router0 up", "ip route add default via 172.16.4.1",
		"ip addr add 172.16.5.11/24 dev other0", "ip link set other0 up", "ip route add 10.9.0.0/24 via 172.16.5.1",
	} {
		run(t, command)
	}
	e := encryption.Expectation{Address: netip.MustParseAddr("192.0.2.11")}
	for _, address := range []string{"192.0.2.12", "10.1.0.12", "10.2.0.12", "10.3.0.12"} {
		e.Peers = append(e.Peers, encryption.ExpectedPeer{Address: netip.MustParseAddr(address)})
	}
	e.Peers = append(e.Peers, encryption.ExpectedPeer{Node: "without an address"})
	found, err := findUplinks(e)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, index := range found {
		device, err := netlink.LinkByIndex(index)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, device.Attrs().Name)
	}
	if len(names) == 0 || names[0] != "uplink0" {
		t.Errorf("the first is not the one with the node's address: %v", names)
	}
	slices.Sort(names)
	if want := []string{"left0", "right0", "router0", "storage0", "table0", "uplink0"}; !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
	e.Address = netip.MustParseAddr("192.0.2.99")
	if found, err := findUplinks(e); err != nil || len(found) > 0 {
		t.Errorf("without the node's address: %v, %v", found, err)
	}
}
