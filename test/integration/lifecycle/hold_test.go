// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

var _ = DescribeTable("A machine that is held is validated, and nothing is written to its host until it is released",
	func(ctx context.Context, holdCluster bool, hold, release func(*infrav1.EdgeMachine), texts ...string) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, func(c *infrav1.EdgeCluster) {
			if holdCluster {
				c.Spec.Hold = new(true)
			}
		})
		s.addHost(ctx, "a", 1, nil)
		s.addMachine(ctx, clusterName, "m", func(_ *clusterv1.Machine, m *infrav1.EdgeMachine) { hold(m) })
		s.expectWaiting(ctx, "m", infrav1.ReleasedCondition, infrav1.HeldReason, texts...)
		Expect(s.condition(ctx, "m", infrav1.HostClaimedCondition)(Default)).To(beTrue())
		Expect(s.condition(ctx, "m", infrav1.NetworkDataValidCondition)(Default)).To(beTrue())
		Expect(internalIP(s.edgeMachine(ctx, "m"))).To(Equal("192.0.2.21"))
		s.expectUntouched(ctx, "a")

		if holdCluster {
			update(ctx, s, clusterName, &infrav1.EdgeCluster{}, func(c *infrav1.EdgeCluster) { c.Spec.Hold = nil })
		}
		update(ctx, s, "m", &infrav1.EdgeMachine{}, release)
		s.expectProvisioned(ctx, "m")

		By("not stopping a machine that is provisioned")
		update(ctx, s, "m", &infrav1.EdgeMachine{}, func(m *infrav1.EdgeMachine) { m.Spec.Hold = new(true) })
		Consistently(s.condition(ctx, "m", infrav1.HostProvisionedCondition)).Should(beTrue())
		Consistently(s.condition(ctx, "m", infrav1.ReleasedCondition)).Should(beTrue())
	},
	Entry("by its spec", false,
		func(m *infrav1.EdgeMachine) { m.Spec.Hold = new(true) }, func(m *infrav1.EdgeMachine) { m.Spec.Hold = nil },
		"spec.hold is set; remove it"),
	Entry("by its annotation", false,
		func(m *infrav1.EdgeMachine) { m.Annotations = map[string]string{infrav1.HoldAnnotation: ""} },
		func(m *infrav1.EdgeMachine) { delete(m.Annotations, infrav1.HoldAnnotation) },
		infrav1.HoldAnnotation, "remove it"),
	Entry("by its annotation with a value", false,
		func(m *infrav1.EdgeMachine) {
			m.Annotations = map[string]string{infrav1.HoldAnnotation: "waiting for Jo"}
		},
		func(m *infrav1.EdgeMachine) { m.Annotations[infrav1.HoldAnnotation] = "false" },
		infrav1.HoldAnnotation, "remove it"),
	Entry("by its cluster", true, func(*infrav1.EdgeMachine) {}, func(*infrav1.EdgeMachine) {}, "spec.hold of EdgeCluster "+clusterName),
)

var _ = Describe("Bootstrap data", func() {
	It("is awaited, with a hint at whose turn it is", func(ctx context.Context) {
		s := newRunningSite(ctx)
		cluster := s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, nil)
		s.createMachine(ctx, clusterName, "m", nil)
		s.expectWaiting(ctx, "m", infrav1.BootstrapDataReadyCondition, infrav1.WaitingForBootstrapDataReason, "Waiting for the first control-plane machine", "KubeadmConfig m")
		s.expectUntouched(ctx, "a")
		updateStatus(ctx, s, clusterName, cluster, func(c *clusterv1.Cluster) { c.Status.Initialization.ControlPlaneInitialized = new(true) })
		s.createBootstrapData(ctx, clusterName, "m", "cloud-config", cloudConfig)
		s.publishBootstrapData(ctx)
		s.expectProvisioned(ctx, "m")
	})

	It("is missed by name when its Secret does not exist, and taken when it comes", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, nil)
		s.createMachine(ctx, clusterName, "m", nil)
		s.publishBootstrapData(ctx)
		s.expectWaiting(ctx, "m", infrav1.BootstrapDataReadyCondition, infrav1.WaitingForBootstrapDataReason, "Secret m-bootstrap with the bootstrap data does not exist")
		s.expectUntouched(ctx, "a")
		s.createBootstrapData(ctx, clusterName, "m", "cloud-config", cloudConfig)
		s.expectProvisioned(ctx, "m")
	})

	DescribeTable("is refused before anything is written", func(ctx context.Context, format, value, reason string, texts ...string) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, nil)
		was := s.remember(ctx, "a")
		s.createBootstrapData(ctx, clusterName, "m", format, value)
		s.createMachine(ctx, clusterName, "m", nil)
		s.publishBootstrapData(ctx)
		s.expectWaiting(ctx, "m", infrav1.BootstrapDataReadyCondition, reason, append(texts, "Secret m-bootstrap")...)
		s.expectUntouched(ctx, "a")
		s.deleteMachine(ctx, "m")
		s.expectGone(ctx, "m")
		s.expectFree(ctx, "a", was)
	},
		Entry("when its format is ignition", "ignition", `{"ignition":{"version":"3.4.0"}}`, infrav1.BootstrapFormatUnsupportedReason, "ignition", "set format cloud-config"),
		Entry("when it is Ignition without saying so", "", `{"ignition":{"version":"3.4.0"}}`, infrav1.BootstrapFormatUnsupportedReason, "Ignition", "set format cloud-config"),
		Entry("when nobody knows what it is", "cloud-config", "hello", infrav1.BootstrapFormatUnsupportedReason, "#cloud-config"),
		Entry("when it is empty", "cloud-config", "", infrav1.BootstrapDataInvalidReason, "has no content"),
		Entry("when it is too large, even packed", "cloud-config", "#cloud-config\n#"+noise(1_048_000), infrav1.BootstrapDataInvalidReason, "1048576", "bytes", "move files"),
	)
})
