// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// BGP between nodes and to the routers of the site.
// +kubebuilder:validation:XValidation:rule="!has(self.nodeMesh) || self.nodeMesh || (has(self.peers) && size(self.peers) > 0)",message="nodeMesh can only be switched off when there are peers",fieldPath=".nodeMesh"
type BGP struct {
	// asNumber of the nodes. 64512 when not set. Calico's own definitions hold no more than 31 bits.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2147483647
	ASNumber int64 `json:"asNumber,omitempty"`

	// nodeMesh lets every node peer with every other. True when not set.
	// +optional
	NodeMesh *bool `json:"nodeMesh,omitempty"`

	// peers are the routers that nodes peer with.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Peers []BGPPeer `json:"peers,omitempty"`

	// advertise announces services to the peers.
	// +optional
	Advertise Advertise `json:"advertise,omitempty,omitzero"`
}

// BGPPeer is a router that nodes peer with.
type BGPPeer struct {
	// name of the peer.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`

	// address of the router.
	// +required
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=39
	// +kubebuilder:validation:XValidation:rule="isIP(self)",message="must be an IP address, for example 192.0.2.1"
	Address string `json:"address,omitempty"`

	// asNumber of the router. Calico's own definitions hold no more than 31 bits.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2147483647
	ASNumber int64 `json:"asNumber,omitempty"`

	// failureDomains whose nodes peer with this router. All nodes when not set.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	FailureDomains []string `json:"failureDomains,omitempty"`

	// password of the session: a Secret in the EdgeCluster's namespace with the key password.
	// +optional
	Password *SecretReference `json:"password,omitempty"`

	// import says which routes are taken from the router, in order, the first that matches; others are refused. When not set, the default
	// route only.
	// Routes inside the pods' ranges are always refused: they would lead pods' traffic past encryption.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Import []RouteFilter `json:"import,omitempty"`

	// export says which routes are announced to the router, in order, the first that matches; others are not. When not set, the ranges of
	// bgp.advertise. With type CalicoVPP the blocks of a node's own pods are announced in any case.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Export []RouteFilter `json:"export,omitempty"`
}

// RouteFilter accepts or refuses routes.
type RouteFilter struct {
	// cidr that routes are compared with.
	// +required
	// +kubebuilder:validation:MinLength=4
	// +kubebuilder:validation:MaxLength=43
	// +kubebuilder:validation:XValidation:rule="isCIDR(self) && cidr(self) == cidr(self).masked()",message="must be a CIDR with the network address, for example 198.51.100.0/24"
	CIDR string `json:"cidr,omitempty"`

	// match: Equal (default) for the very prefix, In for it and those inside it. With type CalicoVPP Equal is for 0.0.0.0/0 only.
	// +optional
	Match RouteMatch `json:"match,omitempty"`

	// action: Accept (default) or Reject.
	// +optional
	Action RouteAction `json:"action,omitempty"`
}

// RouteMatch compares a route with a CIDR.
// +kubebuilder:validation:Enum=Equal;In
type RouteMatch string

const (
	// RouteMatchEqual is the very prefix.
	RouteMatchEqual RouteMatch = "Equal"
	// RouteMatchIn is every prefix inside.
	RouteMatchIn RouteMatch = "In"
)

// RouteAction is what becomes of a route.
// +kubebuilder:validation:Enum=Accept;Reject
type RouteAction string

const (
	// RouteAccept lets the route pass.
	RouteAccept RouteAction = "Accept"
	// RouteReject drops the route.
	RouteReject RouteAction = "Reject"
)

// Advertise says which addresses of services are announced to the site's routers.
type Advertise struct {
	// clusterIPs announces these ranges of services' cluster IPs.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=4
	// +kubebuilder:validation:items:MaxLength=43
	// +kubebuilder:validation:XValidation:rule="self.all(c, isCIDR(c) && cidr(c) == cidr(c).masked())",message="clusterIPs must be CIDRs with the network address, for example 203.0.113.0/24"
	ClusterIPs []string `json:"clusterIPs,omitempty"`

	// externalIPs announces these ranges of services' external IPs.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=4
	// +kubebuilder:validation:items:MaxLength=43
	// +kubebuilder:validation:XValidation:rule="self.all(c, isCIDR(c) && cidr(c) == cidr(c).masked())",message="externalIPs must be CIDRs with the network address, for example 203.0.113.0/24"
	ExternalIPs []string `json:"externalIPs,omitempty"`

	// loadBalancerIPs announces these ranges of load balancers' IPs, and lets Calico assign them to services of type LoadBalancer.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=4
	// +kubebuilder:validation:items:MaxLength=43
	// +kubebuilder:validation:XValidation:rule="self.all(c, isCIDR(c) && cidr(c) == cidr(c).masked())",message="loadBalancerIPs must be CIDRs with the network address, for example 203.0.113.0/24"
	LoadBalancerIPs []string `json:"loadBalancerIPs,omitempty"`
}
