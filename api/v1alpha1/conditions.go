// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

// Conditions of an EdgeMachine, in the order in which they become true. Ready summarises them.
const (
	// HostClaimedCondition is true when a matching BareMetalHost is ours. False says how many hosts matched and why the
	// others did not.
	HostClaimedCondition = "HostClaimed"

	// NetworkDataValidCondition is true when every link resolves to a NIC that the inspection found, and every address is
	// allocated, inside its subnet and unique in the cluster.
	NetworkDataValidCondition = "NetworkDataValid"

	// ReleasedCondition is true when nothing holds the machine back. Up to here no disk is written.
	ReleasedCondition = "Released"

	// BootstrapDataReadyCondition is true when user data, network data and metadata are composed and stored.
	BootstrapDataReadyCondition = "BootstrapDataReady"

	// HostProvisionedCondition is true when the host reports provisioned with exactly what was asked for.
	HostProvisionedCondition = "HostProvisioned"

	// NodeLinkedCondition is true when the Node with our provider ID exists in the workload cluster.
	NodeLinkedCondition = "NodeLinked"

	// EncryptionReadyCondition is true when the node agent reports that traffic between the pods of this node and those of every
	// other is encrypted. On an EdgeCluster: when that holds for every machine; the message counts them and names who is missing, why, and
	// since when. It is not set when encryption is disabled.
	EncryptionReadyCondition = "EncryptionReady"
)

// Conditions of an EdgeCluster. Ready summarises NetworksValid, ControlPlaneEndpointReady, DataplaneInstalled and, with
// encryption mode Required, EncryptionReady. HostsAvailable stands by itself, because a running cluster that asks for more
// machines than there are hosts is still ready. So is one, for an hour at most, of which one node among others is not
// encrypted any more, or whose dataplane's pods are awaited meanwhile: Ready then says so, and a MachineHealthCheck can
// replace the node.
const (
	// NetworksValidCondition is true when the site's networks and the Cluster's pod and service networks do not overlap.
	NetworksValidCondition = "NetworksValid"

	// HostsAvailableCondition is true when at least as many hosts match as machines are wanted, and every failure domain has one.
	HostsAvailableCondition = "HostsAvailable"

	// ControlPlaneEndpointReadyCondition is true when the control-plane endpoint is known and lies in a network.
	ControlPlaneEndpointReadyCondition = "ControlPlaneEndpointReady"

	// DataplaneInstalledCondition is true when Calico and the node agent are installed as spec.dataplane says, and run. False says
	// at which step the installation is, and what it waits for. It is not set with type None.
	DataplaneInstalledCondition = "DataplaneInstalled"
)

// ReadyCondition summarises the conditions of EdgeCluster and EdgeMachine over their whole life, including deletion.
const ReadyCondition = clusterv1.ReadyCondition

// Reasons that several conditions share.
const (
	// WaitingForClusterReason: the owning Machine, Cluster or EdgeCluster is not there or not ready yet.
	WaitingForClusterReason = "WaitingForCluster"
	// WaitingForEarlierStepReason: an earlier condition is not true yet.
	WaitingForEarlierStepReason = "WaitingForEarlierStep"
	// DeletingReason: the object is being deleted.
	DeletingReason = clusterv1.DeletingReason
	// InternalErrorReason: a request failed; it is tried again.
	InternalErrorReason = clusterv1.InternalErrorReason
)

// Reasons of HostClaimed.
const (
	// HostClaimedReason: the host is ours.
	HostClaimedReason = "HostClaimed"
	// NoHostMatchesReason: no host satisfies the selector and is free; the message counts the causes.
	NoHostMatchesReason = "NoHostMatches"
	// HostLostReason: the claimed host was deleted or taken over by somebody else after provisioning had begun.
	HostLostReason = "HostLost"
	// InvalidHostSelectorReason: the selector cannot be parsed.
	InvalidHostSelectorReason = "InvalidHostSelector"
)

// Reasons of NetworkDataValid.
const (
	// NetworkDataValidReason: links, addresses and MTUs fit this host.
	NetworkDataValidReason = "NetworkDataValid"
	// NoHardwareDataReason: the inspection results of the host are not known yet.
	NoHardwareDataReason = "NoHardwareData"
	// LinkUnresolvedReason: a link matches no NIC of the host, or more than one.
	LinkUnresolvedReason = "LinkUnresolved"
	// NetworkUnknownReason: an interface names a network that the EdgeCluster does not define.
	NetworkUnknownReason = "NetworkUnknown"
	// WaitingForAddressReason: the IPAM provider has not allocated an address yet.
	WaitingForAddressReason = "WaitingForAddress"
	// AddressPoolReason: the pool is exhausted or missing.
	AddressPoolReason = "AddressPoolUnavailable"
	// AddressMissingReason: the host's annotation gives no address for a network.
	AddressMissingReason = "AddressMissing"
	// AddressInvalidReason: an address is outside its subnet, or is the gateway or the control-plane endpoint.
	AddressInvalidReason = "AddressInvalid"
	// AddressTakenReason: another machine of the cluster has the address.
	AddressTakenReason = "AddressTaken"
	// MTUInvalidReason: a link's MTU is too small for a network on it.
	MTUInvalidReason = "MTUInvalid"
	// UplinkInvalidReason: the machine has no interface in the dataplane's network, or VPP cannot use its link as uplink.
	UplinkInvalidReason = "UplinkInvalid"
)

// Reasons of Released.
const (
	// ReleasedReason: nothing holds the machine.
	ReleasedReason = "Released"
	// HeldReason: hold is set on the machine or on the cluster. Beside it there is DataplaneInvalidReason.
	HeldReason = "Held"
)

// Reasons of BootstrapDataReady.
const (
	// BootstrapDataReadyReason: the documents are stored.
	BootstrapDataReadyReason = "BootstrapDataReady"
	// WaitingForBootstrapDataReason: the bootstrap provider has not published its Secret yet.
	WaitingForBootstrapDataReason = clusterv1.WaitingForBootstrapDataReason
	// BootstrapFormatUnsupportedReason: the bootstrap data is neither cloud-config nor something cloud-init reads.
	BootstrapFormatUnsupportedReason = "BootstrapFormatUnsupported"
	// BootstrapDataInvalidReason: the documents cannot be composed, for example because the user data is too large.
	BootstrapDataInvalidReason = "BootstrapDataInvalid"
	// KeyUnavailableReason: the Secret with the machine's WireGuard key is somebody else's or damaged. On the EncryptionReady condition
	// of an EdgeCluster: the one with the pre-shared key of IPsec.
	KeyUnavailableReason = "KeyUnavailable"
	// KeyLostReason: that Secret was deleted while hosts use its key. No other key is made for a host in service.
	KeyLostReason = "KeyLost"
)

// Reasons of HostProvisioned.
const (
	// HostProvisionedReason: the host runs what we asked for.
	HostProvisionedReason = "HostProvisioned"
	// HostProvisioningReason: baremetal-operator is at work.
	HostProvisioningReason = "HostProvisioning"
	// HostErrorReason: baremetal-operator reports an error; the message is its own.
	HostErrorReason = "HostError"
	// HostDeprovisioningReason: the host is being cleaned before it is freed.
	HostDeprovisioningReason = "HostDeprovisioning"
)

// Reasons of NodeLinked.
const (
	// NodeLinkedReason: the Node exists and has our provider ID.
	NodeLinkedReason = "NodeLinked"
	// WaitingForNodeReason: no Node with our provider ID has registered yet.
	WaitingForNodeReason = "WaitingForNode"
	// NodeStartupTimeoutReason: no Node has come for longer than the manager's --node-startup-timeout, and it is still awaited.
	NodeStartupTimeoutReason = "NodeStartupTimeout"
	// WorkloadClusterUnreachableReason: the workload cluster's API server cannot be reached.
	WorkloadClusterUnreachableReason = "WorkloadClusterUnreachable"
	// NodeProviderIDConflictReason: the host's Node carries another provider ID.
	NodeProviderIDConflictReason = "NodeProviderIDConflict"
)

// Reasons of NetworksValid.
const (
	// NetworksValidReason: the networks fit together.
	NetworksValidReason = "NetworksValid"
	// NetworksInvalidReason: a network cannot work; the message names it.
	NetworksInvalidReason = "NetworksInvalid"
)

// Reasons of HostsAvailable.
const (
	// HostsAvailableReason: enough hosts match.
	HostsAvailableReason = "HostsAvailable"
	// NotEnoughHostsReason: more machines are wanted than hosts match.
	NotEnoughHostsReason = "NotEnoughHosts"
	// FailureDomainWithoutHostsReason: no host carries the label of a declared failure domain.
	FailureDomainWithoutHostsReason = "FailureDomainWithoutHosts"
)

// Reasons of ControlPlaneEndpointReady.
const (
	// ControlPlaneEndpointReadyReason: the endpoint is set and valid.
	ControlPlaneEndpointReadyReason = "ControlPlaneEndpointReady"
	// WaitingForEndpointReason: neither the EdgeCluster nor the Cluster has an endpoint.
	WaitingForEndpointReason = "WaitingForEndpoint"
	// EndpointOutsideNetworksReason: the virtual IP lies in no subnet of the cluster.
	EndpointOutsideNetworksReason = "EndpointOutsideNetworks"
	// EndpointTakenReason: the virtual IP is a gateway or nameserver of one of the networks.
	EndpointTakenReason = "EndpointTaken"
)

// Reasons of DataplaneInstalled.
const (
	// DataplaneInstalledReason: everything is installed and runs.
	DataplaneInstalledReason = "DataplaneInstalled"
	// DataplaneInvalidReason: spec.dataplane cannot work together with the Cluster or with the machines; the message says why. Machines
	// that are not released because of it have it, too.
	DataplaneInvalidReason = "DataplaneInvalid"
	// WaitingForControlPlaneReason: the workload cluster has no control plane yet.
	WaitingForControlPlaneReason = "WaitingForControlPlane"
	// ChartUnavailableReason: a chart cannot be had, or its digest is not the one that is pinned.
	ChartUnavailableReason = "ChartUnavailable"
	// SecretMissingReason: a Secret that spec.dataplane names does not exist or lacks a key.
	SecretMissingReason = "SecretMissing"
	// ObjectConflictReason: an object that the dataplane needs has another value in one of its fields, which somebody else sets; the
	// message names object, field and owner.
	ObjectConflictReason = "ObjectConflict"
	// InstallingReason: objects are being applied; the message names the step.
	InstallingReason = "Installing"
	// WaitingForDataplaneReason: everything is applied, and something does not run yet; the message names it.
	WaitingForDataplaneReason = "WaitingForDataplane"
	// RollingOutReason: a change goes from node to node.
	RollingOutReason = "RollingOut"
)

// Reasons of EncryptionReady, beside those that the node agent reports.
const (
	// EncryptionReadyReason: proved to be encrypted.
	EncryptionReadyReason = "EncryptionReady"
	// WaitingForAgentReason: the node agent has not reported yet, or not for too long.
	WaitingForAgentReason = "WaitingForAgent"
	// NodesNotEncryptedReason: some machines of the cluster are not encrypted; the message names them. Machines count from when they
	// have a host.
	NodesNotEncryptedReason = "NodesNotEncrypted"
	// KeyNotPublishedReason: the machine's public key is not on its Node yet.
	KeyNotPublishedReason = "KeyNotPublished"
)
