// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap"
)

const (
	begun     = "/var/lib/cloud/instance/edgemetal-begun"
	semaphore = "/var/lib/cloud/instance/sem/config_scripts_user"
	netplan   = "/etc/netplan/50-cloud-init.yaml"
	mark      = "/var/lib/cloud/instance/edgemetal-payload"
	restarts  = "/etc/edgemetal/restarts"
)

// TestStartOver runs the boothook on a host with some files, whose programs note that they were called.
func TestStartOver(t *testing.T) {
	const sync, reboot = "sync", "systemctl reboot --force --force"
	over := []string{sync, reboot}
	for name, tc := range map[string]struct {
		files map[string]string
		// calls until the host is gone.
		calls []string
		says  string
	}{
		"power lost, and zeros in its place": {map[string]string{netplan: "\x00\x00\x00\x00"}, over, "/etc/netplan/50-cloud-init.yaml is empty; starting over"},
		"first boot":                         {map[string]string{netplan: "network: {}\n"}, []string{sync}, ""},
		"power lost before the first boothook": {
			map[string]string{netplan: ""}, over, "/etc/netplan/50-cloud-init.yaml is empty; starting over",
		},
		"of networkd": {map[string]string{"/etc/systemd/network/10-cloud-init-eth0.network": ""}, over, "starting over"},
		"of NetworkManager": {
			map[string]string{"/etc/NetworkManager/system-connections/cloud-init-eth0.nmconnection": ""}, over, "starting over",
		},
		"of sysconfig":                        {map[string]string{"/etc/sysconfig/network-scripts/ifcfg-eth0": ""}, over, "starting over"},
		"of SUSE's sysconfig":                 {map[string]string{"/etc/sysconfig/network/ifcfg-eth0": ""}, over, "starting over"},
		"of ifupdown":                         {map[string]string{"/etc/network/interfaces.d/50-cloud-init": ""}, over, "starting over"},
		"power lost before the payload began": {map[string]string{netplan: "network: {}\n", begun: ""}, over, "files may be incomplete; starting over"},
		"for the third time":                  {map[string]string{begun: "", netplan: "", restarts: "xx"}, over, "starting over"},
		"for the fourth time":                 {map[string]string{begun: "", netplan: "", restarts: "xxx"}, []string{sync}, "going on"},
		"a host that restarts itself":         {map[string]string{netplan: "network: {}\n", begun: "", restarts: "x"}, []string{sync}, ""},
		"a count that cannot be kept":         {map[string]string{netplan: "", restarts + "/is a folder": ""}, []string{sync}, "going on"},
		"power lost in the payload":           {map[string]string{netplan: "network: {}\n", begun: "", semaphore: "1\n"}, nil, ""},
		"the same where images know no once":  {map[string]string{netplan: "network: {}\n", begun: "", mark: ""}, nil, ""},
		"a network that a user has emptied":   {map[string]string{netplan: "", begun: "", semaphore: "1\n"}, nil, ""},
		"other empty files":                   {map[string]string{"/etc/netplan/90-site.yaml": ""}, []string{sync}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			root, printed, calls := runBootHook(t, tc.files)
			if diff := cmp.Diff(tc.calls, calls); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			if !strings.Contains(printed, tc.says) || (tc.says == "") != (printed == "") {
				t.Errorf("it says %q, want %q", printed, tc.says)
			}
			started := len(tc.calls) == len(over)
			if _, err := os.Stat(filepath.Dir(root + begun)); os.IsNotExist(err) != started {
				t.Errorf("cloud-init knows the instance: %v, starting over: %t", err, started)
			}
			counted, _ := os.ReadFile(root + restarts)
			if want := tc.files[restarts] + strings.Repeat("x", len(tc.calls)/len(over)); string(counted) != want {
				t.Errorf("restarts: %q, want %q", counted, want)
			}
		})
	}
}

// runBootHook in a folder with the files; returns the folder, what it printed and the calls of programs. The host is gone with the
// call of systemctl.
func runBootHook(t *testing.T, files map[string]string) (root, printed string, calls []string) {
	t.Helper()
	root = t.TempDir()
	bin := filepath.Join(root, "bin")
	for name, content := range files {
		write(t, root+name, content, 0o644)
	}
	if err := os.MkdirAll(filepath.Join(root, filepath.Dir(begun)), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sync", "systemctl"} {
		content := "#!/bin/sh\necho " + name + " \"$@\" >> " + root + "/calls\n"
		if name == "systemctl" {
			content += "kill -KILL $PPID\n"
		}
		write(t, filepath.Join(bin, name), content, 0o755)
	}
	out, err := bootstrap.Render(input(t, []byte(k3sScript), staticNetwork()))
	if err != nil {
		t.Fatal(err)
	}
	first := readParts(t, out.UserData)[0]
	if first.contentType != "text/cloud-boothook" {
		t.Fatalf("the first part is %s", first.contentType)
	}
	script := string(first.body)
	for _, dir := range []string{"/etc/", "/var/lib/", "/dev/"} {
		script = strings.ReplaceAll(script, dir, root+dir)
	}
	command := exec.CommandContext(t.Context(), "/bin/sh", "-c", script)
	command.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH")}
	said, err := command.CombinedOutput()
	noted, _ := os.ReadFile(root + "/calls")
	if len(noted) > 0 {
		calls = strings.Split(strings.ReplaceAll(strings.TrimSpace(string(noted)), " \n", "\n"), "\n")
	}
	if killed := strings.Contains(string(noted), "systemctl"); (err != nil) != killed {
		t.Errorf("%v: %s", err, said)
	}
	return root, strings.ReplaceAll(string(said), root, ""), calls
}

func write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}
