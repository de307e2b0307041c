// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package site

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	controlplanev1 "sigs.k8s.io/cluster-api/api/controlplane/kubeadm/v1beta2"
	"sigs.k8s.io/cluster-api/util"
	"sigs.k8s.io/cluster-api/util/conditions"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/e2e/stage"
)

const cluster = "edge-1"

var _ = Describe("The life of a cluster", Ordered, func() {
	const (
		workers      = "machinedeployment/" + cluster + "-workers"
		controlPlane = "kubeadmcontrolplane/" + cluster + "-control-plane"
	)
	var s *stage.Site

	BeforeAll(func(ctx SpecContext) {
		s = lab.NewSite(ctx, "story")
		s.AddHosts(ctx, 1, 5)
	}, NodeTimeout(stage.Limit))

	It("comes up from an inventory and a template", func(ctx SpecContext) {
		s.Create(ctx, stage.Order{Name: cluster, ControlPlane: 1, Workers: 2})
		s.AwaitCluster(ctx, cluster, 3)
		s.AwaitFree(ctx, 2)
	}, SpecTimeout(stage.Limit))

	It("is described by its conditions", func(ctx SpecContext) {
		printed := s.Describe(ctx, cluster, "EdgeCluster", "EdgeMachine")
		for _, condition := range []string{
			infrav1.NetworksValidCondition, infrav1.HostsAvailableCondition, infrav1.ControlPlaneEndpointReadyCondition,
		} {
			Expect(printed).To(MatchRegexp(`─%s +True`, condition))
		}
		for _, condition := range []string{
			infrav1.HostClaimedCondition, infrav1.NetworkDataValidCondition, infrav1.ReleasedCondition,
			infrav1.BootstrapDataReadyCondition, infrav1.HostProvisionedCondition, infrav1.NodeLinkedCondition,
		} {
			Expect(printed).To(MatchRegexp(`(?s)(─%s +True.*){3}`, condition), "once per machine")
		}
		Expect(printed).To(MatchRegexp(`─HostClaimed +True +HostClaimed +\S+ +BareMetalHost host-\d`))
	}, SpecTimeout(stage.Limit))

	It("is explained by its API", func(ctx SpecContext) {
		printed := s.Do(ctx, "explain", "edgemachine.spec.links")
		for _, text := range []string{"infrastructure.cluster.x-k8s.io", "FIELD: links", "bond", "vlan", "match", "mtu"} {
			Expect(printed).To(ContainSubstring(text))
		}
		Expect(s.Do(ctx, "get", "em")).To(MatchRegexp(`NAME +CLUSTER +HOST +ADDRESS +PROVISIONED +ENCRYPTED +READY`))
	}, SpecTimeout(stage.Limit))

	It("grows and shrinks by its workers", func(ctx SpecContext) {
		s.Scale(ctx, workers, 3)
		s.AwaitCluster(ctx, cluster, 4)
		s.AwaitFree(ctx, 1)
		s.Scale(ctx, workers, 1)
		s.AwaitCluster(ctx, cluster, 2)
		s.AwaitFree(ctx, 3)
		s.AwaitTidy(ctx)
	}, SpecTimeout(stage.Limit))

	It("grows to a control plane of three etcd members", func(ctx SpecContext) {
		s.Scale(ctx, controlPlane, 3)
		s.AwaitCluster(ctx, cluster, 4)
		s.AwaitFree(ctx, 1)
		expectHealthyEtcd(ctx, s, 3)
	}, SpecTimeout(stage.Limit))

	It("keeps private keys and tokens inside Secrets", func(ctx SpecContext) {
		needles := s.Secrets(ctx, cluster)
		Expect(needles.Keys).To(BeNumerically(">=", 4), "private keys of the CAs and the administrator")
		Expect(needles.Tokens).To(BeNumerically(">=", 1), "bootstrap tokens")
		needles.ExpectNowhere(ctx, s)
	}, SpecTimeout(stage.Limit))

	It("gives everything back when it is deleted", func(ctx SpecContext) {
		s.Delete(ctx, "cluster/"+cluster)
		s.AwaitNothing(ctx)
	}, SpecTimeout(stage.Limit))
})

// expectHealthyEtcd asks etcd itself and the control-plane provider, which looks through the API server and the kubelets.
func expectHealthyEtcd(ctx context.Context, s *stage.Site, members int) {
	GinkgoHelper()
	kcp := &controlplanev1.KubeadmControlPlane{}
	var endpoints []string
	Eventually(ctx, func(g Gomega) {
		g.Expect(s.Client().Get(ctx, s.Key(cluster+"-control-plane"), kcp)).To(Succeed())
		for _, condition := range []string{
			controlplanev1.KubeadmControlPlaneEtcdClusterHealthyCondition,
			controlplanev1.KubeadmControlPlaneControlPlaneComponentsHealthyCondition,
		} {
			g.Expect(conditions.IsTrue(kcp, condition)).To(BeTrue(), "%s: %s", condition, conditions.GetMessage(kcp, condition))
		}
		endpoints = nil
		for _, machine := range s.Machines(ctx, cluster) {
			if util.IsControlPlaneMachine(&machine) {
				g.Expect(conditions.IsTrue(&machine, controlplanev1.KubeadmControlPlaneMachineEtcdMemberHealthyCondition)).To(BeTrue(), machine.Name)
				endpoints = append(endpoints, "https://"+machine.Status.Addresses[1].Address+":2379")
			}
		}
		g.Expect(endpoints).To(HaveLen(members))
	}).Should(Succeed())
	names := etcdMembers(ctx, s, endpoints)
	Expect(names).To(HaveLen(members))
	for _, name := range names {
		Expect(name).To(HavePrefix("host-"), "an etcd member is named after its Node once it has started")
	}
}
