// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package apiserver runs a kube-apiserver with etcd, both built by the lab's toolbox, and installs on it what a management
// cluster has before our manager starts: the CRDs of Cluster API, of baremetal-operator and of this provider, and our policy.
package apiserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ipamv1 "sigs.k8s.io/cluster-api/api/ipam/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

// Server is a running API server.
type Server struct {
	// Config of an administrator.
	Config *rest.Config
	// Scheme with every type that the server serves.
	Scheme *runtime.Scheme
	// Client that reads from the server, not from a cache.
	Client client.WithWatch

	environment *envtest.Environment
}

// Start builds what is missing, starts the server and installs CRDs and policy. Stop the server when done.
func Start(ctx context.Context) (*Server, error) {
	root, err := tools.Root()
	if err != nil {
		return nil, err
	}
	crds, err := crdFolders(ctx, tools.Toolbox{Root: root, Out: os.Stderr})
	if err != nil {
		return nil, err
	}
	server, err := start(ctx, root, crds)
	if err != nil {
		return nil, err
	}
	if err := server.applyFile(ctx, filepath.Join(root, "config", "policy", "template_immutability.yaml")); err != nil {
		return nil, errors.Join(err, server.Stop())
	}
	return server, nil
}

// StartBare starts a server as it is in a new workload cluster, with nothing on it. Stop the server when done.
func StartBare(ctx context.Context) (*Server, error) {
	root, err := tools.Root()
	if err != nil {
		return nil, err
	}
	return start(ctx, root, nil)
}

func start(ctx context.Context, root string, crds []string) (*Server, error) {
	toolbox := tools.Toolbox{Root: root, Out: os.Stderr}
	assets, err := toolbox.Assets(ctx)
	if err != nil {
		return nil, err
	}
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	environment := &envtest.Environment{
		Scheme:                scheme,
		BinaryAssetsDirectory: assets,
		CRDDirectoryPaths:     crds,
		ErrorIfCRDPathMissing: true,
		CRDInstallOptions:     envtest.CRDInstallOptions{MaxTime: 2 * time.Minute},

		ControlPlaneStartTimeout: 3 * time.Minute, ControlPlaneStopTimeout: time.Minute,
	}
	config, err := environment.Start()
	if err != nil {
		return nil, fmt.Errorf("starting the API server: %w", err)
	}
	config.QPS, config.Burst = 1000, 2000
	server := &Server{Config: config, Scheme: scheme, environment: environment}
	if server.Client, err = client.NewWithWatch(config, client.Options{Scheme: scheme}); err != nil {
		return nil, errors.Join(fmt.Errorf("creating a client: %w", err), environment.Stop())
	}
	return server, nil
}

// Stop the server.
func (s *Server) Stop() error { return s.environment.Stop() }

// applyFile creates the objects of a YAML file.
func (s *Server) applyFile(ctx context.Context, path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading objects: %w", err)
	}
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(object); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading an object of %s: %w", filepath.Base(path), err)
		}
		if err := s.Client.Create(ctx, object); err != nil {
			return fmt.Errorf("creating %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
}

// crdFolders are where the CRDs lie: our own, and those of the modules that the lab pins.
func crdFolders(ctx context.Context, toolbox tools.Toolbox) ([]string, error) {
	folders := []string{filepath.Join(toolbox.Root, "config", "crd", "bases")}
	for module, folder := range map[string]string{
		tools.ClusterAPIModule:        filepath.Join("core", "config", "crd", "bases"),
		tools.BareMetalOperatorModule: filepath.Join("config", "base", "crds", "bases"),
	} {
		source, err := toolbox.Source(ctx, module)
		if err != nil {
			return nil, err
		}
		folders = append(folders, filepath.Join(source.Dir, folder))
	}
	return folders, nil
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, clusterv1.AddToScheme, ipamv1.AddToScheme, bmov1.AddToScheme, infrav1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("building the scheme: %w", err)
		}
	}
	return scheme, nil
}
