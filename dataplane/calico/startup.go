// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// Files and sockets of VPP in its container. They are Calico-VPP's own: config/config.go.
const (
	// VPPAPISocket is VPP's binary API.
	VPPAPISocket = "/var/run/vpp/vpp-api.sock"
	// VPPCLISocket is VPP's command line.
	VPPCLISocket = "/var/run/vpp/cli.sock"
	// VPPPIDFile holds VPP's process ID.
	VPPPIDFile = "/run/vpp/vpp.pid"
	// VPPStartupExecFile is run by VPP 2 s after it has started.
	VPPStartupExecFile = "/etc/vpp/startup.exec"
)

const (
	// bufferPage is what a buffer takes: 2368 bytes each, of which one fits into a page of 4 KiB.
	bufferPage = 4096
	// infrastructureRing is the size of the uplink's and the host tap's rings, Calico-VPP's own default.
	infrastructureRing = 1024
	// inFlight are buffers that VPP's nodes hold while they work: frames of 256 packets in queues of every node and crypto.
	inFlight = 4096
	// bufferStep is what numbers of buffers are rounded up to.
	bufferStep = 8192
	// numaNodes for which there is address space: buffers are allocated on each.
	numaNodes = 8

	mebibyte = 1 << 20
	gibibyte = 1 << 30
)

// StartupConfig is VPP's start-up configuration. It takes no hugepages: heap, buffers and statistics lie in pages of 4 KiB. Without
// page-size in buffers VPP would reserve hugepages on the host before it falls back (vlib/buffer.c, vppinfra/linux/sysfs.c). It
// writes neither core files nor API traces, which would hold private keys. vpp has its defaults filled in.
func StartupConfig(vpp infrav1.VPP) string {
	var b strings.Builder
	section := func(name string, lines ...string) {
		fmt.Fprintf(&b, "%s {\n  %s\n}\n", name, strings.Join(lines, "\n  "))
	}
	section("unix", "nodaemon", "cli-listen "+VPPCLISocket, "pidfile "+VPPPIDFile, "exec "+VPPStartupExecFile)
	section("cpu", cpu(vpp)...)
	section("memory", "main-heap-size "+vppSize(*vpp.MainHeapSize), "main-heap-page-size 4K")
	section("buffers", fmt.Sprintf("buffers-per-numa %d", vpp.Buffers), "page-size 4K")
	section("physmem", fmt.Sprintf("max-size %dG", physmemGiB(vpp.Buffers)))
	section("statseg", "size 32M", "page-size 4K")
	section("socksvr", "socket-name "+VPPAPISocket)
	section("plugins", "plugin default { enable }", "plugin dpdk_plugin.so { disable }", "plugin ping_plugin.so { disable }")
	return b.String()
}

func cpu(vpp infrav1.VPP) []string {
	lines := []string{fmt.Sprintf("workers %d", *vpp.Workers)}
	if vpp.Scheduler == nil {
		return lines
	}
	policy := "rr"
	if vpp.Scheduler.Policy == infrav1.SchedulerFIFO {
		policy = "fifo"
	}
	return append(lines, "scheduler-policy "+policy, fmt.Sprintf("scheduler-priority %d", vpp.Scheduler.Priority))
}

// StartupExec is the text of VPPStartupExecFile. Routes that drop what is for the pods' ranges come first: until the node agent is
// connected, and should it never be, they keep such packets from the default route. Calico's routes for blocks are more specific, and
// the agent knows these routes as its own. Then VPP runs the host's own file, which creates the WireGuard interface with the
// host's key; it comes last, because VPP leaves the rest of a file out after an error. Empty when there is nothing to do.
func StartupExec(protocol encryption.Protocol, mode infrav1.EncryptionMode, podCIDRs []string) string {
	var lines []string
	if mode == infrav1.EncryptionRequired {
		for _, cidr := range ipv4(podCIDRs) {
			lines = append(lines, "ip route add "+cidr+" via drop")
		}
	}
	if protocol == encryption.WireGuard {
		lines = append(lines, "exec "+encryption.VPPExecFile)
	}
	return strings.Join(lines, "\n")
}

// Buffers per NUMA node that suffice for a number of pods. The agent refuses a pod when the buffers that were free at its start are
// fewer than the descriptors of all pods' queues (calico-vpp-agent/cni/network_vpp.go, checkAvailableBuffers). Added to these are
// the queues between VPP and the host, and packets on their way through VPP.
func Buffers(maxPods, ringSize int32) int32 {
	needed := maxPods*2*ringSize + 2*infrastructureRing + inFlight
	return (needed + bufferStep - 1) / bufferStep * bufferStep
}

// physmemGiB is address space for buffers, not memory: VPP would take 16 GiB of it.
func physmemGiB(buffers int32) int64 {
	return 1 + (int64(buffers)*bufferPage*numaNodes+gibibyte-1)/gibibyte
}

// memoryRequest of VPP's container: its buffers, the rings of the packet sockets on the uplink and what it touches of heap and
// libraries when idle.
func memoryRequest(vpp infrav1.VPP) resource.Quantity {
	const idle, frame = 256 * mebibyte, 64 << 10
	bytes := int64(vpp.Buffers)*bufferPage + idle
	if vpp.UplinkDriver == infrav1.UplinkAFPacket {
		// vpplink/af_packet.go: a frame of 64 KiB for each descriptor of both directions.
		bytes += 2 * infrastructureRing * frame * int64(queues(vpp))
	}
	return *resource.NewQuantity((bytes+mebibyte-1)/mebibyte*mebibyte, resource.BinarySI)
}

// queues of the uplink: one for each worker, or for the main thread.
func queues(vpp infrav1.VPP) int32 { return max(1, *vpp.Workers) }

// vppSize writes a size as VPP reads it: unformat_memory_size knows k, m and g.
func vppSize(quantity resource.Quantity) string {
	bytes := quantity.Value()
	if bytes%gibibyte == 0 {
		return fmt.Sprintf("%dG", bytes/gibibyte)
	}
	return fmt.Sprintf("%dM", (bytes+mebibyte-1)/mebibyte)
}
