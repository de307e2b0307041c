// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"fmt"
	"slices"
	"strings"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// NIC is a network card of the host.
type NIC struct {
	// Name that the inspection gave it, for example eno1.
	Name string
	// MAC address in lower case, for example 52:54:00:ab:cd:ef.
	MAC string
	// PCIAddress in lower case, for example 0000:3b:00.0. Empty when the inspection did not report it.
	PCIAddress string
	// PXE is true when the inspection booted from it.
	PXE bool
}

// ResolveLinks finds the NIC of every ethernet among links. The result is keyed by link name; bonds and VLANs are not in it.
// bootMAC is the BareMetalHost's bootMACAddress and may be empty.
//
// It returns an *Error with reason LinkUnresolved when a link matches no NIC or several, or when two links match the same one.
func ResolveLinks(links []infrav1.Link, hardware *bmov1.HardwareDetails, bootMAC string) (map[string]NIC, error) {
	nics := distinctNICs(hardware)
	resolved := map[string]NIC{}
	owner := map[string]string{}
	for i, link := range links {
		if link.Match == nil {
			continue
		}
		nic, err := matchNIC(fmt.Sprintf("links[%d] %q", i, link.Name), *link.Match, nics, bootMAC)
		if err != nil {
			return nil, err
		}
		if other, taken := owner[nic.MAC]; taken {
			return nil, linkUnresolved("links[%d].match: links %q and %q both select NIC %s; change one of the matches", i, other, link.Name, nic)
		}
		owner[nic.MAC] = link.Name
		resolved[link.Name] = nic
	}
	return resolved, nil
}

// String describes the NIC for messages.
func (n NIC) String() string {
	parts := []string{"mac " + n.MAC}
	if n.PCIAddress != "" {
		parts = append(parts, "pci "+n.PCIAddress)
	}
	if n.PXE {
		parts = append(parts, "pxe")
	}
	return fmt.Sprintf("%s (%s)", n.Name, strings.Join(parts, ", "))
}

// distinctNICs lists every NIC once: the inspection reports one that has an IPv4 and an IPv6 address twice.
func distinctNICs(hardware *bmov1.HardwareDetails) []NIC {
	if hardware == nil {
		return nil
	}
	var nics []NIC
	for _, found := range hardware.NIC {
		mac := strings.ToLower(found.MAC)
		if mac == "" {
			continue
		}
		at := slices.IndexFunc(nics, func(n NIC) bool { return n.MAC == mac })
		if at < 0 {
			nics = append(nics, NIC{Name: found.Name, MAC: mac, PCIAddress: strings.ToLower(found.PCIAddress), PXE: found.PXE})
			continue
		}
		nics[at].PXE = nics[at].PXE || found.PXE
		if nics[at].PCIAddress == "" {
			nics[at].PCIAddress = strings.ToLower(found.PCIAddress)
		}
	}
	return nics
}

// matchNIC finds the one NIC that match selects; link names the field in errors.
func matchNIC(link string, match infrav1.NICMatch, nics []NIC, bootMAC string) (NIC, error) {
	selector, selects := nicSelector(match, bootMAC)
	var found []NIC
	for _, nic := range nics {
		if selects(nic) {
			found = append(found, nic)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return NIC{}, linkUnresolved("%s: %s selects %d NICs of the host: %s; select one by match.mac", link, selector, len(found), describe(found))
	case match.PCIAddress != "" && !slices.ContainsFunc(nics, func(n NIC) bool { return n.PCIAddress != "" }):
		return NIC{}, linkUnresolved("%s: %s selects no NIC, because the inspection of the host reports no PCI addresses; use match.mac or match.name; the inspection found: %s",
			link, selector, describe(nics))
	default:
		return NIC{}, linkUnresolved("%s: %s selects no NIC of the host; the inspection found: %s", link, selector, describe(nics))
	}
}

// nicSelector returns how a match reads in messages and what it selects.
func nicSelector(match infrav1.NICMatch, bootMAC string) (string, func(NIC) bool) {
	switch {
	case match.MAC != "":
		return "match.mac " + match.MAC, func(n NIC) bool { return strings.EqualFold(n.MAC, match.MAC) }
	case match.Name != "":
		return "match.name " + match.Name, func(n NIC) bool { return n.Name == match.Name }
	case match.PCIAddress != "":
		return "match.pciAddress " + match.PCIAddress, func(n NIC) bool { return strings.EqualFold(n.PCIAddress, match.PCIAddress) }
	case match.BootNIC != nil && *match.BootNIC && bootMAC != "":
		return "match.bootNIC (the host's bootMACAddress " + bootMAC + ")", func(n NIC) bool { return strings.EqualFold(n.MAC, bootMAC) }
	case match.BootNIC != nil && *match.BootNIC:
		return "match.bootNIC (the NIC that booted the inspection; the host has no bootMACAddress)", func(n NIC) bool { return n.PXE }
	default:
		return "match without bootNIC, mac, name or pciAddress", func(NIC) bool { return false }
	}
}

func describe(nics []NIC) string {
	if len(nics) == 0 {
		return "no NICs"
	}
	names := make([]string, 0, len(nics))
	for _, nic := range nics {
		names = append(names, nic.String())
	}
	return strings.Join(names, "; ")
}
