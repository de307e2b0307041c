// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

var _ = DescribeTable("A provisioned machine refuses a change of",
	func(ctx context.Context, change machineChange, texts ...string) {
		machine := &infrav1.EdgeMachine{ObjectMeta: meta(), Spec: machineSpec()}
		machine.Spec.HostSelector.MatchLabels = map[string]string{"site": "a"}
		machine.Spec.ProviderID = "edgemetal://default/host/machine"
		mustCreate(ctx, machine)
		changed := machine.DeepCopy()
		change(&changed.Spec)
		Expect(server.Client.Update(ctx, changed, client.DryRunAll)).To(haveCauses(texts))
	},
	Entry("providerID", func(s *infrav1.EdgeMachineSpec) { s.ProviderID = "edgemetal://default/other/machine" }, "spec.providerID", "cannot change once it is set"),
	Entry("providerID to nothing", func(s *infrav1.EdgeMachineSpec) { s.ProviderID = "" }, "spec.providerID", "cannot change once it is set"),
	Entry("image", func(s *infrav1.EdgeMachineSpec) { s.Image.Checksum = "other" }, "image, hostSelector, links and interfaces cannot change", "roll out a new EdgeMachineTemplate"),
	Entry("links", func(s *infrav1.EdgeMachineSpec) { s.Links[0].MTU = 9000 }, "roll out a new EdgeMachineTemplate"),
	Entry("interfaces", func(s *infrav1.EdgeMachineSpec) { s.Interfaces[0].Network = "other" }, "roll out a new EdgeMachineTemplate"),
	Entry("hostSelector", func(s *infrav1.EdgeMachineSpec) { s.HostSelector.MatchLabels["site"] = "b" }, "roll out a new EdgeMachineTemplate"),
	Entry("hostSelector to nothing", func(s *infrav1.EdgeMachineSpec) { s.HostSelector = infrav1.HostSelector{} }, "roll out a new EdgeMachineTemplate"),
)

var _ = DescribeTable("A machine accepts a change of",
	func(ctx context.Context, providerID string, change machineChange) {
		machine := &infrav1.EdgeMachine{ObjectMeta: meta(), Spec: machineSpec()}
		machine.Spec.ProviderID = providerID
		mustCreate(ctx, machine)
		changed := machine.DeepCopy()
		change(&changed.Spec)
		Expect(server.Client.Update(ctx, changed, client.DryRunAll)).To(Succeed())
	},
	Entry("image before it is provisioned", "", func(s *infrav1.EdgeMachineSpec) { s.Image.Checksum = "other" }),
	Entry("hostSelector before it is provisioned", "", func(s *infrav1.EdgeMachineSpec) { s.HostSelector.MatchLabels = map[string]string{"a": "b"} }),
	Entry("providerID, once", "", func(s *infrav1.EdgeMachineSpec) { s.ProviderID = "edgemetal://default/host/machine" }),
	Entry("hold afterwards", "edgemetal://default/host/machine", func(s *infrav1.EdgeMachineSpec) { s.Hold = new(true) }),
	Entry("automatedCleaning afterwards", "edgemetal://default/host/machine", func(s *infrav1.EdgeMachineSpec) { s.AutomatedCleaning = infrav1.CleaningDisabled }),
)

var _ = DescribeTable("The endpoint of a cluster",
	func(ctx context.Context, before, after infrav1.APIEndpoint, texts ...string) {
		cluster := &infrav1.EdgeCluster{ObjectMeta: meta(), Spec: clusterSpec()}
		cluster.Spec.ControlPlaneVIP = infrav1.ControlPlaneVIP{}
		cluster.Spec.ControlPlaneEndpoint = before
		mustCreate(ctx, cluster)
		changed := cluster.DeepCopy()
		changed.Spec.ControlPlaneEndpoint = after
		err := server.Client.Update(ctx, changed, client.DryRunAll)
		if len(texts) == 0 {
			Expect(err).NotTo(HaveOccurred())
			return
		}
		Expect(err).To(haveCauses(texts))
	},
	Entry("can be set later", infrav1.APIEndpoint{}, infrav1.APIEndpoint{Host: "192.0.2.10", Port: 6443}),
	Entry("cannot get another host", infrav1.APIEndpoint{Host: "192.0.2.10", Port: 6443}, infrav1.APIEndpoint{Host: "192.0.2.11", Port: 6443},
		"spec.controlPlaneEndpoint cannot change once it is set", "create a new cluster"),
	Entry("cannot get another port", infrav1.APIEndpoint{Host: "192.0.2.10", Port: 6443}, infrav1.APIEndpoint{Host: "192.0.2.10", Port: 8443},
		"spec.controlPlaneEndpoint cannot change once it is set", "create a new cluster"),
	Entry("cannot be removed", infrav1.APIEndpoint{Host: "192.0.2.10", Port: 6443}, infrav1.APIEndpoint{}, "spec.controlPlaneEndpoint cannot change once it is set"),
)

var _ = Describe("A cluster template", func() {
	It("may leave the endpoint of a VIP to its clusters", func(ctx context.Context) {
		template := &infrav1.EdgeClusterTemplate{ObjectMeta: meta()}
		template.Spec.Template.Spec = clusterSpec()
		template.Spec.Template.Spec.ControlPlaneEndpoint = infrav1.APIEndpoint{}
		Expect(tryCreate(ctx, template)).To(Succeed())
	})
})

var _ = Describe("A template", func() {
	templates := func() []client.Object {
		machine := &infrav1.EdgeMachineTemplate{ObjectMeta: meta()}
		machine.Spec.Template.Spec = machineSpec()
		cluster := &infrav1.EdgeClusterTemplate{ObjectMeta: meta()}
		cluster.Spec.Template.Spec = clusterSpec()
		return []client.Object{machine, cluster}
	}
	changeSpec := func(object client.Object) {
		switch template := object.(type) {
		case *infrav1.EdgeMachineTemplate:
			template.Spec.Template.Spec.Image.Checksum = "other"
		case *infrav1.EdgeClusterTemplate:
			template.Spec.Template.Spec.Networks[0].MTU = 9000
		}
	}
	topologyAnnotation := map[string]string{clusterv1.TopologyDryRunAnnotation: ""}

	It("refuses a change of its spec and says what to do instead", func(ctx context.Context) {
		for _, template := range templates() {
			mustCreate(ctx, template)
			// A policy is in force a moment after it has been created.
			Eventually(func() error {
				changed, _ := template.DeepCopyObject().(client.Object)
				changeSpec(changed)
				return server.Client.Update(ctx, changed, client.DryRunAll)
			}).Should(haveCauses([]string{"cannot change: what was made from it would be left behind", "under another name, and refer to it in spec."}), "%T", template)
		}
	})

	It("lets the topology controller's dry run through, and nothing else that carries its annotation", func(ctx context.Context) {
		for _, template := range templates() {
			mustCreate(ctx, template)
			changed, _ := template.DeepCopyObject().(client.Object)
			changeSpec(changed)
			Eventually(func() error {
				return server.Client.Update(ctx, changed.DeepCopyObject().(client.Object), client.DryRunAll)
			}).Should(haveCauses([]string{"cannot change"}), "%T: the policy is in force", template)
			changed.SetAnnotations(topologyAnnotation)
			Expect(server.Client.Update(ctx, changed.DeepCopyObject().(client.Object), client.DryRunAll)).To(Succeed(), "%T", template)
			Expect(server.Client.Update(ctx, changed.DeepCopyObject().(client.Object))).To(haveCauses([]string{"cannot change"}), "%T", template)
		}
	})

	It("accepts new labels", func(ctx context.Context) {
		for _, template := range templates() {
			mustCreate(ctx, template)
			template.SetLabels(map[string]string{"a": "b"})
			Expect(server.Client.Update(ctx, template)).To(Succeed(), "%T", template)
		}
	})

	It("of machines refuses a providerID", func(ctx context.Context) {
		template := &infrav1.EdgeMachineTemplate{ObjectMeta: meta()}
		template.Spec.Template.Spec = machineSpec()
		template.Spec.Template.Spec.ProviderID = "edgemetal://default/host/machine"
		Expect(tryCreate(ctx, template)).To(haveCauses([]string{"spec.template", "remove it from the template"}))
	})
})
