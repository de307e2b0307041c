// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"context"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

type machineChange func(*infrav1.EdgeMachineSpec)

func links(links ...infrav1.Link) machineChange {
	return func(s *infrav1.EdgeMachineSpec) { s.Links = links; s.Interfaces[0].Link = links[len(links)-1].Name }
}

func linksAndInterface(link string, links ...infrav1.Link) machineChange {
	return func(s *infrav1.EdgeMachineSpec) { s.Links = links; s.Interfaces[0].Link = link }
}

func withMTU(link infrav1.Link, mtu int32) infrav1.Link {
	link.MTU = mtu
	return link
}

func withBond(link infrav1.Link, change func(*infrav1.Bond)) infrav1.Link {
	change(link.Bond)
	return link
}

func match(match infrav1.NICMatch) machineChange {
	return links(infrav1.Link{Name: "uplink0", Match: &match})
}

func image(image infrav1.Image) machineChange {
	return func(s *infrav1.EdgeMachineSpec) { s.Image = image }
}

func selector(selector infrav1.HostSelector) machineChange {
	return func(s *infrav1.EdgeMachineSpec) { s.HostSelector = selector }
}

var _ = DescribeTable("A machine is accepted with",
	func(ctx context.Context, change machineChange) {
		spec := machineSpec()
		change(&spec)
		for _, object := range machineKinds(spec) {
			Expect(tryCreate(ctx, object)).To(Succeed(), "%T", object)
		}
	},
	Entry("the short form", func(*infrav1.EdgeMachineSpec) {}),
	Entry("a checksum value", image(infrav1.Image{URL: "http://a/b.raw", Checksum: strings.Repeat("a", 64), Format: "raw"})),
	Entry("a checksum of each type: md5", image(infrav1.Image{URL: "file:///b", Checksum: "x", ChecksumType: "md5"})),
	Entry("a checksum of each type: sha512", image(infrav1.Image{URL: "http://b", Checksum: "x", ChecksumType: "sha512"})),
	Entry("a checksum of each type: auto", image(infrav1.Image{URL: "http://b", Checksum: "x", ChecksumType: "auto"})),
	Entry("a live ISO without checksum", image(infrav1.Image{URL: "http://a/b.iso", Format: "live-iso"})),
	Entry("an OCI image without checksum", image(infrav1.Image{URL: "oci://a/b:c"})),
	Entry("a NIC by MAC", match(infrav1.NICMatch{MAC: "52:54:00:AB:cd:ef"})),
	Entry("a NIC by PCI address", match(infrav1.NICMatch{PCIAddress: "0000:3B:1f.7"})),
	Entry("the smallest MTU", links(withMTU(ethernet("uplink0", ""), 576))),
	Entry("the largest MTU", links(withMTU(ethernet("uplink0", ""), 9216))),
	Entry("a bond of one member", links(ethernet("a", "eno1"), bond("bond0", infrav1.BondMode8023AD, "a"))),
	Entry("a bond in each mode", func(s *infrav1.EdgeMachineSpec) {
		s.Links = nil
		for i, mode := range []infrav1.BondMode{
			infrav1.BondModeBalanceRR, infrav1.BondModeActiveBackup, infrav1.BondModeBalanceXOR, infrav1.BondModeBroadcast,
			infrav1.BondMode8023AD, infrav1.BondModeBalanceTLB, infrav1.BondModeBalanceALB,
		} {
			nic := fmt.Sprintf("nic%d", i)
			s.Links = append(s.Links, ethernet(nic, nic), bond(fmt.Sprintf("bond%d", i), mode, nic))
		}
		s.Interfaces[0].Link = "bond0"
	}),
	Entry("a bond's parameters", links(ethernet("a", "eno1"), ethernet("b", "eno2"),
		withBond(bond("bond0", infrav1.BondMode8023AD, "a", "b"), func(b *infrav1.Bond) {
			b.MIIMon, b.XmitHashPolicy, b.LACPRate = new(int32(0)), "layer3+4", "fast"
		}))),
	Entry("a bond with a primary", links(ethernet("a", "eno1"), ethernet("b", "eno2"),
		withBond(bond("bond0", infrav1.BondModeActiveBackup, "a", "b"), func(b *infrav1.Bond) { b.Primary = "b" }))),
	Entry("a VLAN on a bond", links(ethernet("a", "eno1"), bond("bond0", infrav1.BondModeActiveBackup, "a"), vlan("bond0.61", "bond0", 61))),
	Entry("one VLAN ID on two parents", links(ethernet("a", "eno1"), ethernet("b", "eno2"), vlan("a.61", "a", 61), vlan("b.61", "b", 61))),
	Entry("a VLAN as large as its parent", links(withMTU(ethernet("a", "eno1"), 9000), withMTU(vlan("a.1", "a", 1), 9000))),
	Entry("a VLAN with an MTU on a parent without", links(ethernet("a", "eno1"), withMTU(vlan("a.1", "a", 1), 9000))),
	Entry("links in any order", linksAndInterface("bond0.4094", vlan("bond0.4094", "bond0", 4094), bond("bond0", infrav1.BondModeActiveBackup, "a"), ethernet("a", "eno1"))),
	Entry("two expressions on one key", selector(infrav1.HostSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
		{Key: "site", Operator: metav1.LabelSelectorOpExists}, {Key: "site", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"lab"}},
	}})),
	Entry("hardware", selector(infrav1.HostSelector{Hardware: infrav1.HardwareRequirements{
		MinCPUs: 4, MinMemory: new(resource.MustParse("16Gi")), MinRootDisk: new(resource.MustParse("100G")),
		MinNICs: 2, MinNICSpeedGbps: 25, Vendor: "ACME", Architecture: "arm64",
	}})),
)

var _ = DescribeTable("A machine is refused with",
	func(ctx context.Context, change machineChange, texts ...string) {
		spec := machineSpec()
		change(&spec)
		for _, object := range machineKinds(spec) {
			Expect(tryCreate(ctx, object)).To(haveCauses(texts), "%T", object)
		}
	},
	Entry("an image without checksum", image(infrav1.Image{URL: "https://a/b.qcow2", Format: "qcow2"}), "spec.image.checksum", "checksum is required unless"),
	Entry("a checksum type without checksum", image(infrav1.Image{URL: "oci://a/b", ChecksumType: "md5"}), "spec.image.checksumType", "set checksum or remove checksumType"),
	Entry("an unknown checksum type", image(infrav1.Image{URL: "https://a/b", Checksum: "x", ChecksumType: "sha1"}), "spec.image.checksumType", `"md5", "sha256", "sha512", "auto"`),
	Entry("an unknown format", image(infrav1.Image{URL: "https://a/b", Checksum: "x", Format: "vmdk"}), "spec.image.format", `"qcow2", "raw", "live-iso"`),
	Entry("no image", image(infrav1.Image{}), "spec.image", "Required"),
	Entry("an image URL of another scheme", image(infrav1.Image{URL: "ftp://a/b", Checksum: "x"}), "spec.image.url", "scheme http, https, file or oci"),
	Entry("no links", func(s *infrav1.EdgeMachineSpec) { s.Links = nil }, "spec.links", "Required"),
	Entry("no interfaces", func(s *infrav1.EdgeMachineSpec) { s.Interfaces = nil }, "spec.interfaces", "Required"),
	Entry("a link that is nothing", links(infrav1.Link{Name: "uplink0"}), "spec.links[0]", "set exactly one of match (an ethernet), bond and vlan"),
	Entry("a link that is two things", links(infrav1.Link{Name: "a", Match: &infrav1.NICMatch{MAC: "52:54:00:ab:cd:ef"}, VLAN: &infrav1.VLAN{ID: 1, Parent: "b"}}),
		"spec.links[0]", "set exactly one of match"),
	Entry("two links of one name", links(ethernet("a", "eno1"), ethernet("a", "eno2")), "spec.links[1]", "Duplicate value", `"name":"a"`),
	Entry("a link name that is too long", links(ethernet("a234567890123456", "eno1")), "spec.links[0].name", "15"),
	Entry("a link name with a space", links(ethernet("a b", "eno1")), "spec.links[0].name", "should match"),
	Entry("an empty match", match(infrav1.NICMatch{}), "spec.links[0].match", "set exactly one of bootNIC, mac, name and pciAddress"),
	Entry("a match by two facts", match(infrav1.NICMatch{Name: "eno1", MAC: "52:54:00:ab:cd:ef"}), "spec.links[0].match", "set exactly one of bootNIC, mac, name and pciAddress"),
	Entry("bootNIC false", match(infrav1.NICMatch{BootNIC: new(false)}), "spec.links[0].match.bootNIC", "use mac, name or pciAddress"),
	Entry("a MAC with dashes", match(infrav1.NICMatch{MAC: "52-54-00-ab-cd-ef"}), "spec.links[0].match.mac", "for example 52:54:00:ab:cd:ef"),
	Entry("a MAC that is not hexadecimal", match(infrav1.NICMatch{MAC: "52:54:00:ab:cd:eg"}), "spec.links[0].match.mac", "for example 52:54:00:ab:cd:ef"),
	Entry("a PCI address with a device above 1f", match(infrav1.NICMatch{PCIAddress: "0000:3b:20.0"}), "spec.links[0].match.pciAddress", "for example 0000:3b:00.0"),
	Entry("a PCI address with a function above 7", match(infrav1.NICMatch{PCIAddress: "0000:3b:00.8"}), "spec.links[0].match.pciAddress", "for example 0000:3b:00.0"),
	Entry("a PCI address without domain", match(infrav1.NICMatch{PCIAddress: "3b:00.0"}), "spec.links[0].match.pciAddress"),
	Entry("an MTU that is too small", links(withMTU(ethernet("uplink0", ""), 575)), "spec.links[0].mtu", "576"),
	Entry("an MTU that is too large", links(withMTU(ethernet("uplink0", ""), 9217)), "spec.links[0].mtu", "9216"),
	Entry("a bond without members", links(bond("bond0", infrav1.BondModeActiveBackup)), "spec.links[0].bond.members"),
	Entry("a bond of something unknown", links(ethernet("a", "eno1"), bond("bond0", infrav1.BondModeActiveBackup, "b")),
		"spec.links", "every bond member must be the name of a link with match"),
	Entry("a bond of a VLAN", links(ethernet("a", "eno1"), vlan("a.1", "a", 1), bond("bond0", infrav1.BondModeActiveBackup, "a.1")),
		"spec.links", "every bond member must be the name of a link with match"),
	Entry("a bond with a member twice", links(ethernet("a", "eno1"), bond("bond0", infrav1.BondModeActiveBackup, "a", "a")), "spec.links[1].bond.members[1]", "Duplicate value"),
	Entry("an ethernet in two bonds", links(ethernet("a", "eno1"), ethernet("b", "eno2"), bond("bond0", infrav1.BondModeActiveBackup, "a"), bond("bond1", infrav1.BondModeActiveBackup, "a", "b")),
		"spec.links", "an ethernet is a member of two bonds"),
	Entry("a bond of another name", links(ethernet("a", "eno1"), bond("lacp0", infrav1.BondModeActiveBackup, "a")), "spec.links", "bonds must be named bond0, bond1 and so on"),
	Entry("an unknown bond mode", links(ethernet("a", "eno1"), bond("bond0", "lacp", "a")), "spec.links[1].bond.mode", `"802.3ad"`),
	Entry("a primary that is no member", links(ethernet("a", "eno1"), withBond(bond("bond0", infrav1.BondModeActiveBackup, "a"), func(b *infrav1.Bond) { b.Primary = "c" })),
		"spec.links[1].bond.primary", "must be one of members"),
	Entry("a primary in a mode without", links(ethernet("a", "eno1"), withBond(bond("bond0", infrav1.BondMode8023AD, "a"), func(b *infrav1.Bond) { b.Primary = "a" })),
		"spec.links[1].bond.primary", "remove it or change the mode"),
	Entry("an LACP rate without LACP", links(ethernet("a", "eno1"), withBond(bond("bond0", infrav1.BondModeActiveBackup, "a"), func(b *infrav1.Bond) { b.LACPRate = "fast" })),
		"spec.links[1].bond.lacpRate", "remove it or change the mode"),
	Entry("an unknown LACP rate", links(ethernet("a", "eno1"), withBond(bond("bond0", infrav1.BondMode8023AD, "a"), func(b *infrav1.Bond) { b.LACPRate = "medium" })),
		"spec.links[1].bond.lacpRate", `"slow", "fast"`),
	Entry("a hash policy in a mode without", links(ethernet("a", "eno1"), withBond(bond("bond0", infrav1.BondModeActiveBackup, "a"), func(b *infrav1.Bond) { b.XmitHashPolicy = "layer2" })),
		"spec.links[1].bond.xmitHashPolicy", "remove it or change the mode"),
	Entry("a negative miimon", links(ethernet("a", "eno1"), withBond(bond("bond0", infrav1.BondModeActiveBackup, "a"), func(b *infrav1.Bond) { b.MIIMon = new(int32(-1)) })),
		"spec.links[1].bond.miimon"),
	Entry("a VLAN on an unknown parent", links(ethernet("a", "eno1"), vlan("b.1", "b", 1)), "spec.links", "vlan.parent must be the name of an ethernet or bond"),
	Entry("a VLAN on a VLAN", links(ethernet("a", "eno1"), vlan("a.1", "a", 1), vlan("a.1.2", "a.1", 2)), "spec.links", "vlan.parent must be the name of an ethernet or bond"),
	Entry("a VLAN on a member of a bond", links(ethernet("a", "eno1"), bond("bond0", infrav1.BondModeActiveBackup, "a"), vlan("a.1", "a", 1)), "spec.links", "put the VLAN on the bond"),
	Entry("a VLAN of another name", links(ethernet("a", "eno1"), vlan("storage", "a", 1)), "spec.links", "must be <parent>.<id>, for example bond0.61"),
	Entry("a VLAN ID of 0", links(ethernet("a", "eno1"), vlan("a.0", "a", 0)), "spec.links[1].vlan.id"),
	Entry("a VLAN ID of 4095", links(ethernet("a", "eno1"), vlan("a.4095", "a", 4095)), "spec.links[1].vlan.id", "4094"),
	Entry("a VLAN larger than its parent", links(withMTU(ethernet("a", "eno1"), 1500), withMTU(vlan("a.1", "a", 1), 1501)), "spec.links", "a VLAN's mtu must not exceed its parent's"),
	Entry("an interface on an unknown link", linksAndInterface("b", ethernet("a", "eno1")), "spec.interfaces", "link must be the name of one of the links of this machine"),
	Entry("an interface on a member of a bond", linksAndInterface("a", ethernet("a", "eno1"), bond("bond0", infrav1.BondModeActiveBackup, "a")), "spec.interfaces", "name the bond instead"),
	Entry("two interfaces in one network", func(s *infrav1.EdgeMachineSpec) {
		s.Links = append(s.Links, ethernet("b", "eno2"))
		s.Interfaces = append(s.Interfaces, infrav1.Interface{Network: "cluster", Link: "b"})
	}, "spec.interfaces[1]", "Duplicate value"),
	Entry("an unknown cleaning mode", func(s *infrav1.EdgeMachineSpec) { s.AutomatedCleaning = "Full" }, "spec.automatedCleaning", `"Metadata", "Disabled"`),
	Entry("In without values", selector(infrav1.HostSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: metav1.LabelSelectorOpIn}}}),
		"spec.hostSelector.matchExpressions", "values are needed with operator In or NotIn"),
	Entry("Exists with values", selector(infrav1.HostSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: metav1.LabelSelectorOpExists, Values: []string{"b"}}}}),
		"spec.hostSelector.matchExpressions", "values are not allowed with operator Exists or DoesNotExist"),
	Entry("an unknown operator", selector(infrav1.HostSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Gt", Values: []string{"1"}}}}),
		"spec.hostSelector.matchExpressions", "operator must be In, NotIn, Exists or DoesNotExist"),
	Entry("a negative number of CPUs", selector(infrav1.HostSelector{Hardware: infrav1.HardwareRequirements{MinCPUs: -1}}), "spec.hostSelector.hardware.minCPUs"),
	Entry("an unknown architecture", selector(infrav1.HostSelector{Hardware: infrav1.HardwareRequirements{Architecture: "x86_64"}}),
		"spec.hostSelector.hardware.architecture", `"amd64", "arm64"`),
)
