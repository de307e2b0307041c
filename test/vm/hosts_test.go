// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/vm/facts"
)

// lacpLinks are a bond with LACP of two NICs, and two VLANs on it: one smaller, one larger than usual.
func lacpLinks() []infrav1.Link {
	return []infrav1.Link{
		{Name: "nic0", Match: &infrav1.NICMatch{BootNIC: new(true)}},
		{Name: "nic1", Match: &infrav1.NICMatch{Name: "enp0s3"}},
		{Name: "bond0", MTU: storageMTU, Bond: &infrav1.Bond{
			Mode: infrav1.BondMode8023AD, Members: []string{"nic0", "nic1"}, MIIMon: new(int32(200)), XmitHashPolicy: "layer3+4", LACPRate: "fast",
		}},
		{Name: "bond0.61", VLAN: &infrav1.VLAN{ID: 61, Parent: "bond0"}},
		{Name: "bond0.62", VLAN: &infrav1.VLAN{ID: 62, Parent: "bond0"}},
	}
}

// backupLinks are an active-backup bond with the same VLANs, and a NIC of its own.
func backupLinks(mac string) []infrav1.Link {
	return []infrav1.Link{
		{Name: "mgmt0", Match: &infrav1.NICMatch{BootNIC: new(true)}},
		{Name: "port0", Match: &infrav1.NICMatch{PCIAddress: "0000:00:03.0"}},
		{Name: "port1", Match: &infrav1.NICMatch{MAC: mac}},
		{Name: "bond0", Bond: &infrav1.Bond{Mode: infrav1.BondModeActiveBackup, Members: []string{"port0", "port1"}, Primary: "port1"}},
		{Name: "bond0.61", VLAN: &infrav1.VLAN{ID: 61, Parent: "bond0"}},
		{Name: "bond0.62", MTU: storageMTU, VLAN: &infrav1.VLAN{ID: 62, Parent: "bond0"}},
	}
}

func machineOf(n int) string { return fmt.Sprintf("machine-%d", n) }

func interfaces(links ...string) []infrav1.Interface {
	networks := []string{clusterNetwork, storageNetwork, leasedNetwork}
	var joined []infrav1.Interface
	for i, link := range links {
		joined = append(joined, infrav1.Interface{Network: networks[i], Link: link})
	}
	return joined
}

var _ = Describe("Hosts", Ordered, Label("hosts"), func() {
	var (
		s *site
		// first are the facts of the first boot, by host.
		first = map[int]facts.Facts{}
	)
	hosts := [2]int{1, 2}
	const cluster = "edge-1"

	BeforeAll(func(ctx SpecContext) {
		s = openRig(ctx).newSite(ctx, "hosts", 1)
		for _, n := range hosts {
			s.addHost(ctx, n)
		}
		s.addCluster(ctx, cluster, infrav1.DataplaneCalicoNftables)
	}, NodeTimeout(setupLimit))

	It("boot with what was composed for them", Label("boot"), func(ctx SpecContext) {
		s.addMachine(ctx, order{
			name: machineOf(1), cluster: cluster, host: 1, links: lacpLinks(), interfaces: interfaces("bond0.61", "bond0.62"), payload: payload(),
		})
		s.addMachine(ctx, order{
			name: machineOf(2), cluster: cluster, host: 2, links: backupLinks(s.nics(2)[2].MAC), interfaces: interfaces("bond0.61", "bond0.62", "mgmt0"), payload: payload(),
		})
		for _, n := range hosts {
			s.awaitCondition(ctx, machineOf(n), infrav1.HostProvisionedCondition)
			s.awaitBoot(ctx, n, "")
		}
	}, SpecTimeout(limit))

	for _, n := range hosts {
		It(fmt.Sprintf("are inside what their EdgeMachines say: host-%d", n), Label("boot"), func(ctx SpecContext) {
			first[n] = s.expectAsked(ctx, machineOf(n), n)
		}, SpecTimeout(limit))
	}

	It("have run the bootstrap data after our own commands", Label("boot"), func(ctx SpecContext) {
		for _, n := range hosts {
			s.expectPayloadAfterOurs(ctx, machineOf(n), n)
		}
	}, SpecTimeout(limit))

	It("have user data that cloud-init's schema accepts, part by part", Label("boot"), func(ctx SpecContext) {
		expectSchema(ctx, s.run(s.key(stageHost(1))))
	}, SpecTimeout(limit))

	It("exchange packets as large as the MTU of a network, and no larger", func(ctx SpecContext) {
		for network, mtu := range map[string]int{clusterNetwork: clusterMTU, storageNetwork: storageMTU} {
			s.expectMTU(ctx, 1, s.addresses(2)[network], mtu)
			s.expectMTU(ctx, 2, s.addresses(1)[network], mtu)
		}
	}, SpecTimeout(limit))

	It("are the same after a second boot", func(ctx SpecContext) {
		// One is rebooted as Metal3's users do it, which shuts it down in order; the other loses its power.
		s.stage.Do(ctx, "annotate", "baremetalhost/"+stageHost(1), bmov1.RebootAnnotationPrefix+"=")
		_, err := s.run(s.key(stageHost(2)))(ctx, "sync")
		Expect(err).NotTo(HaveOccurred())
		Expect(s.Rack().PowerOff(s.key(stageHost(2)))).To(Succeed())
		for _, n := range hosts {
			s.awaitBoot(ctx, n, first[n].BootID)
		}
		for _, n := range hosts {
			again := s.expectAsked(ctx, machineOf(n), n)
			Expect(cmp.Diff(first[n], again, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.IgnoreFields(facts.Facts{}, "BootID", "Modules"),
				cmpopts.IgnoreFields(facts.Bond{}, "Active"))).To(BeEmpty(), "%s before and after", stageHost(n))
			s.expectPayloadAfterOurs(ctx, machineOf(n), n)
		}
		Expect(strings.Count(s.console(1), "power: off by itself")).To(Equal(1), "shut down by its own system")
		Expect(strings.Count(s.console(2), "power: off, power cut")).To(Equal(1))
	}, SpecTimeout(limit))

	It("carry nothing but WireGuard between them once they are peers", func(ctx SpecContext) {
		s.expectOnlyWireGuard(ctx, hosts)
	}, SpecTimeout(limit))

	It("keep their keys off their consoles", Label("boot"), func(ctx SpecContext) {
		for _, n := range hosts {
			s.expectNoKeyOnConsole(s.asked(ctx, Default, machineOf(n), n), n)
		}
	}, SpecTimeout(limit))

	It("are free again when the machines are deleted, and hold nothing of them in their next life", func(ctx SpecContext) {
		s.expectNextLife(ctx, hosts, first[1])
	}, SpecTimeout(limit))
})

// expectAsked waits until host-<n> is what its machine asks for, and returns its facts, which are written to the report.
func (s *site) expectAsked(ctx context.Context, machine string, n int) facts.Facts {
	GinkgoHelper()
	var found facts.Facts
	Eventually(ctx, func(g Gomega) {
		asked := s.asked(ctx, g, machine, n)
		found = s.facts(ctx, g, n)
		g.Expect(asked.Differences(found)).To(BeEmpty())
	}).WithTimeout(settleTimeout).Should(Succeed())
	GinkgoWriter.Printf("%s\n%s", stageHost(n), found)
	return found
}

// expectPayloadAfterOurs checks that the payload has run once, that all of ours was there by then, and that the kubelet was started
// with our arguments after its own.
func (s *site) expectPayloadAfterOurs(ctx context.Context, machine string, n int) {
	GinkgoHelper()
	run := s.run(s.key(stageHost(n)))
	runs, err := run(ctx, "cat", payloadRuns)
	Expect(err).NotTo(HaveOccurred())
	Expect(lines(runs)).To(Equal([]string{"run"}), "the payload's commands")
	// With either a boot does not start over any more.
	_, err = run(ctx, "ls", "/var/lib/cloud/instance/edgemetal-payload", "/var/lib/cloud/instance/sem/config_scripts_user")
	Expect(err).NotTo(HaveOccurred())
	asked := s.asked(ctx, Default, machine, n)
	saw, err := run(ctx, "cat", payloadSaw)
	Expect(err).NotTo(HaveOccurred())
	wanted := []string{"kubelet-env.sh", "EDGEMETAL_KUBELET_ARGS"}
	if asked.Cluster.Spec.Dataplane.Type == infrav1.DataplaneCalicoVPP {
		wanted = append(wanted, "wireguard.exec")
	} else {
		wanted = append(wanted, encryption.KernelDevice, asked.Machine.Status.WireGuardPublicKey)
	}
	for _, text := range wanted {
		Expect(saw).To(ContainSubstring(text), "what the payload found")
	}
	arguments := []string{
		"--v=2", "--provider-id=" + infrav1.ProviderIDPrefix + s.namespace + "/" + stageHost(n) + "/" + machine,
		"--node-ip=" + s.addresses(n)[clusterNetwork].String(), "--register-with-taints=" + encryption.NotReadyTaint + ":NoSchedule",
	}
	Eventually(ctx, func(g Gomega) {
		got, err := run(ctx, "cat", kubeletArguments)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(lines(got)).To(Equal(arguments), "arguments of the kubelet")
	}).WithTimeout(settleTimeout).Should(Succeed())
}

// splitParts writes the cloud-config parts of the user data to files, rendered when they are templates as Cluster API's are, and has
// cloud-init check each. It prints their names and cloud-init's words.
const splitParts = `
import email, subprocess, sys, tempfile
for part in email.message_from_file(open("/var/lib/cloud/instance/user-data.txt")).walk():
    if part.get_content_type() not in ("text/cloud-config", "text/jinja2"):
        continue
    with tempfile.NamedTemporaryFile() as file:
        content = part.get_payload(decode=True)
        file.write(content)
        file.flush()
        if part.get_content_type() == "text/jinja2":
            content = subprocess.run(["cloud-init", "devel", "render", file.name], stdout=subprocess.PIPE, check=True).stdout
            file.seek(0)
            file.truncate()
            file.write(content)
            file.flush()
        said = subprocess.run(["cloud-init", "schema", "--config-file", file.name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(part.get_filename("payload"), said.returncode, " ".join(said.stdout.split()))
`

func expectSchema(ctx context.Context, run facts.Run) {
	GinkgoHelper()
	said, err := run(ctx, "python3", "-c", splitParts)
	Expect(err).NotTo(HaveOccurred())
	Expect(lines(said)).To(HaveLen(2), "parts")
	for _, part := range lines(said) {
		Expect(part).To(MatchRegexp(`^\S+ 0 Valid cloud-config`))
	}
	Expect(said).To(ContainSubstring("edgemetal.yaml 0 "))
}

// expectMTU checks that packets of exactly the MTU reach an address from host-<n> in one piece, and that one byte more does not.
func (s *site) expectMTU(ctx context.Context, n int, to netip.Addr, mtu int) {
	GinkgoHelper()
	const headers = 28 // of IPv4 and ICMP
	run := s.run(s.key(stageHost(n)))
	ping := func(size int) (string, error) {
		return run(ctx, "ping", "-n", "-c", "3", "-i", "0.3", "-W", "5", "-M", "do", "-s", strconv.Itoa(size-headers), to.String())
	}
	printed, err := ping(mtu)
	Expect(err).NotTo(HaveOccurred())
	Expect(printed).To(ContainSubstring("%d bytes from %s", mtu-headers+8, to))
	Expect(printed).To(ContainSubstring(" 0% packet loss"))
	printed, err = ping(mtu + 1)
	Expect(err).To(HaveOccurred(), printed)
	Expect(printed + err.Error()).To(ContainSubstring("message too long, mtu=%d", mtu))
}

func (s *site) expectNoKeyOnConsole(asked facts.Asked, n int) {
	GinkgoHelper()
	Expect(asked.Key).NotTo(BeEmpty())
	content, err := os.ReadFile(s.Rack().ConsoleFile(s.key(stageHost(n))))
	Expect(err).NotTo(HaveOccurred())
	Expect(content).NotTo(BeEmpty())
	// Not a matcher: its message would show the key.
	Expect(strings.Contains(string(content), string(asked.Key))).To(BeFalse(), "the console of %s shows its private key", stageHost(n))
}
