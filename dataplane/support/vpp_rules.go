// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package support

import (
	"slices"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// Limits of the AF_XDP driver: maxAfXDPMTU in vpp-manager/uplink/af_xdp.go; the buffers of a socket lie in one contiguous table
// of the kernel.
const (
	maxAFXDPMTU     = 3072
	maxAFXDPBuffers = 65536
)

// vppRules are about VPP's settings.
func vppRules() []Rule {
	return []Rule{
		{
			When: "VPP and a Cluster without service range", Field: fieldServiceCIDR,
			Why:    "VPP has to know which addresses are services (SERVICE_PREFIX)",
			Fix:    "set it to what the API server uses, for example 10.96.0.0/12",
			broken: func(v Values) []string { return when(v.vpp() && len(v.ServiceCIDRs) == 0) },
		},
		{
			When: "VPP on hosts that are not x86_64", Field: "spec.dataplane.type",
			Why: "Calico-VPP has images for x86_64 only",
			Fix: "use CalicoEBPF or CalicoNftables, or other hosts",
			broken: func(v Values) []string {
				return slices.DeleteFunc(slices.Clone(v.Architectures), func(a string) bool { return RunsOn(v.Type, a) })
			},
		},
		{
			When: "Driver AFPacket with rxMode Adaptive", Field: fieldVPP + ".rxMode",
			Why: "packet sockets cannot switch between interrupts and polling",
			Fix: "use Interrupt or Polling, or the AFXDP driver",
			broken: func(v Values) []string {
				return when(v.vpp() && v.VPP.Driver == infrav1.UplinkAFPacket && v.VPP.RxMode == infrav1.RxModeAdaptive)
			},
		},
		{
			When: "Driver AFXDP on a network with an MTU above 3072", Field: fieldVPP + ".uplinkDriver",
			Why:    "a frame has to fit into one page",
			Fix:    "use AFPacket, or a smaller mtu of the network",
			broken: func(v Values) []string { return when(v.afxdp() && v.NetworkMTU > maxAFXDPMTU) },
		},
		{
			When: "Driver AFXDP with more than 65536 buffers", Field: fieldVPP + ".uplinkDriver",
			Why:    "the kernel keeps them in one contiguous table",
			Fix:    "use AFPacket, or smaller maxPodsPerNode, ringSize or buffers",
			broken: func(v Values) []string { return when(v.afxdp() && v.VPP.Buffers > maxAFXDPBuffers) },
		},
		{
			When: "A real-time scheduler with an interface that polls", Field: fieldVPP + ".scheduler",
			Why: "VPP's threads would never yield the CPU to the rest of the host",
			Fix: "use Interrupt for rxMode, podRxMode and hostTapRxMode",
			broken: func(v Values) []string {
				modes := []infrav1.RxMode{v.VPP.RxMode, v.VPP.PodRxMode, v.VPP.HostTapMode}
				return when(v.vpp() && v.VPP.RealTime && slices.ContainsFunc(modes, func(m infrav1.RxMode) bool { return m != infrav1.RxModeInterrupt }))
			},
		},
	}
}

func (v Values) afxdp() bool { return v.vpp() && v.VPP.Driver == infrav1.UplinkAFXDP }

// RunsOn tells whether a dataplane has images for a CPU architecture, as Kubernetes (amd64) or the inspection of hosts (x86_64) names it.
// Source: vpp-dataplane's Makefile and its published manifests, which are of linux/amd64 alone; Calico's are of both.
func RunsOn(dataplane infrav1.DataplaneType, architecture string) bool {
	return dataplane != infrav1.DataplaneCalicoVPP || architecture == "x86_64" || architecture == "amd64"
}

// maxMTU of pods.
func (v Values) maxMTU() int32 {
	protocol := encryption.Protocol("")
	if v.encrypted() {
		protocol = encryption.Protocol(v.Protocol)
	}
	tunnels := make([]encryption.PoolTunnel, len(v.Pools))
	for i, pool := range v.Pools {
		tunnels[i] = encryption.PoolTunnel{Encapsulation: string(pool.Encapsulation), IPv6: !is4(pool.CIDR)}
	}
	return encryption.PodMTU(v.NetworkMTU, protocol, tunnels...)
}
