// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

func TestALabKeepsItsKindOfHosts(t *testing.T) {
	tests := map[string]struct {
		earlier string // content of lab.json; "" for a new folder
		asked   string
		want    string
		wantErr string
	}{
		"new":                       {want: SimulatedHosts},
		"new with virtual hosts":    {asked: VirtualHosts, want: VirtualHosts},
		"unknown":                   {asked: "docker", wantErr: `"docker": there are simulated and qemu`},
		"of before there were more": {earlier: `{}`, want: SimulatedHosts},
		"the earlier one":           {earlier: `{"hosts":"qemu"}`, want: VirtualHosts},
		"the same":                  {earlier: `{"hosts":"qemu"}`, asked: VirtualHosts, want: VirtualHosts},
		"another":                   {earlier: `{"hosts":"qemu"}`, asked: SimulatedHosts, wantErr: "made with qemu hosts, and simulated ones are asked for"},
		"broken":                    {earlier: `{`, wantErr: "lab.json"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if tt.earlier != "" {
				if err := os.WriteFile(filepath.Join(dir, accessFile), []byte(tt.earlier), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := Hosts(dir, tt.asked)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("error %v, want %q", err, tt.wantErr)
				}
				return
			}
			if err != nil || got != tt.want {
				t.Errorf("%q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestVirtualHostsHaveANetworkOfTheirOwn(t *testing.T) {
	simulated := Site{Network: netip.MustParsePrefix("127.64.12.0/24")}
	virtual := simulated.withGuests()
	virtual.Image = ServedImage{Name: "node", URL: virtual.imageURL("node"), SHA256: "abc"}
	common := map[string]string{
		"EDGEMETAL_CONTROL_PLANE_ENDPOINT_PORT": "6443",
		"EDGEMETAL_CHARTS_REPOSITORY":           "oci://127.64.12.2:5000/charts",
	}
	for _, tt := range []struct {
		site Site
		want map[string]string
	}{
		{simulated, map[string]string{
			"EDGEMETAL_CONTROL_PLANE_ENDPOINT_HOST": "127.64.12.10", "EDGEMETAL_NETWORK_CIDR": "127.64.12.0/24",
			"EDGEMETAL_NETWORK_GATEWAY": "127.64.12.1", "EDGEMETAL_NETWORK_NAMESERVERS": "127.64.12.1",
			"EDGEMETAL_NODE_ADDRESSES": "127.64.12.20-127.64.12.99",
			"EDGEMETAL_IMAGE_URL":      "http://images.example.org/ubuntu-24.04-kubernetes-v1.36.3.qcow2",
			"EDGEMETAL_IMAGE_CHECKSUM": "http://images.example.org/ubuntu-24.04-kubernetes-v1.36.3.qcow2.sha256sum",
		}},
		{virtual, map[string]string{
			"EDGEMETAL_CONTROL_PLANE_ENDPOINT_HOST": "10.64.12.10", "EDGEMETAL_NETWORK_CIDR": "10.64.12.0/24",
			"EDGEMETAL_NETWORK_GATEWAY": "10.64.12.1", "EDGEMETAL_NETWORK_NAMESERVERS": "10.64.12.1",
			"EDGEMETAL_NODE_ADDRESSES": "10.64.12.20-10.64.12.99",
			"EDGEMETAL_IMAGE_URL":      "http://127.64.12.2:5000/images/node.qcow2", "EDGEMETAL_IMAGE_CHECKSUM": "abc",
		}},
	} {
		maps.Copy(tt.want, common)
		if diff := cmp.Diff(tt.want, tt.site.Variables()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.site.Nodes(), diff)
		}
	}
}

// What runs beside the lab finds virtual hosts through the proxy, and simulated ones as ever.
func TestTheProxyIsForVirtualHosts(t *testing.T) {
	dir := t.TempDir()
	kubeconfig := filepath.Join(dir, "cluster.kubeconfig")
	err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: "https://10.64.12.10:6443"}},
		Contexts:       map[string]*clientcmdapi.Context{"c": {Cluster: "c"}},
		CurrentContext: "c",
	}, kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	const variable, excepted = "HTTPS_PROXY=http://127.0.0.1:3128", "NO_PROXY=127.0.0.0/8,localhost"
	site := Site{Network: netip.MustParsePrefix("127.64.12.0/24")}
	for _, proxy := range []string{"", "http://127.0.0.1:3128"} {
		access := Access{Dir: dir, Proxy: proxy, Site: site}
		if err := access.writeWrappers(); err != nil {
			t.Fatal(err)
		}
		places := map[string]string{"environment": strings.Join(access.environment(Command{}), "\n")}
		for _, name := range []string{"kubectl", "clusterctl"} {
			script, err := os.ReadFile(filepath.Join(access.BinDir(), name))
			if err != nil {
				t.Fatal(err)
			}
			places[name] = strings.ReplaceAll(string(script), "'", "")
		}
		for place, text := range places {
			if got := strings.Contains(text, variable) && strings.Contains(text, excepted); got != (proxy != "") || !got && strings.Contains(text, "PROXY") {
				t.Errorf("with proxy %q the %s is\n%s", proxy, place, text)
			}
		}
		config, err := access.ClusterRESTConfig(kubeconfig)
		if err != nil {
			t.Fatal(err)
		}
		used := ""
		if config.Proxy != nil {
			request := httptest.NewRequest(http.MethodGet, config.Host, nil)
			url, err := config.Proxy(request)
			if err != nil {
				t.Fatal(err)
			}
			used = url.String()
		}
		if used != proxy {
			t.Errorf("with proxy %q clients use %q", proxy, used)
		}
	}
}

func TestTheWebServerHasImagesBesideCharts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, []byte("a disk"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(content(map[string]string{"base": file}))
	defer server.Close()
	for path, want := range map[string]string{"/images/base.qcow2": "200 OK a disk", "/images/node.qcow2": "404 Not Found ", "/v2/": "200 OK "} {
		response, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if got := response.Status + " " + string(body); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}
