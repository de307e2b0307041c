// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap"
)

// writtenFiles are the files of our part of the user data, by path.
func writtenFiles(t *testing.T, in bootstrap.Input) map[string]string {
	t.Helper()
	out, err := bootstrap.Render(in)
	if err != nil {
		t.Fatal(err)
	}
	parts := readParts(t, out.UserData)
	var config struct {
		WriteFiles []struct{ Path, Content, Permissions string } `json:"write_files"`
	}
	if err := yaml.Unmarshal(parts[len(parts)-1].body, &config); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, file := range config.WriteFiles {
		files[file.Path] = file.Content
	}
	return files
}

// TestKubeletScript runs the script that the kubelet's drop-in runs, with the environment that systemd would give it.
func TestKubeletScript(t *testing.T) {
	script := writtenFiles(t, input(t, []byte("#!/bin/sh\n"), staticNetwork()))["/etc/edgemetal/kubelet-env.sh"]
	const ours = "--provider-id=edgemetal://sites/node-7/edge-1-abc --node-ip=192.0.2.21"
	for name, tc := range map[string]struct{ before, want string }{
		"nothing set":               {"", `KUBELET_EXTRA_ARGS=" ` + ours + `"`},
		"arguments of the user":     {"--v=2", `KUBELET_EXTRA_ARGS="--v=2 ` + ours + `"`},
		"quotes and backslashes":    {`--a="b c" --d='e' --f=\g`, `KUBELET_EXTRA_ARGS="--a=\"b c\" --d='e' --f=\\g ` + ours + `"`},
		"only ours":                 {ours, `KUBELET_EXTRA_ARGS="` + ours + `"`},
		"ours are not added twice":  {"--v=2 " + ours, `KUBELET_EXTRA_ARGS="--v=2 ` + ours + `"`},
		"dollars are not expanded":  {"--x=$HOME", `KUBELET_EXTRA_ARGS="--x=$HOME ` + ours + `"`},
		"backquotes are not either": {"--x=`id`", "KUBELET_EXTRA_ARGS=\"--x=`id` " + ours + `"`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "run")
			command := exec.CommandContext(t.Context(), "/bin/sh", "-c", strings.ReplaceAll(script, "/run/edgemetal", dir))
			command.Env = []string{"PATH=" + os.Getenv("PATH"), "EDGEMETAL_KUBELET_ARGS=" + ours, "KUBELET_EXTRA_ARGS=" + tc.before}
			if printed, err := command.CombinedOutput(); err != nil || len(printed) > 0 {
				t.Fatalf("%v: %s", err, printed)
			}
			got, err := os.ReadFile(filepath.Join(dir, "kubelet.env"))
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tc.want+"\n" {
				t.Errorf("got  %swant %s", got, tc.want)
			}
		})
	}
}

func TestKubeletWithoutAddresses(t *testing.T) {
	dropIn := writtenFiles(t, input(t, []byte("#!/bin/sh\n"), dhcpNetwork()))["/etc/systemd/system/kubelet.service.d/20-edgemetal.conf"]
	if want := `Environment="EDGEMETAL_KUBELET_ARGS=--provider-id=edgemetal://sites/node-7/edge-1-abc"`; !strings.Contains(dropIn, want) || strings.Contains(dropIn, "--node-ip") {
		t.Errorf("with DHCP the drop-in is:\n%s\nwant it to contain %s and no node IP", dropIn, want)
	}
}

// TestCommandsScript runs the script that cloud-init runs once per instance, on a host without systemd.
func TestCommandsScript(t *testing.T) {
	script := writtenFiles(t, input(t, []byte("#!/bin/sh\n"), staticNetwork()))["/var/lib/cloud/scripts/per-instance/edgemetal.sh"]
	for name, tc := range map[string]struct {
		systemctl string
		fails     bool
	}{
		"no systemd":           {"", false},
		"systemd":              {"#!/bin/sh\n[ \"$*\" = daemon-reload ]\n", false},
		"systemd that refuses": {"#!/bin/sh\nexit 1\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			bin := t.TempDir()
			if tc.systemctl != "" {
				if err := os.WriteFile(filepath.Join(bin, "systemctl"), []byte(tc.systemctl), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			command := exec.CommandContext(t.Context(), "/bin/sh", "-c", script)
			command.Env = []string{"PATH=" + bin}
			if err := command.Run(); (err != nil) != tc.fails {
				t.Errorf("got %v, want failure: %t", err, tc.fails)
			}
		})
	}
}
