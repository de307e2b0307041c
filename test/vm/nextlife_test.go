// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/vm/facts"
)

const (
	firstLifeMarker   = "/var/lib/first-life"
	hugepagesReserved = payloadMarker + "-hugepages"
	// reserveHugepages is of bootstrap data for a host whose image reserves hugepages, for now and at each boot.
	reserveHugepages = `bootcmd:
- [cloud-init-per, instance, reserve-hugepages, sh, -c, "echo vm.nr_hugepages=4 > /etc/sysctl.d/10-image.conf && sysctl -p /etc/sysctl.d/10-image.conf && cat /proc/sys/vm/nr_hugepages > ` + hugepagesReserved + `"]
`
)

// expectNextLife deletes the machines, waits until their hosts are free, and puts a machine of another cluster, with VPP and another
// image, on the first of them.
func (s *site) expectNextLife(ctx context.Context, hosts [2]int, first facts.Facts) {
	GinkgoHelper()
	const cluster, next = "edge-2", 3
	n := hosts[0]
	_, err := s.run(s.key(stageHost(n)))(ctx, "sh", "-c", "touch "+firstLifeMarker+" && sync")
	Expect(err).NotTo(HaveOccurred())
	firstID := s.sshKey(ctx, n)
	firstKey := s.edgeMachine(ctx, Default, machineOf(n)).Status.WireGuardPublicKey
	for _, host := range hosts {
		s.deleteMachine(ctx, machineOf(host), host)
	}
	s.addCluster(ctx, cluster, infrav1.DataplaneCalicoVPP)
	s.addMachine(ctx, order{
		name: machineOf(next), cluster: cluster, host: n, links: lacpLinks(), interfaces: interfaces("bond0.61", "bond0.62"), payload: payload() + reserveHugepages,
		image: serve(s.built, tail()),
	})
	s.awaitCondition(ctx, machineOf(next), infrav1.HostProvisionedCondition)
	s.awaitBoot(ctx, n, first.BootID)
	second := s.expectAsked(ctx, machineOf(next), n)
	s.expectPayloadAfterOurs(ctx, machineOf(next), n)
	expectSchema(ctx, s.run(s.key(stageHost(n))))
	Expect(s.run(s.key(stageHost(n)))(ctx, "cat", hugepagesReserved)).To(Equal("4\n"), "hugepages before our own commands")
	Expect(s.sshKey(ctx, n)).NotTo(Equal(firstID), "the host's SSH key")
	Expect(s.edgeMachine(ctx, Default, machineOf(next)).Status.WireGuardPublicKey).NotTo(Equal(firstKey), "the public key")
	listed, err := s.run(s.key(stageHost(n)))(ctx, "sh", "-c", "ls -d "+firstLifeMarker+" 2>/dev/null || true")
	Expect(err).NotTo(HaveOccurred())
	Expect(listed).To(BeEmpty(), "what the first life left")

	_, err = s.run(s.key(stageHost(n)))(ctx, "sync")
	Expect(err).NotTo(HaveOccurred())
	Expect(s.Rack().PowerOff(s.key(stageHost(n)))).To(Succeed())
	s.awaitBoot(ctx, n, second.BootID)
	s.expectAsked(ctx, machineOf(next), n)
	s.expectNoKeyOnConsole(s.asked(ctx, Default, machineOf(next), n), n)
	s.deleteMachine(ctx, machineOf(next), n)
}

// sshKey of host-<n> is made at the first boot of a disk. Machine IDs are no sign of it: in a virtual machine systemd takes the UUID of the
// hardware, which stays.
func (s *site) sshKey(ctx context.Context, n int) string {
	GinkgoHelper()
	key, err := s.run(s.key(stageHost(n)))(ctx, "cat", "/etc/ssh/ssh_host_ed25519_key.pub")
	Expect(err).NotTo(HaveOccurred())
	Expect(key).To(HavePrefix("ssh-ed25519 "))
	return key
}

// deleteMachine deletes a machine and waits until its host is free and off or clean.
func (s *site) deleteMachine(ctx context.Context, name string, n int) {
	GinkgoHelper()
	_, err := s.Kubectl(ctx, "--namespace", s.namespace, "delete", "machine/"+name, "--timeout", answerTimeout.String())
	Expect(err).NotTo(HaveOccurred())
	Eventually(ctx, func(g Gomega) {
		host := &bmov1.BareMetalHost{}
		g.Expect(s.Client().Get(ctx, s.key(stageHost(n)), host)).To(Succeed())
		g.Expect(host.Spec.ConsumerRef).To(BeNil())
		g.Expect(host.Status.Provisioning.State).To(Equal(bmov1.StateAvailable))
		g.Expect(host.Status.Provisioning.Image).To(BeZero())
	}).Should(Succeed())
}
