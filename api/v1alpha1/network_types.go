// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Network is an IP network of the site that machines join by name.
// +kubebuilder:validation:XValidation:rule="has(self.addresses.dhcp) || (has(self.subnets) && size(self.subnets) > 0)",message="subnets: at least one is needed unless addresses come from dhcp; add the network's CIDR",fieldPath=".subnets"
// +kubebuilder:validation:XValidation:rule="!has(self.routes) || self.routes.all(r, has(r.gateway) || (has(self.subnets) && self.subnets.exists(s, has(s.gateway))))",message="routes: a route without gateway needs a subnet with a gateway; set routes[].gateway or subnets[].gateway",fieldPath=".routes"
// +kubebuilder:validation:XValidation:rule="!has(self.routes) || !has(self.subnets) || self.routes.all(r, !has(r.gateway) || !isIP(r.gateway) || self.subnets.exists(s, isCIDR(s.cidr) && cidr(s.cidr).containsIP(r.gateway)))",message="routes: gateway lies outside every subnet of the network; use a router that is inside one of them",fieldPath=".routes"
type Network struct {
	// name by which machines' interfaces refer to the network, for example "cluster".
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`

	// subnets of the network. An address must lie in one of them; its prefix length and gateway come from there.
	// Optional only when addresses come from dhcp.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	Subnets []Subnet `json:"subnets,omitempty"`

	// mtu in bytes that every link of this network has at least. 1500 when not set.
	// +optional
	// +kubebuilder:validation:Minimum=576
	// +kubebuilder:validation:Maximum=9216
	MTU int32 `json:"mtu,omitempty"`

	// nameservers are IP addresses of DNS servers, in order of preference.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=2
	// +kubebuilder:validation:items:MaxLength=39
	// +kubebuilder:validation:XValidation:rule="self.all(n, isIP(n))",message="nameservers must be IP addresses, for example 192.0.2.53"
	Nameservers []string `json:"nameservers,omitempty"`

	// routes beside the default route, which goes through the gateway of the subnet of the machine's first interface.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Routes []Route `json:"routes,omitempty"`

	// addresses says where machines get their address in this network.
	// +required
	Addresses AddressSource `json:"addresses,omitzero"`
}

// Subnet is an IP range of a network.
// +kubebuilder:validation:XValidation:rule="!has(self.gateway) || !isCIDR(self.cidr) || !isIP(self.gateway) || cidr(self.cidr).containsIP(self.gateway)",message="gateway lies outside the subnet's cidr; use a router inside it",fieldPath=".gateway"
type Subnet struct {
	// cidr with the network address, for example 192.0.2.0/24 or 2001:db8::/64.
	// +required
	// +kubebuilder:validation:MinLength=4
	// +kubebuilder:validation:MaxLength=43
	// +kubebuilder:validation:XValidation:rule="isCIDR(self) && cidr(self) == cidr(self).masked()",message="must be a CIDR with the network address, for example 192.0.2.0/24 (not 192.0.2.1/24)"
	CIDR string `json:"cidr,omitempty"`

	// gateway is the IP address of the subnet's router.
	// +optional
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=39
	// +kubebuilder:validation:XValidation:rule="isIP(self)",message="must be an IP address, for example 192.0.2.1"
	Gateway string `json:"gateway,omitempty"`
}

// Route is a static route.
type Route struct {
	// destination CIDR, for example 198.51.100.0/24.
	// +required
	// +kubebuilder:validation:MinLength=4
	// +kubebuilder:validation:MaxLength=43
	// +kubebuilder:validation:XValidation:rule="isCIDR(self) && cidr(self) == cidr(self).masked()",message="must be a CIDR with the network address, for example 198.51.100.0/24"
	Destination string `json:"destination,omitempty"`

	// gateway is the next hop. When not set, the gateway of the subnet in which the machine's address lies.
	// +optional
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=39
	// +kubebuilder:validation:XValidation:rule="isIP(self)",message="must be an IP address, for example 192.0.2.1"
	Gateway string `json:"gateway,omitempty"`
}

// AddressSource says where machines get their address from. Exactly one member is set.
// +kubebuilder:validation:XValidation:rule="[has(self.fromPool), has(self.fromHost), has(self.dhcp)].filter(x, x).size() == 1",message="set exactly one of fromPool, fromHost and dhcp"
type AddressSource struct {
	// fromPool claims an address from an IPAM provider's pool in the cluster's namespace (Cluster API's IPAddressClaim contract).
	// +optional
	FromPool *PoolReference `json:"fromPool,omitempty"`

	// fromHost reads the address from the annotation edgemetal.infrastructure.cluster.x-k8s.io/addresses of the
	// BareMetalHost, so that an inventory file can fix it.
	// +optional
	FromHost *FromHost `json:"fromHost,omitempty"`

	// dhcp leaves the address to a DHCP server (IPv4).
	// +optional
	DHCP *DHCP `json:"dhcp,omitempty"`
}

// FromHost has no settings.
type FromHost struct{}

// DHCP has no settings.
type DHCP struct{}

// PoolReference names an IPAM pool in the cluster's namespace.
type PoolReference struct {
	// apiGroup of the pool, for example ipam.cluster.x-k8s.io.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	APIGroup string `json:"apiGroup,omitempty"`

	// kind of the pool, for example InClusterIPPool.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind,omitempty"`

	// name of the pool.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
}
