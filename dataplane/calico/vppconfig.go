// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// startupSleep in seconds before Calico-VPP talks to VPP. VPP answers at once, but runs its start-up script 2 s later
// (vlib/unix/main.c, startup_config_process): an agent that looked earlier would not find the host's tunnel, and make another.
const startupSleep = 3

// healthPort of Calico-VPP's agent.
const healthPort = 9090

// The settings of Calico-VPP that are JSON: config/config.go.
type (
	vppInterfaces struct {
		DefaultPodIfSpec vppInterface `json:"defaultPodIfSpec"`
		MaxPodIfSpec     vppInterface `json:"maxPodIfSpec"`
		VPPHostTapSpec   vppInterface `json:"vppHostTapSpec"`
		UplinkInterfaces []vppUplink  `json:"uplinkInterfaces"`
	}
	vppInterface struct {
		Rx          int32  `json:"rx"`
		Tx          int32  `json:"tx"`
		RxQueueSize int32  `json:"rxqsz"`
		TxQueueSize int32  `json:"txqsz"`
		IsL3        *bool  `json:"isl3,omitempty"`
		RxMode      string `json:"rxMode,omitempty"`
	}
	vppUplink struct {
		vppInterface

		IsMain        bool   `json:"isMain"`
		InterfaceName string `json:"interfaceName"`
		VPPDriver     string `json:"vppDriver"`
		MTU           int32  `json:"mtu"`
		IPFamilies    string `json:"ipFamilies"`
	}
	vppDebug struct {
		ServicesEnabled bool `json:"servicesEnabled"`
		GSOEnabled      bool `json:"gsoEnabled"`
	}
	vppFeatureGates struct {
		MultinetEnabled   bool `json:"multinetEnabled"`
		SRv6Enabled       bool `json:"srv6Enabled"`
		VCLEnabled        bool `json:"vclEnabled"`
		IPsecEnabled      bool `json:"ipsecEnabled"`
		PrometheusEnabled bool `json:"prometheusEnabled"`
	}
	vppInitialConfig struct {
		VPPStartupSleepSeconds int `json:"vppStartupSleepSeconds"`
		HealthCheckPort        int `json:"healthCheckPort"`
	}
)

// vppData is the content of the ConfigMap that both containers of Calico-VPP take as their environment.
func vppData(in Input, d infrav1.Dataplane) (map[string]string, error) {
	vpp := *d.VPP
	data := map[string]string{
		"CALICOVPP_CONFIG_TEMPLATE": StartupConfig(vpp),
		"SERVICE_PREFIX":            strings.Join(in.ServiceCIDRs, ","),
		"CALICOVPP_BGP_SERVER_MODE": "v4Only",
	}
	if slices.ContainsFunc(in.Network.Subnets, func(s infrav1.Subnet) bool { return isIPv6(s.CIDR) }) {
		data["CALICOVPP_BGP_SERVER_MODE"] = "dualStack"
	}
	if exec := StartupExec(protocol(d), d.Encryption.Mode, in.PodCIDRs); exec != "" {
		data["CALICOVPP_CONFIG_EXEC_TEMPLATE"] = exec
	}
	for key, value := range map[string]any{
		"CALICOVPP_INTERFACES":     interfaces(in, vpp),
		"CALICOVPP_DEBUG":          vppDebug{ServicesEnabled: *vpp.ServiceAcceleration, GSOEnabled: *vpp.GSO},
		"CALICOVPP_FEATURE_GATES":  vppFeatureGates{IPsecEnabled: protocol(d) == encryption.IPsec},
		"CALICOVPP_INITIAL_CONFIG": vppInitialConfig{VPPStartupSleepSeconds: startupSleep, HealthCheckPort: healthPort},
	} {
		text, err := json.MarshalIndent(value, "", "  ")
		if err != nil {
			return nil, fmt.Errorf("marshalling %s: %w", key, err)
		}
		data[key] = string(text)
	}
	return data, nil
}

// interfaces: pods may ask for no more queues than the buffers are counted for.
func interfaces(in Input, vpp infrav1.VPP) vppInterfaces {
	pod := vppInterface{Rx: 1, Tx: 1, RxQueueSize: vpp.RingSize, TxQueueSize: vpp.RingSize}
	largest := pod
	pod.IsL3, pod.RxMode = new(true), rxMode(vpp.PodRxMode)
	infrastructure := vppInterface{Rx: 1, Tx: 1, RxQueueSize: infrastructureRing, TxQueueSize: infrastructureRing}
	tap, uplink := infrastructure, infrastructure
	tap.IsL3, tap.RxMode = new(false), rxMode(vpp.HostTapRxMode)
	uplink.Rx, uplink.Tx, uplink.RxMode = queues(vpp), queues(vpp), rxMode(vpp.RxMode)
	driver := "af_packet"
	if vpp.UplinkDriver == infrav1.UplinkAFXDP {
		driver = "af_xdp"
	}
	return vppInterfaces{
		DefaultPodIfSpec: pod, MaxPodIfSpec: largest, VPPHostTapSpec: tap,
		UplinkInterfaces: []vppUplink{{
			vppInterface: uplink, IsMain: true, InterfaceName: in.Uplink, VPPDriver: driver,
			// Each link of the network has at least this. A larger MTU than the link's stops transmission for good.
			MTU:        networkMTU(in.Network),
			IPFamilies: ipFamilies(in.Network),
		}},
	}
}

// ipFamilies that the uplink has addresses of; with subnets that are not known it is IPv4, which DHCP stands for.
func ipFamilies(network infrav1.Network) string {
	var four, six bool
	for _, subnet := range network.Subnets {
		four = four || !isIPv6(subnet.CIDR)
		six = six || isIPv6(subnet.CIDR)
	}
	switch {
	case four && six:
		return "IPv4,IPv6"
	case six:
		return "IPv6"
	default:
		return "IPv4"
	}
}

func rxMode(mode infrav1.RxMode) string { return strings.ToLower(string(mode)) }
