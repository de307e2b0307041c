// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package encryption

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/agent"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/e2e/stage"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/fakevpp"
)

// vppNamespace holds VPP and its Calico agent.
const vppNamespace = "calico-vpp-dataplane"

// expectEncrypted waits until so many nodes have proved that they encrypt, all there are, and nothing holds pods back from them.
func expectEncrypted(ctx context.Context, s *stage.Site, count int) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		site := edgeCluster(ctx, g, s)
		for _, kind := range []string{infrav1.DataplaneInstalledCondition, infrav1.EncryptionReadyCondition, infrav1.ReadyCondition} {
			c := meta.FindStatusCondition(site.Status.Conditions, kind)
			g.Expect(c).NotTo(BeNil(), kind)
			g.Expect(c.Status).To(Equal(metav1.ConditionTrue), "%s: %s", kind, c.Message)
		}
		c := meta.FindStatusCondition(site.Status.Conditions, infrav1.EncryptionReadyCondition)
		g.Expect(c.Message).To(Equal(fmt.Sprintf("%d of %d nodes encrypted", count, count)))
		nodes := nodesIn(ctx, g, s)
		g.Expect(nodes).To(HaveLen(count))
		for name, node := range nodes {
			g.Expect(nodeCondition(node).Status).To(Equal(corev1.ConditionTrue), "%s: %s", name, nodeCondition(node).Message)
			g.Expect(tainted(node)).To(BeFalse(), "%s is tainted", name)
		}
	}).Should(Succeed())
	Eventually(ctx, func() []fakevpp.Outcome {
		var outcomes []fakevpp.Outcome
		for _, flow := range s.Flows(ctx, cluster) {
			outcomes = append(outcomes, flow.Outcome)
		}
		return outcomes
	}).Should(And(HaveLen(count*(count-1)), HaveEach(fakevpp.Encrypted)))
}

func objectMeta(s *stage.Site, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: s.Namespace, Name: name}
}

func edgeCluster(ctx context.Context, g Gomega, s *stage.Site) *infrav1.EdgeCluster {
	site := &infrav1.EdgeCluster{}
	g.Expect(s.Client().Get(ctx, s.Key(cluster), site)).To(Succeed())
	return site
}

func nodesByName(ctx context.Context, s *stage.Site) map[string]corev1.Node {
	GinkgoHelper()
	return nodesIn(ctx, Default, s)
}

func nodesIn(ctx context.Context, g Gomega, s *stage.Site) map[string]corev1.Node {
	list := &corev1.NodeList{}
	g.Expect(s.Workload(ctx, cluster).List(ctx, list)).To(Succeed())
	nodes := map[string]corev1.Node{}
	for _, node := range list.Items {
		nodes[node.Name] = node
	}
	return nodes
}

// workerNodes are the names of the nodes that are no control plane, sorted.
func workerNodes(ctx context.Context, s *stage.Site) []string {
	GinkgoHelper()
	var names []string
	for name, node := range nodesByName(ctx, s) {
		if _, controlPlane := node.Labels["node-role.kubernetes.io/control-plane"]; !controlPlane {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func nodeCondition(node corev1.Node) corev1.NodeCondition {
	for _, c := range node.Status.Conditions {
		if c.Type == encryption.NodeCondition {
			return c
		}
	}
	return corev1.NodeCondition{Status: corev1.ConditionUnknown, Message: "the agent has not reported"}
}

func tainted(node corev1.Node) bool {
	return slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Key == encryption.NotReadyTaint })
}

// transitions are since when the nodes are what they are.
func transitions(ctx context.Context, s *stage.Site) map[string]metav1.Time {
	GinkgoHelper()
	since := map[string]metav1.Time{}
	for name, node := range nodesByName(ctx, s) {
		since[name] = nodeCondition(node).LastTransitionTime
	}
	return since
}

// agentStatus is what the agent on a node tells scripts.
func agentStatus(ctx context.Context, s *stage.Site, node string) agent.Status {
	GinkgoHelper()
	var status agent.Status
	Expect(json.Unmarshal([]byte(s.AgentStatus(ctx, cluster, node, "-o", "json")), &status)).To(Succeed())
	return status
}

// createPod makes a pod in the pods' own network that only the node may run.
func createPod(ctx context.Context, s *stage.Site, name, node string) {
	GinkgoHelper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: name},
		Spec: corev1.PodSpec{
			NodeSelector: map[string]string{corev1.LabelHostname: node},
			Containers:   []corev1.Container{{Name: "main", Image: "registry.k8s.io/pause:3.10"}},
		},
	}
	Expect(s.Workload(ctx, cluster).Create(ctx, pod)).To(Succeed())
}

func podCondition(ctx context.Context, g Gomega, s *stage.Site, name string, kind corev1.PodConditionType) corev1.PodCondition {
	pod := &corev1.Pod{}
	g.Expect(s.Workload(ctx, cluster).Get(ctx, client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: name}, pod)).To(Succeed())
	for _, c := range pod.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return corev1.PodCondition{}
}

// vppPods are the pods of VPP by node.
func vppPods(ctx context.Context, g Gomega, s *stage.Site) map[string]corev1.Pod {
	list := &corev1.PodList{}
	g.Expect(s.Workload(ctx, cluster).List(ctx, list, client.InNamespace(vppNamespace))).To(Succeed())
	pods := map[string]corev1.Pod{}
	for _, pod := range list.Items {
		pods[pod.Spec.NodeName] = pod
	}
	return pods
}

// restartVPPPod makes VPP and its Calico agent on a node start with nothing.
func restartVPPPod(ctx context.Context, s *stage.Site, node string) {
	GinkgoHelper()
	Expect(s.Workload(ctx, cluster).Delete(ctx, s.PodOn(ctx, cluster, node, vppNamespace))).To(Succeed())
}

// healthCheck is that of docs/troubleshooting.md, in a hurry; but a new node takes ten seconds to prove itself.
func healthCheck(namespace string) string {
	return fmt.Sprintf(`apiVersion: cluster.x-k8s.io/v1beta2
kind: MachineHealthCheck
metadata: {name: encryption, namespace: %s}
spec:
  clusterName: %s
  selector:
    matchLabels: {cluster.x-k8s.io/deployment-name: %s}
  checks:
    nodeStartupTimeoutSeconds: 3600
    unhealthyNodeConditions:
    - {type: %s, status: "False", timeoutSeconds: 45}
  remediation:
    triggerIf: {unhealthyLessThanOrEqualTo: 1}
`, namespace, cluster, workers, encryption.NodeCondition)
}
