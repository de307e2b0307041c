// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap_test

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap"
)

// cloudInit is what the real cloud-init makes of a config drive; see testdata/cloudinit_check.py.
type cloudInit struct {
	Version  string         `json:"version"`
	Config   map[string]any `json:"config"`
	Metadata map[string]any `json:"metadata"`
	Parts    []struct {
		Type    string `json:"type"`
		Payload string `json:"payload"`
	} `json:"parts"`
	Scripts   map[string]string `json:"scripts"`
	BootHooks []string          `json:"boothooks"`
	// Semaphore is the name of the file that is there once the payload's commands have begun.
	Semaphore     string   `json:"semaphore"`
	Schema        string   `json:"schema"`
	NetworkSchema string   `json:"network_schema"`
	Hostname      string   `json:"hostname"`
	FQDN          string   `json:"fqdn"`
	Netplan       any      `json:"netplan"`
	Warnings      []string `json:"warnings"`
}

// pythonWithCloudInit finds an interpreter that has cloud-init's modules, or skips the test.
func pythonWithCloudInit(t *testing.T) string {
	t.Helper()
	for _, candidate := range []string{"python3", "/usr/bin/python3"} {
		if exec.CommandContext(t.Context(), candidate, "-c", "import cloudinit.user_data, jsonschema").Run() == nil {
			return candidate
		}
	}
	t.Skip("skipped: no python3 with cloud-init's modules here; install the package cloud-init, or put its modules on PYTHONPATH")
	return ""
}

// runCloudInit has the real cloud-init read a config drive for each of the outputs. Documents that are nil are left out.
func runCloudInit(t *testing.T, outs ...bootstrap.Output) []cloudInit {
	t.Helper()
	arguments := []string{filepath.Join("testdata", "cloudinit_check.py")}
	for _, out := range outs {
		arguments = append(arguments, writeDrive(t, out))
	}
	printed, err := exec.CommandContext(t.Context(), pythonWithCloudInit(t), arguments...).Output()
	if err != nil {
		stderr := ""
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			stderr = string(exit.Stderr)
		}
		t.Fatalf("cloud-init: %v\n%s", err, stderr)
	}
	var results []cloudInit
	if err := json.Unmarshal(printed, &results); err != nil {
		t.Fatal(err)
	}
	t.Logf("read by cloud-init %s", results[0].Version)
	return results
}

// writeDrive writes a config drive and returns its folder.
func writeDrive(t *testing.T, out bootstrap.Output) string {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "openstack", "latest")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"user_data": out.UserData, "network_data.json": out.NetworkData, "meta_data.json": out.MetaData} {
		if content == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// readTogetherAndAlone has cloud-init read the documents of each input, and each payload by itself.
func readTogetherAndAlone(t *testing.T, inputs []bootstrap.Input) (together, alone []cloudInit) {
	t.Helper()
	var outs []bootstrap.Output
	for _, in := range inputs {
		out, err := bootstrap.Render(in)
		if err != nil {
			t.Fatal(err)
		}
		outs = append(outs, out, bootstrap.Output{UserData: in.Payload.Value, MetaData: out.MetaData})
	}
	results := runCloudInit(t, outs...)
	for i := 0; i < len(results); i += 2 {
		together, alone = append(together, results[i]), append(alone, results[i+1])
	}
	return together, alone
}

// TestRealCloudInit shows that to cloud-init a payload means the same in our document as alone, and that it accepts what we add.
func TestRealCloudInit(t *testing.T) {
	cases := renderCases(t)
	var inputs []bootstrap.Input
	for _, tc := range cases {
		inputs = append(inputs, tc.input)
	}
	together, alone := readTogetherAndAlone(t, inputs)
	for i, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			got := together[i]
			if len(got.Warnings) > 0 || got.Schema != "" || got.NetworkSchema != "" {
				t.Errorf("cloud-init complains: %q, schema: %s, network schema: %s", got.Warnings, got.Schema, got.NetworkSchema)
			}
			expectPayloadUnchanged(t, alone[i], got)
			expectIdentity(t, tc.input, got)
			netplan, err := json.MarshalIndent(got.Netplan, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", tc.name, "netplan.json"), append(netplan, '\n'))
		})
	}
}

// expectPayloadUnchanged compares what the payload does alone with what it does together with our part.
func expectPayloadUnchanged(t *testing.T, alone, together cloudInit) {
	t.Helper()
	ours := map[string]bool{"write_files": true, "preserve_hostname": true, "prefer_fqdn_over_hostname": true}
	for key := range together.Config {
		if _, theirs := alone.Config[key]; !theirs && !ours[key] {
			t.Errorf("key %q comes neither from the payload nor from us", key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(alone.Config)) {
		if key == "write_files" {
			continue
		}
		if diff := cmp.Diff(alone.Config[key], together.Config[key]); diff != "" {
			t.Errorf("key %q differs from the payload alone (-alone +together):\n%s", key, diff)
		}
	}
	empty := cmpopts.EquateEmpty()
	files, _ := together.Config["write_files"].([]any)
	theirs, _ := alone.Config["write_files"].([]any)
	if len(files) <= len(theirs) {
		t.Fatalf("%d files together and %d of the payload alone", len(files), len(theirs))
	}
	if diff := cmp.Diff(theirs, files[len(files)-len(theirs):], empty); diff != "" {
		t.Errorf("files of the payload (-alone +together):\n%s", diff)
	}
	if first, _ := files[0].(map[string]any); first["path"] != "/etc/systemd/system/kubelet.service.d/20-edgemetal.conf" {
		t.Errorf("our files do not come first but %v", first["path"])
	}
	if diff := cmp.Diff(slices.Sorted(maps.Values(alone.Scripts)), slices.Sorted(maps.Values(together.Scripts))); diff != "" {
		t.Errorf("scripts (-alone +together):\n%s", diff)
	}
	if len(together.BootHooks) == 0 || !strings.Contains(together.BootHooks[0], "/sem/"+together.Semaphore+" ]") {
		t.Errorf("the first boothook is not ours, or looks at another semaphore than %q: %q", together.Semaphore, together.BootHooks)
	} else if diff := cmp.Diff(alone.BootHooks, together.BootHooks[1:], empty); diff != "" {
		t.Errorf("boothooks (-alone +together):\n%s", diff)
	}
	for _, part := range alone.Parts {
		if !slices.Contains(together.Parts, part) {
			t.Errorf("part of type %s did not arrive byte for byte:\n%s", part.Type, part.Payload)
		}
	}
}

func expectIdentity(t *testing.T, in bootstrap.Input, got cloudInit) {
	t.Helper()
	// As cloud-init's _select_hostname does with prefer_fqdn_over_hostname.
	hostname := got.Hostname
	if got.Config["prefer_fqdn_over_hostname"] == true {
		hostname = got.FQDN
	}
	want := map[string]any{"hostname": in.Host, "instance-id": in.InstanceID, "local_hostname": in.Host, "preserve": false}
	have := map[string]any{"hostname": hostname, "instance-id": got.Metadata["instance-id"], "local_hostname": got.Metadata["local_hostname"], "preserve": got.Config["preserve_hostname"]}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("identity (-want +got):\n%s", diff)
	}
}

// TestRealCloudInitPayloadKinds does the same for payloads that are harder to carry.
func TestRealCloudInitPayloadKinds(t *testing.T) {
	merging := "#cloud-config\nmerge_how: list(append)+dict(no_replace,recurse_list)+str()\nruncmd: [echo one]\nhostname: theirs\npreserve_hostname: true\nbootcmd: [echo boot]\n"
	payloads := map[string]string{
		"non-ASCII":                "#cloud-config\nwrite_files:\n- {path: /etc/motd, content: \"Grüße €\"}\nruncmd: [\"echo ü\"]\n",
		"carriage returns":         "#cloud-config\r\nruncmd:\r\n- echo one\r\n",
		"merge rule of its own":    merging,
		"large, so compressed":     "## template: jinja\n#cloud-config\nruncmd:\n- echo {{ ds.meta_data.local_hostname }}\nwrite_files:\n- path: /opt/large\n  content: |\n" + strings.Repeat("    a line of text that is repeated many times\n", 4000),
		"boothook":                 "#cloud-boothook\n#!/bin/sh\necho early\n",
		"archive":                  "#cloud-config-archive\n- type: text/cloud-config\n  content: |\n    runcmd: [echo one]\n- type: text/x-shellscript\n  content: |\n    #!/bin/sh\n    echo two\n",
		"the same file as ours":    "#cloud-config\nwrite_files:\n- {path: /etc/edgemetal/kubelet-env.sh, content: theirs}\n",
		"MIME with CRLF":           strings.ReplaceAll(mimePayload, "\n", "\r\n"),
		"MIME of one part":         "Content-Type: text/cloud-config\nMIME-Version: 1.0\n\n#cloud-config\nruncmd: [echo one]\n",
		"no newline at the end":    "#cloud-config\nruncmd: [echo one]",
		"blank lines at the start": "\n\n#cloud-config\nruncmd: [echo one]\n",
	}
	names := slices.Sorted(maps.Keys(payloads))
	var inputs []bootstrap.Input
	for _, name := range names {
		in := input(t, []byte(payloads[name]), staticNetwork())
		inputs = append(inputs, in)
	}
	together, alone := readTogetherAndAlone(t, inputs)
	for i, name := range names {
		t.Run(name, func(t *testing.T) {
			if len(together[i].Warnings) > 0 {
				t.Errorf("cloud-init warns: %q", together[i].Warnings)
			}
			expectPayloadUnchanged(t, alone[i], together[i])
		})
	}
}
