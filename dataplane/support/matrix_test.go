// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package support_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/support"
)

// combination is one point of the matrix, in words of its own: neither it nor what it says below uses the rules.
type combination struct {
	dataplane     infrav1.DataplaneType
	mode          infrav1.EncryptionMode
	protocol      infrav1.EncryptionProtocol
	encapsulation infrav1.Encapsulation
	// pool, cluster and nodes are families: 4, 6 or 46. nodes is empty when the subnets are not known.
	pool, cluster, nodes string
	dhcp                 bool
}

func (c combination) String() string {
	return fmt.Sprintf("%s %s %s pool %s IPv%s, cluster IPv%s, nodes IPv%s, dhcp %t", c.dataplane, c.mode, c.protocol, c.encapsulation, c.pool, c.cluster, c.nodes, c.dhcp)
}

// leaks states which combinations send packets of pods to another node in clear. For VPP it follows getProviderType in
// calico-vpp-agent/connectivity/connectivity_server.go, for kernels felix/wireguard, which never looks at encapsulation.
func (c combination) leaks() bool {
	vpp := c.dataplane == infrav1.DataplaneCalicoVPP
	switch {
	case c.mode == infrav1.EncryptionDisabled:
		return false // Nobody asked.
	case c.dataplane == infrav1.DataplaneNone:
		return true // Nobody encrypts.
	case c.protocol == infrav1.ProtocolIPsec && !vpp:
		return true // There is no IPsec.
	case c.pool == "6" || c.cluster != "4":
		return true // WireGuard for IPv6 is not switched on, and VPP refuses the second family's peers.
	case c.nodes == "6":
		return true // No address to make an IPv4 tunnel with.
	case vpp && c.nodes == "46":
		return true // One key for two tunnels.
	case !vpp:
		return false
	}
	// What VPP routes flat is in clear.
	switch c.encapsulation {
	case infrav1.EncapsulationIPIP:
		return false
	case infrav1.EncapsulationVXLAN:
		return c.protocol == infrav1.ProtocolIPsec
	default:
		return true
	}
}

// works states which combinations do not work at all, whether or not they leak.
func (c combination) works() bool {
	switch {
	case c.dataplane == infrav1.DataplaneNone:
		return true
	case c.pool == "6" && strings.HasPrefix(string(c.encapsulation), "IPIP"):
		return false // IPIP carries IPv4.
	case !strings.Contains(c.cluster, c.pool):
		return false // The pool is outside the cluster's range.
	case c.dataplane == infrav1.DataplaneCalicoVPP && c.mode != infrav1.EncryptionDisabled && (c.dhcp || c.nodes == ""):
		return false // The host's file needs the address.
	default:
		return true
	}
}

func (c combination) values() support.Values {
	ranges := func(families, four, six string) []netip.Prefix {
		var prefixes []netip.Prefix
		if strings.Contains(families, "4") {
			prefixes = append(prefixes, netip.MustParsePrefix(four))
		}
		if strings.Contains(families, "6") {
			prefixes = append(prefixes, netip.MustParsePrefix(six))
		}
		return prefixes
	}
	v := accepted()
	v.Type, v.Mode, v.Protocol, v.DHCP = c.dataplane, c.mode, c.protocol, c.dhcp
	v.Peers, v.ClusterIPs, v.ExternalIPs, v.LoadBalancerIPs = nil, nil, nil, nil
	v.PodCIDRs = ranges(c.cluster, "10.244.0.0/16", "fd00:10:244::/56")
	v.ServiceCIDRs = ranges(c.cluster, "10.96.0.0/12", "fd00:10:96::/112")
	v.Subnets = ranges(c.nodes, "192.0.2.0/24", "2001:db8::/64")
	v.Pools = []support.Pool{{Name: "pods", CIDR: ranges(c.pool, "10.244.0.0/16", "fd00:10:244::/56")[0], Encapsulation: c.encapsulation}}
	return v
}

func combinations() []combination {
	var all []combination
	for _, dataplane := range []infrav1.DataplaneType{
		infrav1.DataplaneCalicoVPP, infrav1.DataplaneCalicoEBPF, infrav1.DataplaneCalicoNftables, infrav1.DataplaneCalicoIptables, infrav1.DataplaneNone,
	} {
		for _, mode := range []infrav1.EncryptionMode{infrav1.EncryptionRequired, infrav1.EncryptionPreferred, infrav1.EncryptionDisabled} {
			for _, protocol := range []infrav1.EncryptionProtocol{infrav1.ProtocolWireGuard, infrav1.ProtocolIPsec} {
				for _, encapsulation := range []infrav1.Encapsulation{
					infrav1.EncapsulationIPIP, infrav1.EncapsulationIPIPCrossSubnet, infrav1.EncapsulationVXLAN, infrav1.EncapsulationVXLANCrossSubnet, infrav1.EncapsulationNone,
				} {
					for _, families := range [][3]string{
						{"4", "4", "4"}, {"4", "4", "46"}, {"4", "4", "6"}, {"4", "4", ""}, {"6", "6", "6"}, {"6", "6", "46"}, {"6", "4", "4"}, {"4", "6", "46"},
						{"4", "46", "46"}, {"6", "46", "46"}, {"4", "46", "4"},
					} {
						for _, dhcp := range []bool{false, true} {
							all = append(all, combination{dataplane, mode, protocol, encapsulation, families[0], families[1], families[2], dhcp})
						}
					}
				}
			}
		}
	}
	return all
}

// TestNothingThatLeaksIsAccepted is the promise: with encryption asked for, no combination that sends pods' packets in clear gets
// through, and nothing else is refused.
func TestNothingThatLeaksIsAccepted(t *testing.T) {
	counts := map[string]int{}
	for _, c := range combinations() {
		problems := support.Check(c.values())
		switch leaks, works := c.leaks(), c.works(); {
		case leaks && len(problems) == 0:
			t.Errorf("%s leaks and is accepted", c)
		case !leaks && works && len(problems) > 0:
			t.Errorf("%s is refused: %v", c, problems)
		case !works && len(problems) == 0:
			t.Errorf("%s does not work and is accepted", c)
		case leaks:
			counts["leaks"]++
		case works:
			counts["accepted"]++
		default:
			counts["does not work"]++
		}
	}
	for _, kind := range []string{"leaks", "accepted", "does not work"} {
		if counts[kind] < 100 {
			t.Errorf("only %d combinations are of the kind %q: the table has lost its sense", counts[kind], kind)
		}
	}
	t.Logf("%d combinations: %v", len(combinations()), counts)
}

// TestLeaksAreCalledLeaks: each combination that leaks, and would work otherwise, breaks a rule that says so.
func TestLeaksAreCalledLeaks(t *testing.T) {
	leaking := map[string]bool{}
	for _, rule := range support.Rules() {
		leaking[rule.Why] = rule.Leaks
	}
	for _, c := range combinations() {
		if !c.leaks() || !c.works() {
			continue
		}
		named := false
		for _, problem := range support.Check(c.values()) {
			for why, leaks := range leaking {
				named = named || leaks && strings.Contains(problem.Message, why)
			}
		}
		if !named {
			t.Errorf("%s: no problem is called a leak: %v", c, support.Check(c.values()))
		}
	}
}
