// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package site

import (
	"fmt"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/e2e/stage"
	lablib "github.com/edgemetal/cluster-api-provider-edgemetal/test/lab"
)

var _ = Describe("A cluster of a ClusterClass", Ordered, func() {
	order := stage.Order{Name: cluster, Flavor: "topology", ControlPlane: 1, Workers: 1}
	var s *stage.Site

	BeforeAll(func(ctx SpecContext) {
		s = lab.NewSite(ctx, "topology")
		s.AddHosts(ctx, 1, 3)
	}, NodeTimeout(stage.Limit))

	It("passes a dry run on the server", func(ctx SpecContext) {
		printed, err := s.RunApply(ctx, lablib.Command{
			Args: []string{"apply", "--dry-run=server", "-f", "-"}, Stdin: []byte(s.Generate(ctx, order)),
		})
		Expect(err).NotTo(HaveOccurred())
		for _, object := range []string{
			"clusterclass.cluster.x-k8s.io/edgemetal", "edgeclustertemplate.infrastructure.cluster.x-k8s.io/edgemetal",
			"edgemachinetemplate.infrastructure.cluster.x-k8s.io/edgemetal-control-plane",
			"edgemachinetemplate.infrastructure.cluster.x-k8s.io/edgemetal-default-worker",
			"cluster.cluster.x-k8s.io/" + cluster, "inclusterippool.ipam.cluster.x-k8s.io/" + cluster,
		} {
			Expect(printed).To(ContainSubstring(object + " created (server dry run)"))
		}
	}, SpecTimeout(stage.Limit))

	It("becomes available", func(ctx SpecContext) {
		s.Create(ctx, order)
		s.AwaitCluster(ctx, cluster, 2)
		s.AwaitFree(ctx, 1)
		// A template does not change in place: the policy says what to do instead.
		_, err := s.Kubectl(ctx, "--namespace", s.Namespace, "patch", "edgemachinetemplate", "edgemetal-default-worker",
			"--type=merge", "--patch", `{"spec":{"template":{"spec":{"automatedCleaning":"Disabled"}}}}`)
		Expect(err).To(MatchError(ContainSubstring("Create a new EdgeMachineTemplate with the change under another name")))
	}, SpecTimeout(stage.Limit))

	It("gets new machines from new templates when a variable changes", func(ctx SpecContext) {
		const image = "http://images.example.org/next.qcow2"
		before := templateNames(ctx, Default, s)
		s.Do(ctx, "patch", "cluster", cluster, "--type=json", "--patch", fmt.Sprintf(
			`[{"op":"test","path":"/spec/topology/variables/2/name","value":"image"},
			  {"op":"replace","path":"/spec/topology/variables/2/value/url","value":%q},
			  {"op":"replace","path":"/spec/topology/variables/2/value/checksum","value":"%s.sha256sum"}]`, image, image))
		Eventually(ctx, func(g Gomega) {
			edgeMachines := &infrav1.EdgeMachineList{}
			g.Expect(s.Client().List(ctx, edgeMachines, client.InNamespace(s.Namespace))).To(Succeed())
			g.Expect(edgeMachines.Items).To(HaveEach(HaveField("Spec.Image.URL", image)))
			g.Expect(edgeMachines.Items).To(HaveLen(2))
		}).Should(Succeed())
		s.AwaitCluster(ctx, cluster, 2)
		s.AwaitFree(ctx, 1)
		s.AwaitTidy(ctx)
		for _, host := range s.Hosts(ctx) {
			if host.Spec.ConsumerRef != nil {
				Expect(host.Status.Provisioning.Image.URL).To(Equal(image))
			}
		}
		Eventually(ctx, func(g Gomega) {
			g.Expect(templateNames(ctx, g, s)).To(HaveEach(Not(BeElementOf(before))), "the templates of the machines before are gone")
			found := &clusterv1.Cluster{}
			g.Expect(s.Client().Get(ctx, s.Key(cluster), found)).To(Succeed())
			g.Expect(conditions.IsTrue(found, clusterv1.ClusterTopologyReconciledCondition)).To(BeTrue(),
				conditions.GetMessage(found, clusterv1.ClusterTopologyReconciledCondition))
		}).Should(Succeed())
	}, SpecTimeout(stage.Limit))

	It("gives everything back when it is deleted", func(ctx SpecContext) {
		s.Delete(ctx, "cluster/"+cluster)
		// The templates of the ClusterClass stay with it.
		Eventually(ctx, func() error {
			// Its webhook may have the Cluster in its cache still.
			_, err := s.Kubectl(ctx, "--namespace", s.Namespace, "delete", "clusterclass/edgemetal", "--ignore-not-found", "--timeout", stage.WaitTimeout.String())
			return err
		}).Should(Succeed())
		s.AwaitNothing(ctx)
	}, SpecTimeout(stage.Limit))
})

// templateNames are those of the EdgeMachineTemplates that the topology controller has made.
func templateNames(ctx SpecContext, g Gomega, s *stage.Site) []string {
	GinkgoHelper()
	list := &infrav1.EdgeMachineTemplateList{}
	g.Expect(s.Client().List(ctx, list, client.InNamespace(s.Namespace), client.HasLabels{clusterv1.ClusterTopologyOwnedLabel})).To(Succeed())
	var names []string
	for _, template := range list.Items {
		names = append(names, template.Name)
	}
	g.Expect(names).NotTo(BeEmpty())
	return names
}

var _ = Describe("A cluster of one host", Ordered, func() {
	var s *stage.Site

	BeforeAll(func(ctx SpecContext) {
		s = lab.NewSite(ctx, "single-node")
		s.AddHosts(ctx, 1, 1)
	}, NodeTimeout(stage.Limit))

	It("becomes available, and its Node takes workloads", func(ctx SpecContext) {
		s.Create(ctx, stage.Order{Name: cluster, Flavor: "single-node", ControlPlane: 1})
		s.AwaitCluster(ctx, cluster, 1)
		workload := s.Workload(ctx, cluster)
		Eventually(ctx, func(g Gomega) {
			nodes := &corev1.NodeList{}
			g.Expect(workload.List(ctx, nodes)).To(Succeed())
			g.Expect(nodes.Items).To(HaveEach(HaveField("Spec.Taints", BeEmpty())))
		}).Should(Succeed())
		Expect(s.Host(ctx, 1).Status.Provisioning.State).To(Equal(bmov1.StateProvisioned))
	}, SpecTimeout(stage.Limit))

	It("gives everything back when it is deleted", func(ctx SpecContext) {
		s.Delete(ctx, "cluster/"+cluster)
		s.AwaitNothing(ctx)
	}, SpecTimeout(stage.Limit))
})
