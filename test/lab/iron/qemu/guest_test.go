// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-logr/logr/testr"
)

// fakeAgent answers like the guest agent, one client at a time. It first answers what an earlier client asked.
type fakeAgent struct {
	content []byte

	mu    sync.Mutex
	polls int
	read  int
	execs [][]string
}

func (a *fakeAgent) serve(conn net.Conn) {
	defer conn.Close()
	fmt.Fprintf(conn, "{\"return\": {\"stale\": true}}\n\xff{\"return\": 1}\n")
	reader := bufio.NewReader(conn)
	for {
		line, err := reader.ReadBytes('\n')
		if err != nil {
			return
		}
		var request struct {
			Execute   string `json:"execute"`
			Arguments struct {
				ID    int64    `json:"id"`
				Path  string   `json:"path"`
				Arg   []string `json:"arg"`
				Count int      `json:"count"`
			} `json:"arguments"`
		}
		marked := line[0] == syncMark
		if marked {
			line = line[1:]
		}
		if json.Unmarshal(line, &request) != nil {
			return
		}
		if request.Execute == "guest-sync-delimited" {
			fmt.Fprintf(conn, "%s{\"return\": %d}\n", []byte{syncMark}, request.Arguments.ID)
			continue
		}
		fmt.Fprintf(conn, "%s\n", a.answer(request.Execute, request.Arguments.Path, request.Arguments.Arg, request.Arguments.Count))
	}
}

func (a *fakeAgent) answer(command, path string, args []string, count int) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch command {
	case "guest-exec":
		if path == "missing" {
			return `{"error": {"class": "GenericError", "desc": "Guest agent command failed, error was 'Failed to execute child process (No such file or directory)'"}}`
		}
		a.polls, a.execs = 0, append(a.execs, append([]string{path}, args...))
		return `{"return": {"pid": 42}}`
	case "guest-exec-status":
		if a.polls++; a.polls < 3 {
			return `{"return": {"exited": false}}`
		}
		if a.execs[len(a.execs)-1][0] == "killed" {
			return `{"return": {"exited": true, "signal": 9}}`
		}
		return `{"return": {"exited": true, "exitcode": 3, "out-data": "b3V0Cg==", "err-data": "ZXJyCg=="}}`
	case "guest-file-open":
		a.read = 0
		return `{"return": 1000}`
	case "guest-file-read":
		end := min(len(a.content), a.read+min(count, 1000))
		part, _ := json.Marshal(map[string]any{"count": end - a.read, "buf-b64": a.content[a.read:end], "eof": end == len(a.content)})
		a.read = end
		return fmt.Sprintf(`{"return": %s}`, part)
	default:
		return `{"return": {}}`
	}
}

// newGuest is a machine with the agent; the folder is too deep for a plain socket path.
func newGuest(t *testing.T, agent *fakeAgent) *Guest {
	t.Helper()
	dir := t.TempDir()
	if agent != nil {
		listener, err := net.Listen("unix", filepath.Join(dir, agentName))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = listener.Close() })
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				agent.serve(conn)
			}
		}()
	}
	return &Guest{unit: &unit{key: host1(), dir: dir, log: testr.New(t)}}
}

func TestGuest(t *testing.T) {
	agent := &fakeAgent{content: []byte(strings.Repeat("0123456789", 250))}
	guest := newGuest(t, agent)
	if err := guest.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	result, err := guest.Exec(t.Context(), "ip", "-j", "addr")
	if err != nil || result != (Result{Stdout: "out\n", Stderr: "err\n", ExitCode: 3}) {
		t.Errorf("result %+v, error %v", result, err)
	}
	if got := strings.Join(agent.execs[0], " "); got != "ip -j addr" {
		t.Errorf("executed %q", got)
	}
	if result, err := guest.Exec(t.Context(), "killed"); err != nil || result.ExitCode != 137 {
		t.Errorf("result %+v, error %v", result, err)
	}
	if _, err := guest.Exec(t.Context(), "missing"); err == nil || !strings.Contains(err.Error(), "No such file") || errors.Is(err, ErrNoAgent) {
		t.Errorf("error %v", err)
	}
	if _, err := guest.Exec(t.Context()); err == nil {
		t.Error("nothing was executed")
	}
	content, err := guest.ReadFile(t.Context(), "/etc/file")
	if err != nil || string(content) != string(agent.content) {
		t.Errorf("%d bytes, error %v", len(content), err)
	}
}

func TestGuestWithoutAgent(t *testing.T) {
	guest := newGuest(t, nil)
	if err := guest.Ping(t.Context()); !errors.Is(err, ErrNoAgent) || !strings.Contains(err.Error(), "default/host-1") {
		t.Errorf("error %v", err)
	}
}
