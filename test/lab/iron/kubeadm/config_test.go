// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"bytes"
	"context"
	"net/netip"
	"strings"
	"testing"

	kubeadmv1 "sigs.k8s.io/cluster-api/bootstrap/kubeadm/pkg/types/upstreamv1beta4"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/netdata"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/rootfs"
)

func newHost(t *testing.T, config string) Host {
	t.Helper()
	disk := rootfs.New(t.TempDir())
	if err := disk.Write("/run/kubeadm.yaml", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return Host{
		Disk: disk, Hostname: "host-1", CPUs: 4, MemoryMiB: 4096, Version: "v1.36.3",
		Interfaces:     []netdata.Interface{{Name: "uplink0", Addresses: []netip.Prefix{netip.MustParsePrefix("127.93.8.20/24")}}},
		RestartKubelet: func(context.Context) error { return nil },
	}
}

const (
	initHeader = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n"
	clusterDoc = "---\napiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n"
	joinHeader = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\n"
)

func TestRefusal(t *testing.T) {
	tests := map[string]struct{ args, config, want string }{
		"unknown command":         {"upgrade", "", `unknown command "upgrade"`},
		"unknown flag":            {"init --confg x", "", "unknown flag: --confg"},
		"no config":               {"init", "", "needs --config"},
		"missing file":            {"init --config /none", "", "/none"},
		"unknown field":           {"init --config /run/kubeadm.yaml", initHeader + "nodeRegistraton: {}\n", `unknown field "nodeRegistraton"`},
		"unknown kind":            {"init --config /run/kubeadm.yaml", "apiVersion: kubeadm.k8s.io/v1beta4\nkind: Init\n", `no kind "Init"`},
		"old version":             {"init --config /run/kubeadm.yaml", "apiVersion: kubeadm.k8s.io/v1beta2\nkind: InitConfiguration\n", `version "kubeadm.k8s.io/v1beta2"`},
		"init with a join config": {"init --config /run/kubeadm.yaml", joinHeader, "init does not take"},
		"join without its config": {"join --config /run/kubeadm.yaml", initHeader, "no JoinConfiguration"},
		"join without discovery":  {"join --config /run/kubeadm.yaml", joinHeader, "neither bootstrapToken nor file"},
		"join without pinned CA":  {"join --config=/run/kubeadm.yaml", joinHeader + "discovery: {bootstrapToken: {token: abcdef.0123456789abcdef, apiServerEndpoint: '127.93.8.1:6443'}}\n", "without caCertHashes can be unsafe"},
		"bad service subnet":      {"init --config /run/kubeadm.yaml", initHeader + clusterDoc + "networking: {serviceSubnet: x}\n", "networking.serviceSubnet"},
		"bad advertise address":   {"init --config /run/kubeadm.yaml", initHeader + "localAPIEndpoint: {advertiseAddress: x}\n", "localAPIEndpoint.advertiseAddress"},
		"bad endpoint":            {"init --config /run/kubeadm.yaml", initHeader + clusterDoc + "controlPlaneEndpoint: 'a:b:c'\n", "controlPlaneEndpoint"},
		"external etcd":           {"init --config /run/kubeadm.yaml", initHeader + clusterDoc + "etcd: {external: {endpoints: ['https://192.0.2.1:2379'], caFile: a, certFile: b, keyFile: c}}\n", "local etcd only"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			status := Run(t.Context(), newHost(t, test.config), strings.Fields(test.args), &out)
			if status != 1 || !strings.Contains(out.String(), test.want) {
				t.Errorf("status %d, output %q, want %q", status, &out, test.want)
			}
		})
	}
}

func TestPreflight(t *testing.T) {
	host := newHost(t, initHeader+"nodeRegistration: {ignorePreflightErrors: [Mem]}\n")
	host.CPUs, host.MemoryMiB = 1, 512
	for _, name := range []string{"/etc/kubernetes/manifests/etcd.yaml", "/var/lib/etcd/member"} {
		if err := host.Disk.Write(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if status := Run(t.Context(), host, []string{"init", "--config", "/run/kubeadm.yaml", "-v", "5"}, &out); status != 1 {
		t.Fatalf("status %d", status)
	}
	for _, want := range []string{
		"[ERROR NumCPU]", "[WARNING Mem]", "[ERROR FileAvailable--etc-kubernetes-manifests-etcd.yaml]", "[ERROR DirAvailable--var-lib-etcd]",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output lacks %s:\n%s", want, &out)
		}
	}
}

func TestCertificatesOfJoinMustExist(t *testing.T) {
	host := newHost(t, "")
	r := &runner{Host: host, out: &bytes.Buffer{}}
	cluster := &kubeadmv1.ClusterConfiguration{}
	defaultCluster(cluster, "v1.36.3")
	local := kubeadmv1.APIEndpoint{AdvertiseAddress: "127.93.8.20", BindPort: 6443}
	if _, err := r.writeCertificates(cluster, "host-1", local, true); err == nil || !strings.Contains(err.Error(), "couldn't load the certificate file /etc/kubernetes/pki/ca.crt") {
		t.Errorf("join without CA: %v", err)
	}
	ca, err := r.writeCertificates(cluster, "host-1", local, false)
	if err != nil {
		t.Fatal(err)
	}
	again, err := r.writeCertificates(cluster, "host-1", local, true)
	if err != nil || !again.certificate.Equal(ca.certificate) {
		t.Errorf("the CA that init made is not the one that is used: %v", err)
	}
	if err := host.Disk.Write("/etc/kubernetes/pki/ca.key", []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.writeCertificates(cluster, "host-1", local, false); err == nil || strings.Contains(err.Error(), "nonsense") {
		t.Errorf("a broken key: %v", err)
	}
}

func TestMergeArguments(t *testing.T) {
	got := merge(arguments("a", "1", "b", "2"), arguments("b", "3", "c", "4", "b", "5"))
	if strings.Join(got, " ") != "--a=1 --b=3 --b=5 --c=4" {
		t.Errorf("arguments %q", got)
	}
}

func TestPins(t *testing.T) {
	host := newHost(t, "")
	r := &runner{Host: host, out: &bytes.Buffer{}}
	ca, err := r.ensureAuthority("/ca", "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := checkPins(encodeCertificate(ca.certificate), []string{"sha256:00"}); err == nil || !strings.Contains(err.Error(), "pinned") {
		t.Errorf("another CA: %v", err)
	}
	if err := checkPins(encodeCertificate(ca.certificate), nil); err != nil {
		t.Errorf("no pins: %v", err)
	}
}
