// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/rootfs"
)

func TestImageKey(t *testing.T) {
	for image, want := range map[string]string{
		"docker.io/calicovpp/vpp:v3.32.0":                "calicovpp/vpp",
		"ghcr.io/edgemetal/edge-agent:v0.1.0":            "edgemetal/edge-agent",
		"registry.example.com:5000/mirror/calico/node:v": "calico/node",
		"quay.io/tigera/operator@sha256:0123":            "tigera/operator",
		"nginx":                                          "nginx",
	} {
		if got := imageKey(image); got != want {
			t.Errorf("%s: %s, want %s", image, got, want)
		}
	}
}

func TestExpand(t *testing.T) {
	env := map[string]string{"NAME": "host-1", "EMPTY": ""}
	for text, want := range map[string]string{
		"--node=$(NAME)": "--node=host-1", "$$(NAME)": "$(NAME)", "$(NONE)$(EMPTY)": "$(NONE)", "$NAME": "$NAME", "$(NAME": "$(NAME", "5$": "5$",
	} {
		if got := expand(text, env); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// A container's paths lead into its volumes, also from outside of them, and its arguments to this host.
func TestContainerSeesItsVolumes(t *testing.T) {
	disk := rootfs.New(t.TempDir())
	spec := &corev1.Container{Name: "main", VolumeMounts: []corev1.VolumeMount{
		{Name: "sys", MountPath: "/host/sys"}, {Name: "run", MountPath: "/var/run/vpp"}, {Name: "run", MountPath: "/one", SubPath: "file"},
	}}
	files := &podFiles{disk: disk, dir: "/pods/1", volumes: map[string]string{"sys": "/sys", "run": "/run/vpp"}}
	for name, content := range map[string]string{"/sys/pages": "0", "/run/vpp/file": "one"} {
		if err := disk.Write(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := files.makeRoot(spec); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"/host/sys/pages": "0", "/one": "one", "/var/run/vpp/file": "one"} {
		real, err := files.path(spec, name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(real); err != nil || string(got) != want {
			t.Errorf("%s is %s and holds %q, %v", name, real, got, err)
		}
	}
	root, err := files.path(spec, "/host")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(root, "sys", "pages")); err != nil || string(got) != "0" {
		t.Errorf("below the parent of a volume: %q, %v", got, err)
	}
	c := &Container{Spec: spec, Env: map[string]string{"NODE": "host-1"}, NodeIP: netip.MustParseAddr("127.64.1.20"), owner: &container{files: files}}
	got, err := c.localArgs([]string{"/agent", "--node=$(NODE)", "--bind=127.0.0.1:9470", "--health=:9090", "--cidrs=10.96.0.0/12", "--socket=/var/run/vpp/api.sock", "status"})
	want := []string{"--node=host-1", "--bind=127.64.1.20:9470", "--health=127.64.1.20:9090", "--cidrs=10.96.0.0/12", "--socket=" + filepath.Join(disk.Dir(), "run/vpp/api.sock"), "status"}
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("arguments: %v\n%s", err, cmp.Diff(want, got))
	}
}

func TestLivenessFailsAfterItsThreshold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLiveness(&corev1.Probe{InitialDelaySeconds: 10, PeriodSeconds: 5, FailureThreshold: 2})
		broken := errors.New("broken")
		ask := func(answer error) error { return l.check(func() error { return answer }) }
		if err := ask(broken); err != nil {
			t.Error("asked before the initial delay")
		}
		time.Sleep(10 * time.Second)
		if err := ask(broken); err != nil {
			t.Error("one failure is enough")
		}
		if err := ask(broken); err != nil {
			t.Error("asked twice in a period")
		}
		time.Sleep(5 * time.Second)
		if err := ask(nil); err != nil {
			t.Error(err)
		}
		time.Sleep(5 * time.Second)
		if err := ask(broken); err != nil {
			t.Error("failures before a success count")
		}
		time.Sleep(5 * time.Second)
		if err := ask(broken); !errors.Is(err, broken) {
			t.Errorf("after two failures in a row: %v", err)
		}
	})
}
