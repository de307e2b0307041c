// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
)

// EdgeMachineSpec describes one machine: what its host must be and how it is set up.
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.providerID) || (has(self.providerID) && self.providerID == oldSelf.providerID)",message="providerID cannot change once it is set",fieldPath=".providerID"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.providerID) || (self.image == oldSelf.image && self.links == oldSelf.links && self.interfaces == oldSelf.interfaces && has(self.hostSelector) == has(oldSelf.hostSelector) && (!has(self.hostSelector) || self.hostSelector == oldSelf.hostSelector))",message="image, hostSelector, links and interfaces cannot change once the host is provisioned; roll out a new EdgeMachineTemplate"
// +kubebuilder:validation:XValidation:rule="self.links.all(l, !has(l.bond) || l.bond.members.all(m, self.links.exists(e, e.name == m && has(e.match))))",message="links: every bond member must be the name of a link with match (an ethernet) of this machine",fieldPath=".links"
// +kubebuilder:validation:XValidation:rule="self.links.all(l, !has(l.bond) || l.bond.members.all(m, self.links.all(o, o.name == l.name || !has(o.bond) || !(m in o.bond.members))))",message="links: an ethernet is a member of two bonds; a NIC can serve one bond",fieldPath=".links"
// +kubebuilder:validation:XValidation:rule="self.links.all(l, !has(l.vlan) || self.links.exists(p, p.name == l.vlan.parent && !has(p.vlan)))",message="links: vlan.parent must be the name of an ethernet or bond among the links of this machine",fieldPath=".links"
// +kubebuilder:validation:XValidation:rule="self.links.all(l, !has(l.bond) || l.name.matches('^bond[0-9]$'))",message="links: bonds must be named bond0, bond1 and so on, because cloud-init before 26.1 gives them these names",fieldPath=".links"
// +kubebuilder:validation:XValidation:rule="self.links.all(l, !has(l.vlan) || (l.name.startsWith(l.vlan.parent + '.') && l.name.substring(l.vlan.parent.size() + 1).matches('^[1-9][0-9]{0,3}$') && int(l.name.substring(l.vlan.parent.size() + 1)) == l.vlan.id))",message="links: the name of a VLAN must be <parent>.<id>, for example bond0.61, because cloud-init gives it that name",fieldPath=".links"
// +kubebuilder:validation:XValidation:rule="self.links.all(l, !has(l.vlan) || self.links.all(b, !has(b.bond) || !(l.vlan.parent in b.bond.members)))",message="links: vlan.parent is a member of a bond; put the VLAN on the bond",fieldPath=".links"
// +kubebuilder:validation:XValidation:rule="self.links.all(l, !has(l.vlan) || self.links.exists_one(o, has(o.vlan) && o.vlan.parent == l.vlan.parent && o.vlan.id == l.vlan.id))",message="links: the same VLAN ID is used twice on one parent; remove one or change its id",fieldPath=".links"
// +kubebuilder:validation:XValidation:rule="self.links.all(l, !has(l.mtu) || !has(l.vlan) || self.links.all(p, p.name != l.vlan.parent || !has(p.mtu) || p.mtu >= l.mtu))",message="links: a VLAN's mtu must not exceed its parent's",fieldPath=".links"
// +kubebuilder:validation:XValidation:rule="self.interfaces.all(i, self.links.exists(l, l.name == i.link))",message="interfaces: link must be the name of one of the links of this machine",fieldPath=".interfaces"
// +kubebuilder:validation:XValidation:rule="self.interfaces.all(i, self.links.all(b, !has(b.bond) || !(i.link in b.bond.members)))",message="interfaces: link is a member of a bond; name the bond instead",fieldPath=".interfaces"
type EdgeMachineSpec struct {
	// providerID of the Node, edgemetal://<namespace>/<host>/<EdgeMachine>. Set by the controller.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	ProviderID string `json:"providerID,omitempty"`

	// image written to the host's root disk, or booted from.
	// +required
	Image Image `json:"image,omitzero"`

	// hostSelector limits the BareMetalHosts of the namespace that this machine may use. Every host fits when not set.
	// +optional
	HostSelector HostSelector `json:"hostSelector,omitempty,omitzero"`

	// links are the network devices of the machine: ethernets, bonds and VLANs.
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Links []Link `json:"links,omitempty"`

	// interfaces join links to networks of the EdgeCluster. The first carries the address of the Node and the default route.
	// +required
	// +listType=map
	// +listMapKey=network
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Interfaces []Interface `json:"interfaces,omitempty"`

	// automatedCleaning of the host's disks before provisioning and after release: Metadata removes partition tables,
	// Disabled keeps the disks. The BareMetalHost's own setting is left alone when not set.
	// +optional
	// +kubebuilder:validation:Enum=Metadata;Disabled
	AutomatedCleaning CleaningMode `json:"automatedCleaning,omitempty"`

	// hold stops the machine after inspection and validation, before any disk is written. The annotation
	// edgemetal.infrastructure.cluster.x-k8s.io/hold does the same for a machine made from a template.
	// +optional
	Hold *bool `json:"hold,omitempty"`
}

// CleaningMode is how a host's disks are cleaned.
type CleaningMode string

const (
	// CleaningMetadata removes partition tables.
	CleaningMetadata CleaningMode = "Metadata"
	// CleaningDisabled keeps the disks as they are.
	CleaningDisabled CleaningMode = "Disabled"
)

// Image is an operating-system image.
// +kubebuilder:validation:XValidation:rule="has(self.checksum) || (has(self.format) && self.format == 'live-iso') || self.url.lowerAscii().startsWith('oci://')",message="checksum is required unless format is live-iso or url starts with oci://; set the checksum or the URL of a checksum file",fieldPath=".checksum"
// +kubebuilder:validation:XValidation:rule="has(self.checksum) || !has(self.checksumType)",message="checksumType needs checksum; set checksum or remove checksumType",fieldPath=".checksumType"
type Image struct {
	// url of the image: http, https, file (as Ironic sees it) or oci.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^(https?|file|oci|OCI)://.+')",message="must be a URL with scheme http, https, file or oci"
	URL string `json:"url,omitempty"`

	// checksum of the image, or the URL of a file that holds it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Checksum string `json:"checksum,omitempty"`

	// checksumType is md5, sha256, sha512 or auto (told by its length). Default auto.
	// +optional
	// +kubebuilder:validation:Enum=md5;sha256;sha512;auto
	ChecksumType string `json:"checksumType,omitempty"`

	// format of the image: qcow2, raw, or live-iso (booted, never written to a disk).
	// +optional
	// +kubebuilder:validation:Enum=qcow2;raw;live-iso
	Format string `json:"format,omitempty"`
}

// HostSelector selects BareMetalHosts. All its members must fit.
type HostSelector struct {
	// matchLabels that a host must carry.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=64
	MatchLabels map[string]string `json:"matchLabels,omitempty"`

	// matchExpressions on a host's labels; several may name the same key.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule="self.all(e, e.operator in ['In','NotIn','Exists','DoesNotExist'])",message="operator must be In, NotIn, Exists or DoesNotExist"
	// +kubebuilder:validation:XValidation:rule="self.all(e, !(e.operator in ['In','NotIn']) || (has(e.values) && size(e.values) > 0))",message="values are needed with operator In or NotIn"
	// +kubebuilder:validation:XValidation:rule="self.all(e, !(e.operator in ['Exists','DoesNotExist']) || !has(e.values) || size(e.values) == 0)",message="values are not allowed with operator Exists or DoesNotExist"
	MatchExpressions []metav1.LabelSelectorRequirement `json:"matchExpressions,omitempty"`

	// hardware that the inspection must have found.
	// +optional
	Hardware HardwareRequirements `json:"hardware,omitempty,omitzero"`
}

// HardwareRequirements are lower bounds on a host's hardware.
// +kubebuilder:validation:MinProperties=1
type HardwareRequirements struct {
	// minCPUs is the number of CPU threads.
	// +optional
	// +kubebuilder:validation:Minimum=1
	MinCPUs int32 `json:"minCPUs,omitempty"`

	// minMemory, for example 16Gi.
	// +optional
	MinMemory *resource.Quantity `json:"minMemory,omitempty"`

	// minRootDisk is the size of the disk that the image is written to, for example 100G. The disk is the one that the
	// host's rootDeviceHints select; without hints the smallest of at least 4 GiB, as Ironic chooses.
	// +optional
	MinRootDisk *resource.Quantity `json:"minRootDisk,omitempty"`

	// minNICs is the number of NICs, counting only those that are fast enough for minNICSpeedGbps.
	// +optional
	// +kubebuilder:validation:Minimum=1
	MinNICs int32 `json:"minNICs,omitempty"`

	// minNICSpeedGbps is the speed in Gbit/s that minNICs NICs (one when minNICs is not set) have at least.
	// +optional
	// +kubebuilder:validation:Minimum=1
	MinNICSpeedGbps int32 `json:"minNICSpeedGbps,omitempty"`

	// vendor is the manufacturer as the inspection reports it, compared without regard to case.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Vendor string `json:"vendor,omitempty"`

	// architecture of the CPU.
	// +optional
	// +kubebuilder:validation:Enum=amd64;arm64
	Architecture string `json:"architecture,omitempty"`
}

// EdgeMachineStatus is what has been observed of the machine.
type EdgeMachineStatus struct {
	// initialization tells Cluster API what has been completed once.
	// +optional
	Initialization EdgeMachineInitializationStatus `json:"initialization,omitempty,omitzero"`

	// host is the name of the BareMetalHost.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Host string `json:"host,omitempty"`

	// addresses of the Node: its hostname, and the addresses allocated to it or, with DHCP, those the Node reports.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Addresses []clusterv1.MachineAddress `json:"addresses,omitempty"`

	// failureDomain in which the host stands.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	FailureDomain string `json:"failureDomain,omitempty"`

	// wireGuardPublicKey of the Node, base64. Its private key is in the Secret <name>-wireguard.
	// +optional
	// +kubebuilder:validation:MinLength=44
	// +kubebuilder:validation:MaxLength=44
	WireGuardPublicKey string `json:"wireGuardPublicKey,omitempty"`

	// conditions: HostClaimed, NetworkDataValid, Released, BootstrapDataReady, HostProvisioned, NodeLinked, EncryptionReady, Ready,
	// Paused.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// EdgeMachineInitializationStatus tells what has been completed once.
// +kubebuilder:validation:MinProperties=1
type EdgeMachineInitializationStatus struct {
	// provisioned is true once the host runs the image with its user data.
	// +optional
	Provisioned *bool `json:"provisioned,omitempty"`
}

// EdgeMachine is one machine of a cluster, on a BareMetalHost.
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=edgemachines,scope=Namespaced,categories=cluster-api,shortName=em
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels="cluster.x-k8s.io/v1beta2=v1alpha1"
// +kubebuilder:printcolumn:name="Cluster",type="string",JSONPath=".metadata.labels['cluster\\.x-k8s\\.io/cluster-name']",description="Cluster that the machine belongs to"
// +kubebuilder:printcolumn:name="Host",type="string",JSONPath=".status.host",description="BareMetalHost"
// +kubebuilder:printcolumn:name="Address",type="string",JSONPath=".status.addresses[?(@.type=='InternalIP')].address",description="Address of the Node"
// +kubebuilder:printcolumn:name="Provisioned",type="string",JSONPath=".status.initialization.provisioned",description="The host runs the image"
// +kubebuilder:printcolumn:name="Encrypted",type="string",JSONPath=".status.conditions[?(@.type=='EncryptionReady')].status",description="The Node has proved that its traffic is encrypted"
// +kubebuilder:printcolumn:name="Ready",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].status",description="Ready condition"
// +kubebuilder:printcolumn:name="Reason",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].reason",description="Why it is not ready"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp",description="Age"
// +kubebuilder:printcolumn:name="Message",type="string",priority=1,JSONPath=".status.conditions[?(@.type=='Ready')].message",description="What is awaited"
// +kubebuilder:printcolumn:name="ProviderID",type="string",priority=1,JSONPath=".spec.providerID",description="Provider ID of the Node"
type EdgeMachine struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`

	// spec describes the machine.
	// +required
	Spec EdgeMachineSpec `json:"spec,omitempty,omitzero"`

	// status is what has been observed of the machine.
	// +optional
	Status EdgeMachineStatus `json:"status,omitempty,omitzero"`
}

// GetConditions returns the conditions.
func (m *EdgeMachine) GetConditions() []metav1.Condition { return m.Status.Conditions }

// SetConditions replaces the conditions.
func (m *EdgeMachine) SetConditions(conditions []metav1.Condition) { m.Status.Conditions = conditions }

// EdgeMachineList is a list of EdgeMachines.
// +kubebuilder:object:root=true
type EdgeMachineList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty,omitzero"`
	Items           []EdgeMachine `json:"items"`
}
