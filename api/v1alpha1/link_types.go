// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Link is a network device of the machine. Exactly one of match, bond and vlan is set.
// +kubebuilder:validation:XValidation:rule="[has(self.match), has(self.bond), has(self.vlan)].filter(x, x).size() == 1",message="set exactly one of match (an ethernet), bond and vlan"
type Link struct {
	// name of the device on the host, for example uplink0. Ethernets are renamed to it. Bonds are named bond0, bond1
	// and so on, a VLAN <parent>.<id>, as
	// cloud-init does, for example bond0.61. At most 15 characters.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=15
	// +kubebuilder:validation:Pattern=`^[a-zA-Z0-9]([a-zA-Z0-9._-]*[a-zA-Z0-9])?$`
	Name string `json:"name,omitempty"`

	// mtu of the device in bytes. When not set, the largest MTU of the networks on the link and on the links above it.
	// +optional
	// +kubebuilder:validation:Minimum=576
	// +kubebuilder:validation:Maximum=9216
	MTU int32 `json:"mtu,omitempty"`

	// match makes the link an ethernet: the NIC of the host that it selects.
	// +optional
	Match *NICMatch `json:"match,omitempty"`

	// bond makes the link a bond of ethernets.
	// +optional
	Bond *Bond `json:"bond,omitempty"`

	// vlan makes the link a VLAN on an ethernet or a bond.
	// +optional
	VLAN *VLAN `json:"vlan,omitempty"`
}

// NICMatch selects one NIC among those that the inspection of the host found. Exactly one member is set.
// +kubebuilder:validation:XValidation:rule="[has(self.bootNIC), has(self.mac), has(self.name), has(self.pciAddress)].filter(x, x).size() == 1",message="set exactly one of bootNIC, mac, name and pciAddress"
type NICMatch struct {
	// bootNIC selects the NIC whose MAC address is the BareMetalHost's bootMACAddress; without one, the NIC that booted the
	// inspection. Only true is allowed.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self",message="bootNIC can only be true; to select another NIC use mac, name or pciAddress"
	BootNIC *bool `json:"bootNIC,omitempty"`

	// mac address of the NIC, for example 52:54:00:ab:cd:ef.
	// +optional
	// +kubebuilder:validation:MinLength=17
	// +kubebuilder:validation:MaxLength=17
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$')",message="must be a MAC address of six hexadecimal pairs, for example 52:54:00:ab:cd:ef"
	MAC string `json:"mac,omitempty"`

	// name that the inspection gave the NIC, for example eno1.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=15
	Name string `json:"name,omitempty"`

	// pciAddress of the NIC, for example 0000:3b:00.0.
	// +optional
	// +kubebuilder:validation:MinLength=12
	// +kubebuilder:validation:MaxLength=12
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[0-1][0-9a-fA-F][.][0-7]$')",message="must be a PCI address domain:bus:device.function, for example 0000:3b:00.0"
	PCIAddress string `json:"pciAddress,omitempty"`
}

// BondMode is a mode of Linux's bonding driver.
// +kubebuilder:validation:Enum="balance-rr";"active-backup";"balance-xor";"broadcast";"802.3ad";"balance-tlb";"balance-alb"
type BondMode string

// Modes of Linux's bonding driver (Documentation/networking/bonding.rst of the kernel).
const (
	BondModeBalanceRR    BondMode = "balance-rr"
	BondModeActiveBackup BondMode = "active-backup"
	BondModeBalanceXOR   BondMode = "balance-xor"
	BondModeBroadcast    BondMode = "broadcast"
	BondMode8023AD       BondMode = "802.3ad"
	BondModeBalanceTLB   BondMode = "balance-tlb"
	BondModeBalanceALB   BondMode = "balance-alb"
)

// Bond joins ethernets to one link.
// +kubebuilder:validation:XValidation:rule="!has(self.primary) || self.primary in self.members",message="primary must be one of members",fieldPath=".primary"
// +kubebuilder:validation:XValidation:rule="!has(self.primary) || self.mode in ['active-backup','balance-tlb','balance-alb']",message="primary only works with mode active-backup, balance-tlb or balance-alb; remove it or change the mode",fieldPath=".primary"
// +kubebuilder:validation:XValidation:rule="!has(self.lacpRate) || self.mode == '802.3ad'",message="lacpRate only works with mode 802.3ad; remove it or change the mode",fieldPath=".lacpRate"
// +kubebuilder:validation:XValidation:rule="!has(self.xmitHashPolicy) || self.mode in ['balance-xor','802.3ad','balance-tlb']",message="xmitHashPolicy only works with mode balance-xor, 802.3ad or balance-tlb; remove it or change the mode",fieldPath=".xmitHashPolicy"
type Bond struct {
	// mode of the bond. 802.3ad (LACP) needs a switch that speaks it; active-backup needs none.
	// +required
	Mode BondMode `json:"mode,omitempty"`

	// members are names of links that are ethernets.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=15
	Members []string `json:"members,omitempty"`

	// miimon is the interval of link monitoring in milliseconds. Default 100. 0 turns it off.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	MIIMon *int32 `json:"miimon,omitempty"`

	// xmitHashPolicy chooses the member for a packet. The kernel's default is layer2.
	// +optional
	// +kubebuilder:validation:Enum=layer2;layer2+3;layer3+4;encap2+3;encap3+4;vlan+srcmac
	XmitHashPolicy string `json:"xmitHashPolicy,omitempty"`

	// lacpRate is how often the partner is asked for LACP packets: slow (30 s, the kernel's default) or fast (1 s).
	// +optional
	// +kubebuilder:validation:Enum=slow;fast
	LACPRate string `json:"lacpRate,omitempty"`

	// primary is the member that is active whenever it is up.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=15
	Primary string `json:"primary,omitempty"`
}

// VLAN is a tagged network on another link.
type VLAN struct {
	// id of the VLAN, 1 to 4094. The same ID may be used on two parents.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=4094
	ID int32 `json:"id,omitempty"`

	// parent is the name of the ethernet or bond that carries the VLAN.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=15
	Parent string `json:"parent,omitempty"`
}

// Interface joins a link to a network of the EdgeCluster.
type Interface struct {
	// network is the name of a network of the EdgeCluster.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	Network string `json:"network,omitempty"`

	// link is the name of a link of this machine.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=15
	Link string `json:"link,omitempty"`
}
