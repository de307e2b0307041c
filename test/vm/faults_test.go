// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"os"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/image"
)

const (
	// startupTimeout is what the manager is told here; a site leaves it at 20 minutes.
	startupTimeout = "90s"

	payloadBegins = "the payload begins"
	payloadEnd    = payloadMarker + "/end"
	// kubeadmError is what kubeadm says when it joins a cluster whose API server does not answer.
	kubeadmError = "error execution phase preflight: couldn't validate the identity of the API Server"
)

// Machines here are of a cluster whose API server is nowhere, as for those who wait for a control plane that has failed: what they are
// waiting for comes from a booted host, and the host is what goes wrong.
var _ = Describe("A host", Ordered, Label("faults"), func() {
	const cluster = "edge-1"
	var s *site

	BeforeAll(func(ctx SpecContext) {
		s = openRig(ctx).newSite(ctx, "faults", 2)
		s.shortenStartupTimeout(ctx)
		s.addHost(ctx, 1)
		s.addHost(ctx, 2)
		s.addCluster(ctx, cluster, infrav1.DataplaneCalicoNftables)
	}, NodeTimeout(setupLimit))

	machine := func(n int, payload string) order {
		return order{name: machineOf(n), cluster: cluster, host: n, links: lacpLinks(), interfaces: interfaces("bond0.61", "bond0.62"), payload: payload}
	}

	It("that loses power before the payload has begun goes on when it is back, and one that loses it in the middle is reported", func(ctx SpecContext) {
		s.addMachine(ctx, machine(1, payload("touch "+payloadEnd)))
		s.addMachine(ctx, machine(2, payload("sync; echo "+payloadBegins+"; sleep 1200", "touch "+payloadEnd)))
		s.cutPowerAt(ctx, 1, "running 'init' at")
		s.cutPowerAt(ctx, 2, payloadBegins)
		s.awaitBoot(ctx, 1, "")
		s.awaitBoot(ctx, 2, "")

		s.expectAsked(ctx, machineOf(1), 1)
		s.expectPayloadAfterOurs(ctx, machineOf(1), 1)
		_, err := s.run(s.key(stageHost(1)))(ctx, "stat", payloadEnd)
		Expect(err).NotTo(HaveOccurred())

		// cloud-init runs the bootstrap data of an instance once: what was cut off is not run again.
		asked := s.asked(ctx, Default, machineOf(2), 2)
		Expect(asked.Differences(s.facts(ctx, Default, 2))).To(BeEmpty())
		_, err = s.run(s.key(stageHost(2)))(ctx, "stat", payloadEnd)
		Expect(err).To(MatchError(ContainSubstring("No such file")))
		s.expectStartupTimeout(ctx, 2)
		s.giveBack(ctx)
	}, SpecTimeout(limit))

	It("with other NICs than inspected never appears, and its machine says where to look", func(ctx SpecContext) {
		s.stage.Fault(ctx, 1, "wrong-mac")
		s.addMachine(ctx, machine(1, payload()))
		fails := machine(2, failingJoin)
		fails.image = serve(buildImage(ctx, image.Node), nil)
		s.addMachine(ctx, fails)
		s.awaitBoot(ctx, 1, "")
		s.awaitBoot(ctx, 2, "")

		found := s.facts(ctx, Default, 1)
		Expect(s.asked(ctx, Default, machineOf(1), 1).Differences(found)).To(ContainElement(HavePrefix("static addresses of bond0.61: []")))
		s.expectStartupTimeout(ctx, 1)
		s.stage.Fault(ctx, 1, "")
	}, SpecTimeout(limit))

	It("on which kubeadm fails is reported on the Machine, and the console has kubeadm's words", func(ctx SpecContext) {
		found := s.facts(ctx, Default, 2)
		Expect(found.CloudInit.Status).To(Equal("error"))
		s.expectStartupTimeout(ctx, 2)
		Expect(s.console(2)).To(ContainSubstring(kubeadmError))
		Expect(s.run(s.key(stageHost(2)))(ctx, "cat", "/var/log/cloud-init-output.log")).To(ContainSubstring(kubeadmError))
		s.giveBack(ctx)
	}, SpecTimeout(limit))
})

// failingJoin is a payload with which kubeadm fails, as with a token that has expired or an endpoint that is not reachable.
const failingJoin = `#cloud-config
write_files:
- path: /run/kubeadm/kubeadm-join-config.yaml
  permissions: "0640"
  content: |
    apiVersion: kubeadm.k8s.io/v1beta4
    kind: JoinConfiguration
    discovery:
      bootstrapToken:
        apiServerEndpoint: 198.18.61.10:6443
        token: abcdef.0123456789abcdef
        unsafeSkipCAVerification: true
    timeouts:
      discovery: 20s
runcmd:
- kubeadm join --config /run/kubeadm/kubeadm-join-config.yaml && echo success > /run/cluster-api/bootstrap-success.complete
`

// shortenStartupTimeout has the manager say earlier that a Node does not come.
func (s *site) shortenStartupTimeout(ctx context.Context) {
	GinkgoHelper()
	const deployment = "deployment/capem-controller-manager"
	_, err := s.Kubectl(ctx, "--namespace", "capem-system", "patch", deployment, "--type", "json", "--patch",
		`[{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--node-startup-timeout=`+startupTimeout+`"}]`)
	Expect(err).NotTo(HaveOccurred())
	_, err = s.Kubectl(ctx, "--namespace", "capem-system", "rollout", "status", deployment, "--timeout", answerTimeout.String())
	Expect(err).NotTo(HaveOccurred())
}

// console of host-<n>, over all its lives.
func (s *site) console(n int) string {
	content, err := os.ReadFile(s.Rack().ConsoleFile(s.key(stageHost(n))))
	if err != nil {
		return ""
	}
	return string(content)
}

// cutPowerAt cuts the power of host-<n> when its console shows the text. The operator switches it on again.
func (s *site) cutPowerAt(ctx context.Context, n int, text string) {
	GinkgoHelper()
	Eventually(ctx, func() string { return s.console(n) }).WithTimeout(bootTimeout).WithPolling(100 * time.Millisecond).Should(ContainSubstring(text))
	Expect(s.Rack().PowerOff(s.key(stageHost(n)))).To(Succeed())
	GinkgoWriter.Printf("%s: power cut at %q\n", stageHost(n), text)
}

// expectStartupTimeout waits until the machine on host-<n> says that no Node has come and where to look, and that its Machine says so.
func (s *site) expectStartupTimeout(ctx context.Context, n int) {
	GinkgoHelper()
	texts := []string{"Waited more than 1m30s", "the console of BareMetalHost " + stageHost(n), "BMC redfish-virtualmedia://"}
	Eventually(ctx, func(g Gomega) {
		linked := conditions.Get(s.edgeMachine(ctx, g, machineOf(n)), infrav1.NodeLinkedCondition)
		g.Expect(linked).NotTo(BeNil())
		g.Expect(*linked).To(And(HaveField("Status", metav1.ConditionFalse), HaveField("Reason", infrav1.NodeStartupTimeoutReason)))
		machine := &clusterv1.Machine{}
		g.Expect(s.Client().Get(ctx, s.key(machineOf(n)), machine)).To(Succeed())
		ready := conditions.Get(machine, clusterv1.MachineInfrastructureReadyCondition)
		g.Expect(ready).NotTo(BeNil())
		for _, text := range texts {
			g.Expect(linked.Message).To(ContainSubstring(text))
			g.Expect(ready.Message).To(ContainSubstring(text), "the Machine's words")
		}
	}).WithTimeout(bootTimeout).Should(Succeed())
}

// giveBack deletes the machines on both hosts.
func (s *site) giveBack(ctx context.Context) {
	GinkgoHelper()
	for _, n := range []int{1, 2} {
		s.deleteMachine(ctx, machineOf(n), n)
	}
	Expect(strings.Count(s.console(1), "\n")).To(BeNumerically(">", 0), "the console outlives the machine")
}
