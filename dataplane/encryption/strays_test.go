// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package encryption

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStrays(t *testing.T) {
	elsewhere := netip.MustParseAddrPort("192.0.2.77:51820")
	stray := func(s *site) {
		s.o.Peers = append(s.o.Peers, Peer{Tunnel: s.o.Tunnels[0].Name, PublicKey: keyC, Endpoint: elsewhere, Established: true})
		s.e.Stray = []string{keyC}
	}
	for _, c := range []struct {
		name   string
		change func(s *site)
		want   []string
	}{
		{"none", func(*site) {}, nil},
		{"VPP", stray, []string{keyC}},
		{"kernel", func(s *site) { s.onKernel(); stray(s) }, []string{keyC}},
		{"not for long", func(s *site) { stray(s); s.e.Stray = nil }, nil},
		{"without an endpoint", func(s *site) { stray(s); s.o.Peers[1].Endpoint = netip.AddrPort{} }, []string{keyC}},
		{"of another interface", func(s *site) { stray(s); s.o.Peers[1].Tunnel = "wg7" }, nil},
		{"a Node that is not Ready publishes the key", func(s *site) {
			stray(s)
			s.e.Peers = append(s.e.Peers, ExpectedPeer{Node: "c", PublicKey: keyC})
		}, nil},
		{"a machine that is taken away", func(s *site) {
			stray(s)
			s.e.Peers = append(s.e.Peers, ExpectedPeer{Node: "c", Ready: true, Cordoned: true, Address: elsewhere.Addr()})
		}, nil},
		{"a host that was taken away moved", func(s *site) {
			stray(s)
			s.e.Peers = append(s.e.Peers, ExpectedPeer{Node: "c", Ready: true, Cordoned: true, Address: netip.MustParseAddr("192.0.2.78")})
		}, []string{keyC}},
		{"a key that was replaced, and its peer not yet", func(s *site) { s.o.Peers[0].PublicKey, s.e.Stray = keyC, []string{keyC} }, nil},
		{"a key that was replaced, whose peer stayed", func(s *site) { stray(s); s.o.Peers[1].Endpoint = s.o.Peers[0].Endpoint }, []string{keyC}},
		{"two", func(s *site) {
			stray(s)
			s.e.Peers, s.e.Stray = nil, []string{keyB, keyC}
		}, []string{keyB, keyC}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite()
			before := Judge(s.e, s.o)
			c.change(s)
			v := Judge(s.e, s.o)
			var got []string
			for _, stray := range v.Strays {
				got = append(got, stray.PublicKey)
				if !strings.Contains(v.Message, stray.PublicKey) {
					t.Errorf("message %q lacks %s", v.Message, stray.PublicKey)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error("strays (-want +got):\n" + diff)
			}
			if len(c.want) > 0 && (!v.Encrypted || v.Reason != before.Reason) {
				t.Errorf("%s: %s: a stray is no leak", v.Reason, v.Message)
			}
			if len(c.want) == 0 && strings.Contains(v.Message, "without a Node") {
				t.Errorf("message %q tells of strays", v.Message)
			}
		})
	}
}

func TestDescribeManyStrays(t *testing.T) {
	strays := []StrayPeer{{Tunnel: "wg0", PublicKey: "1"}, {PublicKey: "2"}, {PublicKey: "3"}, {PublicKey: "4"}, {PublicKey: "5"}, {PublicKey: "6"}}
	if got := DescribeStrays(strays); !strings.HasPrefix(got, "wg0 has 6 peers without a Node (1, 2, 3, 4, 2 more), ") {
		t.Error(got)
	}
}
