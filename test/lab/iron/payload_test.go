// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package iron_test

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/blang/semver/v4"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	bootstrapv1 "sigs.k8s.io/cluster-api/api/bootstrap/kubeadm/v1beta2"
	"sigs.k8s.io/cluster-api/bootstrap/kubeadm/pkg/cloudinit"
	"sigs.k8s.io/cluster-api/util/certs"
	"sigs.k8s.io/cluster-api/util/secret"
)

// site is a cluster's worth of payloads, made with the kubeadm bootstrap provider's own code.
type site struct {
	certificates secret.Certificates
	hash         string
}

func newSite(t *testing.T) *site {
	t.Helper()
	certificates := secret.NewCertificatesForInitialControlPlane(&bootstrapv1.ClusterConfiguration{})
	if err := certificates.Generate(); err != nil {
		t.Fatal(err)
	}
	ca := certificates.GetByPurpose(secret.ClusterCA)
	hashes, err := ca.Hashes()
	if err != nil {
		t.Fatal(err)
	}
	return &site{certificates: certificates, hash: hashes[0]}
}

func base() cloudinit.BaseUserData {
	return cloudinit.BaseUserData{
		PreKubeadmCommands:  []string{"sysctl --system", "test -f /etc/systemd/system/kubelet.service.d/20-edge.conf"},
		PostKubeadmCommands: []string{"test -s /run/cluster-api/bootstrap-success.complete && echo booted > /var/log/booted"},
		KubernetesVersion:   semver.MustParse(strings.TrimPrefix(version, "v")),
		NTP:                 &bootstrapv1.NTP{Enabled: new(true), Servers: []string{"ntp.example.org"}},
		Users:               []bootstrapv1.User{{Name: "ops", Sudo: "ALL=(ALL) NOPASSWD:ALL", SSHAuthorizedKeys: []string{"ssh-ed25519 AAAA ops@example.org"}}},
	}
}

func (s *site) initPayload(t *testing.T) []byte {
	t.Helper()
	input := &cloudinit.ControlPlaneInput{
		BaseUserData: base(), Certificates: s.certificates,
		ClusterConfiguration: fmt.Sprintf(`apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
clusterName: edge-1
kubernetesVersion: %s
controlPlaneEndpoint: %s:6443
networking: {podSubnet: 192.168.0.0/16, serviceSubnet: 10.96.0.0/12, dnsDomain: cluster.local}
`, version, virtualIP),
		InitConfiguration: fmt.Sprintf(`apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
bootstrapTokens: [{token: %s}]
nodeRegistration: {name: "{{ ds.meta_data.local_hostname }}", imagePullPolicy: IfNotPresent}
`, token),
	}
	payload, err := cloudinit.NewInitControlPlane(input)
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

func (s *site) joinConfiguration(controlPlane bool) string {
	text := fmt.Sprintf(`apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
nodeRegistration: {name: '{{ ds.meta_data.local_hostname }}'}
discovery: {bootstrapToken: {token: %s, apiServerEndpoint: "%s:6443", caCertHashes: ["%s"]}}
`, token, virtualIP, s.hash)
	if controlPlane {
		text += "controlPlane: {localAPIEndpoint: {}}\n"
	}
	return text
}

func (s *site) workerPayload(t *testing.T) []byte {
	t.Helper()
	payload, err := cloudinit.NewNode(&cloudinit.NodeInput{BaseUserData: base(), JoinConfiguration: s.joinConfiguration(false)})
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

func (s *site) controlPlanePayload(t *testing.T) []byte {
	t.Helper()
	payload, err := cloudinit.NewJoinControlPlane(&cloudinit.ControlPlaneJoinInput{
		BaseUserData: base(), Certificates: s.certificates, JoinConfiguration: s.joinConfiguration(true),
	})
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

// wrap puts a payload behind a part of ours that sets the provider ID and, if wanted, brings kube-vip.
func wrap(t *testing.T, payload []byte, providerID, address string, kubeVIP bool) []byte {
	t.Helper()
	ours := fmt.Sprintf(`#cloud-config
write_files:
- path: /etc/systemd/system/kubelet.service.d/20-edge.conf
  permissions: '0644'
  content: |
    [Service]
    Environment="EDGE_ARGS=--provider-id=%s --node-ip=%s --register-with-taints=example.org/starting=true:NoSchedule"
    EnvironmentFile=-/run/edge.env
    ExecStartPre=/bin/sh -c 'echo KUBELET_EXTRA_ARGS=$EDGE_ARGS > /run/edge.env'
`, providerID, address)
	if kubeVIP {
		ours += fmt.Sprintf(`- path: /etc/kubernetes/manifests/kube-vip.yaml
  permissions: '0600'
  content: |
    apiVersion: v1
    kind: Pod
    metadata: {name: kube-vip, namespace: kube-system}
    spec:
      hostNetwork: true
      containers:
      - name: kube-vip
        image: ghcr.io/kube-vip/kube-vip:v1.0.0
        args: [manager]
        env:
        - {name: address, value: %s}
        - {name: port, value: "6443"}
        - {name: cp_enable, value: "true"}
        - {name: vip_arp, value: "true"}
        - {name: vip_interface, value: uplink0}
`, virtualIP)
	}
	var out bytes.Buffer
	writer := multipart.NewWriter(&out)
	fmt.Fprintf(&out, "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=%q\n\n", writer.Boundary())
	add := func(contentType, content string, extra ...string) {
		header := textproto.MIMEHeader{"Content-Type": {contentType}}
		if len(extra) > 0 {
			header.Set("X-Merge-Type", extra[0])
		}
		part, err := writer.CreatePart(header)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(part, content)
	}
	add("text/cloud-config", ours)
	add("text/jinja2", string(payload), "list(append)+dict(no_replace,recurse_list)+str()")
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func networkData(t *testing.T, mac, address string) []byte {
	t.Helper()
	content, err := json.Marshal(map[string]any{
		"links":    []any{map[string]any{"id": "uplink0", "name": "uplink0", "type": "phy", "ethernet_mac_address": mac, "mtu": 1500}},
		"networks": []any{map[string]any{"id": "cluster", "type": "ipv4", "link": "uplink0", "ip_address": address, "netmask": "255.255.255.0", "routes": []any{map[string]any{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": subnet + "1"}}}},
		"services": []any{map[string]any{"type": "dns", "address": "192.0.2.53"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// workloadClient is a client with the rights of the cluster's CA, through the virtual address.
func (s *site) workloadClient(t *testing.T) *kubernetes.Clientset {
	t.Helper()
	ca := s.certificates.GetByPurpose(secret.ClusterCA)
	clients, err := kubernetes.NewForConfig(clientConfig(t, ca.KeyPair))
	if err != nil {
		t.Fatal(err)
	}
	return clients
}

// clientConfig signs an administrator's certificate with the cluster's CA, as Cluster API does.
func clientConfig(t *testing.T, ca *certs.KeyPair) *rest.Config {
	t.Helper()
	caCertificate, err := certs.DecodeCertPEM(ca.Cert)
	if err != nil {
		t.Fatal(err)
	}
	caKey, err := certs.DecodePrivateKeyPEM(ca.Key)
	if err != nil {
		t.Fatal(err)
	}
	key, err := certs.NewSigner(bootstrapv1.EncryptionAlgorithmRSA2048)
	if err != nil {
		t.Fatal(err)
	}
	wanted := certs.Config{CommonName: "test", Organization: []string{"system:masters"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	certificate, err := wanted.NewSignedCert(key, caCertificate, caKey)
	if err != nil {
		t.Fatal(err)
	}
	keyPEM, err := certs.EncodePrivateKeyPEMFromSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return &rest.Config{
		Host: "https://" + virtualIP + ":6443", Timeout: 10 * time.Second, QPS: -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: ca.Cert, CertData: certs.EncodeCertPEM(certificate), KeyData: keyPEM},
	}
}
