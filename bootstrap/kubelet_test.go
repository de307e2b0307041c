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
	files := map[string]string{}
	for _, file := range allWritten(t, in) {
		files[file.Path] = file.Content
	}
	return files
}

// writtenModes are their permissions.
func writtenModes(t *testing.T, in bootstrap.Input) map[string]string {
	t.Helper()
	modes := map[string]string{}
	for _, file := range allWritten(t, in) {
		modes[file.Path] = file.Permissions
	}
	return modes
}

type writtenFile struct{ Path, Content, Permissions string }

func allWritten(t *testing.T, in bootstrap.Input) []writtenFile {
	t.Helper()
	out, err := bootstrap.Render(in)
	if err != nil {
		t.Fatal(err)
	}
	parts := readParts(t, out.UserData)
	var config struct {
		WriteFiles []writtenFile `json:"write_files"`
	}
	if err := yaml.Unmarshal(parts[len(parts)-1].body, &config); err != nil {
		t.Fatal(err)
	}
	return config.WriteFiles
}

// runKubeletScript runs the script that the kubelet's drop-in runs, with the environment that systemd would give it, and returns the
// file that it writes.
func runKubeletScript(t *testing.T, environment ...string) string {
	t.Helper()
	script := writtenFiles(t, input(t, []byte("#!/bin/sh\n"), staticNetwork()))["/etc/edgemetal/kubelet-env.sh"]
	dir := filepath.Join(t.TempDir(), "run")
	command := exec.CommandContext(t.Context(), "/bin/sh", "-c", strings.ReplaceAll(script, "/run/edgemetal", dir))
	command.Env = append([]string{"PATH=" + os.Getenv("PATH"), "EDGEMETAL_KUBELET_ARGS=" + kubeletArguments}, environment...)
	if printed, err := command.CombinedOutput(); err != nil || len(printed) > 0 {
		t.Fatalf("%v: %s", err, printed)
	}
	got, err := os.ReadFile(filepath.Join(dir, "kubelet.env"))
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

const (
	kubeletArguments = "--provider-id=edgemetal://sites/node-7/edge-1-abc --node-ip=192.0.2.21"
	kubeletTaint     = "edgemetal.infrastructure.cluster.x-k8s.io/encryption-not-ready:NoSchedule"
)

func TestKubeletScript(t *testing.T) {
	const ours = kubeletArguments
	for name, tc := range map[string]struct{ before, want string }{
		"nothing set":               {"", ours},
		"arguments of the user":     {"--v=2", "--v=2 " + ours},
		"quotes and backslashes":    {`--a="b c" --d='e' --f=\g`, `--a=\"b c\" --d='e' --f=\\g ` + ours},
		"only ours":                 {ours, ours},
		"ours are not added twice":  {"--v=2 " + ours, "--v=2 " + ours},
		"dollars are not expanded":  {"--x=$HOME", "--x=$HOME " + ours},
		"backquotes are not either": {"--x=`id`", "--x=`id` " + ours},
		"nor are asterisks":         {"--x=/*", "--x=/* " + ours},
		"taints are left alone":     {"--register-with-taints=a:NoExecute", "--register-with-taints=a:NoExecute " + ours},
	} {
		t.Run(name, func(t *testing.T) {
			if got, want := runKubeletScript(t, "KUBELET_EXTRA_ARGS="+tc.before), `KUBELET_EXTRA_ARGS="`+tc.want+"\"\n"; got != want {
				t.Errorf("got  %swant %s", got, want)
			}
		})
	}
}

// TestKubeletTaint shows that the start-up taint does not take away the taints that others give the Node.
func TestKubeletTaint(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config.yaml")
	text := `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
registerWithTaints:
- effect: NoExecute
  key: from/config
  value: "x"
- key: second
  effect: NoSchedule
  timeAdded: null
rotateCertificates: true
key: not-a-taint
`
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	const flag, kubeadm = " --register-with-taints=", "KUBELET_KUBEADM_ARGS=--container-runtime-endpoint=unix:///run/c.sock --register-with-taints=node-role.kubernetes.io/control-plane:NoSchedule"
	for name, tc := range map[string]struct {
		environment []string
		want        string
	}{
		"no other":                  {nil, kubeletArguments + flag + kubeletTaint},
		"kubeadm's":                 {[]string{kubeadm}, kubeletArguments + flag + "node-role.kubernetes.io/control-plane:NoSchedule," + kubeletTaint},
		"the user's":                {[]string{"KUBELET_EXTRA_ARGS=--register-with-taints=a=b:NoSchedule,c:NoExecute --v=2"}, "--register-with-taints=a=b:NoSchedule,c:NoExecute --v=2 " + kubeletArguments + flag + "a=b:NoSchedule,c:NoExecute," + kubeletTaint},
		"the user's beat kubeadm's": {[]string{kubeadm, "KUBELET_EXTRA_ARGS=--register-with-taints=a:NoSchedule"}, "--register-with-taints=a:NoSchedule " + kubeletArguments + flag + "a:NoSchedule," + kubeletTaint},
		"in two words":              {[]string{"KUBELET_EXTRA_ARGS=--register-with-taints a=b:NoSchedule"}, "--register-with-taints a=b:NoSchedule " + kubeletArguments + flag + "a=b:NoSchedule," + kubeletTaint},
		"in quotes":                 {[]string{`KUBELET_EXTRA_ARGS="--register-with-taints=a:NoSchedule"`}, `\"--register-with-taints=a:NoSchedule\" ` + kubeletArguments + flag + "a:NoSchedule," + kubeletTaint},
		"none, said so":             {[]string{"KUBELET_CONFIG_ARGS=--config=" + config, "KUBELET_EXTRA_ARGS=--register-with-taints="}, "--register-with-taints= " + kubeletArguments + flag + kubeletTaint},
		"the configuration file's":  {[]string{"KUBELET_CONFIG_ARGS=--config=" + config}, kubeletArguments + flag + "from/config=x:NoExecute,second:NoSchedule," + kubeletTaint},
		"flags beat the file":       {[]string{"KUBELET_CONFIG_ARGS=--config=" + config, kubeadm}, kubeletArguments + flag + "node-role.kubernetes.io/control-plane:NoSchedule," + kubeletTaint},
		"a file that is not there":  {[]string{"KUBELET_CONFIG_ARGS=--config=/nowhere"}, kubeletArguments + flag + kubeletTaint},
		"ours, from the drop-in":    {[]string{"KUBELET_EXTRA_ARGS=" + kubeletArguments + flag + kubeletTaint, kubeadm}, kubeletArguments + flag + "node-role.kubernetes.io/control-plane:NoSchedule," + kubeletTaint},
		"ours, with a value":        {[]string{"KUBELET_EXTRA_ARGS=--register-with-taints=" + strings.Replace(kubeletTaint, ":", "=x:", 1)}, "--register-with-taints=" + strings.Replace(kubeletTaint, ":", "=x:", 1) + " " + kubeletArguments + flag + kubeletTaint},
	} {
		t.Run(name, func(t *testing.T) {
			got := runKubeletScript(t, append([]string{"EDGEMETAL_KUBELET_TAINT=" + kubeletTaint}, tc.environment...)...)
			if want := `KUBELET_EXTRA_ARGS="` + tc.want + "\"\n"; got != want {
				t.Errorf("got  %swant %s", got, want)
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
			for _, name := range []string{"sync", "touch", "rm"} {
				write(t, filepath.Join(bin, name), "#!/bin/sh\n", 0o755)
			}
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
