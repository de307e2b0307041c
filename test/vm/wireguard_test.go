// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/vm/wire"
)

// needle is what the hosts send each other; it is found on the wire where that is in clear.
const needle = "traffic-of-a-pod"

// podAddress is an address on host-<n> of which only WireGuard knows the way, like a pod's.
func podAddress(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 244, byte(n), 1}) }

// expectOnlyWireGuard makes the hosts peers, by the public keys that their EdgeMachines publish, and has them talk. First they talk in
// clear, which shows that the captures see it.
func (s *site) expectOnlyWireGuard(ctx context.Context, hosts [2]int) {
	GinkgoHelper()
	s.peer(ctx, hosts[0], hosts[1])
	s.peer(ctx, hosts[1], hosts[0])
	before := s.captured(hosts)
	s.ping(ctx, hosts[0], s.addresses(hosts[1])[clusterNetwork])
	plain := s.between(hosts, before)
	Expect(len(wire.Holding(plain, []byte(needle)))).To(BeNumerically(">=", pings), "frames in which the captures see what is sent in clear")

	before = s.captured(hosts)
	s.ping(ctx, hosts[0], podAddress(hosts[1]))
	s.ping(ctx, hosts[1], podAddress(hosts[0]))
	s.fetch(ctx, hosts[0], hosts[1])
	frames := s.between(hosts, before)
	kinds := wire.Kinds(frames)
	GinkgoWriter.Printf("between %s and %s in clear: %v\nbetween them as peers, of which both ends see each frame: %v\n",
		stageHost(hosts[0]), stageHost(hosts[1]), wire.Kinds(plain), kinds)
	var others []string
	for _, frame := range frames {
		if frame.Kind == wire.Other {
			others = append(others, frame.Source.String()+" to "+frame.Destination.String()+": "+frame.Summary)
		}
	}
	Expect(others).To(BeEmpty(), "frames that are neither WireGuard nor what finds a neighbour")
	Expect(kinds[wire.WireGuard]).To(BeNumerically(">=", 2*2*2*pings), "echoes and replies of both, seen at both ends")
	Expect(wire.Holding(frames, []byte(needle))).To(BeEmpty(), "frames that show what was sent")
}

// peer does for a host what Calico does: it adds the other host's key and the way to its pods.
func (s *site) peer(ctx context.Context, n, other int) {
	GinkgoHelper()
	device := encryption.KernelDevice
	key := s.edgeMachine(ctx, Default, machineOf(other)).Status.WireGuardPublicKey
	pods := netip.PrefixFrom(podAddress(other), 24).Masked().String()
	endpoint := netip.AddrPortFrom(s.addresses(other)[clusterNetwork], encryption.DefaultPort).String()
	for _, command := range []string{
		"ip address add " + podAddress(n).String() + "/32 dev " + device,
		// The link's MTU less what WireGuard adds, as in the dataplane's configuration: larger packets would be sent in pieces.
		"ip link set up mtu " + strconv.Itoa(clusterMTU-encryption.OverheadWireGuard) + " dev " + device,
		"wg set " + device + " peer " + key + " allowed-ips " + pods + " endpoint " + endpoint,
		"ip route add " + pods + " dev " + device + " src " + podAddress(n).String(),
	} {
		_, err := s.run(s.key(stageHost(n)))(ctx, strings.Fields(command)...)
		Expect(err).NotTo(HaveOccurred())
	}
}

const pings = 10

func (s *site) ping(ctx context.Context, from int, to netip.Addr) {
	GinkgoHelper()
	printed, err := s.run(s.key(stageHost(from)))(ctx, "ping", "-n", "-c", fmt.Sprint(pings), "-i", "0.3", "-W", "10", "-s", "1000",
		"-p", hex.EncodeToString([]byte(needle)), to.String())
	Expect(err).NotTo(HaveOccurred(), printed)
	Expect(printed).To(ContainSubstring(" 0% packet loss"))
}

// fetch has a host fetch a page from a web server on the other.
func (s *site) fetch(ctx context.Context, from, to int) {
	GinkgoHelper()
	const port = "8080"
	server := s.run(s.key(stageHost(to)))
	_, err := server(ctx, "sh", "-c", "mkdir -p /srv/www && yes "+needle+" | head -n 5000 > /srv/www/page && systemd-run --unit=www python3 -m http.server "+port+
		" --bind "+podAddress(to).String()+" --directory /srv/www")
	Expect(err).NotTo(HaveOccurred())
	page := "http://" + net.JoinHostPort(podAddress(to).String(), port) + "/page"
	Eventually(ctx, func(g Gomega) {
		got, err := s.run(s.key(stageHost(from)))(ctx, "curl", "--silent", "--show-error", "--fail", "--max-time", "30", page)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(strings.Count(got, needle)).To(Equal(5000))
	}).WithTimeout(settleTimeout).Should(Succeed())
}

// captured counts the frames that were captured so far, by file.
func (s *site) captured(hosts [2]int) map[string]int {
	GinkgoHelper()
	counts := map[string]int{}
	for _, n := range hosts {
		for _, nic := range s.nics(n) {
			file := s.Rack().CaptureFile(s.key(stageHost(n)), nic.Name)
			count, err := wire.Count(file)
			Expect(err).NotTo(HaveOccurred())
			counts[file] = count
		}
	}
	return counts
}

// between reads the frames between the hosts since the counts were taken, as the captures at both ends have them.
func (s *site) between(hosts [2]int, since map[string]int) []wire.Frame {
	GinkgoHelper()
	var all []wire.Frame
	for file, skip := range since {
		frames, err := wire.Read(file, skip, encryption.DefaultPort)
		Expect(err).NotTo(HaveOccurred())
		all = append(all, frames...)
	}
	var macs [2][]net.HardwareAddr
	for i, n := range hosts {
		for _, nic := range s.nics(n) {
			mac, err := net.ParseMAC(nic.MAC)
			Expect(err).NotTo(HaveOccurred())
			macs[i] = append(macs[i], mac)
		}
	}
	return wire.Between(all, macs[0], macs[1])
}
