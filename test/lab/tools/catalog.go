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

// Names of what only images of hosts hold. Ensure builds them when they are named.
const (
	Kubelet        = "kubelet"
	Kubeadm        = "kubeadm"
	KubeProxy      = "kube-proxy"
	NodeEtcd       = "node-etcd"
	NodeEtcdctl    = "node-etcdctl"
	Containerd     = "containerd"
	ContainerdShim = "containerd-shim-runc-v2"
	ContainerdCtr  = "ctr"
	CoreDNS        = "coredns"
	KubeVIP        = "kube-vip"
)

// recipe says how a tool is built. module is a folder of test/tools whose go.mod pins requirement.
type recipe struct {
	module      string
	requirement string
	pkg         string // relative to requirement; empty for its root
	stamps      []stamp
	cold        string // how long it takes with an empty build cache on two cores
	onHosts     bool   // the lab itself does without
}

// stamp is a package with version variables of the names that ldflags knows, set at link time.
type stamp struct {
	pkg  string
	vars []string
}

func catalog() map[string]recipe {
	all := gitVariables()
	capi := func(pkg, cold string) recipe {
		return recipe{
			module: "capi", requirement: "sigs.k8s.io/cluster-api", pkg: pkg, cold: cold,
			stamps: []stamp{{"sigs.k8s.io/cluster-api/version", all}},
		}
	}
	recipes := map[string]recipe{
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
	for name, r := range hostRecipes() {
		r.onHosts = true
		recipes[name] = r
	}
	return recipes
}

// kubernetes is the recipe of a program of Kubernetes' own module.
func kubernetes(cmd, cold string) recipe {
	return recipe{
		module: "kubernetes", requirement: "k8s.io/kubernetes", pkg: "cmd/" + cmd, cold: cold,
		stamps: []stamp{{"k8s.io/component-base/version", gitVariables()}},
	}
}

// gitVariables are what Kubernetes' projects stamp.
func gitVariables() []string {
	return []string{"gitVersion", "gitMajor", "gitMinor", "gitTreeState"}
}

// hostRecipes are of what hosts run in addition.
func hostRecipes() map[string]recipe {
	containerd := func(cmd, cold string) recipe {
		return recipe{
			module: "containerd", requirement: "github.com/containerd/containerd/v2", pkg: "cmd/" + cmd, cold: cold,
			stamps: []stamp{{"github.com/containerd/containerd/v2/version", []string{"Version"}}},
		}
	}
	return map[string]recipe{
		Kubelet:        kubernetes(Kubelet, "1 minute"),
		Kubeadm:        kubernetes(Kubeadm, "30 seconds"),
		KubeProxy:      kubernetes(KubeProxy, "30 seconds"),
		Containerd:     containerd(Containerd, "1 minute"),
		ContainerdShim: containerd(ContainerdShim, "10 seconds"),
		ContainerdCtr:  containerd(ContainerdCtr, "20 seconds"),
		NodeEtcd:       {module: "node-etcd", requirement: "go.etcd.io/etcd/server/v3", cold: "1 minute"},
		NodeEtcdctl:    {module: "node-etcd", requirement: "go.etcd.io/etcd/etcdctl/v3", cold: "10 seconds"},
		CoreDNS:        {module: "coredns", requirement: "github.com/coredns/coredns", cold: "2 minutes"},
		KubeVIP: {
			module: "kubevip", requirement: "github.com/kube-vip/kube-vip", cold: "1 minute",
			stamps: []stamp{{"main", []string{"Version"}}},
		},
	}
}

// Names of all tools, sorted.
func Names() []string { return slices.Sorted(maps.Keys(catalog())) }

// labNames are those of the tools that the lab itself runs, sorted.
func labNames() []string {
	recipes := catalog()
	return slices.DeleteFunc(Names(), func(name string) bool { return recipes[name].onHosts })
}

// importPath of the package to build.
func (r recipe) importPath() string { return strings.TrimSuffix(r.requirement+"/"+r.pkg, "/") }

// ldflags strips symbols and stamps the version, which has the form "v1.36.3".
func (r recipe) ldflags(version string) string {
	major, rest, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	values := map[string]string{
		"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean", "Version": version,
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
