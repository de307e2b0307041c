// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package shell

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/rootfs"
)

// newShell is a shell on an empty disk with the directories that every host has.
func newShell(t *testing.T) (*Shell, *bytes.Buffer) {
	t.Helper()
	disk := rootfs.New(t.TempDir())
	for _, dir := range []string{"/etc", "/tmp", "/usr/local/bin", "/root"} {
		if err := disk.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	out := &bytes.Buffer{}
	return &Shell{Disk: disk, Output: out}, out
}

func TestScripts(t *testing.T) {
	tests := map[string]struct {
		script string
		status uint8
		output string
	}{
		"files are the host's":              {"echo hello > /etc/a && cat /etc/a", 0, "hello\n"},
		"relative paths and cd":             {"mkdir -p /etc/x/y; cd /etc/x; echo hi > y/z; cat /etc/x/y/z; cd ..; test -d x && pwd", 0, "hi\n/etc\n"},
		"sequences":                         {"false && echo no || echo yes; echo end", 0, "yes\nend\n"},
		"the last status counts":            {"true; false", 1, ""},
		"unknown program":                   {"no-such-program --flag", 127, "no-such-program: not found\n"},
		"unknown program by path":           {"/opt/bin/thing", 127, "/opt/bin/thing: not found\n"},
		"a known program by path":           {"/bin/cat /dev/null; /usr/bin/touch /tmp/a; test -f /tmp/a", 0, ""},
		"nothing of this machine is there":  {"test -e /proc/self || test -e /etc/passwd || echo clean", 0, "clean\n"},
		"absolute links stay on the disk":   {"echo in > /etc/real; ln -s /etc/real /etc/link; cat /etc/link; readlink /etc/link || true", 0, "in\nreadlink: not found\n"},
		"dots do not lead out":              {"echo x > /../../../../tmp/out; test -f /tmp/out && echo kept", 0, "kept\n"},
		"sh -c with parameters":             {"sh -c 'echo $0 $1' name one", 0, "name one\n"},
		"set -e in sh -ec":                  {"sh -ec 'false; echo no'", 1, ""},
		"bash has what sh has not":          {"bash -c '[[ abc == a* ]] && echo match'", 0, "match\n"},
		"sh has not":                        {"arr=(1 2)\n", 2, ""},
		"a script on the disk":              {"printf '#!/bin/sh\\necho script $1\\n' > /usr/local/bin/go; chmod +x /usr/local/bin/go; go one; /usr/local/bin/go two", 0, "script one\nscript two\n"},
		"a script that may not be executed": {"echo 'echo hi' > /tmp/go; /tmp/go", 126, "/tmp/go: Permission denied\n"},
		"a script in another language":      {"printf '#!/usr/bin/python3\\n' > /tmp/go; chmod 755 /tmp/go; /tmp/go", 127, "/tmp/go: interpreter \"python3\" is not on this host\n"},
		"pipes, tee, grep":                  {"printf 'a\\nb\\n' | tee /tmp/t | grep -v a; grep -q b /tmp/t && echo found", 0, "b\nfound\n"},
		"sed as a filter":                   {"printf 'a/b\\nc\\n' | sed -e 's#/#-#' -e '/^c/d'", 0, "a-b\n"},
		"sed in place":                      {"echo one > /etc/a; sed -i 's/o\\(n\\)e/\\1/' /etc/a; cat /etc/a", 0, "n\n"},
		"sed writes no other file":          {"echo a | sed 'w /tmp/out'", 1, "sed: -e expression #1, char 1: e/r/w commands disabled in sandbox mode\nsed: exit status 1\n"},
		"append":                            {"echo a >> /tmp/l; echo b | tee -a /tmp/l > /dev/null; cat /tmp/l", 0, "a\nb\n"},
		"copy, move, remove":                {"mkdir /tmp/d; echo a > /tmp/f; cp /tmp/f /tmp/d; mv /tmp/d/f /tmp/d/g; cp -r /tmp/d /tmp/e; rm -rf /tmp/d; cat /tmp/e/g; test -e /tmp/d || echo gone", 0, "a\ngone\n"},
		"remove what is not there":          {"rm /tmp/none", 1, ""},
		"but by force":                      {"rm -f /tmp/none", 0, ""},
		"install":                           {"echo a > /tmp/a; install -m 0600 /tmp/a /etc/b; install -d -m 0700 /etc/c; test -d /etc/c && cat /etc/b", 0, "a\n"},
		"environment":                       {"A=1 env B=2 sh -c 'echo $A $B'", 0, "1 2\n"},
		"globs":                             {"touch /tmp/1.conf /tmp/2.conf; echo /tmp/*.conf", 0, "/tmp/1.conf /tmp/2.conf\n"},
		"timeout":                           {"timeout 0.05 sleep 5", 124, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s, out := newShell(t)
			status, err := s.Run(t.Context(), "test", []byte("#!/bin/sh\n"+test.script), nil)
			if err != nil {
				t.Fatal(err)
			}
			if status != test.status || (test.output != "" && out.String() != test.output) {
				t.Errorf("status %d, want %d; output %q, want %q", status, test.status, out, test.output)
			}
		})
	}
}

func TestModes(t *testing.T) {
	s, out := newShell(t)
	script := "touch /etc/a; chmod 600 /etc/a; chmod u+x,g=r /etc/a; mkdir /etc/d; touch /etc/d/x; chmod -R go-rwx /etc/d"
	if status, err := s.Run(t.Context(), "test", []byte(script), nil); status != 0 || err != nil {
		t.Fatal(status, err, out)
	}
	for name, want := range map[string]os.FileMode{"etc/a": 0o740, "etc/d/x": 0o600} {
		info, err := os.Stat(filepath.Join(s.Disk.Dir(), name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
}

func TestProgramsAndEnvironment(t *testing.T) {
	s, _ := newShell(t)
	var got []string
	s.Programs = map[string]Program{"kubeadm": func(_ context.Context, call Call) uint8 {
		got = append(call.Args, call.Env["INSTANCE_ID"], call.Dir)
		return 3
	}}
	status, err := s.Run(t.Context(), "test", []byte("cd /etc; kubeadm init --config 'a b'"), map[string]string{"INSTANCE_ID": "u-1"})
	if err != nil || status != 3 || strings.Join(got, "|") != "kubeadm|init|--config|a b|u-1|/etc" {
		t.Errorf("status %d, %v, call %q", status, err, got)
	}
}

func TestPowerFailureEndsScripts(t *testing.T) {
	s, _ := newShell(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := s.Run(ctx, "test", []byte("sleep 60; touch /tmp/late"), nil)
	if err == nil || time.Since(begin) > 10*time.Second || s.Disk.Exists("/tmp/late") {
		t.Errorf("error %v after %s", err, time.Since(begin))
	}
}
