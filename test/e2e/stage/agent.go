// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab"
)

// agentMetricsPort is that of the node agent's DaemonSet.
const agentMetricsPort = "9470"

// AgentStatus is `edge-agent status` on a node. The exit status of a node that is not encrypted is no failure.
func (s *Site) AgentStatus(ctx context.Context, cluster, node string, flags ...string) string {
	GinkgoHelper()
	pod := s.PodOn(ctx, cluster, node, encryption.AgentNamespace)
	args := append([]string{"--namespace", pod.Namespace, "exec", pod.Name, "--", "edge-agent", "status"}, flags...)
	printed, err := s.WorkloadKubectl(ctx, cluster, args...)
	if err != nil && !strings.Contains(err.Error(), "exit code 2") {
		Expect(err).NotTo(HaveOccurred())
	}
	return printed
}

// PodOn finds the pod of a namespace on a node that is not being deleted; there must be one.
func (s *Site) PodOn(ctx context.Context, cluster, node, namespace string) *corev1.Pod {
	GinkgoHelper()
	pods := &corev1.PodList{}
	Expect(s.Workload(ctx, cluster).List(ctx, pods, client.InNamespace(namespace))).To(Succeed())
	for i := range pods.Items {
		if pods.Items[i].Spec.NodeName == node && pods.Items[i].DeletionTimestamp.IsZero() {
			return &pods.Items[i]
		}
	}
	Fail("no pod of namespace " + namespace + " is on node " + node)
	return nil
}

// Flows sends a packet between pods of all nodes of a cluster.
func (s *Site) Flows(ctx context.Context, cluster string) []lab.Flow {
	GinkgoHelper()
	nodes := &corev1.NodeList{}
	Expect(s.Workload(ctx, cluster).List(ctx, nodes)).To(Succeed())
	flows, err := s.SendBetweenPods(ctx, s.Namespace, nodes.Items)
	Expect(err).NotTo(HaveOccurred())
	return flows
}

func agentMetrics(ctx context.Context, node corev1.Node) []byte {
	GinkgoHelper()
	content := fetch(ctx, Default, "http://"+net.JoinHostPort(node.Status.Addresses[0].Address, agentMetricsPort)+"/metrics", "")
	Expect(content).To(ContainSubstring("edge"), "metrics of the agent on %s", node.Name)
	return content
}

// managerMetrics are this repository's manager's, which asks who wants to know.
func (s *Site) managerMetrics(ctx context.Context) []byte {
	GinkgoHelper()
	address, err := s.Node().Diagnostics(ManagerProvider)
	Expect(err).NotTo(HaveOccurred())
	const reader = "metrics-reader"
	s.Do(ctx, "create", "serviceaccount", reader)
	DeferCleanup(func(ctx context.Context) { s.Do(ctx, "delete", "clusterrolebinding,clusterrole", reader) })
	s.Do(ctx, "create", "clusterrole", reader, "--verb=get", "--non-resource-url=/metrics")
	s.Do(ctx, "create", "clusterrolebinding", reader, "--clusterrole="+reader, "--serviceaccount="+s.Namespace+":"+reader)
	token := strings.TrimSpace(s.Do(ctx, "create", "token", reader))
	var content []byte
	Eventually(ctx, func(g Gomega) { content = fetch(ctx, g, "https://"+address+"/metrics", token) }).Should(Succeed()) // once it is bound
	Expect(content).To(ContainSubstring("controller_runtime_reconcile_total"), "the manager's metrics")
	return content
}

// fetch reads what a server answers. Its certificate is not checked: it signed it itself.
func fetch(ctx context.Context, g Gomega, url, token string) []byte {
	GinkgoHelper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	g.Expect(err).NotTo(HaveOccurred())
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport}).Do(request)
	g.Expect(err).NotTo(HaveOccurred())
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(response.StatusCode).To(Equal(http.StatusOK), "%s: %s", url, content)
	return content
}
