// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// vppPods are the pods of Calico-VPP by node.
func (s *site) vppPods(ctx context.Context) func(Gomega) map[string]string {
	return func(g Gomega) map[string]string {
		list := &corev1.PodList{}
		g.Expect(s.workload.Client.List(ctx, list, client.InNamespace("calico-vpp-dataplane"))).To(Succeed())
		pods := map[string]string{}
		for _, pod := range list.Items {
			pods[pod.Spec.NodeName] = pod.Name
		}
		return pods
	}
}

// proof is what a node reports of its encryption.
func (s *site) proof(ctx context.Context, name string) func(Gomega) corev1.ConditionStatus {
	return func(g Gomega) corev1.ConditionStatus {
		node := &corev1.Node{}
		g.Expect(s.workload.Client.Get(ctx, client.ObjectKey{Name: name}, node)).To(Succeed())
		for _, condition := range node.Status.Conditions {
			if condition.Type == encryption.NodeCondition {
				return condition.Status
			}
		}
		return corev1.ConditionUnknown
	}
}

var _ = Describe("Rollout", func() {
	It("goes node by node, waits for the proof of each, and stops at a node that does not come back", func(ctx context.Context) {
		s := newSite(ctx)
		s.addReadyCluster(ctx, nil)
		Eventually(s.installed(ctx)).Should(beInstalled())
		s.expectQuiet()
		before := s.vppPods(ctx)(Default)
		Expect(before).To(HaveLen(3))

		By("waiting for the proof of the second node")
		s.world.set(func(w *world) { w.unproved["b"] = true })
		Eventually(s.proof(ctx, "b")).Should(Equal(corev1.ConditionFalse))
		// Node b is replaced first, because it does not work.
		s.change(ctx, func(c *infrav1.EdgeCluster) { c.Spec.Dataplane.VPP = &infrav1.VPP{MaxPodsPerNode: 60} })
		Eventually(s.installed(ctx)).Should(waitFor(infrav1.RollingOutReason, "calico-vpp-node: 0 of 3 nodes", "node b", "TunnelMissing"))
		Consistently(s.vppPods(ctx)).WithTimeout(3 * quiet).Should(And(HaveKeyWithValue("a", before["a"]), HaveKeyWithValue("c", before["c"])))
		s.world.set(func(w *world) { w.unproved = map[string]bool{"a": false}; w.broken["a"] = true })

		By("stopping at a node whose pod does not become ready")
		Eventually(s.installed(ctx)).Should(waitFor(infrav1.RollingOutReason, "1 of 3 nodes", "node a", "is not ready"))
		Consistently(s.vppPods(ctx)).WithTimeout(3 * quiet).Should(HaveKeyWithValue("c", before["c"]))

		By("going on after a restart of the manager")
		Expect(s.manager.Stop()).To(Succeed())
		s.startManager(ctx)
		s.world.set(func(w *world) { w.broken = map[string]bool{} })
		Eventually(s.installed(ctx)).Should(beInstalled())
		after := s.vppPods(ctx)(Default)
		for _, node := range []string{"a", "b", "c"} {
			Expect(after).To(HaveKey(node))
			Expect(after[node]).NotTo(Equal(before[node]), "the pod of node %s is of the new version", node)
		}
		s.expectQuiet()
	})

	It("lets Kubernetes replace pods when nothing is encrypted", func(ctx context.Context) {
		s := newSite(ctx)
		s.addReadyCluster(ctx, func(c *infrav1.EdgeCluster) { c.Spec.Dataplane.Encryption.Mode = infrav1.EncryptionDisabled })
		Eventually(s.installed(ctx)).Should(beInstalled())
		before := s.vppPods(ctx)(Default)
		s.change(ctx, func(c *infrav1.EdgeCluster) { c.Spec.Dataplane.VPP = &infrav1.VPP{MaxPodsPerNode: 60} })
		Eventually(func(g Gomega) {
			after := s.vppPods(ctx)(g)
			for _, node := range []string{"a", "b", "c"} {
				g.Expect(after).To(HaveKey(node))
				g.Expect(after[node]).NotTo(Equal(before[node]))
			}
		}).Should(Succeed())
		Eventually(s.installed(ctx)).Should(beInstalled())
	})
})
