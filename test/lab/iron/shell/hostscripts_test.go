// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package shell

import (
	"context"
	"encoding/base64"
	"net/netip"
	"strings"
	"testing"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/hostfiles"
)

// hostScripts writes the files that a host of a cluster with the dataplane gets from us.
func hostScripts(t *testing.T, s *Shell, kind infrav1.DataplaneType) {
	t.Helper()
	files := hostfiles.Render(t, bootstrap.Dataplane{Type: kind, Network: "cluster", HoldPods: true, WireGuard: &bootstrap.WireGuard{
		PrivateKey: bootstrap.PrivateKey(base64.StdEncoding.EncodeToString([]byte("edgemetal-test-key-do-not-use-it"))),
	}}, netip.MustParseAddr("192.0.2.21"))
	for _, file := range files {
		if err := s.Disk.Write(file.Path, []byte(file.Content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// TestKubeletScript runs the script that composes the kubelet's arguments, as the simulated host's systemd does.
func TestKubeletScript(t *testing.T) {
	s, out := newShell(t)
	hostScripts(t, s, infrav1.DataplaneCalicoVPP)
	config := "kind: KubeletConfiguration\nregisterWithTaints:\n- effect: NoExecute\n  key: from/config\n  value: \"x\"\nrotateCertificates: true\n"
	if err := s.Disk.Write("/var/lib/kubelet/config.yaml", []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	const ours, taint = "--provider-id=edgemetal://sites/h/m --node-ip=192.0.2.21", encryption.NotReadyTaint + ":NoSchedule"
	for name, test := range map[string]struct {
		environment map[string]string
		want        string
	}{
		"kubeadm's taint": {map[string]string{"KUBELET_KUBEADM_ARGS": "--register-with-taints=cp:NoSchedule", "KUBELET_EXTRA_ARGS": "--v=2"}, "--v=2 " + ours + " --register-with-taints=cp:NoSchedule," + taint},
		"the file's":      {map[string]string{"KUBELET_CONFIG_ARGS": "--config=/var/lib/kubelet/config.yaml"}, ours + " --register-with-taints=from/config=x:NoExecute," + taint},
		"the drop-in's":   {map[string]string{"KUBELET_EXTRA_ARGS": ours + " --register-with-taints=" + taint}, ours + " --register-with-taints=" + taint},
	} {
		test.environment["EDGEMETAL_KUBELET_ARGS"], test.environment["EDGEMETAL_KUBELET_TAINT"] = ours, taint
		if status := s.Exec(t.Context(), []string{"/bin/sh", "/etc/edgemetal/kubelet-env.sh"}, test.environment); status != 0 {
			t.Fatalf("%s: status %d: %s", name, status, out)
		}
		got, err := s.Disk.Read("/run/edgemetal/kubelet.env")
		if want := "KUBELET_EXTRA_ARGS=\"" + test.want + "\"\n"; err != nil || string(got) != want {
			t.Errorf("%s: %v\ngot  %swant %s", name, err, got, want)
		}
	}
}

// TestWireGuardScript runs the script that makes the kernel's device.
func TestWireGuardScript(t *testing.T) {
	s, out := newShell(t)
	hostScripts(t, s, infrav1.DataplaneCalicoNftables)
	var calls []string
	s.Programs = map[string]Program{
		"ip": func(_ context.Context, call Call) uint8 {
			calls = append(calls, strings.Join(call.Args, " "))
			if call.Args[1] == "link" && call.Args[2] == "show" {
				return 1
			}
			return 0
		},
		"wg": func(_ context.Context, call Call) uint8 {
			calls = append(calls, strings.Join(call.Args, " "))
			if call.Args[1] == "show" {
				_, _ = call.Stdout.Write([]byte("(none)\n"))
			}
			return 0
		},
	}
	if status := s.Exec(t.Context(), []string{"/bin/sh", "/etc/edgemetal/wireguard.sh"}, nil); status != 0 {
		t.Fatalf("status %d: %s", status, out)
	}
	want := "ip -V|wg --version|ip link show dev wireguard.cali|ip link add dev wireguard.cali type wireguard|wg show wireguard.cali public-key|wg set wireguard.cali listen-port 51820 private-key /etc/edgemetal/wireguard.key"
	if got := strings.Join(calls, "|"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
