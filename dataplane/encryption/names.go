// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package encryption

// Names in the workload cluster.
const (
	// NodeCondition on a Node is True while the node agent proves that the node's traffic is encrypted.
	NodeCondition = "EncryptedNetworkReady"

	// NotReadyTaint keeps pods from a node while its condition is not True. Hosts register with it; the agent takes it away and puts
	// it back. Effect NoSchedule.
	NotReadyTaint = "edgemetal.infrastructure.cluster.x-k8s.io/encryption-not-ready"

	// PublicKeyAnnotation on a Node holds the WireGuard public key (IPv4), base64. It is Calico's own:
	// libcalico-go/lib/backend/k8s/resources/node.go.
	PublicKeyAnnotation = "projectcalico.org/WireguardPublicKey"

	// AddressAnnotation on a Node is the address and prefix length that Calico uses for it.
	AddressAnnotation = "projectcalico.org/IPv4Address"

	// FailureDomainLabel on a Node names the failure domain of its host.
	FailureDomainLabel = "edgemetal.infrastructure.cluster.x-k8s.io/failure-domain"

	// AgentNamespace holds the node agent.
	AgentNamespace = "edgemetal-system"

	// AgentName is the name of the node agent's DaemonSet, ServiceAccount and RBAC.
	AgentName = "edge-agent"
)

// Files on a host, written by cloud-init; readable by root only.
const (
	// VPPExecFile creates the WireGuard interface when VPP starts; VPP's start-up script runs it.
	VPPExecFile = "/etc/vpp/wireguard.exec"

	// KernelKeyFile holds the private key, base64, of the kernel device.
	KernelKeyFile = "/etc/edgemetal/wireguard.key"

	// KernelDevice is the name that Felix gives its WireGuard device (wireguardInterfaceName).
	KernelDevice = "wireguard.cali"

	// KernelBootGuard holds the nftables table that drops what would leave in clear until the node agent does.
	KernelBootGuard = "/etc/edgemetal/guard.nft"

	// BootGuardTable is the name of that table, of family inet.
	BootGuardTable = "edgemetal_guard"

	// VPPInterface is the name of the WireGuard interface that VPPExecFile creates.
	VPPInterface = "wg0"

	// DefaultPort is WireGuard's UDP port: Felix's wireguardListeningPort.
	DefaultPort = 51820
)

// Reasons of NodeCondition, and of EncryptionReady where it mirrors a node. The verdict names the first that applies, in this order.
const (
	// ReasonEncrypted: traffic to the pods of every other node is encrypted.
	ReasonEncrypted = "Encrypted"
	// ReasonDataplaneUnreachable: VPP's API socket or the kernel cannot be asked.
	ReasonDataplaneUnreachable = "DataplaneUnreachable"
	// ReasonTunnelMissing: no WireGuard interface has the node's address as its source.
	ReasonTunnelMissing = "TunnelMissing"
	// ReasonTunnelDuplicate: several WireGuard interfaces have the node's address as their source.
	ReasonTunnelDuplicate = "TunnelDuplicate"
	// ReasonTunnelDown: the WireGuard interface is down or has no address yet.
	ReasonTunnelDown = "TunnelDown"
	// ReasonKeyMismatch: the interface's key is not the one in the host's file.
	ReasonKeyMismatch = "KeyMismatch"
	// ReasonKeyNotPublished: the interface's key is not the one on the Node.
	ReasonKeyNotPublished = "KeyNotPublished"
	// ReasonPortMismatch: the interface listens on another port than the cluster's.
	ReasonPortMismatch = "PortMismatch"
	// ReasonGuardMissing: what drops unencrypted traffic is not in force.
	ReasonGuardMissing = "GuardMissing"
	// ReasonPlaintextTunnel: an IPIP or VXLAN interface carries traffic in clear.
	ReasonPlaintextTunnel = "PlaintextTunnel"
	// ReasonPeerKeyUnknown: another Ready node has published no key.
	ReasonPeerKeyUnknown = "PeerKeyUnknown"
	// ReasonPeerKeyDuplicate: several Nodes publish one key, so that a session with it is with either.
	ReasonPeerKeyDuplicate = "PeerKeyDuplicate"
	// ReasonPeerMissing: another Ready node is no peer of the interface.
	ReasonPeerMissing = "PeerMissing"
	// ReasonPeerKeyMismatch: a peer has another key than its Node publishes.
	ReasonPeerKeyMismatch = "PeerKeyMismatch"
	// ReasonPeerNotEstablished: there is no recent handshake with a peer.
	ReasonPeerNotEstablished = "PeerNotEstablished"
	// ReasonRouteInClear: a block of another node's pods, or what may be one, is not routed into the WireGuard interface.
	ReasonRouteInClear = "RouteInClear"
	// ReasonIPsecNotEstablished: there is no IPsec security association with another Ready node.
	ReasonIPsecNotEstablished = "IPsecNotEstablished"
	// ReasonHugepagesInUse: VPP uses or has reserved hugepages.
	ReasonHugepagesInUse = "HugepagesInUse"
	// ReasonRxModeWrong: an interface polls although interrupts are asked for.
	ReasonRxModeWrong = "RxModeWrong"
)

// EventStrayPeer is the reason of the event that tells of a stray peer. It is no reason of the condition: the traffic is encrypted.
const EventStrayPeer = "StrayPeer"
