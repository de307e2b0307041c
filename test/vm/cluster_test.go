// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/e2e/stage"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/image"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/quickstart"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/vm/facts"
)

var _ = Describe("A cluster", Ordered, Label("cluster"), func() {
	var c *kubeadmCluster

	BeforeAll(func(ctx SpecContext) {
		buildImage(ctx, image.Node)
		c = &kubeadmCluster{Stage: stage.Open(ctx, func(o *lab.Options) { o.Hosts = lab.VirtualHosts })}
	}, NodeTimeout(setupLimit))

	It("comes up from what kubeadm does on booted hosts", func(ctx SpecContext) {
		Expect(quickstart.Run(ctx, c.Access, GinkgoWriter)).To(Succeed())
		c.connect()
	}, SpecTimeout(clusterLimit))

	It("has a Node for each Machine, with provider ID, address and taints as asked for", func(ctx SpecContext) {
		c.expectNodes(ctx, 2, nil)
		c.expectCondition(ctx, &clusterv1.Cluster{}, clusterv1.ClusterAvailableCondition, metav1.ConditionTrue)
		c.expectCondition(ctx, &infrav1.EdgeCluster{}, infrav1.ReadyCondition, metav1.ConditionTrue)
	}, SpecTimeout(limit))

	It("has hosts whose cloud-init is done without a warning, from user data that its schema accepts", func(ctx SpecContext) {
		for name := range c.nodes(ctx) {
			found, err := facts.Read(ctx, c.run(name), nil)
			Expect(err).NotTo(HaveOccurred())
			Expect(found.CloudInit).To(And(HaveField("Status", "done"), HaveField("Errors", BeEmpty()), HaveField("Warnings", BeEmpty())), "cloud-init of %s", name)
			expectSchema(ctx, c.run(name))
		}
	}, SpecTimeout(limit))

	It("resolves the names of Services in a pod on a worker", func(ctx SpecContext) {
		service := &corev1.Service{}
		Expect(c.workload.Get(ctx, client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: "server"}, service)).To(Succeed())
		pod := &corev1.Pod{}
		Expect(c.workload.Get(ctx, client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: "client"}, pod)).To(Succeed())
		Expect(c.nodes(ctx)[pod.Spec.NodeName].Labels).NotTo(HaveKey(controlPlaneLabel), "the pod is on a worker")
		printed := c.kubectl(ctx, "exec", "client", "--", "nslookup", "-type=a", "server.default.svc.cluster.local")
		Expect(printed).To(ContainSubstring(service.Spec.ClusterIP))
		Expect(c.kubectl(ctx, "exec", "client", "--", "wget", "-q", "-O", "-", "http://server")).To(HavePrefix("Hello from host-"))
	}, SpecTimeout(limit))
})

// What Calico's dataplanes have in common is seen with one that encrypts in the host's kernel and with VPP.
var _ = Describe("A cluster whose images cannot be had, of", func() {
	for _, dataplane := range []infrav1.DataplaneType{infrav1.DataplaneCalicoNftables, infrav1.DataplaneCalicoVPP} {
		Context(string(dataplane), Ordered, Label("cluster"), func() { describeWithoutImages(dataplane) })
	}
})

func describeWithoutImages(dataplane infrav1.DataplaneType) {
	var c *kubeadmCluster

	BeforeAll(func(ctx SpecContext) {
		buildImage(ctx, image.Node)
		c = &kubeadmCluster{Stage: stage.Open(ctx, func(o *lab.Options) { o.Hosts = lab.VirtualHosts })}
	}, NodeTimeout(setupLimit))

	It("says what waits for an image, and its node agent reports", func(ctx SpecContext) {
		Expect(quickstart.RunWithCalico(ctx, c.Access, string(dataplane), GinkgoWriter)).To(Succeed())
		c.connect()
		c.expectCondition(ctx, &infrav1.EdgeCluster{}, infrav1.DataplaneInstalledCondition, metav1.ConditionFalse)
		c.expectCondition(ctx, &infrav1.EdgeCluster{}, infrav1.ReadyCondition, metav1.ConditionFalse)
	}, SpecTimeout(clusterLimit))

	It("has Calico's objects up to the operator, whose pod waits for its image", func(ctx SpecContext) {
		Expect(c.kubectl(ctx, "get", "customresourcedefinitions", "-o", "name")).To(ContainSubstring("/installations.operator.tigera.io\n"))
		Eventually(ctx, func(g Gomega) {
			pods := &corev1.PodList{}
			g.Expect(c.workload.List(ctx, pods, client.InNamespace("tigera-operator"))).To(Succeed())
			g.Expect(pods.Items).To(HaveLen(1))
			g.Expect(pods.Items[0].Status.ContainerStatuses).To(HaveLen(1))
			waiting := pods.Items[0].Status.ContainerStatuses[0].State.Waiting
			g.Expect(waiting).NotTo(BeNil())
			g.Expect(waiting.Reason).To(Or(Equal("ErrImagePull"), Equal("ImagePullBackOff")))
		}).Should(Succeed())
	}, SpecTimeout(limit))

	It("holds pods back from its Node, whose agent is a pod that runs", func(ctx SpecContext) {
		c.expectNodes(ctx, 1, []corev1.Taint{{Key: encryption.NotReadyTaint, Effect: corev1.TaintEffectNoSchedule}})
		pods := &corev1.PodList{}
		Expect(c.workload.List(ctx, pods, client.InNamespace(encryption.AgentNamespace))).To(Succeed())
		running := map[string]corev1.PodPhase{}
		for _, pod := range pods.Items {
			if strings.HasPrefix(pod.Name, encryption.AgentName) {
				running[pod.Spec.NodeName] = pod.Status.Phase
			}
		}
		reason := Not(Equal(encryption.ReasonDataplaneUnreachable))
		if dataplane == infrav1.DataplaneCalicoVPP {
			reason = Equal(encryption.ReasonDataplaneUnreachable)
		}
		for name, node := range c.nodes(ctx) {
			Expect(running).To(HaveKeyWithValue(name, corev1.PodRunning))
			Expect(node.Status.Conditions).To(ContainElement(And(
				HaveField("Type", corev1.NodeConditionType(encryption.NodeCondition)), HaveField("Status", corev1.ConditionFalse), HaveField("Message", Not(BeEmpty())),
				HaveField("Reason", reason))), "the agent's report of what it sees on the host")
		}
	}, SpecTimeout(limit))

	It("has the published key on the host", func(ctx SpecContext) {
		machines := &infrav1.EdgeMachineList{}
		Expect(c.Client().List(ctx, machines, client.InNamespace(metav1.NamespaceDefault))).To(Succeed())
		Expect(machines.Items).To(HaveLen(1))
		machine := machines.Items[0]
		// In the kernel's device, or where VPP reads it when it starts.
		publicKey := []string{"wg", "show", encryption.KernelDevice, "public-key"}
		if dataplane == infrav1.DataplaneCalicoVPP {
			publicKey = []string{"sh", "-c", `sed -n 's/.* private-key \([^ ]*\) .*/\1/p' ` + encryption.VPPExecFile + " | wg pubkey"}
		}
		Expect(c.run(machine.Status.Host)(ctx, publicKey...)).To(Equal(machine.Status.WireGuardPublicKey + "\n"))
		Expect(c.nodes(ctx)[machine.Status.Host].Annotations).To(HaveKeyWithValue(encryption.PublicKeyAnnotation, machine.Status.WireGuardPublicKey))
	}, SpecTimeout(limit))
}

const controlPlaneLabel = "node-role.kubernetes.io/control-plane"

// kubeadmCluster is a stage with the quick start's cluster on virtual hosts.
type kubeadmCluster struct {
	*stage.Stage
	workload client.Client
}

func (c *kubeadmCluster) kubeconfig() string {
	return filepath.Join(c.Dir, quickstart.Cluster+".kubeconfig")
}

func (c *kubeadmCluster) connect() {
	GinkgoHelper()
	config, err := c.ClusterRESTConfig(c.kubeconfig())
	Expect(err).NotTo(HaveOccurred())
	c.workload, err = client.New(config, client.Options{})
	Expect(err).NotTo(HaveOccurred())
}

func (c *kubeadmCluster) kubectl(ctx context.Context, args ...string) string {
	GinkgoHelper()
	printed, err := c.RunKubectl(ctx, lab.Command{Kubeconfig: c.kubeconfig(), Args: args})
	Expect(err).NotTo(HaveOccurred())
	return printed
}

// run runs programs on a host.
func (c *kubeadmCluster) run(host string) facts.Run {
	return (&rig{Stage: c.Stage}).run(client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: host})
}

// nodes of the cluster by name.
func (c *kubeadmCluster) nodes(ctx context.Context) map[string]corev1.Node {
	GinkgoHelper()
	list := &corev1.NodeList{}
	Expect(c.workload.List(ctx, list)).To(Succeed())
	found := map[string]corev1.Node{}
	for _, node := range list.Items {
		found[node.Name] = node
	}
	return found
}

// expectNodes compares Machines, EdgeMachines and Nodes: a control plane and workers. The taints are those of a worker.
func (c *kubeadmCluster) expectNodes(ctx context.Context, count int, taints []corev1.Taint) {
	GinkgoHelper()
	machines := &clusterv1.MachineList{}
	Expect(c.Client().List(ctx, machines, client.InNamespace(metav1.NamespaceDefault))).To(Succeed())
	Expect(machines.Items).To(HaveLen(count))
	nodes := c.nodes(ctx)
	Expect(nodes).To(HaveLen(count))
	controlPlanes := 0
	for _, machine := range machines.Items {
		edgeMachine := &infrav1.EdgeMachine{}
		key := client.ObjectKey{Namespace: machine.Namespace, Name: machine.Spec.InfrastructureRef.Name}
		Expect(c.Client().Get(ctx, key, edgeMachine)).To(Succeed())
		node, found := nodes[machine.Status.NodeRef.Name]
		Expect(found).To(BeTrue(), "Machine %s refers to Node %q", machine.Name, machine.Status.NodeRef.Name)
		id := infrav1.ProviderIDPrefix + machine.Namespace + "/" + node.Name + "/" + edgeMachine.Name
		Expect([]string{node.Spec.ProviderID, machine.Spec.ProviderID, edgeMachine.Spec.ProviderID}).To(HaveEach(id), "provider ID")
		Expect(node.Name).To(Equal(edgeMachine.Status.Host))
		Expect(node.Status.Addresses).To(ContainElement(corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: internalIP(edgeMachine)}))
		wanted := taints
		if util.IsControlPlaneMachine(&machine) {
			controlPlanes++
			wanted = append([]corev1.Taint{{Key: controlPlaneLabel, Effect: corev1.TaintEffectNoSchedule}}, taints...)
		}
		if taints == nil {
			Expect(stage.IsNodeReady(node)).To(BeTrue(), "Node %s is ready", node.Name)
		}
		Expect(withoutTransient(node.Spec.Taints)).To(ConsistOf(wanted), "taints of %s", node.Name)
	}
	Expect(controlPlanes).To(Equal(1))
}

// withoutTransient leaves out the taints of a Node that is not ready, which Kubernetes itself puts on it.
func withoutTransient(taints []corev1.Taint) []corev1.Taint {
	var kept []corev1.Taint
	for _, taint := range taints {
		if !strings.HasPrefix(taint.Key, "node.kubernetes.io/") {
			taint.TimeAdded = nil
			kept = append(kept, taint)
		}
	}
	return kept
}

func internalIP(machine *infrav1.EdgeMachine) string {
	for _, address := range machine.Status.Addresses {
		if address.Type == clusterv1.MachineInternalIP {
			return address.Address
		}
	}
	return "no address"
}

// expectCondition wants a condition of an object that has the cluster's name, with a message when it is false.
func (c *kubeadmCluster) expectCondition(ctx context.Context, object interface {
	client.Object
	conditions.Getter
}, kind string, status metav1.ConditionStatus) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		g.Expect(c.Client().Get(ctx, client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: quickstart.Cluster}, object)).To(Succeed())
		found := conditions.Get(object, kind)
		g.Expect(found).NotTo(BeNil())
		g.Expect(found.Status).To(Equal(status), "%s: %s", kind, found.Message)
		g.Expect(status == metav1.ConditionTrue || found.Message != "").To(BeTrue(), "%s says why", kind)
	}).Should(Succeed())
}
