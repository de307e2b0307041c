// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	controlplanev1 "sigs.k8s.io/cluster-api/api/controlplane/kubeadm/v1beta2"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ipamv1 "sigs.k8s.io/cluster-api/api/ipam/v1beta2"
	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/certs"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/images"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/metal3"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/providers"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/repository"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/services"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

// KubernetesVersion is that of the management cluster and of the image that simulated hosts boot.
const KubernetesVersion = "v1.36.3"

const edgemetalLabel = "infrastructure-edgemetal"

var errEarly = errors.New("the lab did not ask for that")

// materials is what a lab is made of before anything runs.
type materials struct {
	paths            tools.Paths
	programs         map[string]string // by provider label
	tree             tools.Tree
	crds             []*apiextensionsv1.CustomResourceDefinition
	clusterctlConfig string
}

// gather builds what is missing and reads what gets installed.
func gather(ctx context.Context, o Options) (materials, error) {
	root, err := tools.Root()
	if err != nil {
		return materials{}, err
	}
	box := tools.Toolbox{Root: root, Out: o.Out}
	paths, err := box.Ensure(ctx)
	if err != nil {
		return materials{}, err
	}
	m := materials{paths: paths, programs: map[string]string{
		"cluster-api":           paths[tools.ClusterAPICore],
		"bootstrap-kubeadm":     paths[tools.ClusterAPIBootstrap],
		"control-plane-kubeadm": paths[tools.ClusterAPIControlPlane],
		"ipam-in-cluster":       paths[tools.IPAMInCluster],
	}}
	if m.crds, err = installed(ctx, box); err != nil {
		return materials{}, err
	}
	m.clusterctlConfig, err = repository.Build(ctx, repository.Options{
		Dir: filepath.Join(o.Dir, "repository"), Toolbox: box, EdgeMetal: o.EdgeMetal,
	})
	if err != nil {
		return materials{}, err
	}
	if o.EdgeMetal == "" {
		return m, nil
	}
	if m.tree, err = box.Tree(ctx); err != nil {
		return materials{}, err
	}
	m.programs[edgemetalLabel] = cmp.Or(o.Manager, m.tree.Manager)
	return m, nil
}

// installed are the CRDs of what the lab plays.
func installed(ctx context.Context, box tools.Toolbox) ([]*apiextensionsv1.CustomResourceDefinition, error) {
	var crds []*apiextensionsv1.CustomResourceDefinition
	for module, read := range map[string]func(string) ([]*apiextensionsv1.CustomResourceDefinition, error){
		tools.CertManagerModule:       certs.CRDs,
		tools.BareMetalOperatorModule: metal3.CRDs,
	} {
		source, err := box.Source(ctx, module)
		if err != nil {
			return nil, err
		}
		more, err := read(source.Dir)
		if err != nil {
			return nil, err
		}
		crds = append(crds, more...)
	}
	return crds, nil
}

// play installs the CRDs and starts the parts that the lab plays.
func (l *Lab) play(ctx context.Context, o Options, m materials, proxy *services.Proxy) error {
	scheme, err := Scheme()
	if err != nil {
		return err
	}
	config := l.plane.RESTConfig()
	if _, err := envtest.InstallCRDs(config, envtest.CRDInstallOptions{CRDs: m.crds, Scheme: scheme, MaxTime: 2 * time.Minute}); err != nil {
		return fmt.Errorf("install the lab's CRDs: %w", err)
	}
	if l.api, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("make a client of the management cluster: %w", err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "cert-manager"}}
	if err := client.IgnoreAlreadyExists(l.api.Create(ctx, namespace)); err != nil {
		return fmt.Errorf("create namespace cert-manager: %w", err)
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{Scheme: scheme, Logger: o.Log, Metrics: metricsserver.Options{BindAddress: "0"}})
	if err != nil {
		return fmt.Errorf("make the lab's manager: %w", err)
	}
	if err := certs.Add(mgr, l.plane.Authority()); err != nil {
		return err
	}
	l.node, err = providers.Add(mgr, providers.Config{
		Programs: maps.Clone(m.programs), Dir: filepath.Join(l.Dir, "pods"), LogDir: l.LogDir, Env: assignments(l.proxyVariables()), Log: o.Log,
	})
	if err != nil {
		return err
	}
	hardware, err := l.hardware(o, m)
	if err != nil {
		return err
	}
	serving, err := l.plane.Authority().ServerTLS("service-proxy", netip.MustParseAddr("127.0.0.1"))
	if err != nil {
		return err
	}
	server, err := l.Site.serve(ctx, o.ChartsDir, l.disks())
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx)) // ctx bounds only the start
	l.stop = stop
	l.run(running, "the proxy to Services", func(ctx context.Context) error {
		return proxy.Serve(ctx, serving, l.node.Resolve, o.Log)
	})
	l.run(running, "the lab's manager", mgr.Start)
	l.run(running, "the control plane", l.plane.Wait)
	l.run(running, "the site's web server", server)
	if l.virtual != nil {
		l.run(running, "the network of the virtual hosts", l.virtual.network.Run)
	}
	if hardware != nil {
		l.run(running, "the hosts", l.hosts(hardware))
	}
	if !mgr.GetCache().WaitForCacheSync(ctx) {
		return errors.New("the lab's manager did not read the management cluster in time")
	}
	return nil
}

// hardware makes the hosts; nil when they are not wanted.
func (l *Lab) hardware(o Options, m materials) (*iron.Iron, error) {
	if o.WithoutIron {
		return nil, nil
	}
	config := iron.Config{
		REST:     l.plane.RESTConfig(),
		StateDir: l.HostDir(),
		Programs: map[string]string{
			tools.Etcd:                  m.paths[tools.Etcd],
			tools.KubeAPIServer:         m.paths[tools.KubeAPIServer],
			tools.KubeControllerManager: m.paths[tools.KubeControllerManager],
			tools.KubeScheduler:         m.paths[tools.KubeScheduler],
		},
		Images: images.New(images.Config{
			EdgeAgent: m.tree.EdgeAgent, FakeVPP: m.tree.FakeVPP, Wire: filepath.Join(l.HostDir(), "wire"),
		}),
		KubernetesVersion: KubernetesVersion,
		DHCP:              l.Site.dhcp(),
		Log:               o.Log,
	}
	config.Virtual = l.Rack()
	if o.Iron != nil {
		o.Iron(&config)
	}
	hardware, err := iron.New(config)
	if err != nil {
		return nil, fmt.Errorf("make the hosts: %w", err)
	}
	return hardware, nil
}

// Scheme knows every type that the lab handles.
func Scheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	builder := runtime.NewSchemeBuilder(
		clientgoscheme.AddToScheme,
		apiextensionsv1.AddToScheme,
		certmanagerv1.AddToScheme,
		bmov1.AddToScheme,
		clusterv1.AddToScheme,
		clusterctlv1.AddToScheme,
		controlplanev1.AddToScheme,
		ipamv1.AddToScheme,
		infrav1.AddToScheme,
	)
	if err := builder.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("make the lab's scheme: %w", err)
	}
	return scheme, nil
}
