// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Dataplane is the network of the cluster's pods: what carries it, and how it is encrypted.
// +kubebuilder:validation:XValidation:rule="self.type == oldSelf.type",message="type cannot change on a live cluster: pods would lose their network; create a new cluster",fieldPath=".type"
// +kubebuilder:validation:XValidation:rule="has(self.network) == has(oldSelf.network) && (!has(self.network) || self.network == oldSelf.network)",message="network cannot change on a live cluster: hosts are configured for it; create a new cluster",fieldPath=".network"
// +kubebuilder:validation:XValidation:rule="self.type == 'CalicoVPP' || !has(self.vpp)",message="vpp is only for type CalicoVPP; remove it",fieldPath=".vpp"
// +kubebuilder:validation:XValidation:rule="self.type != 'None' || self.encryption.mode == 'Disabled'",message="type None installs no dataplane, so nothing can be proved to be encrypted: set encryption.mode Disabled, or choose another type",fieldPath=".encryption"
// +kubebuilder:validation:XValidation:rule="self.type != 'None' || !(has(self.calico) || has(self.ipPools) || has(self.bgp) || has(self.mtu) || has(self.kubeProxy))",message="type None installs no dataplane: calico, ipPools, bgp, mtu and kubeProxy have no effect; remove them"
// +kubebuilder:validation:XValidation:rule="self.type == 'CalicoVPP' || self.encryption.mode == 'Disabled' || self.encryption.protocol == 'WireGuard'",message="protocol IPsec is only for type CalicoVPP; use WireGuard",fieldPath=".encryption.protocol"
// +kubebuilder:validation:XValidation:rule="self.type == 'CalicoEBPF' || !has(self.kubeProxy) || self.kubeProxy == 'Keep'",message="only type CalicoEBPF can replace kube-proxy; use Keep",fieldPath=".kubeProxy"
// +kubebuilder:validation:XValidation:rule="self.encryption.mode == 'Disabled' || !has(self.ipPools) || self.ipPools.all(p, !isCIDR(p.cidr) || cidr(p.cidr).ip().family() == 4)",message="ipPools: encryption is for IPv4 only, an IPv6 pool would stay in clear; use IPv4, or set encryption.mode Disabled",fieldPath=".ipPools"
// +kubebuilder:validation:XValidation:rule="self.type != 'CalicoVPP' || self.encryption.mode == 'Disabled' || !has(self.ipPools) || self.ipPools.all(p, !has(p.encapsulation) || p.encapsulation in ['IPIP', 'VXLAN'])",message="ipPools: with VPP, encapsulation None and the CrossSubnet kinds leave traffic in clear; use IPIP, or VXLAN with WireGuard",fieldPath=".ipPools"
// +kubebuilder:validation:XValidation:rule="self.type != 'CalicoVPP' || self.encryption.mode == 'Disabled' || self.encryption.protocol != 'IPsec' || !has(self.ipPools) || self.ipPools.all(p, !has(p.encapsulation) || p.encapsulation == 'IPIP')",message="ipPools: IPsec encrypts IPIP tunnels only; use encapsulation IPIP",fieldPath=".ipPools"
// +kubebuilder:validation:XValidation:rule="!has(self.ipPools) || self.ipPools.all(p, self.ipPools.exists_one(q, isCIDR(p.cidr) && isCIDR(q.cidr) && (cidr(p.cidr).containsIP(cidr(q.cidr).ip()) || cidr(q.cidr).containsIP(cidr(p.cidr).ip()))))",message="ipPools: two pools overlap; give each its own range",fieldPath=".ipPools"
// +kubebuilder:validation:XValidation:rule="!has(self.bgp) || self.type != 'CalicoVPP' || !has(self.bgp.peers) || self.bgp.peers.all(p, !isIP(p.address) || ip(p.address).family() == 4)",message="bgp.peers: VPP's BGP speaker is used with IPv4 only; use IPv4 addresses",fieldPath=".bgp.peers"
// +kubebuilder:validation:XValidation:rule="!has(self.bgp) || self.type != 'CalicoVPP' || !has(self.bgp.peers) || self.bgp.peers.all(p, (!has(p.__import__) || p.__import__.all(f, has(f.match) && f.match == 'In' || f.cidr == '0.0.0.0/0')) && (!has(p.export) || p.export.all(f, has(f.match) && f.match == 'In' || f.cidr == '0.0.0.0/0')))",message="bgp.peers: VPP's BGP speaker compares a filter with match Equal, the default, with no route but 0.0.0.0/0; use match In",fieldPath=".bgp.peers"
// +kubebuilder:validation:XValidation:rule="!has(self.bgp) || self.type != 'CalicoVPP' || !has(self.bgp.advertise) || (!has(self.bgp.advertise.clusterIPs) || self.bgp.advertise.clusterIPs.all(c, !isCIDR(c) || cidr(c).ip().family() == 4)) && (!has(self.bgp.advertise.externalIPs) || self.bgp.advertise.externalIPs.all(c, !isCIDR(c) || cidr(c).ip().family() == 4)) && (!has(self.bgp.advertise.loadBalancerIPs) || self.bgp.advertise.loadBalancerIPs.all(c, !isCIDR(c) || cidr(c).ip().family() == 4))",message="bgp.advertise: VPP's BGP speaker is used with IPv4 only; use IPv4 ranges",fieldPath=".bgp.advertise"
// +kubebuilder:validation:XValidation:rule="self.type == 'CalicoVPP' || !has(self.calico) || !has(self.calico.vppVersion)",message="calico.vppVersion is only for type CalicoVPP; remove it",fieldPath=".calico"
type Dataplane struct {
	// type of the dataplane: CalicoVPP (default), CalicoEBPF, CalicoNftables, CalicoIptables, or None to install another one by yourself.
	// +optional
	// +default="CalicoVPP"
	Type DataplaneType `json:"type,omitempty"`

	// network of spec.networks that carries the pods' traffic: uplink, node address and MTU follow from it. May be left out when
	// there is only one.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	Network string `json:"network,omitempty"`

	// encryption of the traffic between nodes. Required, with WireGuard, when not set.
	// +optional
	// +default={"mode":"Required","protocol":"WireGuard"}
	Encryption Encryption `json:"encryption,omitempty,omitzero"`

	// calico: versions, images and charts.
	// +optional
	Calico Calico `json:"calico,omitempty,omitzero"`

	// vpp tuning, with type CalicoVPP. The defaults suit an edge host: interrupt mode, no worker threads, no hugepages.
	// +optional
	VPP *VPP `json:"vpp,omitempty"`

	// ipPools for pods. When not set, one pool with the Cluster's pod CIDR.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	IPPools []IPPool `json:"ipPools,omitempty"`

	// mtu of pods in bytes. When not set, the network's MTU less the overhead of encryption and encapsulation, for example 1440.
	// +optional
	// +kubebuilder:validation:Minimum=576
	// +kubebuilder:validation:Maximum=9216
	MTU int32 `json:"mtu,omitempty"`

	// bgp between nodes and to the routers of the site.
	// +optional
	BGP *BGP `json:"bgp,omitempty"`

	// kubeProxy says whether kube-proxy stays. Replace is possible with type CalicoEBPF. Keep when not set.
	// +optional
	KubeProxy KubeProxyMode `json:"kubeProxy,omitempty"`

	// agentImage of the node agent, for air-gapped sites. Default ghcr.io/edgemetal/edge-agent at the provider's own version.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	AgentImage string `json:"agentImage,omitempty"`
}

// DataplaneType names a dataplane.
// +kubebuilder:validation:Enum=CalicoVPP;CalicoEBPF;CalicoNftables;CalicoIptables;None
type DataplaneType string

const (
	// DataplaneCalicoVPP is Calico with FD.io VPP.
	DataplaneCalicoVPP DataplaneType = "CalicoVPP"
	// DataplaneCalicoEBPF is Calico with eBPF.
	DataplaneCalicoEBPF DataplaneType = "CalicoEBPF"
	// DataplaneCalicoNftables is Calico with nftables.
	DataplaneCalicoNftables DataplaneType = "CalicoNftables"
	// DataplaneCalicoIptables is Calico with iptables.
	DataplaneCalicoIptables DataplaneType = "CalicoIptables"
	// DataplaneNone installs nothing.
	DataplaneNone DataplaneType = "None"
)

// Encryption of the traffic between nodes.
// +kubebuilder:validation:XValidation:rule="!has(self.port) || self.port != 4789",message="port 4789 is VXLAN's, which is closed to keep clear traffic in; use another port, for example 51820",fieldPath=".port"
// +kubebuilder:validation:XValidation:rule="self.protocol == 'WireGuard' || !has(self.port)",message="port is only for protocol WireGuard; remove it",fieldPath=".port"
// +kubebuilder:validation:XValidation:rule="(self.mode == 'Disabled') == (oldSelf.mode == 'Disabled')",message="encryption cannot be switched on or off on a live cluster: Calico calls that unstable, and keys are provisioned with the host; create a new cluster",fieldPath=".mode"
// +kubebuilder:validation:XValidation:rule="self.protocol == oldSelf.protocol",message="protocol cannot change on a live cluster; create a new cluster",fieldPath=".protocol"
// +kubebuilder:validation:XValidation:rule="has(self.port) == has(oldSelf.port) && (!has(self.port) || self.port == oldSelf.port)",message="port cannot change on a live cluster: every host is provisioned with it; create a new cluster",fieldPath=".port"
type Encryption struct {
	// mode: Required (default; a node takes pods only while its traffic is proved to be encrypted, and what would leave in clear
	// is dropped), Preferred (encryption is set up and reported, and nothing is held back), or Disabled.
	// +optional
	// +default="Required"
	Mode EncryptionMode `json:"mode,omitempty"`

	// protocol: WireGuard (default), or IPsec with type CalicoVPP.
	// +optional
	// +default="WireGuard"
	Protocol EncryptionProtocol `json:"protocol,omitempty"`

	// port is the UDP port of WireGuard on every node. 51820 when not set.
	// +optional
	// +kubebuilder:validation:Minimum=1024
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port,omitempty"`
}

// EncryptionMode says how strictly encryption is asked for.
// +kubebuilder:validation:Enum=Required;Preferred;Disabled
type EncryptionMode string

const (
	// EncryptionRequired holds pods back from nodes that are not proved to encrypt, and drops what would leave in clear.
	EncryptionRequired EncryptionMode = "Required"
	// EncryptionPreferred sets encryption up and reports on it.
	EncryptionPreferred EncryptionMode = "Preferred"
	// EncryptionDisabled leaves traffic in clear.
	EncryptionDisabled EncryptionMode = "Disabled"
)

// EncryptionProtocol encrypts traffic between nodes.
// +kubebuilder:validation:Enum=WireGuard;IPsec
type EncryptionProtocol string

const (
	// ProtocolWireGuard is WireGuard, with a key pair per node.
	ProtocolWireGuard EncryptionProtocol = "WireGuard"
	// ProtocolIPsec is IPsec with IKEv2, with one pre-shared key per cluster.
	ProtocolIPsec EncryptionProtocol = "IPsec"
)

// Calico says which Calico is installed, and from where.
// +kubebuilder:validation:XValidation:rule="!has(self.version) || !has(self.vppVersion) || self.version.split('.', 3)[0] == self.vppVersion.split('.', 3)[0] && self.version.split('.', 3)[1] == self.vppVersion.split('.', 3)[1]",message="Calico-VPP A.B.x works with Calico A.B.y only; set both to the same minor version",fieldPath=".vppVersion"
type Calico struct {
	// version of Calico, of its charts and of its CRDs, for example v3.32.1 (default).
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$`
	Version string `json:"version,omitempty"`

	// vppVersion is the tag of Calico-VPP's images, for example v3.32.0 (default). Calico-VPP A.B.x works with Calico A.B.y.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$`
	VPPVersion string `json:"vppVersion,omitempty"`

	// registry from which all of Calico's images are pulled instead of their own, for example registry.example.com/mirror.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="!self.endsWith('/') && !self.contains('://')",message="must be a registry with an optional path, without scheme and trailing slash, for example registry.example.com/mirror"
	Registry string `json:"registry,omitempty"`

	// imagePullSecrets are Secrets of type kubernetes.io/dockerconfigjson in the EdgeCluster's namespace. They are copied into the
	// workload cluster.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=4
	ImagePullSecrets []SecretReference `json:"imagePullSecrets,omitempty"`

	// charts says where Calico's charts come from.
	// +optional
	Charts Charts `json:"charts,omitempty,omitzero"`
}

// SecretReference names a Secret in the EdgeCluster's namespace.
type SecretReference struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
}

// Charts says where Calico's charts (crd.projectcalico.org.v1 and tigera-operator) come from.
// +kubebuilder:validation:XValidation:rule="!(has(self.repository) && has(self.secret))",message="set repository or secret, not both"
// +kubebuilder:validation:XValidation:rule="!has(self.credentials) || has(self.repository)",message="credentials belong to a repository; set repository",fieldPath=".credentials"
type Charts struct {
	// repository is a Helm repository (https://...) or an OCI registry with path (oci://...). Default https://docs.tigera.io/calico/charts.
	// +optional
	// +kubebuilder:validation:MinLength=7
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.startsWith('https://') || self.startsWith('http://') || self.startsWith('oci://')",message="must start with https://, http:// or oci://"
	Repository string `json:"repository,omitempty"`

	// credentials for the repository: a Secret with the keys username and password, and ca.crt when the repository's certificate is
	// signed by a private authority. Each key is optional.
	// +optional
	Credentials *SecretReference `json:"credentials,omitempty"`

	// secret holds the charts for air-gapped sites, under the keys crd.projectcalico.org.v1-<version>.tgz and
	// tigera-operator-<version>.tgz.
	// +optional
	Secret *SecretReference `json:"secret,omitempty"`

	// crdsDigest pins the chart crd.projectcalico.org.v1: the SHA-256 of its archive. A chart with another digest is refused.
	// +optional
	// +kubebuilder:validation:MaxLength=71
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
	CRDsDigest string `json:"crdsDigest,omitempty"`

	// operatorDigest pins the chart tigera-operator in the same way.
	// +optional
	// +kubebuilder:validation:MaxLength=71
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
	OperatorDigest string `json:"operatorDigest,omitempty"`
}

// IPPool is a range from which pods get their addresses.
// +kubebuilder:validation:XValidation:rule="!has(self.encapsulation) || !self.encapsulation.startsWith('IPIP') || !isCIDR(self.cidr) || cidr(self.cidr).ip().family() == 4",message="IPIP carries IPv4 only; use VXLAN",fieldPath=".encapsulation"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.encapsulation) && !has(self.encapsulation) || has(oldSelf.encapsulation) && has(self.encapsulation) && self.encapsulation == oldSelf.encapsulation",message="encapsulation cannot change on a live pool: nodes would not follow; add another pool",fieldPath=".encapsulation"
// +kubebuilder:validation:XValidation:rule="self.cidr == oldSelf.cidr",message="cidr cannot change on a live pool; add another pool",fieldPath=".cidr"
// +kubebuilder:validation:XValidation:rule="!has(self.blockSize) || !isCIDR(self.cidr) || self.blockSize >= cidr(self.cidr).prefixLength()",message="blockSize must be at least the prefix length of cidr",fieldPath=".blockSize"
// +kubebuilder:validation:XValidation:rule="!has(self.blockSize) || !isCIDR(self.cidr) || (cidr(self.cidr).ip().family() == 4 ? self.blockSize >= 20 && self.blockSize <= 32 : self.blockSize >= 116)",message="blockSize must be 20 to 32 for IPv4, 116 to 128 for IPv6",fieldPath=".blockSize"
type IPPool struct {
	// name of the pool.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`

	// cidr with the network address, for example 10.244.0.0/16.
	// +required
	// +kubebuilder:validation:MinLength=4
	// +kubebuilder:validation:MaxLength=43
	// +kubebuilder:validation:XValidation:rule="isCIDR(self) && cidr(self) == cidr(self).masked()",message="must be a CIDR with the network address, for example 10.244.0.0/16"
	CIDR string `json:"cidr,omitempty"`

	// blockSize is the prefix length of the blocks that nodes take from the pool. 26 for IPv4 and 122 for IPv6 when not set.
	// +optional
	// +kubebuilder:validation:Minimum=20
	// +kubebuilder:validation:Maximum=128
	BlockSize int32 `json:"blockSize,omitempty"`

	// encapsulation between nodes. When not set, IPIP with type CalicoVPP, where encryption needs it, and VXLAN otherwise and for IPv6.
	// +optional
	Encapsulation Encapsulation `json:"encapsulation,omitempty"`

	// natOutgoing hides pods behind their node's address when they talk to the outside. True when not set.
	// +optional
	NATOutgoing *bool `json:"natOutgoing,omitempty"`
}

// Encapsulation of pods' packets between nodes.
// +kubebuilder:validation:Enum=IPIP;IPIPCrossSubnet;VXLAN;VXLANCrossSubnet;None
type Encapsulation string

const (
	// EncapsulationIPIP is IP in IP.
	EncapsulationIPIP Encapsulation = "IPIP"
	// EncapsulationIPIPCrossSubnet is IP in IP between subnets, and none inside one.
	EncapsulationIPIPCrossSubnet Encapsulation = "IPIPCrossSubnet"
	// EncapsulationVXLAN is VXLAN.
	EncapsulationVXLAN Encapsulation = "VXLAN"
	// EncapsulationVXLANCrossSubnet is VXLAN between subnets, and none inside one.
	EncapsulationVXLANCrossSubnet Encapsulation = "VXLANCrossSubnet"
	// EncapsulationNone routes pods' packets as they are.
	EncapsulationNone Encapsulation = "None"
)

// KubeProxyMode says what becomes of kube-proxy.
// +kubebuilder:validation:Enum=Keep;Replace
type KubeProxyMode string

const (
	// KubeProxyKeep leaves kube-proxy alone.
	KubeProxyKeep KubeProxyMode = "Keep"
	// KubeProxyReplace lets the dataplane do kube-proxy's work, and takes kube-proxy off the nodes.
	KubeProxyReplace KubeProxyMode = "Replace"
)
