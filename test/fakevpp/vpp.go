// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package fakevpp

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/fakevpp/apisocket"
)

// VPP is a fake VPP: what outlives its process.
type VPP struct {
	config Config

	mu     sync.Mutex
	faults faults
	run    *run
}

// run is one process of VPP.
type run struct {
	server *apisocket.Server
	stop   context.CancelFunc
	group  sync.WaitGroup
	state  *state
}

// New makes a fake VPP that is not running yet.
func New(config Config) *VPP {
	return &VPP{config: config.withDefaults()}
}

// Start runs it. The API answers when Start returns; the start-up script runs later.
func (v *VPP) Start(ctx context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.run != nil {
		return errors.New("the fake VPP runs already")
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	r := &run{stop: stop, state: newState(v.config)}
	table := apisocket.NewTable(Messages())
	for name, crc := range v.faults.crcs {
		table = table.WithCRC(name, crc)
	}
	server, err := apisocket.Listen(v.config.Socket, table, &dispatcher{vpp: v, state: r.state, table: table, handlers: handlers()})
	if err != nil {
		stop()
		return err
	}
	r.server = server
	if v.config.Uplink != nil {
		r.state.configureUplink(*v.config.Uplink)
	}
	v.run = r
	r.group.Go(func() { v.execute(ctx, r.state) })
	r.group.Go(func() { v.converse(ctx, r.state) })
	return nil
}

// Stop ends it as a killed process ends: clients lose their connection, and all state is gone.
func (v *VPP) Stop() {
	v.mu.Lock()
	r := v.run
	v.run = nil
	v.mu.Unlock()
	if r == nil {
		return
	}
	r.stop()
	r.server.Close()
	r.group.Wait()
	v.config.Wire.Withdraw(r.state.boot)
}

// Restart stops it and starts it with nothing but its configuration.
func (v *VPP) Restart(ctx context.Context) error {
	v.Stop()
	return v.Start(ctx)
}

// Socket is the path of the API's socket.
func (v *VPP) Socket() string {
	return v.config.Socket
}

// execute runs the start-up script after its delay.
func (v *VPP) execute(ctx context.Context, s *state) {
	if v.config.Exec == "" {
		return
	}
	timer := time.NewTimer(v.config.ExecDelay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return
	case <-timer.C:
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, err := s.runFile(v.config.Exec); err != nil {
		s.execError = fmt.Errorf("the start-up script ended: %w", err)
	}
}

// converse exchanges handshakes with the others on the wire until the context ends.
func (v *VPP) converse(ctx context.Context, s *state) {
	ticker := time.NewTicker(handshakeInterval)
	defer ticker.Stop()
	var last Presence
	var announced time.Time
	for {
		v.mu.Lock()
		presence := s.presence()
		v.mu.Unlock()
		if !reflect.DeepEqual(presence, last) || time.Since(announced) > announceInterval {
			v.config.Wire.Announce(presence)
			last, announced = presence, time.Now()
		}
		others := v.config.Wire.Others(s.boot)
		v.mu.Lock()
		s.shakeHands(others, time.Now())
		v.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// inspect calls the function with the running state; it reports false when nothing runs.
func (v *VPP) inspect(look func(*state)) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.run == nil {
		return false
	}
	look(v.run.state)
	return true
}

// ExecError is why the start-up script ended early; nil when it did not.
func (v *VPP) ExecError() (err error) {
	v.inspect(func(s *state) { err = s.execError })
	return err
}

// CLI runs a command as VPP's CLI does.
func (v *VPP) CLI(command string) (output string, err error) {
	if !v.inspect(func(s *state) { output, err = s.command(command) }) {
		return "", errors.New("the fake VPP is not running")
	}
	return output, err
}
