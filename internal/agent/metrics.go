// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// stalled is the age of the last look at which the agent is not alive: several looks at a dataplane that hardly answers.
const stalled = time.Minute

// metrics tells Prometheus of the last look.
type metrics struct {
	agent *Agent

	encrypted, guard, observed, hugepages, missing *prometheus.Desc
	peers, strays, handshake, peerRx, peerTx       *prometheus.Desc
	tunnelRx, tunnelTx, dropPackets, dropBytes     *prometheus.Desc
}

func newMetrics(a *Agent) *metrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("edgemetal_"+name, help, labels, nil)
	}
	return &metrics{
		agent:       a,
		encrypted:   desc("encrypted", "1 while traffic from this node to the pods of all other nodes is encrypted, else 0."),
		guard:       desc("guard_in_force", "1 while what would leave in clear is dropped, else 0."),
		observed:    desc("observed_timestamp_seconds", "When the dataplane was last looked at."),
		hugepages:   desc("hugepages_reserved", "Hugepages that the host has reserved, of any size."),
		missing:     desc("findings", "What keeps the node from being encrypted, by reason.", "reason"),
		peers:       desc("peers", "Other nodes by state: Encrypted, Pending, Failed, NotExpected.", "state"),
		strays:      desc("stray_peers", "Peers of the tunnel that belong to no Node: what they send is taken for a node's."),
		handshake:   desc("peer_handshake_age_seconds", "Age of the last handshake, where the dataplane tells it.", "peer"),
		peerRx:      desc("peer_receive_bytes_total", "Bytes from the node, where the dataplane counts them.", "peer"),
		peerTx:      desc("peer_transmit_bytes_total", "Bytes to the node, where the dataplane counts them.", "peer"),
		tunnelRx:    desc("tunnel_receive_bytes_total", "Bytes received through the interface.", "interface"),
		tunnelTx:    desc("tunnel_transmit_bytes_total", "Bytes sent through the interface.", "interface"),
		dropPackets: desc("guard_dropped_packets_total", "Packets that would have left in clear, by rule.", "rule"),
		dropBytes:   desc("guard_dropped_bytes_total", "Bytes that would have left in clear, by rule; zero where they are not counted.", "rule"),
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(descs chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, descs) }

// Collect implements prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	status := m.agent.Status()
	if status == nil {
		out <- prometheus.MustNewConstMetric(m.encrypted, prometheus.GaugeValue, 0)
		return
	}
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	counter := func(desc *prometheus.Desc, value uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(value), labels...)
	}
	gauge(m.encrypted, oneIf(status.Verdict.Encrypted))
	gauge(m.guard, oneIf(status.Guard.InForce))
	gauge(m.observed, float64(status.ObservedAt.UnixMilli())/1000)
	if status.Hugepages != nil {
		gauge(m.hugepages, float64(status.Hugepages.Now))
	}
	reasons := map[string]int{}
	for _, finding := range status.Verdict.Missing {
		reasons[finding.Reason]++
	}
	for reason, n := range reasons {
		gauge(m.missing, float64(n), reason)
	}
	states := map[encryption.PeerState]int{encryption.PeerEncrypted: 0, encryption.PeerPending: 0, encryption.PeerFailed: 0, encryption.PeerNotExpected: 0}
	for _, peer := range status.Verdict.Peers {
		states[peer.State]++
		if peer.HandshakeAge != encryption.HandshakeUnknown {
			gauge(m.handshake, float64(peer.HandshakeAge), peer.Node)
		}
		if status.Backend == encryption.Kernel {
			counter(m.peerRx, peer.RxBytes, peer.Node)
			counter(m.peerTx, peer.TxBytes, peer.Node)
		}
	}
	for state, n := range states {
		gauge(m.peers, float64(n), string(state))
	}
	gauge(m.strays, float64(len(status.Verdict.Strays)))
	for _, tunnel := range status.Tunnels {
		counter(m.tunnelRx, tunnel.RxBytes, tunnel.Name)
		counter(m.tunnelTx, tunnel.TxBytes, tunnel.Name)
	}
	for _, drop := range status.Guard.Drops {
		counter(m.dropPackets, drop.Packets, drop.Rule)
		counter(m.dropBytes, drop.Bytes, drop.Rule)
	}
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// ServeMetrics answers /metrics, /healthz and /readyz on address until ctx is done.
func (a *Agent) ServeMetrics(ctx context.Context, address string) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(newMetrics(a), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewGoCollector())
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	// Healthy: it looks, whatever it finds. Before it finds its Node it has nothing to look at, and a restart would not help.
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if status := a.Status(); status != nil && a.now().Sub(status.ObservedAt) > stalled {
			http.Error(w, "the dataplane was last looked at "+status.ObservedAt.String(), http.StatusInternalServerError)
			return
		}
		_, _ = fmt.Fprintln(w, "ok")
	})
	// Ready: it can look, so that its verdict counts.
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		status := a.Status()
		if status == nil || status.Verdict.Reason == encryption.ReasonDataplaneUnreachable {
			http.Error(w, "the dataplane cannot be looked at yet", http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ok")
	})
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("serving metrics: %w", err)
	}
	return serve(ctx, listener, mux)
}
