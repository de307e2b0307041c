// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package iron_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/bmo"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/metal3"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

// manager is a management cluster with an Iron.
type manager struct {
	client.Client
	config *rest.Config
	dir    string
}

// newManager starts an API server with Metal3's CRDs.
func newManager(t *testing.T) *manager {
	t.Helper()
	if testing.Short() {
		t.Skip("needs etcd and kube-apiserver, which take minutes to build")
	}
	root, err := tools.Root()
	if err != nil {
		t.Fatal(err)
	}
	box := tools.Toolbox{Root: root, Out: os.Stderr}
	assets, assetsErr := box.Assets(t.Context())
	source, sourceErr := box.Source(t.Context(), tools.BareMetalOperatorModule)
	if err := errors.Join(assetsErr, sourceErr); err != nil {
		t.Fatal(err)
	}
	crds, err := metal3.CRDs(source.Dir)
	if err != nil {
		t.Fatal(err)
	}
	environment := &envtest.Environment{
		BinaryAssetsDirectory: assets, CRDs: crds, CRDInstallOptions: envtest.CRDInstallOptions{MaxTime: 2 * time.Minute}, ControlPlaneStartTimeout: 3 * time.Minute, ControlPlaneStopTimeout: time.Minute,
	}
	config, err := environment.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := environment.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := bmov1.AddToScheme(scheme.Scheme); err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	c, err := client.New(config, client.Options{Scheme: scheme.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	return &manager{Client: c, config: config, dir: t.TempDir()}
}

// start runs an Iron until the test ends.
func (m *manager) start(t *testing.T, change func(*iron.Config)) {
	t.Helper()
	config := iron.Config{REST: m.config, StateDir: m.dir, KubernetesVersion: version, Latencies: &bmo.Latencies{
		Register: 10 * time.Millisecond, Provision: 100 * time.Millisecond, Retry: 50 * time.Millisecond,
	}}
	// Nothing here gets as far as a control plane: paths suffice.
	config.Programs = map[string]string{"etcd": "/etcd", "kube-apiserver": "/kube-apiserver", "kube-controller-manager": "/kube-controller-manager", "kube-scheduler": "/none"}
	change(&config)
	hardware, err := iron.New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- hardware.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func (m *manager) create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		if err := m.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
}

func newHost(name, mac string) *bmov1.BareMetalHost {
	return &bmov1.BareMetalHost{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Annotations: map[string]string{}},
		Spec: bmov1.BareMetalHostSpec{
			BMC:            bmov1.BMCDetails{Address: "redfish+http://192.0.2.9/redfish/v1/Systems/1", CredentialsName: name + "-bmc"},
			BootMACAddress: mac, Online: true,
		},
	}
}

func bmcSecret(host string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: host + "-bmc"},
		StringData: map[string]string{"username": "admin", "password": "secret"},
	}
}

func (m *manager) host(ctx context.Context, name string) (*bmov1.BareMetalHost, error) {
	host := &bmov1.BareMetalHost{}
	return host, m.Get(ctx, client.ObjectKey{Namespace: "default", Name: name}, host)
}

// await waits for a host to be as wanted.
func (m *manager) await(t *testing.T, name, what string, wanted func(*bmov1.BareMetalHost) bool) *bmov1.BareMetalHost {
	t.Helper()
	var host *bmov1.BareMetalHost
	eventually(t, name+" "+what, 30*time.Second, func(ctx context.Context) error {
		var err error
		if host, err = m.host(ctx, name); err != nil {
			return err
		}
		if !wanted(host) {
			return fmt.Errorf("status %+v", host.Status)
		}
		return nil
	})
	return host
}

func inState(state bmov1.ProvisioningState) func(*bmov1.BareMetalHost) bool {
	return func(host *bmov1.BareMetalHost) bool { return host.Status.Provisioning.State == state }
}

func (m *manager) change(t *testing.T, name string, change func(*bmov1.BareMetalHost)) {
	t.Helper()
	eventually(t, "change of "+name, time.Minute, func(ctx context.Context) error {
		host, err := m.host(ctx, name)
		if err != nil {
			return err
		}
		if host.Annotations == nil {
			host.Annotations = map[string]string{}
		}
		change(host)
		return m.Update(ctx, host)
	})
}

func image() *bmov1.Image {
	return &bmov1.Image{URL: "https://example.org/image.qcow2", Checksum: "https://example.org/image.qcow2.sha256", ChecksumType: bmov1.SHA256}
}

func (m *manager) console(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(m.dir, "default", name, "console.log"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(content)
}

func (m *manager) awaitConsole(t *testing.T, name, text string) {
	t.Helper()
	eventually(t, fmt.Sprintf("console of %s says %q", name, text), time.Minute, func(context.Context) error {
		if console := m.console(t, name); !strings.Contains(console, text) {
			return fmt.Errorf("it says:\n%s", console)
		}
		return nil
	})
}

// payload is a host's user data and network data, as Secrets.
func (m *manager) payload(t *testing.T, host, mac string) {
	t.Helper()
	m.create(t,
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: host + "-user"}, StringData: map[string]string{"value": greeting}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: host + "-network"}, Data: map[string][]byte{"networkData": networkData(t, mac, subnet+"90")}},
	)
}

func withPayload(host *bmov1.BareMetalHost) {
	host.Spec.Image = image()
	host.Spec.UserData = &corev1.SecretReference{Name: host.Name + "-user"}
	host.Spec.NetworkData = &corev1.SecretReference{Name: host.Name + "-network"}
}

const greeting = "#cloud-config\nwrite_files:\n- {path: /etc/greeting, content: hello}\nbootcmd: ['echo this is a boot']\nruncmd: ['cat /etc/greeting && no-such-program || echo status $?']\n"
