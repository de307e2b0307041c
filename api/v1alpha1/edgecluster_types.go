// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
)

// EdgeClusterSpec describes the site: what its machines share.
// +kubebuilder:validation:XValidation:rule="!has(self.networks) || self.networks.all(n, !has(n.subnets) || n.subnets.all(s, !isCIDR(s.cidr) || self.networks.all(m, !has(m.subnets) || m.subnets.all(t, s.cidr == t.cidr || !isCIDR(t.cidr) || !cidr(s.cidr).containsIP(cidr(t.cidr).ip())))))",message="networks: subnets overlap; every cidr may appear once and must not contain another",fieldPath=".networks"
// +kubebuilder:validation:XValidation:rule="!has(self.networks) || self.networks.all(n, !has(n.subnets) || n.subnets.all(s, self.networks.exists_one(m, has(m.subnets) && m.subnets.exists(t, t.cidr == s.cidr))))",message="networks: subnets overlap; two networks list the same cidr, give each its own",fieldPath=".networks"
// +kubebuilder:validation:XValidation:rule="!has(self.networks) || self.networks.all(n, !has(n.subnets) || n.subnets.all(s, n.subnets.exists_one(t, t.cidr == s.cidr)))",message="networks: a network lists the same cidr twice; remove one",fieldPath=".networks"
// +kubebuilder:validation:XValidation:rule="!has(self.networks) || self.dataplane.type == 'None' || (has(self.dataplane.network) ? self.networks.exists(n, n.name == self.dataplane.network) : size(self.networks) == 1)",message="dataplane.network must name one of spec.networks; it may be left out only when there is exactly one",fieldPath=".dataplane.network"
// +kubebuilder:validation:XValidation:rule="!has(self.networks) || self.dataplane.type != 'CalicoVPP' || self.dataplane.encryption.mode == 'Disabled' || !self.networks.exists(n, (!has(self.dataplane.network) || n.name == self.dataplane.network) && (has(n.addresses.dhcp) || !has(n.subnets) || n.subnets.exists(s, isCIDR(s.cidr) && cidr(s.cidr).ip().family() != 4)))",message="dataplane: VPP's WireGuard and IPsec need a network with IPv4 subnets and addresses that are known before the host boots; use addresses fromPool or fromHost and IPv4 subnets only",fieldPath=".dataplane.network"
// +kubebuilder:validation:XValidation:rule="!has(self.networks) || self.dataplane.encryption.mode == 'Disabled' || !self.networks.exists(n, (!has(self.dataplane.network) || n.name == self.dataplane.network) && has(n.subnets) && !n.subnets.exists(s, !isCIDR(s.cidr) || cidr(s.cidr).ip().family() == 4))",message="dataplane.network: encryption runs between nodes' IPv4 addresses; choose a network with an IPv4 subnet",fieldPath=".dataplane.network"
// +kubebuilder:validation:XValidation:rule="!has(self.networks) || !has(self.dataplane.vpp) || !has(self.dataplane.vpp.uplinkDriver) || self.dataplane.vpp.uplinkDriver != 'AFXDP' || !self.networks.exists(n, (!has(self.dataplane.network) || n.name == self.dataplane.network) && has(n.mtu) && n.mtu > 3072)",message="dataplane.vpp.uplinkDriver: AFXDP takes an MTU of at most 3072; use AFPacket or a smaller mtu",fieldPath=".dataplane.vpp.uplinkDriver"
// +kubebuilder:validation:XValidation:rule="!has(self.networks) || !has(self.dataplane.mtu) || self.dataplane.encryption.mode == 'Disabled' || !self.networks.exists(n, (!has(self.dataplane.network) || n.name == self.dataplane.network) && self.dataplane.mtu > (has(n.mtu) ? n.mtu : 1500) - 60)",message="dataplane.mtu: encryption adds 60 bytes; use at most the network's mtu less 60, or leave it out",fieldPath=".dataplane.mtu"
// +kubebuilder:validation:XValidation:rule="!has(self.dataplane.bgp) || !has(self.dataplane.bgp.peers) || self.dataplane.bgp.peers.all(p, !has(p.failureDomains) || p.failureDomains.all(f, has(self.failureDomains) && self.failureDomains.exists(d, d.name == f)))",message="dataplane.bgp.peers: failureDomains must be among spec.failureDomains",fieldPath=".dataplane.bgp.peers"
type EdgeClusterSpec struct {
	// controlPlaneEndpoint is the address of the workload cluster's API server. May be left empty when the control-plane
	// provider sets it on the Cluster.
	// +optional
	ControlPlaneEndpoint APIEndpoint `json:"controlPlaneEndpoint,omitempty,omitzero"`

	// controlPlaneVIP says who makes controlPlaneEndpoint.host reachable. External when not set.
	// +optional
	ControlPlaneVIP ControlPlaneVIP `json:"controlPlaneVIP,omitempty,omitzero"`

	// networks of the site, shared by all machines, which refer to them by name.
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Networks []Network `json:"networks,omitempty"`

	// failureDomains in which hosts stand: racks, rooms, power feeds. A host says with the label
	// infrastructure.cluster.x-k8s.io/failure-domain where it stands. Machines with a failure domain are placed there or nowhere.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	FailureDomains []FailureDomain `json:"failureDomains,omitempty"`

	// dataplane of the cluster's pods, and its encryption. {} installs Calico with VPP, and WireGuard is required. Set type None to
	// install another dataplane by yourself.
	// +required
	Dataplane Dataplane `json:"dataplane,omitzero"`

	// hold stops every machine of the cluster after inspection and validation, before any disk is written.
	// +optional
	Hold *bool `json:"hold,omitempty"`
}

// APIEndpoint is where an API server answers.
type APIEndpoint struct {
	// host is an IP address or DNS name. An IP address is needed when controlPlaneVIP.mode is ARP or BGP.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Host string `json:"host,omitempty"`

	// port of the API server, usually 6443.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port,omitempty"`
}

// VIPMode says how a control-plane endpoint is made reachable.
// +kubebuilder:validation:Enum=ARP;BGP;External
type VIPMode string

const (
	// VIPModeARP renders a kube-vip static pod that announces the endpoint with ARP or neighbour discovery.
	VIPModeARP VIPMode = "ARP"
	// VIPModeBGP renders a kube-vip static pod that announces the endpoint with BGP.
	VIPModeBGP VIPMode = "BGP"
	// VIPModeExternal renders nothing: something else, such as a load balancer or DNS, makes the endpoint reachable.
	VIPModeExternal VIPMode = "External"
)

// ControlPlaneVIP configures the virtual IP of the control plane.
// +kubebuilder:validation:XValidation:rule="self.mode == 'BGP' ? has(self.bgp) : !has(self.bgp)",message="bgp is needed with mode BGP and not allowed with another",fieldPath=".bgp"
type ControlPlaneVIP struct {
	// mode is ARP or BGP (kube-vip on the control-plane hosts) or External.
	// +required
	Mode VIPMode `json:"mode,omitempty"`

	// image of kube-vip, for air-gapped sites. Default ghcr.io/kube-vip/kube-vip at the release this provider was tested with.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image,omitempty"`

	// bgp speaker of kube-vip, with mode BGP.
	// +optional
	BGP *VIPBGP `json:"bgp,omitempty"`
}

// VIPBGP configures kube-vip's BGP speaker.
type VIPBGP struct {
	// asNumber of the control-plane hosts.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=4294967295
	ASNumber int64 `json:"asNumber,omitempty"`

	// peers are the routers to which the endpoint is announced.
	// +required
	// +listType=map
	// +listMapKey=address
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Peers []VIPBGPPeer `json:"peers,omitempty"`
}

// VIPBGPPeer is a router that kube-vip announces the endpoint to.
type VIPBGPPeer struct {
	// address of the router.
	// +required
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=39
	// +kubebuilder:validation:XValidation:rule="isIP(self)",message="must be an IP address, for example 192.0.2.1"
	Address string `json:"address,omitempty"`

	// asNumber of the router.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=4294967295
	ASNumber int64 `json:"asNumber,omitempty"`

	// multiHop allows a router that is not directly connected.
	// +optional
	MultiHop *bool `json:"multiHop,omitempty"`
}

// FailureDomain is a part of the site that can fail by itself.
type FailureDomain struct {
	// name of the failure domain, and value of the label infrastructure.cluster.x-k8s.io/failure-domain on its hosts.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`
	Name string `json:"name,omitempty"`

	// controlPlane says whether control-plane machines may be placed here. Default true.
	// +optional
	ControlPlane *bool `json:"controlPlane,omitempty"`
}

// EdgeClusterStatus is what has been observed of the site.
type EdgeClusterStatus struct {
	// initialization tells Cluster API what has been completed once.
	// +optional
	Initialization EdgeClusterInitializationStatus `json:"initialization,omitempty,omitzero"`

	// failureDomains in Cluster API's form.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=100
	FailureDomains []clusterv1.FailureDomain `json:"failureDomains,omitempty"`

	// conditions: NetworksValid, HostsAvailable, ControlPlaneEndpointReady, DataplaneInstalled, EncryptionReady, Ready, Paused.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// EdgeClusterInitializationStatus tells what has been completed once.
// +kubebuilder:validation:MinProperties=1
type EdgeClusterInitializationStatus struct {
	// provisioned is true once machines may be created.
	// +optional
	Provisioned *bool `json:"provisioned,omitempty"`
}

// EdgeCluster is a site: the networks, failure domains and control-plane endpoint that the machines of one cluster share.
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=edgeclusters,scope=Namespaced,categories=cluster-api,shortName=ec
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels="cluster.x-k8s.io/v1beta2=v1alpha1"
// +kubebuilder:printcolumn:name="Cluster",type="string",JSONPath=".metadata.labels['cluster\\.x-k8s\\.io/cluster-name']",description="Cluster that owns this site"
// +kubebuilder:printcolumn:name="Endpoint",type="string",JSONPath=".spec.controlPlaneEndpoint.host",description="Control-plane endpoint"
// +kubebuilder:printcolumn:name="Provisioned",type="string",JSONPath=".status.initialization.provisioned",description="Machines may be created"
// +kubebuilder:printcolumn:name="Ready",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].status",description="Ready condition"
// +kubebuilder:printcolumn:name="Encrypted",type="string",JSONPath=".status.conditions[?(@.type=='EncryptionReady')].status",description="Every node has proved that its traffic is encrypted"
// +kubebuilder:printcolumn:name="Hosts",type="string",JSONPath=".status.conditions[?(@.type=='HostsAvailable')].message",description="Hosts that match against machines wanted"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp",description="Age"
// +kubebuilder:printcolumn:name="Message",type="string",priority=1,JSONPath=".status.conditions[?(@.type=='Ready')].message",description="What is awaited"
// +kubebuilder:validation:XValidation:rule="!has(self.spec) || !has(self.spec.controlPlaneVIP) || self.spec.controlPlaneVIP.mode == 'External' || (has(self.spec.controlPlaneEndpoint) && isIP(self.spec.controlPlaneEndpoint.host))",message="spec.controlPlaneEndpoint.host must be an IP address when spec.controlPlaneVIP.mode is ARP or BGP; set it or use mode External"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.spec.controlPlaneEndpoint) || (has(self.spec.controlPlaneEndpoint) && self.spec.controlPlaneEndpoint == oldSelf.spec.controlPlaneEndpoint)",message="spec.controlPlaneEndpoint cannot change once it is set: certificates and kubeconfigs hold it; create a new cluster"
type EdgeCluster struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`

	// spec describes the site.
	// +required
	Spec EdgeClusterSpec `json:"spec,omitempty,omitzero"`

	// status is what has been observed of the site.
	// +optional
	Status EdgeClusterStatus `json:"status,omitempty,omitzero"`
}

// GetConditions returns the conditions.
func (c *EdgeCluster) GetConditions() []metav1.Condition { return c.Status.Conditions }

// SetConditions replaces the conditions.
func (c *EdgeCluster) SetConditions(conditions []metav1.Condition) { c.Status.Conditions = conditions }

// EdgeClusterList is a list of EdgeClusters.
// +kubebuilder:object:root=true
type EdgeClusterList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty,omitzero"`
	Items           []EdgeCluster `json:"items"`
}
