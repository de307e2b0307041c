// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"go.fd.io/govpp/api"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/fakevpp"
)

// Paths of the control socket. Requests are POSTed, bodies are JSON.
const (
	sendPath    = "/send"
	sentPath    = "/sent"
	restartPath = "/restart"
	cliPath     = "/cli"
	faultPath   = "/fault"
)

// Fault is what to break, or to mend.
type Fault struct {
	// Refuse answers requests with this message name with Retval; a Retval of 0 ends it.
	Refuse string          `json:"refuse,omitempty"`
	Retval api.VPPApiError `json:"retval,omitempty"`
	// Poll makes the interface poll; Interrupt ends it.
	Poll      string `json:"poll,omitempty"`
	Interrupt string `json:"interrupt,omitempty"`
	// Down and Up set interfaces.
	Down string `json:"down,omitempty"`
	Up   string `json:"up,omitempty"`
	// Unguard takes all ACLs off the interface.
	Unguard string `json:"unguard,omitempty"`
	// DropPeer removes the peer with this public key.
	DropPeer string `json:"dropPeer,omitempty"`
	// Hugepages decides where VPP takes its buffers from when it starts next.
	Hugepages *bool `json:"hugepages,omitempty"`
	// SecondTunnel has the same source and port as the first WireGuard interface, and a key of its own.
	SecondTunnel bool `json:"secondTunnel,omitempty"`
}

// server answers for one fake.
type server struct {
	vpp *fakevpp.VPP
}

// Serve answers on the socket until the context ends.
func Serve(ctx context.Context, path string, vpp *fakevpp.VPP) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the stale control socket: %w", err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("listen on the control socket: %w", err)
	}
	s := &server{vpp: vpp}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+sendPath, answer(s.send))
	mux.HandleFunc("POST "+sentPath, answer(s.sent))
	mux.HandleFunc("POST "+restartPath, answer(s.restart))
	mux.HandleFunc("POST "+cliPath, answer(s.cli))
	mux.HandleFunc("POST "+faultPath, answer(s.fault))
	httpServer := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = httpServer.Close() })
	defer stop()
	if err := httpServer.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// answer adapts a function on JSON.
func answer[Q, A any](do func(context.Context, Q) (A, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var question Q
		if err := json.NewDecoder(r.Body).Decode(&question); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		reply, err := do(r.Context(), question)
		if err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(reply)
	}
}

func (s *server) send(_ context.Context, p fakevpp.Packet) (fakevpp.Verdict, error) {
	return s.vpp.Send(p)
}

func (s *server) sent(context.Context, struct{}) (map[fakevpp.Outcome]uint64, error) {
	counts := map[fakevpp.Outcome]uint64{}
	for _, outcome := range []fakevpp.Outcome{fakevpp.Encrypted, fakevpp.Dropped, fakevpp.Plain, fakevpp.Local} {
		counts[outcome] = s.vpp.Sent(outcome)
	}
	return counts, nil
}

func (s *server) restart(ctx context.Context, _ struct{}) (struct{}, error) {
	return struct{}{}, s.vpp.Restart(ctx)
}

func (s *server) cli(_ context.Context, command string) (string, error) {
	return s.vpp.CLI(command)
}

func (s *server) fault(_ context.Context, f Fault) (struct{}, error) {
	var problems []error
	if f.Refuse != "" {
		s.vpp.Refuse(f.Refuse, f.Retval)
	}
	if f.Poll != "" {
		problems = append(problems, s.vpp.SetPolling(f.Poll, true))
	}
	if f.Interrupt != "" {
		problems = append(problems, s.vpp.SetPolling(f.Interrupt, false))
	}
	if f.Down != "" {
		problems = append(problems, s.vpp.SetAdmin(f.Down, false))
	}
	if f.Up != "" {
		problems = append(problems, s.vpp.SetAdmin(f.Up, true))
	}
	if f.Unguard != "" {
		problems = append(problems, s.vpp.RemoveGuards(f.Unguard))
	}
	if f.DropPeer != "" {
		s.vpp.DropPeer(f.DropPeer)
	}
	if f.Hugepages != nil {
		s.vpp.SetHugepages(*f.Hugepages)
	}
	if f.SecondTunnel {
		_, err := s.vpp.DuplicateTunnel()
		problems = append(problems, err)
	}
	return struct{}{}, errors.Join(problems...)
}
