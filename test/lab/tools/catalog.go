// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package tools

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
)

// Names of what Ensure can build.
const (
	Etcd                   = "etcd"
	KubeAPIServer          = "kube-apiserver"
	KubeControllerManager  = "kube-controller-manager"
	KubeScheduler          = "kube-scheduler"
	Kubectl                = "kubectl"
	Clusterctl             = "clusterctl"
	ClusterAPICore         = "cluster-api-core"
	ClusterAPIBootstrap    = "cluster-api-kubeadm-bootstrap"
	ClusterAPIControlPlane = "cluster-api-kubeadm-control-plane"
	IPAMInCluster          = "ipam-in-cluster"
)

// recipe says how a tool is built. module is a folder of test/tools whose go.mod pins requirement.
type recipe struct {
	module      string
	requirement string
	pkg         string // relative to requirement; empty for its root
	stamps      []stamp
	cold        string // how long it takes with an empty build cache on two cores
}

// stamp is a package with the usual git* version variables, set at link time.
type stamp struct {
	pkg  string
	vars []string
}

func catalog() map[string]recipe {
	all := []string{"gitVersion", "gitMajor", "gitMinor", "gitTreeState"}
	kubernetes := func(cmd, cold string) recipe {
		return recipe{
			module: "kubernetes", requirement: "k8s.io/kubernetes", pkg: "cmd/" + cmd, cold: cold,
			stamps: []stamp{{"k8s.io/component-base/version", all}},
		}
	}
	capi := func(pkg, cold string) recipe {
		return recipe{
			module: "capi", requirement: "sigs.k8s.io/cluster-api", pkg: pkg, cold: cold,
			stamps: []stamp{{"sigs.k8s.io/cluster-api/version", all}},
		}
	}
	return map[string]recipe{
		Etcd:                   {module: "etcd", requirement: "go.etcd.io/etcd/server/v3", cold: "1 minute"},
		KubeAPIServer:          kubernetes("kube-apiserver", "4 minutes"),
		KubeControllerManager:  kubernetes("kube-controller-manager", "2 minutes"),
		KubeScheduler:          kubernetes("kube-scheduler", "30 seconds"),
		Kubectl:                kubernetes("kubectl", "1 minute"),
		Clusterctl:             capi("cmd/clusterctl", "1 minute"),
		ClusterAPICore:         capi("core", "1 minute"),
		ClusterAPIBootstrap:    capi("bootstrap/kubeadm", "30 seconds"),
		ClusterAPIControlPlane: capi("controlplane/kubeadm", "30 seconds"),
		IPAMInCluster: {
			module: "ipam", requirement: "sigs.k8s.io/cluster-api-ipam-provider-in-cluster", cold: "1 minute",
			stamps: []stamp{{"sigs.k8s.io/cluster-api-ipam-provider-in-cluster/version", all}},
		},
	}
}

// Names of all tools, sorted.
func Names() []string { return slices.Sorted(maps.Keys(catalog())) }

// importPath of the package to build.
func (r recipe) importPath() string { return strings.TrimSuffix(r.requirement+"/"+r.pkg, "/") }

// ldflags strips symbols and stamps the version, which has the form "v1.36.3".
func (r recipe) ldflags(version string) string {
	major, rest, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	values := map[string]string{
		"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean",
	}
	flags := []string{"-s", "-w"}
	for _, s := range r.stamps {
		for _, name := range s.vars {
			flags = append(flags, fmt.Sprintf("-X %s.%s=%s", s.pkg, name, values[name]))
		}
	}
	return strings.Join(flags, " ")
}

// Root finds the repository: the nearest folder upwards from the working directory that holds
// test/tools.
func Root() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "test", "tools", "kubernetes", "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("find the repository: no folder from %s upwards holds test/tools; run inside a clone", start)
		}
	}
}

// pinned reads the version that the module in dir requires of a requirement.
func pinned(dir, requirement string) (string, error) {
	path := filepath.Join(dir, "go.mod")
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the pinned version of %s: %w", requirement, err)
	}
	file, err := modfile.ParseLax(path, data, nil)
	if err != nil {
		return "", fmt.Errorf("read the pinned version of %s: %w", requirement, err)
	}
	for _, r := range file.Require {
		if r.Mod.Path == requirement {
			return r.Mod.Version, nil
		}
	}
	return "", fmt.Errorf("%s does not require %s", path, requirement)
}
