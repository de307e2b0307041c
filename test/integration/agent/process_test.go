// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/agent"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/fakevpp"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/plane"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

// What the agent may take while nothing happens.
const (
	idleTime   = 30 * time.Second
	maxCPU     = 0.005 // Of a core.
	maxMemory  = 40 << 20
	otherNodes = 30
)

// build builds the agent as it ships.
func build(t *testing.T) string {
	t.Helper()
	root, err := tools.Root()
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "edge-agent")
	command := exec.CommandContext(t.Context(), "go", "build", "-C", root, "-trimpath", "-ldflags", "-s -w", "-o", binary, "./cmd/edge-agent")
	command.Env = append(command.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return binary
}

// freeAddress is one that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	ports, err := plane.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", ports[0])
}

func get(t *testing.T, url string) (code int, body string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(content)
}

// TestProcess runs the binary: its flags, what it answers, what it takes while nothing happens in a cluster of 30 other Nodes, and how it
// ends.
func TestProcess(t *testing.T) {
	config, kubeconfig := startServer(t)
	binary := build(t)
	wire := fakevpp.NewSegment()
	b := newHost(t, config, wire, 12)
	a := newHostWith(t, config, wire, 11, true)
	for i := range otherNodes {
		idle := &host{t: t, name: fmt.Sprintf("idle-%d", i), address: a.address, client: a.client}
		idle.createNode(byte(100 + i))
		idle.setReady(false)
	}
	runDir, address := filepath.Join(a.dir, "run"), freeAddress(t)
	command := exec.CommandContext(t.Context(), binary, "--node-name="+a.name, "--kubeconfig="+kubeconfig, "--vpp-socket="+a.socket(), "--vpp-stats-socket=",
		"--key-file="+a.keyFile, "--run-dir="+runDir, "--host-root="+a.dir, "--pod-cidrs=10.244.0.0/16", "--service-cidrs=10.96.0.0/12", "--metrics-bind-address="+address)
	log := &logBuffer{}
	command.Stderr = log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	a.await(encryption.ReasonEncrypted)
	b.await(encryption.ReasonEncrypted)

	checkAnswers(t, a, address)
	checkStatus(t, a, b, binary, runDir)
	measure(t, command.Process.Pid)

	b.annotate(encryption.PublicKeyAnnotation, "")
	a.await(encryption.ReasonPeerKeyUnknown)
	if out, err := exec.CommandContext(t.Context(), binary, "status", "--run-dir="+runDir).Output(); exitCode(err) != 2 || !strings.Contains(string(out), encryption.ReasonPeerKeyUnknown) {
		t.Errorf("status ends with %v:\n%s", err, out)
	}
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err != nil {
		t.Errorf("the agent ends with %v:\n%s", err, log)
	}
	for _, h := range []*host{a, b} {
		if strings.Contains(log.String(), h.key.String()) {
			t.Error("a private key is in the log")
		}
	}
}

// checkAnswers asks for health and metrics.
func checkAnswers(t *testing.T, a *host, address string) {
	t.Helper()
	for _, path := range []string{"/healthz", "/readyz"} {
		if code, body := get(t, "http://"+address+path); code != http.StatusOK {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	code, body := get(t, "http://"+address+"/metrics")
	for _, line := range []string{
		"edgemetal_encrypted 1", "edgemetal_guard_in_force 1", `edgemetal_peers{state="Encrypted"} 1`, fmt.Sprintf(`edgemetal_peers{state="NotExpected"} %d`, otherNodes),
		`edgemetal_guard_dropped_packets_total{rule="any"} 0`, "edgemetal_hugepages_reserved 0", "edgemetal_stray_peers 0", "process_resident_memory_bytes",
	} {
		if !strings.Contains(body, line) {
			t.Errorf("metrics (%d) lack %q:\n%s", code, line, body)
		}
	}
	if strings.Contains(body, a.key.String()) {
		t.Error("a private key is in the metrics")
	}
}

// checkStatus asks for the status as people and as scripts do.
func checkStatus(t *testing.T, a, b *host, binary, runDir string) {
	t.Helper()
	text, err := exec.CommandContext(t.Context(), binary, "status", "--run-dir="+runDir).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"Node " + a.name + " (" + a.address.String() + "): ENCRYPTED", "Guard     in force on host-uplink0", b.name, b.key.PublicKey().String()} {
		if !strings.Contains(string(text), part) {
			t.Errorf("status lacks %q:\n%s", part, text)
		}
	}
	content, err := exec.CommandContext(t.Context(), binary, "status", "-o", "json", "--run-dir="+runDir).Output()
	if err != nil {
		t.Fatal(err)
	}
	status := agent.Status{}
	if err := json.Unmarshal(content, &status); err != nil || !status.Verdict.Encrypted || !status.Guard.InForce || len(status.Verdict.Peers) != otherNodes+1 {
		t.Errorf("%v: %s", err, content)
	}
	if bytes.Contains(append(text, content...), []byte(a.key.String())) {
		t.Error("a private key is in the status")
	}
	t.Logf("\n%s", text)
}

// measure looks at what a process takes while nothing happens.
func measure(t *testing.T, pid int) {
	t.Helper()
	process, err := procfs.NewProc(pid)
	if err != nil {
		t.Fatal(err)
	}
	before, err := process.Stat()
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(idleTime)
	after, err := process.Stat()
	if err != nil {
		t.Fatal(err)
	}
	cpu := (after.CPUTime() - before.CPUTime()) / idleTime.Seconds()
	t.Logf("idle: %.2f %% of a core, %.1f MiB resident", cpu*100, float64(after.ResidentMemory())/(1<<20))
	if cpu > maxCPU {
		t.Errorf("idle it takes %.2f %% of a core, more than %.2f %%", cpu*100, maxCPU*100)
	}
	if after.ResidentMemory() > maxMemory {
		t.Errorf("it takes %d bytes of memory, more than %d", after.ResidentMemory(), maxMemory)
	}
}

func exitCode(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return 0
}

// setReady sets the Node's condition Ready.
func (h *host) setReady(ready bool) {
	h.t.Helper()
	status := "False"
	if ready {
		status = "True"
	}
	patch := fmt.Appendf(nil, `{"status":{"conditions":[{"type":"Ready","status":%q}]}}`, status)
	err := h.client.CoreV1().RESTClient().Patch("application/strategic-merge-patch+json").Resource("nodes").Name(h.name).SubResource("status").Body(patch).Do(context.Background()).Error()
	if err != nil {
		h.t.Fatal(err)
	}
}
