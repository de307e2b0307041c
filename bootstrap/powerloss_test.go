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
	"sigs.k8s.io/yaml"

	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap"
)

// bootCommand is ours of the cloud-config's bootcmd.
func bootCommand(t *testing.T) string {
	t.Helper()
	out, err := bootstrap.Render(input(t, []byte(k3sScript), staticNetwork()))
	if err != nil {
		t.Fatal(err)
	}
	parts := readParts(t, out.UserData)
	var config struct {
		BootCommands []string `json:"bootcmd"`
	}
	if err := yaml.Unmarshal(parts[len(parts)-1].body, &config); err != nil {
		t.Fatal(err)
	}
	if len(config.BootCommands) != 1 {
		t.Fatalf("%d boot commands", len(config.BootCommands))
	}
	return config.BootCommands[0]
}

const (
	begun     = "/var/lib/cloud/instance/edgemetal-begun"
	semaphore = "/var/lib/cloud/instance/sem/config_scripts_user"
	netplan   = "/etc/netplan/50-cloud-init.yaml"
	restarts  = "/etc/edgemetal/restarts"
)

// TestStartOver runs the boot command on a host with some files, whose programs note that they were called.
func TestStartOver(t *testing.T) {
	const sync, reboot = "sync", "systemctl reboot --force --force"
	over := []string{sync, reboot}
	for name, tc := range map[string]struct {
		files map[string]string
		// calls until the host is gone.
		calls []string
		says  string
	}{
		"first boot": {map[string]string{netplan: "network: {}\n"}, []string{sync}, ""},
		"power lost before the first bootcmd": {
			map[string]string{netplan: ""}, over, "/etc/netplan/50-cloud-init.yaml is empty; starting over",
		},
		"of networkd": {map[string]string{"/etc/systemd/network/10-cloud-init-eth0.network": ""}, over, "starting over"},
		"of NetworkManager": {
			map[string]string{"/etc/NetworkManager/system-connections/cloud-init-eth0.nmconnection": ""}, over, "starting over",
		},
		"of sysconfig":                        {map[string]string{"/etc/sysconfig/network-scripts/ifcfg-eth0": ""}, over, "starting over"},
		"power lost before the payload began": {map[string]string{netplan: "network: {}\n", begun: ""}, over, "files may be incomplete; starting over"},
		"for the third time":                  {map[string]string{begun: "", restarts: "xx"}, over, "starting over"},
		"for the fourth time":                 {map[string]string{begun: "", restarts: "xxx"}, []string{sync}, "going on"},
		"power lost in the payload":           {map[string]string{netplan: "network: {}\n", begun: "", semaphore: "1\n"}, nil, ""},
		"a network that a user has emptied":   {map[string]string{netplan: "", begun: "", semaphore: "1\n"}, nil, ""},
		"other empty files":                   {map[string]string{"/etc/netplan/90-site.yaml": ""}, []string{sync}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			root, printed, calls := runBootCommand(t, tc.files)
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
			counted, err := os.ReadFile(root + restarts)
			if want := tc.files[restarts] + strings.Repeat("x", len(tc.calls)/len(over)); string(counted) != want || (want != "" && err != nil) {
				t.Errorf("restarts: %q, %v; want %q", counted, err, want)
			}
		})
	}
}

// runBootCommand in a folder with the files; returns the folder, what it printed and the calls of programs. The host is gone with the
// call of systemctl.
func runBootCommand(t *testing.T, files map[string]string) (root, printed string, calls []string) {
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
	script := bootCommand(t)
	for _, dir := range []string{"/etc/", "/var/lib/"} {
		script = strings.ReplaceAll(script, dir, root+dir)
	}
	command := exec.CommandContext(t.Context(), "/bin/sh", "-c", script)
	command.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH")}
	out, err := command.CombinedOutput()
	noted, _ := os.ReadFile(root + "/calls")
	if len(noted) > 0 {
		calls = strings.Split(strings.ReplaceAll(strings.TrimSpace(string(noted)), " \n", "\n"), "\n")
	}
	if killed := strings.Contains(string(noted), "systemctl"); (err != nil) != killed {
		t.Errorf("%v: %s", err, out)
	}
	return root, strings.ReplaceAll(string(out), root, ""), calls
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
