// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package cloudinit

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func pack(t *testing.T, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	writer := gzip.NewWriter(&out)
	if _, err := writer.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// multipartOf makes a MIME message; each part is its headers, an empty line and its body.
func multipartOf(parts ...string) string {
	var message strings.Builder
	message.WriteString("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"=b=\"\n\n")
	for _, part := range parts {
		message.WriteString("--=b=\n" + part + "\n")
	}
	return message.String() + "--=b=--\n"
}

func instance() map[string]any {
	return InstanceData(map[string]any{"uuid": "u-1", "local-hostname": "host-a", "local_hostname": "host-a"})
}

func TestMerge(t *testing.T) {
	first := "#cloud-config\nruncmd: [one]\nwrite_files:\n- {path: /a, content: a}\nhostname: first\n"
	second := "#cloud-config\nruncmd: [two]\nfqdn: second.example.org\nhostname: second\n"
	appending := "list(append)+dict(no_replace,recurse_list)+str()"
	tests := map[string]struct {
		userData string
		want     map[string]any
	}{
		"the default replaces keys": {
			multipartOf("Content-Type: text/cloud-config\n\n"+first, "Content-Type: text/cloud-config\n\n"+second),
			map[string]any{"runcmd": []any{"two"}, "hostname": "second", "fqdn": "second.example.org", "write_files": []any{map[string]any{"path": "/a", "content": "a"}}},
		},
		"X-Merge-Type appends lists and keeps the first of other values": {
			multipartOf("Content-Type: text/cloud-config\n\n"+first, "Content-Type: text/cloud-config\nX-Merge-Type: "+appending+"\n\n"+second),
			map[string]any{"runcmd": []any{"one", "two"}, "hostname": "first", "fqdn": "second.example.org", "write_files": []any{map[string]any{"path": "/a", "content": "a"}}},
		},
		"merge_how in the part goes before the header": {
			multipartOf("Content-Type: text/cloud-config\n\n"+first, "Content-Type: text/cloud-config\nMerge-Type: "+appending+"\n\n"+second+"merge_how: list(prepend)+dict(recurse_list)+str()\n"),
			map[string]any{"runcmd": []any{"two", "one"}, "hostname": "first", "fqdn": "second.example.org", "write_files": []any{map[string]any{"path": "/a", "content": "a"}}},
		},
		"merge_how as a list": {
			multipartOf("Content-Type: text/cloud-config\n\n"+first, "Content-Type: text/cloud-config\n\n#cloud-config\nruncmd: [two]\nmerge_how:\n- {name: list, settings: [append]}\n- {name: dict, settings: [no_replace, recurse_list]}\n"),
			map[string]any{"runcmd": []any{"one", "two"}, "hostname": "first", "write_files": []any{map[string]any{"path": "/a", "content": "a"}}},
		},
		"the merge type of a template part counts for what it renders to": {
			multipartOf("Content-Type: text/cloud-config\n\n"+first, "Content-Type: text/jinja2\nX-Merge-Type: "+appending+"\n\n## template: jinja\n#cloud-config\nruncmd: [\"echo {{ ds.meta_data.local_hostname }} {{ v1.instance_id }} {{ local_hostname }}\"]\n"),
			map[string]any{"runcmd": []any{"one", "echo host-a u-1 host-a"}, "hostname": "first", "write_files": []any{map[string]any{"path": "/a", "content": "a"}}},
		},
		"an archive is a list of parts": {
			"#cloud-config-archive\n- type: text/cloud-config\n  content: |\n    hostname: first\n- |\n  #cloud-config\n  hostname: second\n",
			map[string]any{"hostname": "second"},
		},
		"gzip around everything, and a gzip part": {
			string(pack(t, multipartOf("Content-Type: application/gzip\nContent-Transfer-Encoding: base64\n\n"+base64.StdEncoding.EncodeToString(pack(t, "#cloud-config\nhostname: packed\n"))))),
			map[string]any{"hostname": "packed"},
		},
		"containers in containers": {
			multipartOf("Content-Type: multipart/mixed; boundary=inner\n\n--inner\nContent-Type: text/plain\n\n#cloud-config\nhostname: deep\n--inner--"),
			map[string]any{"hostname": "deep"},
		},
		"YAML 1.1: yes is true": {
			"#cloud-config\npreserve_hostname: yes\n",
			map[string]any{"preserve_hostname": true},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Parse([]byte(test.userData), instance())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got.Config); diff != "" {
				t.Errorf("merged config (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRefusal(t *testing.T) {
	tests := map[string]struct{ userData, want string }{
		"unknown content type":           {multipartOf("Content-Type: text/x-nonsense\n\nhello"), "unhandled content type"},
		"text that is nothing":           {"hello world", "unhandled content type"},
		"invalid YAML":                   {"#cloud-config\nruncmd: [one\n", "invalid YAML"},
		"top level is a list":            {"#cloud-config\n- runcmd\n", "top level of a cloud-config must be a mapping"},
		"empty cloud-config":             {"#cloud-config\n", "empty cloud-config"},
		"unknown key":                    {"#cloud-config\nrun_cmd: [one]\n", `no field "run_cmd"`},
		"runcmd is a string":             {"#cloud-config\nruncmd: one\n", "runcmd: want a list, got a string"},
		"runcmd with a mapping":          {"#cloud-config\nruncmd: [{a: b}]\n", "runcmd[0]: want a string or a list of strings"},
		"bootcmd with a number":          {"#cloud-config\nbootcmd: [1]\n", "bootcmd[0]"},
		"file without path":              {"#cloud-config\nwrite_files: [{content: a}]\n", "write_files[0]: field path is required"},
		"file with a relative path":      {"#cloud-config\nwrite_files: [{path: a}]\n", "want an absolute path"},
		"permissions without quotes":     {"#cloud-config\nwrite_files: [{path: /a, permissions: 0644}]\n", "write_files[0].permissions: want a string"},
		"permissions that are no octals": {"#cloud-config\nwrite_files: [{path: /a, permissions: 'rw'}]\n", `permissions "rw"`},
		"unknown encoding":               {"#cloud-config\nwrite_files: [{path: /a, encoding: hex}]\n", "write_files[0].encoding"},
		"bad base64":                     {"#cloud-config\nwrite_files: [{path: /a, encoding: b64, content: '%%'}]\n", "not valid base64"},
		"bad gzip":                       {"#cloud-config\nwrite_files: [{path: /a, encoding: gz+b64, content: aGVsbG8=}]\n", "reading gzip"},
		"user without a name":            {"#cloud-config\nusers: [{gecos: a}]\n", "users[0]: field name is required"},
		"user with an unknown field":     {"#cloud-config\nusers: [{name: a, keys: [b]}]\n", `no field "keys"`},
		"unknown merger":                 {"#cloud-config\nhostname: a\nmerge_how: set(append)\n", `unknown merger "set"`},
		"malformed merge type":           {"#cloud-config\nhostname: a\nmerge_how: list\n", "want terms such as"},
		"missing template variable":      {"## template: jinja\n#cloud-config\nhostname: '{{ ds.meta_data.nonsense }}'\n", "rendering the Jinja template"},
		"template syntax":                {"## template: jinja\n#cloud-config\nhostname: '{{ ds.meta_data'\n", "parsing the Jinja template"},
		"template that renders to text":  {"## template: jinja\nhello {{ v1.instance_id }}\n", "no header that cloud-init knows"},
		"include":                        {"#include\nhttp://192.0.2.1/x\n", "does not support"},
		"multipart without boundary":     {"MIME-Version: 1.0\nContent-Type: multipart/mixed\n\n", "no boundary"},
		"unknown transfer encoding":      {multipartOf("Content-Type: text/cloud-config\nContent-Transfer-Encoding: rot13\n\nx"), "unknown transfer encoding"},
		"truncated gzip":                 {string(pack(t, "#cloud-config\nhostname: a\n")[:12]), "reading gzip"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(test.userData), instance())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestRefusesWhatNoConfigDriveTakes(t *testing.T) {
	_, err := Parse(bytes.Repeat([]byte("#"), MaxConfigDrive+1), nil)
	if err == nil || !strings.Contains(err.Error(), "a config drive takes 67108864") {
		t.Errorf("error %v, want the limit", err)
	}
}

func TestErrorsKeepSecrets(t *testing.T) {
	const secret = "MY-PRIVATE-KEY"
	for _, userData := range []string{
		"#cloud-config\nwrite_files: [{path: /a, content: " + secret + ", encoding: b64}]\n",
		"## template: jinja\n#cloud-config\n# " + secret + "\nhostname: '{{ nonsense.x }}'\n",
		"## template: jinja\n#cloud-config\n# " + secret + "\nhostname: '{{ nonsense'\n",
		"#cloud-config\nwrite_files: " + secret + "\n",
		"#cloud-config\nwrite_files: [" + secret + "\n",
	} {
		if _, err := Parse([]byte(userData), instance()); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("error %v quotes the document, or there is none", err)
		}
	}
}

func TestFilesAndScripts(t *testing.T) {
	data, err := Parse([]byte(multipartOf(
		"Content-Type: text/cloud-config\n\n#cloud-config\nwrite_files:\n"+
			"- {path: /etc/../etc/a, content: aGVsbG8=, encoding: b64, permissions: '0600', owner: 'root:adm'}\n"+
			"- {path: /b, defer: true, append: true, content: x}\n"+
			"bootcmd: [[echo, \"it's\"], 'echo two']\nruncmd: ['echo run', null]\n",
		"Content-Type: text/x-shellscript\nContent-Disposition: attachment; filename=\"go.sh\"\n\n#!/bin/sh\necho go",
		"Content-Type: text/cloud-boothook\n\n#cloud-boothook\necho early",
	)), instance())
	if err != nil {
		t.Fatal(err)
	}
	want := []File{{Path: "/etc/a", Content: []byte("hello"), Mode: 0o600, Owner: "root:adm"}}
	if diff := cmp.Diff(want, data.Files(false)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if late := data.Files(true); len(late) != 1 || late[0].Path != "/b" || !late[0].Append {
		t.Errorf("deferred files %+v", late)
	}
	bootcmd, err := data.ShellScript("bootcmd")
	if err != nil || string(bootcmd) != "#!/bin/sh\n'echo' 'it'\\''s'\necho two\n" {
		t.Errorf("bootcmd %q, %v", bootcmd, err)
	}
	runcmd, err := data.ShellScript("runcmd")
	if err != nil || string(runcmd) != "#!/bin/sh\necho run\n" {
		t.Errorf("runcmd %q, %v", runcmd, err)
	}
	if len(data.Scripts) != 1 || data.Scripts[0].Name != "go.sh" || string(data.Scripts[0].Body) != "#!/bin/sh\necho go" {
		t.Errorf("scripts %+v", data.Scripts)
	}
	if len(data.Boothooks) != 1 {
		t.Errorf("boothooks %+v", data.Boothooks)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("#cloud-config\nruncmd: [a]\n"))
	f.Add([]byte(multipartOf("Content-Type: text/cloud-config\n\nhostname: a")))
	f.Add([]byte("## template: jinja\n#cloud-config\nhostname: {{ v1.instance_id }}\n"))
	f.Fuzz(func(t *testing.T, userData []byte) {
		data, err := Parse(userData, instance())
		if (data == nil) == (err == nil) {
			t.Errorf("want either data or an error, got %v and %v", data, err)
		}
	})
}
