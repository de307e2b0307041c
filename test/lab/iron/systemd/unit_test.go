// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"errors"
	"io/fs"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/rootfs"
)

const unit = "[Unit]\nDescription=kubelet\n[Service]\nExecStart=/usr/bin/kubelet\nRestart=always\n"

func disk(t *testing.T, files map[string]string) rootfs.FS {
	t.Helper()
	root := rootfs.New(t.TempDir())
	for name, content := range files {
		if err := root.Write(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestCommandLine(t *testing.T) {
	tests := map[string]struct {
		files map[string]string
		want  []string
	}{
		"plain unit": {nil, []string{"/usr/bin/kubelet"}},
		"a drop-in resets ExecStart and fills in variables": {
			map[string]string{"/etc/systemd/system/kubelet.service.d/10.conf": "[Service]\nEnvironment=\"A=--one --two\" B=x\nExecStart=\nExecStart=/usr/bin/kubelet $A --b=${B} $MISSING ${MISSING}\n"},
			[]string{"/usr/bin/kubelet", "--one", "--two", "--b=x", ""},
		},
		"drop-ins apply in the order of their names, whatever their directory": {
			map[string]string{
				"/usr/lib/systemd/system/kubelet.service.d/20.conf": "[Service]\nEnvironment=A=late\n",
				"/etc/systemd/system/kubelet.service.d/10.conf":     "[Service]\nEnvironment=A=early\nExecStart=\nExecStart=/usr/bin/kubelet $A\n",
			},
			[]string{"/usr/bin/kubelet", "late"},
		},
		"a drop-in in /etc hides one of the same name": {
			map[string]string{
				"/usr/lib/systemd/system/kubelet.service.d/10.conf": "[Service]\nEnvironment=A=vendor\n",
				"/etc/systemd/system/kubelet.service.d/10.conf":     "[Service]\nExecStart=\nExecStart=/usr/bin/kubelet [$A] $A\n",
			},
			[]string{"/usr/bin/kubelet", "[$A]"},
		},
		"a unit in /etc hides the vendor's": {
			map[string]string{"/etc/systemd/system/kubelet.service": "[Service]\nExecStart=/opt/kubelet\n"},
			[]string{"/opt/kubelet"},
		},
		"EnvironmentFile wins over Environment; a missing one with a dash is fine": {
			map[string]string{
				"/etc/systemd/system/kubelet.service.d/10.conf": "[Service]\nEnvironment=A=one\nEnvironmentFile=-/etc/missing\nEnvironmentFile=/etc/default/kubelet\nExecStart=\nExecStart=/usr/bin/kubelet $A\n",
				"/etc/default/kubelet":                          "# comment\nA=\"--node-ip=192.0.2.1 --v=2\"\n",
			},
			[]string{"/usr/bin/kubelet", "--node-ip=192.0.2.1", "--v=2"},
		},
		"an empty Environment forgets earlier ones": {
			map[string]string{"/etc/systemd/system/kubelet.service.d/10.conf": "[Service]\nEnvironment=A=one\nEnvironment=\nEnvironment=B=two\nExecStart=\nExecStart=/usr/bin/kubelet $A $B\n"},
			[]string{"/usr/bin/kubelet", "two"},
		},
		"lines can go on, with comments between": {
			map[string]string{"/etc/systemd/system/kubelet.service.d/10.conf": "[Service]\nExecStart=\nExecStart=-/usr/bin/kubelet \\\n# comment\n  --a='b c' \\\n  --d\n"},
			[]string{"/usr/bin/kubelet", "--a=b c", "--d"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{"/usr/lib/systemd/system/kubelet.service": unit}
			maps.Copy(files, test.files)
			root := disk(t, files)
			service, err := Load(root, "kubelet.service")
			if err != nil {
				t.Fatal(err)
			}
			got, err := service.CommandLine(root)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("command line (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRefusal(t *testing.T) {
	tests := map[string]struct{ dropIn, want string }{
		"two commands":         {"[Service]\nExecStart=/usr/bin/other\n", "more than one ExecStart="},
		"no command":           {"[Service]\nExecStart=\n", "lacks ExecStart="},
		"missing file":         {"[Service]\nEnvironmentFile=/etc/missing\n", "/etc/missing"},
		"line without '='":     {"[Service]\nExecStart\n", "missing '='"},
		"broken section":       {"[Service\n", "invalid section header"},
		"unbalanced quotes":    {"[Service]\nExecStart=\nExecStart=/usr/bin/kubelet \"a\n", "unbalanced quoting"},
		"quotes in a variable": {"[Service]\nEnvironment=\"A=b\nExecStart=\nExecStart=/bin/x $A\n", "unbalanced quoting"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			root := disk(t, map[string]string{
				"/usr/lib/systemd/system/kubelet.service": unit, "/etc/systemd/system/kubelet.service.d/10.conf": test.dropIn,
			})
			service, err := Load(root, "kubelet.service")
			if err == nil {
				_, err = service.CommandLine(root)
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
	if _, err := Load(disk(t, nil), "missing.service"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing unit: %v", err)
	}
}

func TestStartPreReadsTheEnvironmentAnewForEachCommand(t *testing.T) {
	root := disk(t, map[string]string{
		"/usr/lib/systemd/system/kubelet.service":       unit,
		"/etc/systemd/system/kubelet.service.d/20.conf": "[Service]\nEnvironmentFile=-/run/made.env\nExecStartPre=-/bin/first $A\nExecStartPre=/bin/second $A 'two words'\n",
	})
	service, err := Load(root, "kubelet.service")
	if err != nil {
		t.Fatal(err)
	}
	var got []Command
	for command, err := range service.StartPre(root) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, command)
		if err := root.Write("/run/made.env", []byte("A=made\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := []Command{
		{Line: []string{"/bin/first"}, Environment: map[string]string{}, MayFail: true},
		{Line: []string{"/bin/second", "made", "two words"}, Environment: map[string]string{"A": "made"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
}
