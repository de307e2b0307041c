// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"net/netip"
	"os"
	"runtime"
	"testing"

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
