// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// fakeBackend is a dataplane that does what it is asked for.
type fakeBackend struct {
	changed chan struct{}

	mu    sync.Mutex
	o     encryption.Observation
	looks []time.Time
	done  map[encryption.ActionKind]time.Time
}

func newFakeBackend(o encryption.Observation) *fakeBackend {
	return &fakeBackend{changed: make(chan struct{}, 1), o: o, done: map[encryption.ActionKind]time.Time{}}
}

func (f *fakeBackend) Changed() <-chan struct{} { return f.changed }

func (f *fakeBackend) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func (f *fakeBackend) Observe(context.Context, encryption.Expectation) encryption.Observation {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks = append(f.looks, time.Now())
	o := f.o
	o.Tunnels = slices.Clone(o.Tunnels)
	return o
}

func (f *fakeBackend) Act(_ context.Context, _ encryption.Expectation, actions []encryption.Action) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, action := range actions {
		f.done[action.Kind] = time.Now()
		switch action.Kind {
		case encryption.InstallGuard:
			f.o.Guard = encryption.Guard{Present: true, Early: true, InForce: f.o.Uplink.Name != ""}
		case encryption.SetUnnumbered:
			f.o.Tunnels[0].Addressed = true
		case encryption.EnableGSO:
			f.o.Tunnels[0].GSO = true
		case encryption.EnableCNAT:
			f.o.Tunnels[0].CNAT = true
		case encryption.SetUp:
			f.o.Tunnels[0].Up = true
		}
	}
	return nil
}

// set changes what there is, without telling.
func (f *fakeBackend) set(change func(o *encryption.Observation)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.done)
	f.looks = nil
	change(&f.o)
}

func (f *fakeBackend) notify() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// look changes what there is, tells, and gives the agent a moment.
func (f *fakeBackend) look(change func(o *encryption.Observation)) {
	f.set(change)
	f.notify()
	time.Sleep(2 * time.Second)
	synctest.Wait()
}

// when an action was last done; zero if it was not.
func (f *fakeBackend) when(kind encryption.ActionKind) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.done[kind]
}

func (f *fakeBackend) looked() []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.looks)
}

// provedVPP is what the only node of a cluster sees that is encrypted.
func provedVPP() encryption.Observation {
	return encryption.Observation{
		Backend: encryption.VPP, Uplink: encryption.Interface{Name: "uplink0", Index: 1},
		Tunnels: []encryption.Tunnel{{
			Interface: encryption.Interface{Name: "wg0", Index: 2}, Source: netip.MustParseAddr("192.0.2.11"), Port: encryption.DefaultPort, PublicKey: "keyA",
			Up: true, Addressed: true, GSO: true, CNAT: true,
		}},
		Guard: encryption.Guard{Present: true, InForce: true, Early: true}, Hugepages: encryption.Hugepages{Known: true},
	}
}

// startAgent runs the agent of Node a until the test ends.
func startAgent(t *testing.T, s *apiServer, backend *fakeBackend) {
	t.Helper()
	a := New(Config{
		Node: "a", Mode: encryption.ModeRequired, Protocol: encryption.WireGuard, Port: encryption.DefaultPort,
		PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")},
	}, backend, s.client(), func() (string, error) { return "keyA", nil }, slog.New(slog.NewTextHandler(t.Output(), nil)))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// awaitProved leaves the agent a quarter of a minute to find and tell that its node is encrypted.
func (s *apiServer) awaitProved() {
	s.t.Helper()
	time.Sleep(15 * time.Second)
	synctest.Wait()
	if c := condition(s.node("a"), encryption.NodeCondition); c == nil || c.Status != corev1.ConditionTrue {
		s.t.Fatalf("the node is not proved: %+v", c)
	}
}

// TestSlowAPIServer: VPP restarts and takes the host's network with it, so that the API server does not answer. The guard and the tunnel
// do not wait for it.
func TestSlowAPIServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, backend := newAPIServer(t, testNode("a", "keyA", time.Now())), newFakeBackend(provedVPP())
		startAgent(t, s, backend)
		s.awaitProved()

		answer := s.hang()
		backend.set(func(o *encryption.Observation) {
			*o = encryption.Observation{Backend: encryption.VPP, Unreachable: "VPP is not running"}
		})
		backend.notify()
		start := time.Now()
		time.Sleep(time.Second)
		backend.set(func(o *encryption.Observation) {
			*o = provedVPP()
			o.Tunnels, o.Guard = nil, encryption.Guard{}
		})
		backend.notify()
		time.Sleep(500 * time.Millisecond)
		if backend.when(encryption.InstallGuard).IsZero() {
			t.Errorf("no guard %v after VPP was lost", elapsed(start))
		}

		// The tunnel appears, of which VPP tells nothing.
		appeared := time.Now()
		backend.set(func(o *encryption.Observation) {
			o.Tunnels = provedVPP().Tunnels
			o.Tunnels[0].Up, o.Tunnels[0].Addressed, o.Tunnels[0].GSO, o.Tunnels[0].CNAT = false, false, false, false
		})
		time.Sleep(time.Second)
		if backend.when(encryption.SetUp).IsZero() {
			t.Errorf("the tunnel is not complete %v after it appeared", elapsed(appeared))
		}

		// What is told in the end is the latest verdict, not those that could not be told.
		time.Sleep(time.Minute)
		var writes []string
		s.wrote = func(_, patch string) { writes = append(writes, patch) }
		answer()
		time.Sleep(time.Minute)
		synctest.Wait()
		if c := condition(s.node("a"), encryption.NodeCondition); c.Status != corev1.ConditionTrue || len(s.node("a").Spec.Taints) > 0 {
			t.Errorf("condition %+v, taints %v", c, s.node("a").Spec.Taints)
		}
		if len(writes) > 1 {
			t.Errorf("outdated verdicts were written: %q", writes)
		}
	})
}

// TestManyEvents: events that never end postpone a look by a second at most.
func TestManyEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, backend := newAPIServer(t, testNode("a", "keyA", time.Now())), newFakeBackend(provedVPP())
		startAgent(t, s, backend)
		s.awaitProved()
		backend.set(func(*encryption.Observation) {})
		last := time.Now()
		for range 200 {
			backend.notify()
			time.Sleep(50 * time.Millisecond)
		}
		looks := backend.looked()
		for _, look := range append(looks, time.Now()) {
			if gap := look.Sub(last); gap > 1100*time.Millisecond {
				t.Errorf("no look for %v", gap)
			}
			last = look
		}
		if len(looks) > 15 {
			t.Errorf("%d looks in 10 s: events are not gathered", len(looks))
		}
	})
}

// TestHurry looks again soon while the guard or the tunnel is missing, and as always when something is in the guard's way.
func TestHurry(t *testing.T) {
	guard := func(g encryption.Guard) func(*encryption.Observation) {
		return func(o *encryption.Observation) { o.Guard, o.Uplink = g, encryption.Interface{} }
	}
	for name, c := range map[string]struct {
		change func(*encryption.Observation)
		gap    time.Duration
	}{
		"guard in force":           {guard(encryption.Guard{Present: true, InForce: true, Early: true}), interval},
		"guard not in force":       {guard(encryption.Guard{Present: true, Early: true}), hurriedInterval},
		"guard cannot be in force": {guard(encryption.Guard{Early: true, Problem: "no acl plugin"}), interval},
		"no tunnel":                {func(o *encryption.Observation) { o.Tunnels = nil }, hurriedInterval},
		"two tunnels":              {func(o *encryption.Observation) { o.Tunnels = append(slices.Clone(o.Tunnels), o.Tunnels[0]) }, interval},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, backend := newAPIServer(t, testNode("a", "keyA", time.Now())), newFakeBackend(provedVPP())
				startAgent(t, s, backend)
				s.awaitProved()
				backend.set(c.change)
				time.Sleep(15 * time.Second)
				looks := backend.looked()
				if gap := looks[len(looks)-1].Sub(looks[len(looks)-2]); gap != c.gap {
					t.Errorf("looks every %v, want %v", gap, c.gap)
				}
			})
		})
	}
}

// TestOthersVerdicts: what other agents report is no reason to look.
func TestOthersVerdicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := func(n *corev1.Node) { n.Status.Conditions[0].Status = corev1.ConditionFalse }
		s, backend := newAPIServer(t, testNode("a", "keyA", time.Now()), testNode("b", "keyB", time.Now(), away)), newFakeBackend(provedVPP())
		startAgent(t, s, backend)
		s.awaitProved()
		backend.set(func(*encryption.Observation) {})
		for range 25 {
			s.change("b", func(n *corev1.Node) {
				n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: encryption.NotReadyTaint, Effect: corev1.TaintEffectNoSchedule})
				n.Status.Conditions = append(n.Status.Conditions[:1], corev1.NodeCondition{Type: encryption.NodeCondition, Message: time.Now().String()})
			})
			time.Sleep(400 * time.Millisecond)
		}
		if looks := len(backend.looked()); looks > 2 {
			t.Errorf("%d looks in 10 s", looks)
		}
		s.change("b", func(n *corev1.Node) { n.Annotations[encryption.PublicKeyAnnotation] = "keyC" })
		before := len(backend.looked())
		time.Sleep(200 * time.Millisecond)
		if len(backend.looked()) == before {
			t.Error("another key is no reason to look")
		}
	})
}

// TestStrayPeer follows a worker that is taken away, and whose peer Calico forgets to remove. The node stays proved; it tells once, and when
// the Node has been gone for a while.
func TestStrayPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		address := netip.MustParseAddr("192.0.2.12")
		worker := testNode("b", "keyB", time.Now(), func(n *corev1.Node) { n.Status.Addresses[1].Address = address.String() })
		s, backend := newAPIServer(t, testNode("a", "keyA", time.Now()), worker), newFakeBackend(provedVPP())
		backend.set(func(o *encryption.Observation) {
			o.Peers = []encryption.Peer{{Tunnel: "wg0", PublicKey: "keyB", Endpoint: netip.AddrPortFrom(address, 51820), Established: true}}
		})
		startAgent(t, s, backend)
		s.awaitProved()
		expect := func(when string, told bool, events ...string) {
			t.Helper()
			synctest.Wait()
			c := condition(s.node("a"), encryption.NodeCondition)
			if c.Status != corev1.ConditionTrue || c.Reason != encryption.ReasonEncrypted || strings.Contains(c.Message, "keyB") != told {
				t.Errorf("%s: %s: %s", when, c.Reason, c.Message)
			}
			if got := s.recorded(); !slices.Equal(got, events) {
				t.Errorf("%s: events %v, want %v", when, got, events)
			}
		}
		expect("both are there", false, encryption.ReasonEncrypted)
		s.change("b", func(n *corev1.Node) { n.Annotations, n.Spec.Unschedulable = nil, true })
		time.Sleep(10 * time.Minute)
		expect("it is drained", false, encryption.ReasonEncrypted)
		s.remove("b")
		time.Sleep(Grace - time.Second)
		expect("it is gone", false, encryption.ReasonEncrypted)
		time.Sleep(10 * time.Minute)
		expect("it is gone for long", true, encryption.ReasonEncrypted, encryption.EventStrayPeer)
		backend.set(func(o *encryption.Observation) { o.Peers = nil })
		time.Sleep(time.Minute)
		expect("the peer is gone, too", false, encryption.ReasonEncrypted, encryption.EventStrayPeer)
	})
}
