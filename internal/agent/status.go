// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// Status is what the agent has last found, for people and scripts on the node. It holds public keys only.
type Status struct {
	Node       string              `json:"node"`
	Address    string              `json:"address"`
	Mode       encryption.Mode     `json:"mode"`
	Protocol   encryption.Protocol `json:"protocol"`
	Backend    encryption.Backend  `json:"backend"`
	ObservedAt time.Time           `json:"observedAt"`
	Verdict    encryption.Verdict  `json:"verdict"`
	Uplink     string              `json:"uplink,omitempty"`
	Tunnels    []TunnelStatus      `json:"tunnels,omitempty"`
	Routes     []RouteStatus       `json:"routes,omitempty"`
	Guard      GuardStatus         `json:"guard"`
	Hugepages  *HugepageStatus     `json:"hugepages,omitempty"`
	RxQueues   []RxQueueStatus     `json:"rxQueues,omitempty"`
}

// TunnelStatus is a WireGuard interface.
type TunnelStatus struct {
	Name      string `json:"name"`
	PublicKey string `json:"publicKey,omitempty"`
	Port      uint16 `json:"port"`
	Up        bool   `json:"up"`
	RxBytes   uint64 `json:"rxBytes"`
	TxBytes   uint64 `json:"txBytes"`
}

// RouteStatus is a route to a block of another node's pods.
type RouteStatus struct {
	Block     string `json:"block"`
	Interface string `json:"interface,omitempty"`
	Encrypted bool   `json:"encrypted"`
}

// GuardStatus is what drops traffic in clear.
type GuardStatus struct {
	InForce bool         `json:"inForce"`
	Problem string       `json:"problem,omitempty"`
	Drops   []DropStatus `json:"drops,omitempty"`
}

// DropStatus is what a rule of the guard has dropped.
type DropStatus struct {
	Rule    string `json:"rule"`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// HugepageStatus counts hugepages of the host.
type HugepageStatus struct {
	// Before VPP started; not set when it could not be counted.
	Before *int `json:"before,omitempty"`
	Now    int  `json:"now"`
	// VPPPageSize is the largest page size in bytes of VPP's memory.
	VPPPageSize int64 `json:"vppPageSize,omitempty"`
}

// RxQueueStatus is a receive queue of VPP.
type RxQueueStatus struct {
	Interface string `json:"interface"`
	Queue     uint32 `json:"queue"`
	Mode      string `json:"mode"`
}

func newStatus(e encryption.Expectation, o encryption.Observation, verdict encryption.Verdict, now time.Time) *Status {
	s := &Status{
		Node: e.Node, Mode: e.Mode, Protocol: e.Protocol, Backend: o.Backend, ObservedAt: now, Verdict: verdict, Uplink: o.Uplink.Name,
		Guard: GuardStatus{InForce: o.Guard.InForce, Problem: o.Guard.Problem},
	}
	if e.Address.IsValid() {
		s.Address = e.Address.String()
	}
	for _, t := range o.Tunnels {
		s.Tunnels = append(s.Tunnels, TunnelStatus{Name: t.Name, PublicKey: t.PublicKey, Port: t.Port, Up: t.Up, RxBytes: t.RxBytes, TxBytes: t.TxBytes})
	}
	for _, r := range o.Routes {
		s.Routes = append(s.Routes, RouteStatus{Block: r.Block.String(), Interface: r.Interface, Encrypted: r.Encrypted})
	}
	for _, d := range o.Guard.Drops {
		s.Guard.Drops = append(s.Guard.Drops, DropStatus(d))
	}
	if o.Backend == encryption.VPP && o.Unreachable == "" {
		s.Hugepages = &HugepageStatus{Now: o.Hugepages.Now, VPPPageSize: o.Hugepages.VPPPageSize}
		if o.Hugepages.Known {
			s.Hugepages.Before = new(o.Hugepages.Before)
		}
	}
	for _, q := range o.RxQueues {
		s.RxQueues = append(s.RxQueues, RxQueueStatus(q))
	}
	return s
}

// Status is what the last look found; nil before the first.
func (a *Agent) Status() *Status { return a.last.Load() }

const (
	// statusPath of the status on the socket.
	statusPath = "/status"
	// statusTimeout of reading a request, and of asking.
	statusTimeout = 5 * time.Second
)

// ServeStatus answers `edge-agent status` on a Unix socket that only its owner can use, until ctx is done.
func (a *Agent) ServeStatus(ctx context.Context, socket string) error {
	// A socket that a killed agent has left cannot be bound to again.
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("serving the status: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("serving the status: %w", err)
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return errors.Join(fmt.Errorf("serving the status: %w", err), listener.Close())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+statusPath, func(w http.ResponseWriter, _ *http.Request) {
		status := a.Status()
		if status == nil {
			http.Error(w, "the agent has not looked at the dataplane yet", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(status); err != nil {
			a.log.Warn("Cannot answer", "reason", err)
		}
	})
	return serve(ctx, listener, mux)
}

// serve answers until ctx is done.
func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: statusTimeout}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// FetchStatus asks the agent that listens on socket.
func FetchStatus(ctx context.Context, socket string) (*Status, error) {
	client := &http.Client{Timeout: statusTimeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://edge-agent"+statusPath, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking the node agent at %s (does it run on this host?): %w", socket, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the node agent is not ready to answer yet: %s", response.Status)
	}
	status := &Status{}
	if err := json.NewDecoder(response.Body).Decode(status); err != nil {
		return nil, fmt.Errorf("reading the node agent's answer: %w", err)
	}
	return status, nil
}
