// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/fakevpp"
)

func TestAgent(t *testing.T) {
	config, _ := startServer(t)
	wire := fakevpp.NewSegment()
	a, b := newHost(t, config, wire, 11), newHost(t, config, wire, 12)
	encrypted := func(t *testing.T) {
		t.Helper()
		for _, h := range []*host{a, b} {
			h.awaitSessions()
		}
		for _, pair := range [][2]*host{{a, b}, {b, a}} {
			if v := pair[0].send(pair[1]); v.Outcome != fakevpp.Encrypted {
				t.Errorf("a packet from %s to %s: %+v", pair[0].name, pair[1].name, v)
			}
		}
	}
	t.Run("bring-up", encrypted)
	t.Run("no writes while nothing happens", func(t *testing.T) {
		before := a.node().ResourceVersion
		time.Sleep(12 * time.Second)
		if after := a.node().ResourceVersion; after != before {
			t.Errorf("the Node was written: version %s became %s", before, after)
		}
	})
	t.Run("a peer that Calico has lost", func(t *testing.T) {
		a.vpp.DropPeer(b.key.PublicKey().String())
		if c := a.await(encryption.ReasonPeerMissing); !strings.Contains(c.Message, b.name) {
			t.Errorf("the message does not name %s: %s", b.name, c.Message)
		}
		a.restartVPP()
		encrypted(t)
	})
	t.Run("a peer whose key Calico does not know", func(t *testing.T) {
		a.withhold(b.name)
		a.restartVPP()
		if c := a.await(encryption.ReasonPlaintextTunnel); !strings.Contains(c.Message, b.name) {
			t.Errorf("the message does not name %s: %s", b.name, c.Message)
		}
		if v := a.send(b); v.Outcome != fakevpp.Dropped {
			t.Errorf("in clear: %+v", v)
		}
		if s := a.agent.Status(); len(s.Guard.Drops) == 0 {
			t.Errorf("the guard counts nothing: %+v", s.Guard)
		}
		a.withhold("")
		encrypted(t)
	})
	t.Run("a key that is withdrawn", func(t *testing.T) {
		b.annotate(encryption.PublicKeyAnnotation, "")
		b.await(encryption.ReasonKeyNotPublished)
		if c := a.await(encryption.ReasonPeerKeyUnknown); !strings.Contains(c.Message, b.name) {
			t.Errorf("the message does not name %s: %s", b.name, c.Message)
		}
		b.annotate(encryption.PublicKeyAnnotation, b.key.PublicKey().String())
		encrypted(t)
	})
	t.Run("VPP restarts", func(t *testing.T) {
		goOn := a.holdCalico()
		defer goOn()
		a.restartVPP()
		a.awaitGuard() // It does not wait for Calico's routes.
		if v := a.send(b); v.Outcome != fakevpp.Dropped || v.By == "no route" {
			t.Errorf("before Calico routes anything: %+v", v)
		}
		goOn()
		encrypted(t)
	})
	t.Run("a second tunnel", func(t *testing.T) {
		name, err := a.vpp.DuplicateTunnel()
		if err != nil {
			t.Fatal(err)
		}
		if c := a.await(encryption.ReasonTunnelDuplicate); !strings.Contains(c.Message, name) {
			t.Errorf("the message does not name %s: %s", name, c.Message)
		}
		if _, err := a.vpp.CLI("wireguard delete " + name); err != nil {
			t.Fatal(err)
		}
		encrypted(t)
	})
	t.Run("guard taken away", func(t *testing.T) {
		if err := a.vpp.RemoveGuards("host-uplink0"); err != nil {
			t.Fatal(err)
		}
		a.awaitGuard()
	})
	t.Run("polling", func(t *testing.T) {
		if err := b.vpp.SetPolling("host-uplink0", true); err != nil {
			t.Fatal(err)
		}
		b.await(encryption.ReasonRxModeWrong)
		if err := b.vpp.SetPolling("host-uplink0", false); err != nil {
			t.Fatal(err)
		}
		encrypted(t)
	})
	t.Run("the agent is killed", func(t *testing.T) {
		a.stop()
		<-a.done
		a.vpp.DropPeer(b.key.PublicKey().String())
		if v := a.send(b); v.Outcome != fakevpp.Dropped {
			t.Errorf("in clear while the agent is away: %+v", v)
		}
		a.restartVPP()
		// Calico's agent makes its peer again; nobody completes the tunnel.
		for deadline := time.Now().Add(shown); ; time.Sleep(50 * time.Millisecond) {
			peers, err := a.vpp.CLI("show wireguard peer")
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(peers, b.key.PublicKey().String()) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("Calico's agent does not add its peer:\n" + peers)
			}
		}
		before := a.await(encryption.ReasonEncrypted)
		b.becomeReady() // A handshake with a node that has just become ready is awaited.
		a.startAgent()
		after, deadline := before, time.Now().Add(shown)
		for after.LastHeartbeatTime.Equal(&before.LastHeartbeatTime) {
			if time.Now().After(deadline) {
				t.Fatal("the new agent does not tell that it is there")
			}
			time.Sleep(50 * time.Millisecond)
			after = a.await(encryption.ReasonEncrypted)
		}
		if !after.LastTransitionTime.Equal(&before.LastTransitionTime) {
			t.Errorf("a restart of the agent changed the condition: %+v became %+v", before, after)
		}
		encrypted(t)
	})
	t.Run("a node joins", func(t *testing.T) {
		before := a.await(encryption.ReasonEncrypted).LastTransitionTime
		c := newHost(t, config, wire, 13)
		c.awaitSessions()
		a.await(encryption.ReasonEncrypted)
		if after := a.await(encryption.ReasonEncrypted).LastTransitionTime; !after.Equal(&before) {
			t.Errorf("a node that joins took %s out of service", a.name)
		}
		if v := c.send(a); v.Outcome != fakevpp.Encrypted {
			t.Errorf("from the new node: %+v", v)
		}
	})
	t.Run("no key in logs", func(t *testing.T) {
		for _, h := range []*host{a, b} {
			if strings.Contains(h.log.String(), h.key.String()) {
				t.Errorf("the private key of %s is in a log", h.name)
			}
		}
	})
}
