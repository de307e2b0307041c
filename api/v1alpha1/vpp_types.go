// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
)

// VPP tunes VPP.
// +kubebuilder:validation:XValidation:rule="!(has(self.uplinkDriver) && self.uplinkDriver == 'AFXDP') ? !(has(self.rxMode) && self.rxMode == 'Adaptive') : true",message="rxMode Adaptive is not supported by the AFPacket driver; use Interrupt or Polling, or the AFXDP driver",fieldPath=".rxMode"
// +kubebuilder:validation:XValidation:rule="!has(self.scheduler) || (!(has(self.rxMode) && self.rxMode != 'Interrupt') && !(has(self.podRxMode) && self.podRxMode != 'Interrupt') && !(has(self.hostTapRxMode) && self.hostTapRxMode != 'Interrupt'))",message="scheduler: a real-time policy with Polling or Adaptive interfaces would starve the host; use Interrupt everywhere",fieldPath=".scheduler"
// +kubebuilder:validation:XValidation:rule="!(has(self.buffers) && has(self.maxPodsPerNode))",message="buffers follow from maxPodsPerNode; set one of them",fieldPath=".buffers"
// +kubebuilder:validation:XValidation:rule="!has(self.ringSize) || self.ringSize in [64, 128, 256, 512, 1024, 2048, 4096]",message="must be a power of two from 64 to 4096",fieldPath=".ringSize"
// +kubebuilder:validation:XValidation:rule="!has(self.mainHeapSize) || quantity(string(self.mainHeapSize)).compareTo(quantity('1Gi')) >= 0",message="must be 1Gi or more: with less VPP aborts at the first service session, and untouched pages cost nothing",fieldPath=".mainHeapSize"
type VPP struct {
	// uplinkDriver: AFPacket (default, any NIC and kernel) or AFXDP (NICs with XDP support, MTU up to 3072).
	// +optional
	UplinkDriver UplinkDriver `json:"uplinkDriver,omitempty"`

	// rxMode of the uplink: Interrupt (default), Polling, or, with AFXDP, Adaptive.
	// +optional
	RxMode RxMode `json:"rxMode,omitempty"`

	// podRxMode of pods' interfaces. Interrupt when not set.
	// +optional
	PodRxMode RxMode `json:"podRxMode,omitempty"`

	// hostTapRxMode of the interface between VPP and the host. Interrupt when not set.
	// +optional
	HostTapRxMode RxMode `json:"hostTapRxMode,omitempty"`

	// workers is the number of VPP's worker threads. 0 (default): all work is done by the main thread.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=64
	Workers *int32 `json:"workers,omitempty"`

	// scheduler gives VPP's threads a real-time policy. When not set they are scheduled like others.
	// +optional
	Scheduler *Scheduler `json:"scheduler,omitempty"`

	// mainHeapSize of VPP. 1Gi when not set.
	// +optional
	MainHeapSize *resource.Quantity `json:"mainHeapSize,omitempty"`

	// maxPodsPerNode for which VPP's buffers suffice. 110 when not set, as kubelet's own limit.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=500
	MaxPodsPerNode int32 `json:"maxPodsPerNode,omitempty"`

	// buffers per NUMA node, of 2368 bytes in a page of 4096 each, instead of what follows from maxPodsPerNode.
	// +optional
	// +kubebuilder:validation:Minimum=8192
	// +kubebuilder:validation:Maximum=1048576
	Buffers int32 `json:"buffers,omitempty"`

	// ringSize is the number of descriptors in each queue of a pod's interface. 256 when not set.
	// +optional
	// +kubebuilder:validation:Minimum=64
	// +kubebuilder:validation:Maximum=4096
	RingSize int32 `json:"ringSize,omitempty"`

	// gso lets large packets pass VPP in one piece. True when not set.
	// +optional
	GSO *bool `json:"gso,omitempty"`

	// serviceAcceleration lets VPP balance services. True when not set; false leaves them to kube-proxy.
	// +optional
	ServiceAcceleration *bool `json:"serviceAcceleration,omitempty"`
}

// UplinkDriver is how VPP drives the uplink.
// +kubebuilder:validation:Enum=AFPacket;AFXDP
type UplinkDriver string

const (
	// UplinkAFPacket uses packet sockets.
	UplinkAFPacket UplinkDriver = "AFPacket"
	// UplinkAFXDP uses XDP sockets.
	UplinkAFXDP UplinkDriver = "AFXDP"
)

// RxMode is how VPP learns of received packets.
// +kubebuilder:validation:Enum=Interrupt;Adaptive;Polling
type RxMode string

const (
	// RxModeInterrupt sleeps until the kernel signals packets.
	RxModeInterrupt RxMode = "Interrupt"
	// RxModeAdaptive polls under load and sleeps otherwise.
	RxModeAdaptive RxMode = "Adaptive"
	// RxModePolling looks all the time, which takes a whole CPU.
	RxModePolling RxMode = "Polling"
)

// Scheduler is a real-time scheduling policy.
type Scheduler struct {
	// policy: RoundRobin (SCHED_RR) or FIFO (SCHED_FIFO).
	// +required
	Policy SchedulerPolicy `json:"policy,omitempty"`

	// priority from 1 to 99. 20 when not set.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=99
	Priority int32 `json:"priority,omitempty"`
}

// SchedulerPolicy is a real-time policy of Linux.
// +kubebuilder:validation:Enum=RoundRobin;FIFO
type SchedulerPolicy string

const (
	// SchedulerRoundRobin is SCHED_RR.
	SchedulerRoundRobin SchedulerPolicy = "RoundRobin"
	// SchedulerFIFO is SCHED_FIFO.
	SchedulerFIFO SchedulerPolicy = "FIFO"
)
