// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"
)

const probeTimeout = 2 * time.Second

func etcdProcess(c Config, chosen ports, creds *credentials) Process {
	client, peer := "https://"+hostPort(chosen.EtcdClient), "https://"+hostPort(chosen.EtcdPeer)
	return Process{
		Name: "etcd",
		Path: c.Etcd,
		Args: []string{
			"--name=lab",
			"--data-dir=" + filepath.Join(c.Dir, "etcd"),
			"--listen-client-urls=" + client,
			"--advertise-client-urls=" + client,
			"--listen-peer-urls=" + peer,
			"--initial-advertise-peer-urls=" + peer,
			"--initial-cluster=lab=" + peer,
			"--force-new-cluster", // the peer port may differ from the last start's
			"--cert-file=" + creds.path("etcd.crt"),
			"--key-file=" + creds.path("etcd.key"),
			"--trusted-ca-file=" + creds.path("ca.crt"),
			"--client-cert-auth",
			"--peer-cert-file=" + creds.path("etcd.crt"),
			"--peer-key-file=" + creds.path("etcd.key"),
			"--peer-trusted-ca-file=" + creds.path("ca.crt"),
			"--peer-client-cert-auth",
			"--unsafe-no-fsync", // a lab survives the end of processes, not of the machine
			"--quota-backend-bytes=" + strconv.Itoa(4<<30),
			"--logger=zap", "--log-level=warn",
		},
		Dir:     c.Dir,
		LogFile: filepath.Join(c.LogDir, "etcd.log"),
		Ready:   func(ctx context.Context) error { return etcdReady(ctx, client, creds) },
	}
}

func etcdReady(ctx context.Context, url string, creds *credentials) error {
	cert, err := tls.LoadX509KeyPair(creds.path("etcd.crt"), creds.path("etcd.key"))
	if err != nil {
		return fmt.Errorf("read etcd's certificate: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(creds.authority.Pair().Cert)
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
	}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/health", nil)
	if err != nil {
		return fmt.Errorf("ask for etcd's health: %w", err)
	}
	client := http.Client{Transport: transport, Timeout: probeTimeout}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("ask for etcd's health: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New("etcd's health: " + response.Status)
	}
	return nil
}

func apiServerProcess(c Config, chosen ports, creds *credentials, egress string, client kubernetes.Interface) Process {
	args := []string{
		"--etcd-servers=https://" + hostPort(chosen.EtcdClient),
		"--etcd-cafile=" + creds.path("ca.crt"),
		"--etcd-certfile=" + creds.path("etcd.crt"),
		"--etcd-keyfile=" + creds.path("etcd.key"),
		"--bind-address=" + loopback,
		"--advertise-address=" + loopback,
		"--endpoint-reconciler-type=none", // loopback is no legal endpoint
		"--secure-port=" + strconv.Itoa(chosen.APIServer),
		"--tls-cert-file=" + creds.path("kube-apiserver.crt"),
		"--tls-private-key-file=" + creds.path("kube-apiserver.key"),
		"--client-ca-file=" + creds.path("ca.crt"),
		"--authorization-mode=RBAC",
		"--allow-privileged=true",
		"--service-cluster-ip-range=" + serviceCIDR,
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-signing-key-file=" + creds.path("tokens.key"),
		"--service-account-key-file=" + creds.path("tokens.pub"),
		"--shutdown-delay-duration=0s",
	}
	if egress != "" {
		args = append(args, "--egress-selector-config-file="+egress)
	}
	args = append(args, c.APIServerArgs...)
	return Process{
		Name:    "kube-apiserver",
		Path:    c.APIServer,
		Args:    args,
		Dir:     c.Dir,
		LogFile: filepath.Join(c.LogDir, "kube-apiserver.log"),
		Ready: func(ctx context.Context) error {
			if err := client.Discovery().RESTClient().Get().AbsPath("/readyz").Timeout(probeTimeout).Do(ctx).Error(); err != nil {
				return fmt.Errorf("ask kube-apiserver whether it is ready: %w", err)
			}
			return nil
		},
	}
}

func controllerManagerProcess(c Config, creds *credentials, kubeconfig string, client kubernetes.Interface) Process {
	return Process{
		Name: "kube-controller-manager",
		Path: c.ControllerManager,
		Args: []string{
			"--kubeconfig=" + kubeconfig,
			"--secure-port=0", // nobody asks it anything
			"--root-ca-file=" + creds.path("ca.crt"),
			"--service-account-private-key-file=" + creds.path("tokens.key"),
			"--cluster-signing-cert-file=" + creds.path("ca.crt"),
			"--cluster-signing-key-file=" + creds.path("ca.key"),
			"--use-service-account-credentials=true",
			"--leader-elect=false",
			"--allocate-node-cidrs=false",
			"--kube-api-qps=200", "--kube-api-burst=400",
		},
		Dir:     c.Dir,
		LogFile: filepath.Join(c.LogDir, "kube-controller-manager.log"),
		Ready:   func(ctx context.Context) error { return hasServiceAccount(ctx, client) },
	}
}

// writeEgress tells kube-apiserver to reach Services through the proxy; "" without a proxy.
func writeEgress(c Config, creds *credentials) (string, error) {
	if c.ServiceProxy == "" {
		return "", nil
	}
	config := egressConfiguration{
		TypeMeta: metav1.TypeMeta{APIVersion: "apiserver.k8s.io/v1beta1", Kind: "EgressSelectorConfiguration"},
		EgressSelections: []egressSelection{{
			Name: "cluster",
			Connection: egressConnection{
				ProxyProtocol: "HTTPConnect",
				Transport: egressTransport{TCP: egressTCP{
					URL: "https://" + c.ServiceProxy,
					TLSConfig: egressTLS{
						CABundle:   creds.path("ca.crt"),
						ClientCert: creds.path("kube-apiserver.crt"),
						ClientKey:  creds.path("kube-apiserver.key"),
					},
				}},
			},
		}},
	}
	data, err := yaml.Marshal(config)
	if err != nil {
		return "", fmt.Errorf("encode the egress configuration: %w", err)
	}
	path := filepath.Join(c.Dir, "egress.yaml")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		return "", fmt.Errorf("write the egress configuration: %w", err)
	}
	return path, nil
}

// The part of kube-apiserver's egress selector configuration that is used here; its Go types are in
// module k8s.io/apiserver, which would be needed for nothing else.
type egressConfiguration struct {
	metav1.TypeMeta  `json:",inline"`
	EgressSelections []egressSelection `json:"egressSelections"`
}

type egressSelection struct {
	Name       string           `json:"name"`
	Connection egressConnection `json:"connection"`
}

type egressConnection struct {
	ProxyProtocol string          `json:"proxyProtocol"`
	Transport     egressTransport `json:"transport"`
}

type egressTransport struct {
	TCP egressTCP `json:"tcp"`
}

type egressTCP struct {
	URL       string    `json:"url"`
	TLSConfig egressTLS `json:"tlsConfig"`
}

type egressTLS struct {
	CABundle   string `json:"caBundle"`
	ClientCert string `json:"clientCert"`
	ClientKey  string `json:"clientKey"`
}
