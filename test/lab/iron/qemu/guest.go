// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	// agentTimeout is how long the guest agent may take to answer one command, under emulation on a busy machine.
	agentTimeout = time.Minute
	pingTimeout  = 15 * time.Second
	// pollInterval is how often a command in the guest is asked whether it has ended.
	pollInterval = 200 * time.Millisecond
	// chunk is how much of a file is read at once, in bytes.
	chunk = 1 << 20
	// syncMark is the byte that the agent sends before its answer to guest-sync-delimited.
	syncMark = 0xff
)

// ErrNoAgent tells that the guest agent does not answer: the machine is off, has not booted that far, or is busy.
var ErrNoAgent = errors.New("the guest agent does not answer")

// Guest is the operating system of a machine, seen through its QEMU guest agent. Its methods may be called from
// several goroutines.
type Guest struct {
	unit *unit
}

// Result is how a command in the guest ended.
type Result struct {
	Stdout, Stderr string
	// ExitCode is 128 and the signal's number for a command that was killed.
	ExitCode int
}

// Ping tells whether the agent answers; the error wraps ErrNoAgent when it does not.
func (g *Guest) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return g.call(ctx, "guest-ping", nil, nil)
}

// Exec runs a program of the guest as root and returns when it ended. Its exit code is no error; a program that
// is not there is one.
func (g *Guest) Exec(ctx context.Context, argv ...string) (Result, error) {
	if len(argv) == 0 {
		return Result{}, errors.New("exec in a guest: no program is named")
	}
	var started struct {
		PID int `json:"pid"`
	}
	err := g.call(ctx, "guest-exec", map[string]any{"path": argv[0], "arg": argv[1:], "capture-output": true}, &started)
	if err != nil {
		return Result{}, err
	}
	for {
		var status struct {
			Exited   bool   `json:"exited"`
			ExitCode int    `json:"exitcode"`
			Signal   int    `json:"signal"`
			Out      []byte `json:"out-data"`
			Err      []byte `json:"err-data"`
			OutCut   bool   `json:"out-truncated"`
			ErrCut   bool   `json:"err-truncated"`
		}
		if err := g.call(ctx, "guest-exec-status", map[string]any{"pid": started.PID}, &status); err != nil {
			return Result{}, err
		}
		if status.Exited {
			result := Result{Stdout: string(status.Out), Stderr: string(status.Err), ExitCode: status.ExitCode}
			if status.Signal != 0 {
				result.ExitCode = 128 + status.Signal
			}
			if status.OutCut || status.ErrCut {
				return result, fmt.Errorf("%s in machine %s: its output is longer than the guest agent holds", argv[0], g.unit.key)
			}
			return result, nil
		}
		select {
		case <-ctx.Done():
			return Result{}, fmt.Errorf("%s in machine %s: %w", argv[0], g.unit.key, context.Cause(ctx))
		case <-time.After(pollInterval):
		}
	}
}

// ReadFile reads a file of the guest as root.
func (g *Guest) ReadFile(ctx context.Context, path string) ([]byte, error) {
	var handle int64
	if err := g.call(ctx, "guest-file-open", map[string]any{"path": path, "mode": "r"}, &handle); err != nil {
		return nil, err
	}
	var content []byte
	for {
		var part struct {
			Data []byte `json:"buf-b64"`
			EOF  bool   `json:"eof"`
		}
		err := g.call(ctx, "guest-file-read", map[string]any{"handle": handle, "count": chunk}, &part)
		content = append(content, part.Data...)
		if err != nil || part.EOF || len(part.Data) == 0 {
			return content, errors.Join(err, g.call(ctx, "guest-file-close", map[string]any{"handle": handle}, nil))
		}
	}
}

// call sends the agent one command.
func (g *Guest) call(ctx context.Context, command string, arguments map[string]any, into any) error {
	g.unit.agent.Lock()
	defer g.unit.agent.Unlock()
	limited, cancel := context.WithTimeout(ctx, agentTimeout)
	defer cancel()
	s, err := open(limited, g.unit.dir, agentName)
	if err != nil {
		return fmt.Errorf("machine %s: %w: %w", g.unit.key, ErrNoAgent, err)
	}
	defer s.close()
	if err := s.sync(); err != nil {
		return fmt.Errorf("machine %s: %w: %w", g.unit.key, ErrNoAgent, errors.Join(context.Cause(limited), err))
	}
	if err := s.call(command, arguments, into); err != nil {
		return fmt.Errorf("the guest agent of machine %s: %w", g.unit.key, errors.Join(context.Cause(limited), err))
	}
	return nil
}

// sync skips what the agent still answers to clients that went away.
func (s *session) sync() error {
	id := rand.Int64N(1 << 53)
	// The mark makes the agent forget half a command.
	request := fmt.Appendf([]byte{syncMark}, "{\"execute\": \"guest-sync-delimited\", \"arguments\": {\"id\": %d}}\n", id)
	if _, err := s.conn.Write(request); err != nil {
		return err
	}
	want := fmt.Appendf(nil, `{"return": %d}`, id)
	for {
		if _, err := s.reader.ReadBytes(syncMark); err != nil {
			return err
		}
		line, err := s.reader.ReadBytes('\n')
		if err != nil {
			return err
		}
		if bytes.Equal(bytes.TrimSpace(line), want) {
			return nil
		}
	}
}
