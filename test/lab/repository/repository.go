// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package repository builds a local clusterctl repository from the kustomize trees in the providers'
// own modules, and a clusterctl configuration that names it.
package repository

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"
	"sigs.k8s.io/kustomize/api/filters/imagetag"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

// ConfigFile is the name of the clusterctl configuration in the repository's folder.
const ConfigFile = "clusterctl.yaml"

// Options say what to build and where.
type Options struct {
	// Dir of the repository; an absolute path, which clusterctl requires.
	Dir string
	// Toolbox finds the modules.
	Toolbox tools.Toolbox
	// EdgeMetal is the components file of this repository's provider as `make release` writes it:
	// an absolute path ending in infrastructure-edgemetal/<version>/infrastructure-components.yaml.
	// Without it the configuration does not name the provider.
	EdgeMetal string
}

// upstream is a provider that is built from a module's kustomize tree.
type upstream struct {
	name       string
	kind       clusterctlv1.ProviderType
	module     string
	tree       string // folder of the kustomization in the module
	components string // file name that clusterctl expects
	image      string // image that the tree names, without tag
	release    string // image of a release, without tag
}

func upstreams() []upstream {
	const staging, released = "gcr.io/k8s-staging-cluster-api/", "registry.k8s.io/cluster-api/"
	return []upstream{
		{
			name: "cluster-api", kind: clusterctlv1.CoreProviderType, module: tools.ClusterAPIModule,
			tree: "core/config/default", components: "core-components.yaml",
			image: staging + "cluster-api-controller", release: released + "cluster-api-controller",
		},
		{
			name: "kubeadm", kind: clusterctlv1.BootstrapProviderType, module: tools.ClusterAPIModule,
			tree: "bootstrap/kubeadm/config/default", components: "bootstrap-components.yaml",
			image: staging + "kubeadm-bootstrap-controller", release: released + "kubeadm-bootstrap-controller",
		},
		{
			name: "kubeadm", kind: clusterctlv1.ControlPlaneProviderType, module: tools.ClusterAPIModule,
			tree: "controlplane/kubeadm/config/default", components: "control-plane-components.yaml",
			image: staging + "kubeadm-control-plane-controller", release: released + "kubeadm-control-plane-controller",
		},
		{
			name: "in-cluster", kind: clusterctlv1.IPAMProviderType, module: tools.IPAMInClusterModule,
			tree: "config/default", components: "ipam-components.yaml",
			image:   "gcr.io/k8s-staging-capi-ipam-ic/cluster-api-ipam-in-cluster-controller",
			release: "registry.k8s.io/capi-ipam-ic/cluster-api-ipam-in-cluster-controller",
		},
	}
}

// configuration is the part of clusterctl's configuration that is used here.
type configuration struct {
	Providers []provider `json:"providers"`
	// Overrides points away from the user's own folder of overrides.
	Overrides string `json:"overridesFolder"`
}

type provider struct {
	Name string                    `json:"name"`
	Type clusterctlv1.ProviderType `json:"type"`
	URL  string                    `json:"url"`
}

// Build writes the repository and returns the path of its clusterctl configuration. What is there
// already is overwritten.
func Build(ctx context.Context, o Options) (string, error) {
	config := configuration{Overrides: filepath.Join(o.Dir, "overrides")}
	for _, u := range upstreams() {
		url, err := u.build(ctx, o)
		if err != nil {
			return "", fmt.Errorf("build the components of provider %s: %w", clusterctlv1.ManifestLabel(u.name, u.kind), err)
		}
		config.Providers = append(config.Providers, provider{Name: u.name, Type: u.kind, URL: url})
	}
	if o.EdgeMetal != "" {
		if _, err := os.Stat(o.EdgeMetal); err != nil {
			return "", fmt.Errorf("look for this repository's provider, which `make release` writes: %w", err)
		}
		config.Providers = append(config.Providers, provider{
			Name: "edgemetal", Type: clusterctlv1.InfrastructureProviderType, URL: o.EdgeMetal,
		})
	}
	data, err := yaml.Marshal(config)
	if err != nil {
		return "", fmt.Errorf("encode the clusterctl configuration: %w", err)
	}
	path := filepath.Join(o.Dir, ConfigFile)
	if err := os.WriteFile(path, data, 0o644); err != nil {
		return "", fmt.Errorf("write the clusterctl configuration: %w", err)
	}
	return path, nil
}

// build writes one provider's folder, <dir>/<label>/<version>/, and returns its components file.
func (u upstream) build(ctx context.Context, o Options) (string, error) {
	source, err := o.Toolbox.Source(ctx, u.module)
	if err != nil {
		return "", err
	}
	components, err := u.render(source)
	if err != nil {
		return "", err
	}
	metadata, err := os.ReadFile(filepath.Join(source.Dir, "metadata.yaml"))
	if err != nil {
		return "", fmt.Errorf("read the metadata of %s: %w", u.module, err)
	}
	dir := filepath.Join(o.Dir, clusterctlv1.ManifestLabel(u.name, u.kind), source.Version)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("create the provider's folder: %w", err)
	}
	path := filepath.Join(dir, u.components)
	if err := os.WriteFile(path, components, 0o644); err != nil {
		return "", fmt.Errorf("write the components: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "metadata.yaml"), metadata, 0o644); err != nil {
		return "", fmt.Errorf("write the metadata: %w", err)
	}
	return path, nil
}

// render runs kustomize on the provider's tree and names the images of its release.
func (u upstream) render(source tools.Source) ([]byte, error) {
	tree := filepath.Join(source.Dir, filepath.FromSlash(u.tree))
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), tree)
	if err != nil {
		return nil, fmt.Errorf("run kustomize in %s: %w", tree, err)
	}
	rename := imagetag.Filter{
		ImageTag: types.Image{Name: u.image, NewName: u.release, NewTag: source.Version},
		FsSlice:  types.FsSlice{{Path: "spec/template/spec/containers[]/image"}},
	}
	if err := resources.ApplyFilter(rename); err != nil {
		return nil, fmt.Errorf("name the released image: %w", err)
	}
	components, err := resources.AsYaml()
	if err != nil {
		return nil, fmt.Errorf("encode the components: %w", err)
	}
	if !strings.Contains(string(components), u.release+":"+source.Version) {
		return nil, errors.New("image " + u.image + " is not in " + tree)
	}
	return components, nil
}
