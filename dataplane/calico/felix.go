// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// felixSpec holds the fields of a FelixConfiguration (api/pkg/apis/projectcalico/v3/felixconfig.go) that are ours. Users and the
// operator own the others; the operator refuses to work when somebody else sets bpfEnabled.
//
// wireguardHostEncryptionEnabled is not among them: with VPP Felix finds no device in the kernel, and would withdraw the node's
// key when it starts (felix/wireguard/bootstrap.go).
type felixSpec struct {
	WireguardEnabled                   bool        `json:"wireguardEnabled"`
	WireguardListeningPort             int32       `json:"wireguardListeningPort,omitempty"`
	WireguardInterfaceName             string      `json:"wireguardInterfaceName,omitempty"`
	MTUIfacePattern                    string      `json:"mtuIfacePattern,omitempty"`
	BPFDataIfacePattern                string      `json:"bpfDataIfacePattern,omitempty"`
	BPFKubeProxyIptablesCleanupEnabled *bool       `json:"bpfKubeProxyIptablesCleanupEnabled,omitempty"`
	FailsafeInboundHostPorts           []protoPort `json:"failsafeInboundHostPorts"`
	FailsafeOutboundHostPorts          []protoPort `json:"failsafeOutboundHostPorts"`
}

// protoPort is a port that host endpoint policies never close.
type protoPort struct {
	Protocol string `json:"protocol"`
	Port     int32  `json:"port"`
}

const (
	tcp = "tcp"
	udp = "udp"
	// kubeletPort is not among Felix's own failsafe ports, yet without it kubectl logs and exec stop.
	kubeletPort = 10250
)

// felixConfiguration turns WireGuard on before the first Felix starts: switching it on later is known to be unstable.
func felixConfiguration(in Input, d infrav1.Dataplane) any {
	spec := felixSpec{WireguardEnabled: protocol(d) == encryption.WireGuard}
	var extra []protoPort
	if spec.WireguardEnabled {
		spec.WireguardListeningPort = d.Encryption.Port
		extra = append(extra, protoPort{udp, d.Encryption.Port})
		if d.Type != infrav1.DataplaneCalicoVPP {
			// The host's device is made under this name before Felix starts.
			spec.WireguardInterfaceName = encryption.KernelDevice
		}
	}
	if protocol(d) == encryption.IPsec {
		extra = append(extra, protoPort{udp, 500}, protoPort{udp, 4500})
	}
	if d.Type != infrav1.DataplaneCalicoVPP && len(in.Links) > 0 {
		// Felix knows NICs by the names that udev gives them, and links have names of their own.
		spec.MTUIfacePattern = linkPattern(in.Links)
	}
	if d.Type == infrav1.DataplaneCalicoEBPF {
		spec.BPFDataIfacePattern = linkPattern(in.Links)
		// Felix would remove kube-proxy's rules as fast as kube-proxy writes them.
		spec.BPFKubeProxyIptablesCleanupEnabled = new(d.KubeProxy == infrav1.KubeProxyReplace)
	}
	if port := cmp.Or(in.Endpoint.Port, apiServerPort); port != apiServerPort {
		extra = append(extra, protoPort{tcp, port})
	}
	spec.FailsafeInboundHostPorts = slices.Concat(failsafeInbound(), extra)
	spec.FailsafeOutboundHostPorts = slices.Concat(failsafeOutbound(), extra)
	return newObject(calicoAPI, "FelixConfiguration", "default", spec)
}

// linkPattern is a regular expression for these names and no others.
func linkPattern(links []string) string {
	quoted := make([]string, len(links))
	for i, link := range links {
		quoted[i] = regexp.QuoteMeta(link)
	}
	slices.Sort(quoted)
	return "^(" + strings.Join(slices.Compact(quoted), "|") + ")$"
}

const apiServerPort = 6443

// failsafeInbound are Felix's defaults (felix/config/config_params.go) and the kubelet's port.
func failsafeInbound() []protoPort {
	return []protoPort{
		{tcp, 22}, {udp, 68}, {tcp, 179}, {tcp, 2379}, {tcp, 2380}, {tcp, 5473}, {tcp, apiServerPort}, {tcp, 6666}, {tcp, 6667}, {tcp, kubeletPort},
	}
}

// failsafeOutbound are Felix's defaults and the kubelet's port.
func failsafeOutbound() []protoPort {
	return []protoPort{
		{udp, 53}, {udp, 67}, {tcp, 179}, {tcp, 2379}, {tcp, 2380}, {tcp, 5473}, {tcp, apiServerPort}, {tcp, 6666}, {tcp, 6667}, {tcp, kubeletPort},
	}
}
