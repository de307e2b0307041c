// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// IP protocols and the port of tunnels in clear. https://www.iana.org/assignments/protocol-numbers, RFC 7348 section 5.
const (
	protocolIPIP  = 4
	protocolIP6IP = 41
	portVXLAN     = 4789
)

// localDevices are those by which packets to pods do not leave the host in clear: the loopback device, WireGuard's, pods', and those
// through which Calico's eBPF programs take packets to services. A star at the end stands for any characters (nft(8)).
func localDevices() []string {
	return []string{"lo", encryption.KernelDevice, "cali*", "bpfin.cali", "bpfout.cali"}
}

// bootGuard is what nft(8) loads when the host starts: it drops what the node agent's guard does, until that is in force. It comes before
// the source of packets is translated, so that packets from pods are known as such.
func bootGuard(dataplane *Dataplane) string {
	var rules []string
	for _, device := range localDevices() {
		rules = append(rules, fmt.Sprintf("oifname %q accept", device))
	}
	rules = append(rules,
		fmt.Sprintf("meta l4proto { %d, %d } counter drop", protocolIPIP, protocolIP6IP),
		fmt.Sprintf("udp dport %d counter drop", portVXLAN))
	for _, pods := range dataplane.PodCIDRs {
		rules = append(rules, fmt.Sprintf("%s daddr %s counter drop", family(pods), pods))
		for _, services := range dataplane.ServiceCIDRs {
			if services.Addr().Is4() == pods.Addr().Is4() {
				rules = append(rules, fmt.Sprintf("%[1]s saddr %[2]s %[1]s daddr %[3]s counter drop", family(pods), pods, services))
			}
		}
	}
	// The first line makes sure that there is a table to be deleted.
	const frame = `%stable inet %[2]s
delete table inet %[2]s
table inet %[2]s {
	chain postrouting {
		type filter hook postrouting priority 0; policy accept;
		%[3]s
	}
}
`
	return fmt.Sprintf(frame, generatedComment, encryption.BootGuardTable, strings.Join(rules, "\n\t\t"))
}

// family is nft's word for the headers of a range's packets.
func family(r netip.Prefix) string {
	if r.Addr().Is4() {
		return "ip"
	}
	return "ip6"
}
