// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package packaging tests what `make release` writes: with the real clusterctl, and against a real API server.
package packaging_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "sigs.k8s.io/cluster-api/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/plane"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

const version = "v0.1.0"

// site is an API server with the CRDs of Cluster API, the in-cluster IPAM provider and Metal3, and a release of ours
// with its components installed.
type site struct {
	client.Client

	root       string // of the repository
	release    string // folder that `make release` wrote
	kubeconfig string
	config     string // clusterctl's configuration
	tools      tools.Paths
}

func newSite(t *testing.T) *site {
	t.Helper()
	root, err := tools.Root()
	if err != nil {
		t.Fatal(err)
	}
	box := tools.Toolbox{Root: root, Out: os.Stderr}
	paths, err := box.Ensure(t.Context(), tools.Etcd, tools.KubeAPIServer, tools.KubeControllerManager, tools.Kubectl, tools.Clusterctl)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := &site{root: root, tools: paths, release: filepath.Join(dir, "infrastructure-edgemetal", version)}
	s.run(t, nil, "make", "-s", "-C", root, "release", "OUT="+dir, "VERSION="+version)
	s.config = filepath.Join(dir, "clusterctl.yaml")
	providers := fmt.Sprintf("providers: [{name: edgemetal, type: InfrastructureProvider, url: %q}]\n",
		"file://"+filepath.Join(s.release, "infrastructure-components.yaml"))
	if err := os.WriteFile(s.config, []byte(providers), 0o600); err != nil {
		t.Fatal(err)
	}

	p, err := plane.Boot(t.Context(), plane.Config{
		Dir: filepath.Join(dir, "plane"), LogDir: filepath.Join(dir, "logs"),
		Etcd: paths[tools.Etcd], APIServer: paths[tools.KubeAPIServer], ControllerManager: paths[tools.KubeControllerManager],
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	s.kubeconfig = p.Kubeconfig()
	if s.Client, err = client.New(p.RESTConfig(), client.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := envtest.InstallCRDs(p.RESTConfig(), envtest.CRDInstallOptions{Paths: foreignCRDs(t, box), MaxTime: 2 * time.Minute}); err != nil {
		t.Fatal(err)
	}
	s.install(t)
	return s
}

// foreignCRDs are the folders with other projects' CRDs.
func foreignCRDs(t *testing.T, box tools.Toolbox) []string {
	t.Helper()
	var paths []string
	for module, dirs := range map[string][]string{
		tools.ClusterAPIModule: {
			"core/config/crd/bases", "bootstrap/kubeadm/config/crd/bases", "controlplane/kubeadm/config/crd/bases",
		},
		tools.IPAMInClusterModule:     {"config/crd/bases"},
		tools.BareMetalOperatorModule: {"config/base/crds/bases"},
	} {
		source, err := box.Source(t.Context(), module)
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range dirs {
			paths = append(paths, filepath.Join(source.Dir, dir))
		}
	}
	return paths
}

// install creates the components one by one as clusterctl prepares and creates them.
func (s *site) install(t *testing.T) {
	t.Helper()
	for _, object := range s.components(t) {
		if err := s.Create(t.Context(), object); err != nil {
			t.Fatalf("install %s %s: %v", object.GetKind(), object.GetName(), err)
		}
	}
}

func (s *site) components(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	return decode(t, s.clusterctl(t, nil, "generate", "provider", "--infrastructure", "edgemetal:"+version))
}

func (s *site) clusterctl(t *testing.T, env []string, args ...string) []byte {
	t.Helper()
	return s.run(t, env, s.tools[tools.Clusterctl], append([]string{"--config", s.config}, args...)...)
}

// run returns the command's stdout and fails the test when the command fails.
func (s *site) run(t *testing.T, env []string, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(append(os.Environ(), "KUBECONFIG="+s.kubeconfig), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, stderr.String())
	}
	return stdout.Bytes()
}

// decode reads documents as clusterctl does.
func decode(t *testing.T, documents []byte) []*unstructured.Unstructured {
	t.Helper()
	values, err := utilyaml.ToUnstructured(documents)
	if err != nil {
		t.Fatal(err)
	}
	objects := make([]*unstructured.Unstructured, len(values))
	for i := range values {
		objects[i] = &values[i]
	}
	return objects
}
