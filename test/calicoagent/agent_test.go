// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package calicoagent_test

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/calicoagent"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/calicoagent/vppapi"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/fakevpp"
)

// site is two nodes on one wire, with agents.
type site struct {
	t      *testing.T
	client *fake.Clientset
	a, b   *host
}

type host struct {
	name     string
	address  netip.Addr
	block    netip.Prefix
	private  wgtypes.Key
	vpp      *fakevpp.VPP
	withheld atomic.Bool
	agent    *calicoagent.Agent
}

// newSite makes the hosts. With exec, VPP makes the tunnel from the host's file.
func newSite(t *testing.T, exec bool) *site {
	t.Helper()
	s := &site{t: t, client: fake.NewClientset(), a: newHost(t, 1, exec), b: newHost(t, 2, exec)}
	fakevpp.Link(s.a.vpp, s.b.vpp)
	for _, h := range []*host{s.a, s.b} {
		if err := h.vpp.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.vpp.Stop)
		other := s.b
		if h == s.b {
			other = s.a
		}
		h.agent = calicoagent.New(calicoagent.Config{
			Node: h.name, Socket: h.vpp.Socket(), Client: s.client, StartupSleep: 300 * time.Millisecond, BGPDelay: 100 * time.Millisecond,
			Withheld: func(name string) bool { return name == other.name && h.withheld.Load() },
			Log:      slog.New(slog.NewTextHandler(t.Output(), nil)),
		})
	}
	return s
}

func newHost(t *testing.T, number byte, exec bool) *host {
	t.Helper()
	dir := t.TempDir()
	h := &host{
		name: fmt.Sprintf("node-%d", number), address: netip.AddrFrom4([4]byte{192, 0, 2, 10 + number}),
		block: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 244, number, 0}), 24),
	}
	h.private = wgtypes.Key{1: number, 31: 64}
	config := fakevpp.Config{
		Socket: filepath.Join(dir, "api.sock"), ExecDelay: 50 * time.Millisecond,
		Uplink: &fakevpp.Uplink{Name: "uplink0", Address: netip.PrefixFrom(h.address, 24), Gateway: netip.MustParseAddr("192.0.2.1")},
	}
	if exec {
		config.Exec = filepath.Join(dir, "wireguard.exec")
		line := fmt.Sprintf("wireguard create listen-port %d private-key %s src %s instance 0\n", encryption.DefaultPort, h.private, h.address)
		if err := os.WriteFile(config.Exec, []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h.vpp = fakevpp.New(config)
	return h
}

// register adds the Node, with the key published beforehand or not.
func (s *site) register(h *host, key string) {
	s.t.Helper()
	object := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: h.name, Annotations: map[string]string{encryption.AddressAnnotation: netip.PrefixFrom(h.address, 24).String()}},
		Spec:       corev1.NodeSpec{PodCIDR: h.block.String()},
	}
	if key != "" {
		object.Annotations[encryption.PublicKeyAnnotation] = key
	}
	if err := s.client.Tracker().Add(object); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) run(hosts ...*host) {
	for _, h := range hosts {
		go func() { _ = h.agent.Run(s.t.Context()) }()
	}
}

func (s *site) published(h *host) string {
	s.t.Helper()
	object, err := s.client.CoreV1().Nodes().Get(s.t.Context(), h.name, metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return object.Annotations[encryption.PublicKeyAnnotation]
}

// complete is the node agent's part on an adopted tunnel.
func (s *site) complete(h *host) {
	s.t.Helper()
	for _, command := range []string{"set interface unnumbered wg0 use host-uplink0", "set interface state wg0 up"} {
		eventually(s.t, command, func() bool { _, err := h.vpp.CLI(command); return err == nil })
	}
}

// reaches waits until what the first host's pods send to the second's has the outcome.
func (s *site) reaches(from, to *host, want fakevpp.Outcome) {
	s.t.Helper()
	var last fakevpp.Verdict
	eventually(s.t, fmt.Sprintf("packets from %s to %s are %s", from.name, to.name, want), func() bool {
		verdict, err := from.vpp.Send(fakevpp.Packet{Source: from.block.Addr().Next(), Destination: to.block.Addr().Next()})
		last = verdict
		return err == nil && verdict.Outcome == want
	})
	if want == fakevpp.Encrypted && last.Peer == "" {
		s.t.Errorf("encrypted to nobody: %+v", last)
	}
}

func eventually(t *testing.T, what string, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if met() {
			return
		}
	}
	t.Fatal("never: " + what)
}

func TestAdoptsTheHostsTunnel(t *testing.T) {
	s := newSite(t, true)
	s.register(s.a, s.a.private.PublicKey().String())
	s.register(s.b, s.b.private.PublicKey().String())
	s.run(s.a, s.b)
	eventually(t, "agents are ready", func() bool { return s.a.agent.Ready() && s.b.agent.Ready() })
	if got, want := s.published(s.a), s.a.private.PublicKey().String(); got != want {
		t.Errorf("published %s, want the key of the host's file, %s", got, want)
	}
	// Nobody has completed the tunnel: routes lead into an interface that is down.
	for from, to := range map[*host]*host{s.a: s.b, s.b: s.a} {
		eventually(t, "a route into wg0", func() bool {
			out, err := from.vpp.CLI("show ip fib " + to.block.String())
			return err == nil && strings.Contains(out, "dpo-drop")
		})
	}
	s.reaches(s.a, s.b, fakevpp.Dropped)
	s.complete(s.a)
	s.complete(s.b)
	s.reaches(s.a, s.b, fakevpp.Encrypted)
	s.reaches(s.b, s.a, fakevpp.Encrypted)
	if plain := s.a.vpp.Sent(fakevpp.Plain) + s.b.vpp.Sent(fakevpp.Plain); plain != 0 {
		t.Errorf("%d packets left in clear, want none", plain)
	}
	if unhandled := append(s.a.vpp.Unhandled(), s.b.vpp.Unhandled()...); len(unhandled) > 0 {
		t.Errorf("the fake does not know %v", unhandled)
	}
}

func TestMakesItsOwnTunnel(t *testing.T) {
	s := newSite(t, false)
	s.register(s.a, s.a.private.PublicKey().String())
	s.register(s.b, "")
	s.run(s.a, s.b)
	eventually(t, "a published key", func() bool { return s.published(s.b) != "" })
	s.reaches(s.a, s.b, fakevpp.Encrypted)
	if s.published(s.a) == s.a.private.PublicKey().String() {
		t.Error("the key on the Node stayed, want that of the agent's own tunnel in its place")
	}
}

func TestUnknownKeyMeansClear(t *testing.T) {
	s := newSite(t, false)
	s.a.withheld.Store(true)
	s.register(s.a, "")
	s.register(s.b, "")
	s.run(s.a, s.b)
	s.reaches(s.a, s.b, fakevpp.Plain)
	s.a.withheld.Store(false)
	s.a.agent.Poke()
	s.reaches(s.a, s.b, fakevpp.Encrypted)
	out, err := s.a.vpp.CLI("show interface")
	if err != nil || strings.Contains(out, "ipip0") {
		t.Errorf("the IPIP interface is still there (%v):\n%s", err, out)
	}
	// Keys that are taken away are not forgotten.
	s.a.withheld.Store(true)
	s.a.agent.Poke()
	time.Sleep(300 * time.Millisecond)
	s.reaches(s.a, s.b, fakevpp.Encrypted)
}

func TestKeyReplaced(t *testing.T) {
	s := newSite(t, true)
	s.register(s.a, s.a.private.PublicKey().String())
	s.register(s.b, s.b.private.PublicKey().String())
	s.run(s.a, s.b)
	s.complete(s.a)
	s.complete(s.b)
	s.reaches(s.a, s.b, fakevpp.Encrypted)
	stranger := wgtypes.Key{1: 42, 31: 64}.PublicKey().String()
	object, err := s.client.CoreV1().Nodes().Get(t.Context(), s.b.name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	object.Annotations[encryption.PublicKeyAnnotation] = stranger
	if _, err := s.client.CoreV1().Nodes().Update(t.Context(), object, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new key is the peer's", func() bool {
		out, err := s.a.vpp.CLI("show wireguard peer")
		return err == nil && strings.Contains(out, stranger)
	})
	s.reaches(s.a, s.b, fakevpp.Dropped)
}

func TestNodeGone(t *testing.T) {
	s := newSite(t, true)
	s.register(s.a, s.a.private.PublicKey().String())
	s.register(s.b, s.b.private.PublicKey().String())
	s.run(s.a, s.b)
	s.complete(s.a)
	s.complete(s.b)
	s.reaches(s.a, s.b, fakevpp.Encrypted)
	if err := s.client.CoreV1().Nodes().Delete(t.Context(), s.b.name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no peer", func() bool {
		out, err := s.a.vpp.CLI("show wireguard peer")
		return err == nil && out == ""
	})
}

func TestPodsOverTheAPI(t *testing.T) {
	h := newHost(t, 1, false)
	if err := h.vpp.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.vpp.Stop)
	vpp, err := vppapi.Connect(h.vpp.Socket())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(vpp.Close)
	pod := calicoagent.Pod{Interface: "tun1", HostInterface: "pod1", Address: h.block.Addr().Next(), MAC: [6]byte{2, 0, 0, 0, 0, 1}}
	gateway, err := calicoagent.ConnectPod(t.Context(), vpp, pod)
	if err != nil {
		t.Fatal(err)
	}
	if gateway == [6]byte{} {
		t.Error("the pod's gateway has no MAC")
	}
	verdict, err := h.vpp.Send(fakevpp.Packet{Source: netip.MustParseAddr("192.0.2.9"), Destination: pod.Address})
	if err != nil || verdict.Outcome != fakevpp.Local || verdict.Link != "tun1" {
		t.Errorf("a packet to the pod: %+v, %v; want it on tun1", verdict, err)
	}
}
