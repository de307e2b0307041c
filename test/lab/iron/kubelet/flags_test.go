// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/netdata"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/rootfs"
)

const configFile = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
staticPodPath: /etc/kubernetes/manifests
providerID: from-file
maxPods: 50
authentication: {x509: {clientCAFile: /etc/kubernetes/pki/ca.crt}}
registerWithTaints: [{key: a, effect: NoSchedule}]
`

func disk(t *testing.T) rootfs.FS {
	t.Helper()
	root := rootfs.New(t.TempDir())
	if err := root.Write("/config.yaml", []byte(configFile), 0o600); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestParseArgs(t *testing.T) {
	got, err := ParseArgs(strings.Fields(
		"--config=/config.yaml --kubeconfig /kubelet.conf --provider-id=first --provider-id=edgemetal://x --node-ip=192.0.2.20 --hostname-override=Node-1 "+
			"--node-labels=a=b,c=d --register-with-taints=k=v:NoSchedule,l:NoExecute --cloud-provider=external --v=2 --rotate-certificates"), disk(t), "host-1")
	if err != nil {
		t.Fatal(err)
	}
	want := &Settings{
		Kubeconfig: "/kubelet.conf", ManifestDir: "/etc/kubernetes/manifests", ClientCAFile: "/etc/kubernetes/pki/ca.crt",
		NodeName: "node-1", NodeIP: netip.MustParseAddr("192.0.2.20"), ProviderID: "edgemetal://x", Labels: map[string]string{"a": "b", "c": "d"},
		Taints:  []corev1.Taint{{Key: "k", Value: "v", Effect: corev1.TaintEffectNoSchedule}, {Key: "l", Effect: corev1.TaintEffectNoExecute}},
		MaxPods: 50, ExternalCloud: true,
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	fromFile, err := ParseArgs([]string{"--config=/config.yaml"}, disk(t), "Host-1")
	if err != nil || fromFile.ProviderID != "from-file" || fromFile.NodeName != "host-1" || len(fromFile.Taints) != 1 {
		t.Errorf("settings of the file: %+v, %v", fromFile, err)
	}
}

func TestParseArgsRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"--provider-ip=x":                     "unknown flag: --provider-ip",
		"run":                                 `unknown command "run"`,
		"--config=/missing.yaml":              "/missing.yaml",
		"--node-ip=host":                      `bad --node-ip "host"`,
		"--node-labels=a":                     "want key=value",
		"--register-with-taints=a=b:Sometime": "want key=value:Effect",
		"--max-pods=many":                     "--max-pods",
	} {
		if _, err := ParseArgs(strings.Fields(args), disk(t), "host-1"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", args, err, want)
		}
	}
}

func TestChooseNodeIP(t *testing.T) {
	address := netip.MustParseAddr
	interfaces := []netdata.Interface{
		{Name: "storage"},
		{Name: "storage.5", Addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.20/24")}},
		{Name: "uplink0", Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.20/24")}, DefaultGateway: address("192.0.2.1")},
	}
	for name, test := range map[string]struct{ wanted, want netip.Addr }{
		"the default route's interface": {netip.Addr{}, address("192.0.2.20")},
		"--node-ip":                     {address("198.51.100.20"), address("198.51.100.20")},
	} {
		if got, err := chooseNodeIP(test.wanted, interfaces); err != nil || got != test.want {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	if got, err := chooseNodeIP(netip.Addr{}, interfaces[:2]); err != nil || got != address("198.51.100.20") {
		t.Errorf("no default route: %s, %v", got, err)
	}
	if _, err := chooseNodeIP(address("203.0.113.1"), interfaces); err == nil || !strings.Contains(err.Error(), "not found in the host's network interfaces") {
		t.Errorf("an address of another host: %v", err)
	}
	if _, err := chooseNodeIP(netip.Addr{}, nil); err == nil {
		t.Error("no interfaces: no error")
	}
}

func TestLocalArgs(t *testing.T) {
	k := &instance{Host: Host{Disk: disk(t)}, nodeIP: netip.MustParseAddr("127.64.10.20")}
	root := k.Disk.Dir()
	for program, test := range map[string]struct{ args, want []string }{
		"etcd": {
			[]string{"--data-dir=/var/lib/etcd", "--listen-client-urls=https://127.0.0.1:2379,https://127.64.10.20:2379", "--name=a"},
			[]string{"--data-dir=" + root + "/var/lib/etcd", "--listen-client-urls=https://127.64.10.20:2379", "--name=a", "--unsafe-no-fsync"},
		},
		"kube-apiserver": {
			[]string{"--etcd-servers=https://127.0.0.1:2379", "--service-cluster-ip-range=10.96.0.0/12"},
			[]string{"--etcd-servers=https://127.64.10.20:2379", "--service-cluster-ip-range=10.96.0.0/12", "--bind-address=127.64.10.20", "--endpoint-reconciler-type=none"},
		},
		"kube-controller-manager": {[]string{"--bind-address=127.0.0.1", "--leader-elect=true"}, []string{"--bind-address=127.64.10.20", "--leader-elect=true"}},
	} {
		c := &container{k: k, spec: &corev1.Container{Command: []string{program}}}
		got, err := c.localArgs(test.args)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", program, diff)
		}
	}
}
