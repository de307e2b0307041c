// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap_test

import (
	"net/netip"
	"testing"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	bootstrapv1 "sigs.k8s.io/cluster-api/api/bootstrap/kubeadm/v1beta2"
	"sigs.k8s.io/cluster-api/bootstrap/kubeadm/pkg/cloudinit"
	"sigs.k8s.io/cluster-api/bootstrap/kubeadm/pkg/types/upstream"
	"sigs.k8s.io/cluster-api/util/certs"
	"sigs.k8s.io/cluster-api/util/secret"
	"sigs.k8s.io/cluster-api/util/version"

	kubeadmtypes "sigs.k8s.io/cluster-api/bootstrap/kubeadm/pkg/types"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap"
	"github.com/edgemetal/cluster-api-provider-edgemetal/bootstrap/hostnet"
)

const kubernetesVersion = "v1.36.3"

// renderCase is an input whose documents are kept in testdata.
type renderCase struct {
	name  string
	input bootstrap.Input
}

// renderCases pair every kind of bootstrap data with every kind of network.
func renderCases(t testing.TB) []renderCase {
	t.Helper()
	arp := infrav1.ControlPlaneVIP{Mode: infrav1.VIPModeARP}
	bgp := infrav1.ControlPlaneVIP{Mode: infrav1.VIPModeBGP, Image: "registry.example.com/kube-vip:v1.2.2", BGP: &infrav1.VIPBGP{
		ASNumber: 64512,
		Peers:    []infrav1.VIPBGPPeer{{Address: "192.0.2.1", ASNumber: 64500}, {Address: "2001:db8::1", ASNumber: 4200000000, MultiHop: new(true)}},
	}}
	cases := []renderCase{
		{name: "kubeadm-init-static", input: input(t, kubeadmInit(t), staticNetwork())},
		{name: "kubeadm-join-control-plane-bond-vlans", input: input(t, kubeadmJoinControlPlane(t), bondNetwork())},
		{name: "kubeadm-join-worker-dhcp", input: input(t, kubeadmJoinWorker(t), dhcpNetwork())},
		{name: "rke2-two-nics", input: input(t, []byte(rke2Payload), twoNICs())},
		{name: "k3s-script-jumbo", input: input(t, []byte(k3sScript), jumboNetwork())},
		{name: "mime-dual-stack", input: input(t, []byte(mimePayload), dualStack())},
	}
	cases[0].input.ControlPlane = &bootstrap.ControlPlane{Endpoint: endpoint(), VIP: arp, Init: true}
	cases[1].input.ControlPlane = &bootstrap.ControlPlane{Endpoint: endpoint(), VIP: bgp}
	cases[3].input.ControlPlane = &bootstrap.ControlPlane{Endpoint: endpoint(), VIP: infrav1.ControlPlaneVIP{Mode: infrav1.VIPModeExternal}}
	cases[4].input.Host = "rack1.node7"
	cases[4].input.FailureDomain = "rack1"
	return append(cases, dataplaneCases(t)...)
}

func endpoint() infrav1.APIEndpoint { return infrav1.APIEndpoint{Host: "192.0.2.10", Port: 6443} }

func input(t testing.TB, payload []byte, network hostnet.Input) bootstrap.Input {
	t.Helper()
	network.VIP = netip.MustParseAddr(endpoint().Host)
	plan, err := hostnet.NewPlan(network)
	if err != nil {
		t.Fatal(err)
	}
	return bootstrap.Input{
		Payload:    bootstrap.Payload{Format: "cloud-config", Value: payload},
		Cluster:    "edge-1",
		Namespace:  "sites",
		Machine:    "edge-1-abc",
		InstanceID: "9b4c3f6e-6a0f-4a43-9a7e-0d5a1e6f7b21",
		Host:       "node-7",
		ProviderID: "edgemetal://sites/node-7/edge-1-abc",
		Plan:       plan,
	}
}

func hardware() *bmov1.HardwareDetails {
	return &bmov1.HardwareDetails{NIC: []bmov1.NIC{
		{Name: "eno1", MAC: "52:54:00:00:00:01", PXE: true, PCIAddress: "0000:3b:00.0"},
		{Name: "eno2", MAC: "52:54:00:00:00:02", PCIAddress: "0000:3b:00.1"},
	}}
}

func clusterNetwork() infrav1.Network {
	return infrav1.Network{
		Name:        "cluster",
		Subnets:     []infrav1.Subnet{{CIDR: "192.0.2.0/24", Gateway: "192.0.2.1"}},
		Nameservers: []string{"192.0.2.53", "192.0.2.54"},
		Addresses:   infrav1.AddressSource{FromHost: &infrav1.FromHost{}},
	}
}

func storageNetwork() infrav1.Network {
	return infrav1.Network{
		Name:      "storage",
		Subnets:   []infrav1.Subnet{{CIDR: "198.51.100.0/25"}},
		Routes:    []infrav1.Route{{Destination: "203.0.113.0/24", Gateway: "198.51.100.1"}},
		MTU:       9000,
		Addresses: infrav1.AddressSource{FromHost: &infrav1.FromHost{}},
	}
}

func bootLink(name string) infrav1.Link {
	return infrav1.Link{Name: name, Match: &infrav1.NICMatch{BootNIC: new(true)}}
}

func secondLink(name string) infrav1.Link {
	return infrav1.Link{Name: name, Match: &infrav1.NICMatch{Name: "eno2"}}
}

func staticNetwork() hostnet.Input {
	return hostnet.Input{
		Links:      []infrav1.Link{bootLink("uplink0")},
		Interfaces: []infrav1.Interface{{Network: "cluster", Link: "uplink0"}},
		Networks:   []infrav1.Network{clusterNetwork()},
		Hardware:   hardware(),
		BootMAC:    "52:54:00:00:00:01",
		Addresses:  map[string]netip.Addr{"cluster": netip.MustParseAddr("192.0.2.21")},
	}
}

func dhcpNetwork() hostnet.Input {
	in := staticNetwork()
	in.Networks = []infrav1.Network{{Name: "cluster", Addresses: infrav1.AddressSource{DHCP: &infrav1.DHCP{}}}}
	in.Addresses = nil
	return in
}

func jumboNetwork() hostnet.Input {
	in := staticNetwork()
	in.Networks[0].MTU = 9216
	return in
}

func twoNICs() hostnet.Input {
	in := staticNetwork()
	in.Links = append(in.Links, secondLink("storage0"))
	in.Interfaces = append(in.Interfaces, infrav1.Interface{Network: "storage", Link: "storage0"})
	in.Networks = append(in.Networks, storageNetwork())
	in.Addresses["storage"] = netip.MustParseAddr("198.51.100.21")
	return in
}

func bondNetwork() hostnet.Input {
	in := twoNICs()
	in.Links = []infrav1.Link{
		bootLink("nic0"), secondLink("nic1"),
		{Name: "bond0", Bond: &infrav1.Bond{Mode: infrav1.BondMode8023AD, Members: []string{"nic0", "nic1"}, LACPRate: "fast", XmitHashPolicy: "layer3+4"}},
		{Name: "bond0.10", VLAN: &infrav1.VLAN{ID: 10, Parent: "bond0"}},
		{Name: "bond0.20", VLAN: &infrav1.VLAN{ID: 20, Parent: "bond0"}},
	}
	in.Interfaces = []infrav1.Interface{{Network: "cluster", Link: "bond0.10"}, {Network: "storage", Link: "bond0.20"}}
	return in
}

func dualStack() hostnet.Input {
	in := staticNetwork()
	in.Interfaces = append(in.Interfaces, infrav1.Interface{Network: "cluster6", Link: "uplink0"})
	in.Networks = append(in.Networks, infrav1.Network{
		Name:        "cluster6",
		Subnets:     []infrav1.Subnet{{CIDR: "2001:db8:1::/64", Gateway: "2001:db8:1::1"}},
		Nameservers: []string{"2001:db8:1::53", "192.0.2.53"},
		Routes:      []infrav1.Route{{Destination: "2001:db8:2::/48", Gateway: "2001:db8:1::2"}},
		Addresses:   infrav1.AddressSource{FromHost: &infrav1.FromHost{}},
	})
	in.Addresses["cluster6"] = netip.MustParseAddr("2001:db8:1::21")
	return in
}

// fakeCertificates fills every certificate with text, so that payloads look real without holding a key.
func fakeCertificates(certificates secret.Certificates) secret.Certificates {
	for _, certificate := range certificates {
		certificate.KeyPair = &certs.KeyPair{
			Cert: []byte("-----BEGIN TEST DATA-----\ncertificate of " + string(certificate.Purpose) + "\n-----END TEST DATA-----\n"),
			Key:  []byte("-----BEGIN TEST DATA-----\nkey of " + string(certificate.Purpose) + "\n-----END TEST DATA-----\n"),
		}
	}
	return certificates
}

func baseUserData(t testing.TB) cloudinit.BaseUserData {
	t.Helper()
	parsed, err := version.ParseTolerantImageTag(kubernetesVersion)
	if err != nil {
		t.Fatal(err)
	}
	return cloudinit.BaseUserData{
		BootCommands:        []string{"modprobe br_netfilter"},
		PreKubeadmCommands:  []string{"hostnamectl set-hostname '{{ ds.meta_data.local_hostname }}'", `echo "127.0.0.1 {{ ds.meta_data.hostname }}" >>/etc/hosts`},
		PostKubeadmCommands: []string{"systemctl enable --now node-tuning"},
		AdditionalFiles:     []bootstrapv1.File{{Path: "/etc/default/kubelet", Owner: "root:root", Permissions: "0644", Content: "KUBELET_EXTRA_ARGS=--v=2\n"}},
		Users:               []bootstrapv1.User{{Name: "admin", Sudo: "ALL=(ALL) NOPASSWD:ALL", SSHAuthorizedKeys: []string{"ssh-ed25519 AAAAC3 test"}}},
		NTP:                 &bootstrapv1.NTP{Servers: []string{"192.0.2.123"}, Enabled: new(true)},
		KubeadmVerbosity:    "-v 5",
		KubernetesVersion:   parsed,
	}
}

func registration() bootstrapv1.NodeRegistrationOptions {
	return bootstrapv1.NodeRegistrationOptions{
		Name:             "{{ ds.meta_data.local_hostname }}",
		KubeletExtraArgs: []bootstrapv1.Arg{{Name: "node-labels", Value: new("site=edge-1")}},
	}
}

func kubeadmInit(t testing.TB) []byte {
	t.Helper()
	base := baseUserData(t)
	cluster, err := kubeadmtypes.MarshalClusterConfigurationForVersion(
		&bootstrapv1.ClusterConfiguration{ControlPlaneEndpoint: "192.0.2.10:6443"}, base.KubernetesVersion,
		&upstream.AdditionalData{ClusterName: new("edge-1"), KubernetesVersion: new(kubernetesVersion)})
	if err != nil {
		t.Fatal(err)
	}
	initial, err := kubeadmtypes.MarshalInitConfigurationForVersion(
		&bootstrapv1.InitConfiguration{NodeRegistration: registration()}, base.KubernetesVersion)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := cloudinit.NewInitControlPlane(&cloudinit.ControlPlaneInput{
		BaseUserData:         base,
		Certificates:         fakeCertificates(secret.NewCertificatesForInitialControlPlane(&bootstrapv1.ClusterConfiguration{})),
		ClusterConfiguration: cluster, InitConfiguration: initial,
	})
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

func joinConfiguration(t testing.TB, controlPlane *bootstrapv1.JoinControlPlane) string {
	t.Helper()
	join, err := kubeadmtypes.MarshalJoinConfigurationForVersion(&bootstrapv1.JoinConfiguration{
		NodeRegistration: registration(),
		ControlPlane:     controlPlane,
		Discovery: bootstrapv1.Discovery{BootstrapToken: bootstrapv1.BootstrapTokenDiscovery{
			Token: "abcdef.0123456789abcdef", APIServerEndpoint: "192.0.2.10:6443", CACertHashes: []string{"sha256:0000"},
		}},
	}, baseUserData(t).KubernetesVersion)
	if err != nil {
		t.Fatal(err)
	}
	return join
}

func kubeadmJoinControlPlane(t testing.TB) []byte {
	t.Helper()
	payload, err := cloudinit.NewJoinControlPlane(&cloudinit.ControlPlaneJoinInput{
		BaseUserData:      baseUserData(t),
		Certificates:      fakeCertificates(secret.NewControlPlaneJoinCerts(&bootstrapv1.ClusterConfiguration{})),
		JoinConfiguration: joinConfiguration(t, &bootstrapv1.JoinControlPlane{}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

func kubeadmJoinWorker(t testing.TB) []byte {
	t.Helper()
	payload, err := cloudinit.NewNode(&cloudinit.NodeInput{BaseUserData: baseUserData(t), JoinConfiguration: joinConfiguration(t, nil)})
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

// rke2Payload has the shape of what the RKE2 bootstrap provider makes.
const rke2Payload = `## template: jinja
#cloud-config

write_files:
-   path: /etc/rancher/rke2/config.yaml
    owner: root:root
    permissions: '0640'
    content: |
      token: not-a-token
      node-name: '{{ ds.meta_data.local_hostname }}'
      cluster-cidr: 10.244.0.0/16
runcmd:
  - 'curl -sfL https://get.rke2.io | INSTALL_RKE2_VERSION=v1.36.3+rke2r1 sh -s - server'
  - 'systemctl enable rke2-server.service'
  - 'systemctl start rke2-server.service'
  - 'mkdir -p /run/cluster-api' 
  - 'echo success > /run/cluster-api/bootstrap-success.complete'
`

// k3sScript is bootstrap data that is a shell script.
const k3sScript = `#!/bin/sh
set -eu
mkdir -p /etc/rancher/k3s /run/cluster-api
printf 'node-name: "%s"\n' "$(hostname)" > /etc/rancher/k3s/config.yaml
curl -sfL https://get.k3s.io | INSTALL_K3S_VERSION=v1.36.3+k3s1 sh -s - agent
echo success > /run/cluster-api/bootstrap-success.complete
`

// mimePayload is bootstrap data that is a multi-part document already.
const mimePayload = `Content-Type: multipart/mixed; boundary="theirs"
MIME-Version: 1.0

--theirs
Content-Type: text/cloud-config

#cloud-config
write_files:
- path: /etc/motd
  content: first
runcmd:
- [sh, -c, "echo one"]

--theirs
Content-Type: text/cloud-config
X-Merge-Type: list(append)+dict(recurse_list)+str()

#cloud-config
runcmd:
- [sh, -c, "echo two"]

--theirs
Content-Type: text/x-shellscript

#!/bin/sh
echo three

--theirs--
`
