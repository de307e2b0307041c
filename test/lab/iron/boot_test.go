// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package iron_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"sigs.k8s.io/cluster-api/util/secret"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/hardware"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/kubelet"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/machine"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

const (
	version   = "v1.36.3"
	subnet    = "127.93.7."
	virtualIP = subnet + "10"
	token     = "abcdef.0123456789abcdef"
)

// newRack is a rack with the real programs.
func newRack(t *testing.T, dir string) *machine.Rack {
	t.Helper()
	return newRackWith(t, dir, nil)
}

// newRackWith is a rack whose hosts have container images as well.
func newRackWith(t *testing.T, dir string, images map[string]kubelet.Program) *machine.Rack {
	t.Helper()
	if testing.Short() {
		t.Skip("needs etcd and kube-apiserver, which take minutes to build")
	}
	programs, err := tools.Ensure(t.Context(), tools.Etcd, tools.KubeAPIServer, tools.KubeControllerManager, tools.KubeScheduler)
	if err != nil {
		t.Fatal(err)
	}
	rack := iron.NewRack(iron.Config{
		StateDir: dir, Programs: programs, Images: images, KubernetesVersion: version, Log: logr.Discard(),
		DHCP: &machine.DHCPRange{First: netip.MustParseAddr(subnet + "200"), Last: netip.MustParseAddr(subnet + "210"), Bits: 24},
	})
	t.Cleanup(rack.Close)
	return rack
}

func switchOn(t *testing.T, rack *machine.Rack, name, address string, userData []byte) {
	t.Helper()
	host := &bmov1.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	details, err := hardware.Inspect(host)
	if err != nil {
		t.Fatal(err)
	}
	key := types.NamespacedName{Namespace: "default", Name: name}
	computer := hardware.Machine{UID: "uid-of-" + name, Hardware: details, NICs: hardware.NICs(details, false)}
	metaData := fmt.Appendf(nil, `{"uuid": "uid-of-%s", "local-hostname": %q, "local_hostname": %q}`, name, name, name)
	drive := hardware.Drive{UserData: userData, NetworkData: networkData(t, computer.NICs[0].MAC, address), MetaData: metaData}
	if err := rack.Deploy(key, computer, "https://example.org/image.qcow2", drive); err != nil {
		t.Fatal(err)
	}
	if err := rack.PowerOn(key, computer); err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, limit time.Duration, test func(ctx context.Context) error) {
	t.Helper()
	begin := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for {
		err := test(ctx)
		if err == nil {
			t.Logf("%s: after %s", what, time.Since(begin).Round(time.Millisecond))
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %s: %v", what, limit, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func nodeReady(clients kubernetes.Interface, name string, into *corev1.Node) func(context.Context) error {
	return func(ctx context.Context) error {
		node, err := clients.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		*into = *node
		for _, condition := range node.Status.Conditions {
			if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("node %s is not ready", name)
	}
}

func TestClusterBootsFromRealPayloads(t *testing.T) {
	dir := t.TempDir()
	rack := newRack(t, dir)
	s := newSite(t)
	t.Cleanup(func() {
		if t.Failed() {
			printConsoles(t, dir)
		}
	})
	switchOn(t, rack, "host-a", subnet+"20", wrap(t, s.initPayload(t), "edgemetal://default/host-a/m0", subnet+"20", true))
	clients := s.workloadClient(t)
	node := &corev1.Node{}
	eventually(t, "first control-plane node ready", 2*time.Minute, nodeReady(clients, "host-a", node))
	if node.Spec.ProviderID != "edgemetal://default/host-a/m0" {
		t.Errorf("provider ID %q", node.Spec.ProviderID)
	}
	if got := node.Status.Addresses[0].Address; got != subnet+"20" {
		t.Errorf("internal address %s", got)
	}
	eventually(t, "control plane marked", time.Minute, func(ctx context.Context) error {
		if err := nodeReady(clients, "host-a", node)(ctx); err != nil {
			return err
		}
		if _, ok := node.Labels["node-role.kubernetes.io/control-plane"]; !ok || !hasTaint(node, "node-role.kubernetes.io/control-plane") {
			return fmt.Errorf("labels %v, taints %v", node.Labels, node.Spec.Taints)
		}
		return nil
	})
	eventually(t, "static pods ready", 3*time.Minute, podsReady(clients, "etcd-host-a", "kube-apiserver-host-a", "kube-controller-manager-host-a", "kube-scheduler-host-a", "kube-vip-host-a"))

	etcdAnswers(t, clientConfig(t, s.certificates.GetByPurpose(secret.ClusterCA).KeyPair), "etcd-host-a")

	switchOn(t, rack, "host-b", subnet+"21", wrap(t, s.workerPayload(t), "edgemetal://default/host-b/m1", subnet+"21", false))
	eventually(t, "worker node ready", 3*time.Minute, nodeReady(clients, "host-b", node))
	if node.Spec.ProviderID != "edgemetal://default/host-b/m1" || !hasTaint(node, "example.org/starting") {
		t.Errorf("provider ID %q, taints %v", node.Spec.ProviderID, node.Spec.Taints)
	}

	switchOn(t, rack, "host-c", subnet+"22", wrap(t, s.controlPlanePayload(t), "edgemetal://default/host-c/m2", subnet+"22", true))
	eventually(t, "second control-plane node ready", 3*time.Minute, nodeReady(clients, "host-c", node))
	eventually(t, "its static pods ready", 3*time.Minute, podsReady(clients, "etcd-host-c", "kube-apiserver-host-c", "kube-controller-manager-host-c"))
	for _, name := range []string{"host-a", "host-b", "host-c"} {
		eventually(t, name+" finished cloud-init", 3*time.Minute, func(context.Context) error {
			_, err := os.Stat(filepath.Join(dir, "default", name, "root/var/log/booted"))
			return err
		})
	}
	keys, err := os.ReadFile(filepath.Join(dir, "default/host-a/root/home/ops/.ssh/authorized_keys"))
	if err != nil || !strings.HasPrefix(string(keys), "ssh-ed25519 AAAA") {
		t.Errorf("authorized keys of user ops: %q, %v", keys, err)
	}
	if err := rack.PowerOff(types.NamespacedName{Namespace: "default", Name: "host-b"}); err != nil {
		t.Fatal(err)
	}
	rack.Close()
	if err := rack.Restore(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "API back after a restart of the lab", 3*time.Minute, nodeReady(clients, "host-c", node))
}

// etcdAnswers looks at an etcd member as the kubeadm control plane provider does: through the API server's
// port forwarding, which goes to the kubelet.
func etcdAnswers(t *testing.T, config *rest.Config, pod string) {
	t.Helper()
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(config.Host + "/api/v1/namespaces/kube-system/pods/" + pod + "/portforward")
	if err != nil {
		t.Fatal(err)
	}
	stop, ready := make(chan struct{}), make(chan struct{})
	forwarder, err := portforward.New(spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, target), []string{"0:2379"}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() { failed <- forwarder.ForwardPorts() }()
	defer close(stop)
	select {
	case <-ready:
	case err := <-failed:
		t.Fatal(err)
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		t.Fatal(err)
	}
	connection, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[0].Local), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatalf("no TLS with etcd through the port: %v", err)
	}
	defer connection.Close()
	if name := connection.ConnectionState().PeerCertificates[0].Issuer.CommonName; name != "kubernetes" && name != "etcd-ca" {
		t.Errorf("the certificate is from %q, not from the etcd CA", name)
	}
}

func hasTaint(node *corev1.Node, key string) bool {
	return slices.ContainsFunc(node.Spec.Taints, func(taint corev1.Taint) bool { return taint.Key == key })
}

func podsReady(clients kubernetes.Interface, names ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, name := range names {
			pod, err := clients.CoreV1().Pods("kube-system").Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			ready := slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
				return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
			})
			if !ready || pod.Status.Phase != corev1.PodRunning {
				return fmt.Errorf("pod %s is %s and not ready", name, pod.Status.Phase)
			}
		}
		return nil
	}
}

func printConsoles(t *testing.T, dir string) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, "*", "*", "console.log"))
	for _, file := range files {
		content, _ := os.ReadFile(file)
		t.Logf("%s:\n%s", file, content)
	}
}
