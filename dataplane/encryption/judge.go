// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package encryption

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// maxFindings is how many findings a verdict's message tells of.
const maxFindings = 4

// Judge decides whether the node's traffic to the pods of every other node is encrypted.
func Judge(e Expectation, o Observation) Verdict {
	if o.Unreachable != "" {
		return conclude(e, []Finding{e.own(ReasonDataplaneUnreachable, "%s", o.Unreachable)}, unknownPeers(e))
	}
	missing := localFindings(e, o)
	peers := judgePeers(e, o)
	noTunnel := e.Protocol == WireGuard && len(ownTunnels(e, o)) == 0
	for _, peer := range peers {
		// Without a tunnel it goes without saying that it has no peers.
		if peer.State == PeerFailed && (!noTunnel || peer.Reason != ReasonPeerMissing) {
			missing = append(missing, Finding{Reason: peer.Reason, Node: peer.Node, Message: peer.Message})
		}
	}
	missing = append(missing, routeFindings(e, o)...)
	missing = append(missing, hygieneFindings(e, o)...)
	order := reasonOrder()
	slices.SortStableFunc(missing, func(a, b Finding) int {
		return slices.Index(order, a.Reason) - slices.Index(order, b.Reason)
	})
	verdict := conclude(e, missing, peers)
	verdict.Strays = lastingStrays(e, o)
	if told := DescribeStrays(verdict.Strays); told != "" {
		verdict.Message += "; " + told
	}
	return verdict
}

// reasonOrder is the order in which findings are told: what is nearest to the cause comes first.
func reasonOrder() []string {
	return []string{
		ReasonDataplaneUnreachable, ReasonTunnelMissing, ReasonTunnelDuplicate, ReasonTunnelDown, ReasonKeyMismatch,
		ReasonKeyNotPublished, ReasonPortMismatch, ReasonGuardMissing, ReasonPlaintextTunnel, ReasonPeerKeyUnknown, ReasonPeerKeyDuplicate,
		ReasonPeerMissing, ReasonPeerKeyMismatch, ReasonPeerNotEstablished, ReasonRouteInClear, ReasonIPsecNotEstablished,
		ReasonHugepagesInUse, ReasonRxModeWrong,
	}
}

func conclude(e Expectation, missing []Finding, peers []PeerVerdict) Verdict {
	verdict := Verdict{Encrypted: len(missing) == 0, Missing: missing, Peers: peers}
	if !verdict.Encrypted {
		verdict.Reason, verdict.Message = missing[0].Reason, summarize(missing)
		return verdict
	}
	verdict.Reason = ReasonEncrypted
	var pending []string
	encrypted := 0
	for _, peer := range peers {
		switch peer.State {
		case PeerEncrypted:
			encrypted++
		case PeerPending:
			pending = append(pending, peer.Node)
		}
	}
	switch {
	case encrypted == 0 && len(pending) == 0:
		verdict.Message = "There is no other node yet; what would leave this one is encrypted"
		if e.Mode != ModeRequired {
			verdict.Message = "There is no other node yet; the tunnel is ready"
		}
	case encrypted == 0:
		verdict.Message = "What would leave in clear is dropped"
	default:
		verdict.Message = fmt.Sprintf("Traffic to %s is encrypted", count(encrypted, "other node"))
	}
	if len(pending) > 0 {
		verdict.Message += "; a handshake is awaited, and nothing sent before it, with " + strings.Join(pending, ", ")
	}
	return verdict
}

// summarize tells the first findings, with the reason of each after the first.
func summarize(missing []Finding) string {
	var told []string
	for i, finding := range missing {
		switch i {
		case maxFindings:
			return strings.Join(told, "; ") + fmt.Sprintf("; and %d more", len(missing)-maxFindings)
		case 0:
			told = append(told, finding.Message)
		default:
			told = append(told, finding.Reason+": "+finding.Message)
		}
	}
	return strings.Join(told, "; ")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// own is a finding about the node itself.
func (e Expectation) own(reason, format string, args ...any) Finding {
	return Finding{Reason: reason, Node: e.Node, Message: fmt.Sprintf(format, args...)}
}

// localFindings are about the node itself: its tunnel, its key and its guard.
func localFindings(e Expectation, o Observation) []Finding {
	var missing []Finding
	if e.Protocol == WireGuard {
		missing = tunnelFindings(e, o)
	}
	if finding, found := guardFinding(e, o); found {
		missing = append(missing, finding)
	}
	for _, plain := range o.PlainTunnels {
		// With VPP encryption takes the place of such an interface, so that there is none. Linux always has one for pools with
		// encapsulation; what matters there is whether anything is routed into it.
		if o.Backend == Kernel && plain.Routes == 0 {
			continue
		}
		missing = append(missing, e.own(ReasonPlaintextTunnel, "%s interface %s on %s carries pods' traffic%s in clear%s",
			strings.ToUpper(plain.Kind), plain.Name, e.Node, toward(e, plain), e.plainFix(o)))
	}
	return missing
}

// plainFix says what to do about an interface without encryption.
func (e Expectation) plainFix(o Observation) string {
	fix := ": see that the Node at its other end publishes its key in " + PublicKeyAnnotation
	if e.Protocol == IPsec {
		fix = ": it is up without security associations; restart the pod calico-vpp-node of this node"
	}
	if e.Mode == ModeRequired && o.Guard.InForce {
		return ", and the guard drops it" + fix
	}
	return fix
}

// toward names the node at the other end of the interface.
func toward(e Expectation, plain PlainTunnel) string {
	for _, peer := range e.Peers {
		if peer.Address.IsValid() && peer.Address == plain.Remote {
			return " to " + peer.Node
		}
	}
	return ""
}

func tunnelFindings(e Expectation, o Observation) []Finding {
	own := ownTunnels(e, o)
	switch {
	case len(own) == 0 && o.Backend == Kernel:
		return []Finding{e.own(ReasonTunnelMissing, "%s has no device %s: see that the kernel has WireGuard and that %s was written by cloud-init", e.Node, KernelDevice, KernelKeyFile)}
	case len(own) == 0:
		return []Finding{e.own(ReasonTunnelMissing, "VPP on %s has no WireGuard interface with source %s: it is made by %s when VPP starts; restart the pod calico-vpp-node of this node", e.Node, e.Address, VPPExecFile)}
	case len(own) > 1:
		return []Finding{e.own(ReasonTunnelDuplicate, "VPP on %s has %d WireGuard interfaces with source %s (%s): Calico may use either; restart the pod calico-vpp-node of this node", e.Node, len(own), e.Address, tunnelNames(own))}
	}
	tunnel := own[0]
	var missing []Finding
	if finding, found := downFinding(e, o, tunnel); found {
		missing = append(missing, finding)
	}
	if finding, found := keyFinding(e, o, tunnel); found {
		missing = append(missing, finding)
	}
	if tunnel.PublicKey != "" && e.PublishedKey != tunnel.PublicKey {
		missing = append(missing, e.own(ReasonKeyNotPublished, "Node %s publishes %s in annotation %s, and %s has %s: other nodes cannot encrypt to it; the manager publishes the key once it reaches the cluster",
			e.Node, keyOrNone(e.PublishedKey), PublicKeyAnnotation, tunnel.Name, tunnel.PublicKey))
	}
	if tunnel.Port != e.Port {
		missing = append(missing, e.own(ReasonPortMismatch, "%s on %s listens on UDP port %d and other nodes send to %d: set wireguardListeningPort in FelixConfiguration default to the cluster's encryption.port, and restart the node's dataplane",
			tunnel.Name, e.Node, tunnel.Port, e.Port))
	}
	return missing
}

func downFinding(e Expectation, o Observation, tunnel Tunnel) (Finding, bool) {
	var lacks []string
	if !tunnel.Up {
		lacks = append(lacks, "is down")
	}
	if !tunnel.Addressed {
		lacks = append(lacks, "has no address")
	}
	if o.Backend == VPP && !tunnel.GSO {
		lacks = append(lacks, "has no GSO")
	}
	if o.Backend == VPP && !tunnel.CNAT {
		lacks = append(lacks, "has no service translation (cnat)")
	}
	if len(lacks) == 0 {
		return Finding{}, false
	}
	fix := "the node agent completes it within a second; its log says why it could not"
	switch {
	case o.Backend == Kernel:
		fix = "Felix brings it up: see that wireguardEnabled is set in FelixConfiguration default, and the log of calico-node"
	case o.Uplink.Name == "":
		fix = fmt.Sprintf("VPP has no interface with the node's address %s yet, which it needs: see the log of calico-vpp-node", e.Address)
	}
	return e.own(ReasonTunnelDown, "%s on %s %s: %s", tunnel.Name, e.Node, strings.Join(lacks, ", "), fix), true
}

func keyFinding(e Expectation, o Observation, tunnel Tunnel) (Finding, bool) {
	file, fix := VPPExecFile, "restart the pod calico-vpp-node of this node, so that VPP makes it from the file"
	if o.Backend == Kernel {
		file, fix = KernelKeyFile, "delete the device, and the node agent makes it from the file"
	}
	switch {
	case e.FileKey == "":
		return e.own(ReasonKeyMismatch, "%s on %s cannot be compared with the host's key: there is none in %s; replace the Machine, so that cloud-init writes it", tunnel.Name, e.Node, file), true
	case e.FileKey != tunnel.PublicKey:
		return e.own(ReasonKeyMismatch, "%s on %s has key %s and %s is for %s: %s", tunnel.Name, e.Node, keyOrNone(tunnel.PublicKey), file, e.FileKey, fix), true
	default:
		return Finding{}, false
	}
}

func keyOrNone(key string) string {
	if key == "" {
		return "no key"
	}
	return key
}

func tunnelNames(tunnels []Tunnel) string {
	var names []string
	for _, tunnel := range tunnels {
		names = append(names, tunnel.Name)
	}
	return strings.Join(names, ", ")
}

func guardFinding(e Expectation, o Observation) (Finding, bool) {
	switch {
	case e.Mode != ModeRequired || o.Guard.InForce:
		return Finding{}, false
	case o.Guard.Problem != "":
		return e.own(ReasonGuardMissing, "The guard of %s against traffic in clear is not in force: %s", e.Node, o.Guard.Problem), true
	case o.Uplink.Name == "":
		return e.own(ReasonGuardMissing, "The guard of %s against traffic in clear is not in force: no interface has the node's address %s; see the log of the dataplane", e.Node, e.Address), true
	default:
		return e.own(ReasonGuardMissing, "The guard of %s against traffic in clear is not in force at %s yet: the node agent puts it there within seconds; its log says why it could not", e.Node, o.Uplink.Name), true
	}
}

func routeFindings(e Expectation, o Observation) []Finding {
	var missing []Finding
	for _, route := range o.Routes {
		if route.Encrypted || slices.ContainsFunc(o.PlainTunnels, func(p PlainTunnel) bool { return p.Name == route.Interface }) {
			continue
		}
		if !e.IsPods(route.Block) {
			missing = append(missing, e.own(ReasonRouteInClear, "%s routes %s to another node, by %s, without encryption, and it is not inside the pods' range (%s), so that the guard lets it pass: delete the IPPool that it is a block of, and make one inside that range; if it is a range of services, add it to spec.dataplane.bgp.advertise of the EdgeCluster",
				e.Node, route.Block, route.Interface, ranges(e.PodCIDRs)))
			continue
		}
		missing = append(missing, e.own(ReasonRouteInClear, "%s routes pods' block %s to %s without encryption: see that its pool has encapsulation Always, and the log of the dataplane", e.Node, route.Block, route.Interface))
	}
	return missing
}

func ranges(prefixes []netip.Prefix) string {
	var words []string
	for _, prefix := range prefixes {
		words = append(words, prefix.String())
	}
	return strings.Join(words, ", ")
}

// hygieneFindings are about what the cluster asks of VPP besides encryption.
func hygieneFindings(e Expectation, o Observation) []Finding {
	if o.Backend != VPP {
		return nil
	}
	var missing []Finding
	if e.HugepagesForbidden {
		if finding, found := hugepageFinding(e, o.Hugepages); found {
			missing = append(missing, finding)
		}
	}
	if e.RxMode == "" {
		return missing
	}
	for _, queue := range o.RxQueues {
		if queue.Mode != e.RxMode {
			missing = append(missing, e.own(ReasonRxModeWrong, "Queue %d of %s on %s receives by %s, not by %s: set rxMode of it in CALICOVPP_INTERFACES, or let any mode be", queue.Queue, queue.Interface, e.Node, queue.Mode, e.RxMode))
		}
	}
	return missing
}

// smallPage is the page size in bytes that is not huge: 4 KiB on amd64, up to 64 KiB on arm64.
const smallPage = 64 << 10

func hugepageFinding(e Expectation, pages Hugepages) (Finding, bool) {
	switch {
	case pages.VPPPageSize > smallPage:
		return e.own(ReasonHugepagesInUse, "VPP on %s has memory in pages of %d KiB: set page-size 4K for buffers, memory and statseg in its start-up configuration", e.Node, pages.VPPPageSize>>10), true
	case pages.Known && pages.Now > pages.Before:
		return e.own(ReasonHugepagesInUse, "Host %s has %d hugepages reserved, and had %d before VPP started: set page-size 4K for buffers, memory and statseg in VPP's start-up configuration, and vm.nr_hugepages=%d", e.Node, pages.Now, pages.Before, pages.Before), true
	case !pages.Known && pages.Now > 0:
		return e.own(ReasonHugepagesInUse, "Host %s has %d hugepages reserved, and VPP ran before they could be counted: set vm.nr_hugepages=0 and restart the host, or allow hugepages", e.Node, pages.Now), true
	default:
		return Finding{}, false
	}
}
