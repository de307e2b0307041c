// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"context"
	"os"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/calico"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	helmcharts "github.com/edgemetal/cluster-api-provider-edgemetal/internal/charts"
	labcharts "github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/charts"
)

// rendered is the plan of a dataplane on the usual cluster.
func rendered(changes ...clusterChange) calico.Plan {
	GinkgoHelper()
	spec := clusterSpec()
	for _, change := range changes {
		change(&spec)
	}
	plan, err := calico.Render(calico.Input{
		Dataplane: spec.Dataplane, Network: spec.Networks[0], Uplink: "uplink0", Links: []string{"uplink0"},
		PodCIDRs: []string{"10.244.0.0/16"}, ServiceCIDRs: []string{"10.96.0.0/12"}, Endpoint: spec.ControlPlaneEndpoint, AgentVersion: "v0.1.0",
	})
	Expect(err).NotTo(HaveOccurred())
	return plan
}

// native are the plan's objects of kinds that every API server knows.
func native(plan calico.Plan) []*unstructured.Unstructured {
	var objects []*unstructured.Unstructured
	for _, step := range plan.Steps {
		for _, object := range step.Objects {
			if server.Scheme.Recognizes(object.GroupVersionKind()) {
				objects = append(objects, object)
			}
		}
	}
	return objects
}

func ensureNamespaces(ctx context.Context, objects []*unstructured.Unstructured) {
	GinkgoHelper()
	for _, object := range objects {
		if object.GetKind() == "Namespace" {
			err := server.Client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: object.GetName()}})
			if !apierrors.IsAlreadyExists(err) {
				Expect(err).NotTo(HaveOccurred())
			}
		}
	}
}

var _ = DescribeTable("What is rendered is taken by an API server without a word for",
	func(ctx context.Context, changes ...clusterChange) {
		objects := native(rendered(changes...))
		Expect(len(objects)).To(BeNumerically(">", 5))
		ensureNamespaces(ctx, objects)
		for _, object := range objects {
			// An unknown field or one of another type would be an error.
			Expect(server.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.DryRunAll, client.FieldOwner("edgemetal"))).
				To(Succeed(), "%s %s", object.GetKind(), object.GetName())
		}
	},
	Entry("VPP and WireGuard", vpp()),
	Entry("VPP and IPsec", vpp(ipsec)),
	Entry("VPP, routers and a private registry", vpp(router("192.0.2.1", func(p *infrav1.BGPPeer) { p.Password = &infrav1.SecretReference{Name: "tor"} }),
		func(d *infrav1.Dataplane) { d.Calico.ImagePullSecrets = []infrav1.SecretReference{{Name: "mirror"}} })),
	Entry("eBPF", of(infrav1.DataplaneCalicoEBPF)),
	Entry("nftables and routers", of(infrav1.DataplaneCalicoNftables, router("192.0.2.1", func(p *infrav1.BGPPeer) { p.Password = &infrav1.SecretReference{Name: "tor"} }))),
)

// installDefinitions installs Calico's definitions: the lab's, or the genuine ones where there is a folder with them.
// They stay for the whole suite: an API server that is asked to delete a definition moments after it came can leave it
// deleting for minutes ("storage is (re)initializing").
func installDefinitions(ctx context.Context) {
	GinkgoHelper()
	archives, err := labcharts.Pack(calico.DefaultVersion, os.Getenv(labcharts.DirVariable))
	Expect(err).NotTo(HaveOccurred())
	objects, err := helmcharts.Render(helmcharts.Archive{Data: archives[labcharts.Key(labcharts.Definitions, calico.DefaultVersion)]}, helmcharts.Release{
		Name: calico.CRDsChart, Namespace: "tigera-operator", KubeVersion: "v1.36.3",
	})
	Expect(err).NotTo(HaveOccurred())
	for _, object := range objects {
		// Large ones do not fit into the annotation that others than the server would write.
		Expect(server.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("charts"))).To(Succeed(), object.GetName())
	}
	for _, object := range objects {
		Eventually(func(g Gomega) {
			g.Expect(server.Client.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
			conditions, _, err := unstructured.NestedSlice(object.Object, "status", "conditions")
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(conditions).To(ContainElement(And(HaveKeyWithValue("type", "Established"), HaveKeyWithValue("status", "True"))), object.GetName())
		}, "30s").Should(Succeed())
	}
}

var _ = Describe("Calico's definitions", func() {
	DescribeTable("take what is rendered for",
		func(ctx context.Context, changes ...clusterChange) {
			kinds := map[string]bool{}
			for _, step := range rendered(changes...).Steps {
				for _, object := range step.Objects {
					if server.Scheme.Recognizes(object.GroupVersionKind()) {
						continue
					}
					kinds[object.GetKind()] = true
					Eventually(func() error {
						return server.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(object.DeepCopy()), client.DryRunAll, client.FieldOwner("edgemetal"))
					}, "20s").Should(Succeed(), "%s %s", object.GetKind(), object.GetName())
				}
			}
			Expect(kinds).To(And(HaveKey("FelixConfiguration"), HaveKey("Installation"), HaveKey("APIServer")))
		},
		Entry("VPP", vpp()),
		Entry("VPP, routers and load balancers", vpp(router("192.0.2.1", func(p *infrav1.BGPPeer) { p.ASNumber, p.Password = 2147483647, &infrav1.SecretReference{Name: "tor"} }),
			func(d *infrav1.Dataplane) {
				d.Calico.Registry, d.BGP.Advertise = "registry.example.com/mirror", infrav1.Advertise{ClusterIPs: []string{"10.96.0.0/12"}, ExternalIPs: []string{"198.51.100.0/25"}, LoadBalancerIPs: []string{"203.0.113.0/24"}}
			})),
		Entry("eBPF without kube-proxy", of(infrav1.DataplaneCalicoEBPF, func(d *infrav1.Dataplane) { d.KubeProxy = infrav1.KubeProxyReplace })),
		Entry("nftables and IPv6 routers", of(infrav1.DataplaneCalicoNftables, router("2001:db8::1", nil))),
		Entry("iptables in clear", of(infrav1.DataplaneCalicoIptables, inClear, pools(pool("10.244.0.0/16", infrav1.EncapsulationNone)))),
	)
})

var _ = Describe("A node agent", Ordered, func() {
	var node, other *corev1.Node
	// as acts as the agent, whose token says that it runs on a node.
	as := func(nodeName string) client.Client {
		GinkgoHelper()
		config := rest.CopyConfig(server.Config)
		config.Impersonate = rest.ImpersonationConfig{
			UserName: "system:serviceaccount:" + encryption.AgentNamespace + ":" + encryption.AgentName,
			Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + encryption.AgentNamespace, "system:authenticated"},
		}
		if nodeName != "" {
			config.Impersonate.Extra = map[string][]string{"authentication.kubernetes.io/node-name": {nodeName}}
		}
		agent, err := client.New(config, client.Options{Scheme: server.Scheme})
		Expect(err).NotTo(HaveOccurred())
		return agent
	}
	patch := func(ctx context.Context, agent client.Client, target *corev1.Node, body string) error {
		return agent.Patch(ctx, target.DeepCopy(), client.RawPatch(types.StrategicMergePatchType, []byte(body)), client.DryRunAll)
	}
	patchStatus := func(ctx context.Context, agent client.Client, target *corev1.Node, body string) error {
		return agent.Status().Patch(ctx, target.DeepCopy(), client.RawPatch(types.StrategicMergePatchType, []byte(body)), client.DryRunAll)
	}
	const (
		condition = `{"status":{"conditions":[{"type":"EncryptedNetworkReady","status":"True","reason":"Encrypted"}]}}`
		taint     = `{"spec":{"taints":[{"key":"edgemetal.infrastructure.cluster.x-k8s.io/encryption-not-ready","effect":"NoSchedule"},{"key":"other","effect":"NoExecute"}]}}`
		untaint   = `{"spec":{"taints":[{"key":"other","effect":"NoExecute"}]}}`
	)

	BeforeAll(func(ctx context.Context) {
		objects := native(rendered(vpp()))
		ensureNamespaces(ctx, objects)
		kinds := []string{"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
		for _, object := range objects {
			if slices.Contains(kinds, object.GetKind()) && object.GetName() == "edgemetal-"+encryption.AgentName {
				mustCreate(ctx, object)
			}
		}
		for _, name := range []string{"node-a", "node-b"} {
			made := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"a": "b"}}, Spec: corev1.NodeSpec{
				ProviderID: "edgemetal://default/" + name,
				Taints:     []corev1.Taint{{Key: encryption.NotReadyTaint, Effect: corev1.TaintEffectNoSchedule}, {Key: "other", Effect: corev1.TaintEffectNoExecute}},
			}}
			taints := slices.Clone(made.Spec.Taints)
			mustCreate(ctx, made)
			// Admission has added a taint of its own.
			made.Spec.Taints = taints
			Expect(server.Client.Update(ctx, made)).To(Succeed())
			made.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
			Expect(server.Client.Status().Update(ctx, made)).To(Succeed())
			node, other = other, made
		}
		// A policy is in force a moment after it has been created.
		Eventually(func() error { return patch(ctx, as("node-a"), other, untaint) }).Should(haveCauses([]string{"may change only the Node that it runs on"}))
	})

	It("may write the condition and the taint of its own Node", func(ctx context.Context) {
		agent := as("node-a")
		Expect(patchStatus(ctx, agent, node, condition)).To(Succeed())
		Expect(patch(ctx, agent, node, untaint)).To(Succeed())
		Expect(patch(ctx, agent, node, taint)).To(Succeed())
		Expect(agent.Create(ctx, &corev1.Event{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "node-a.", Namespace: metav1.NamespaceDefault}, InvolvedObject: corev1.ObjectReference{Kind: "Node", Name: "node-a"}, Reason: "Encrypted",
		}, client.DryRunAll)).To(Succeed())
	})

	DescribeTable("may not",
		func(ctx context.Context, try func(context.Context) error, texts ...string) {
			Expect(try(ctx)).To(haveCauses(texts))
		},
		Entry("write the condition of another Node", func(ctx context.Context) error { return patchStatus(ctx, as("node-a"), other, condition) }, "may change only the Node that it runs on"),
		Entry("take the taint from another Node", func(ctx context.Context) error { return patch(ctx, as("node-a"), other, untaint) }, "may change only the Node that it runs on"),
		Entry("write anything with a token that names no node", func(ctx context.Context) error { return patchStatus(ctx, as(""), node, condition) }, "may change only the Node that it runs on"),
		Entry("take another taint away", func(ctx context.Context) error {
			return patch(ctx, as("node-a"), node, `{"spec":{"taints":[{"key":"edgemetal.infrastructure.cluster.x-k8s.io/encryption-not-ready","effect":"NoSchedule"}]}}`)
		}, "may change no other taint"),
		Entry("add another taint", func(ctx context.Context) error {
			return patch(ctx, as("node-a"), node, `{"spec":{"taints":[{"key":"edgemetal.infrastructure.cluster.x-k8s.io/encryption-not-ready","effect":"NoSchedule"},{"key":"other","effect":"NoExecute"},{"key":"more","effect":"NoExecute"}]}}`)
		}, "may change no other taint"),
		Entry("evict pods with its taint", func(ctx context.Context) error {
			return patch(ctx, as("node-a"), node, `{"spec":{"taints":[{"key":"edgemetal.infrastructure.cluster.x-k8s.io/encryption-not-ready","effect":"NoExecute"},{"key":"other","effect":"NoExecute"}]}}`)
		}, "may change no other taint"),
		Entry("cordon its Node", func(ctx context.Context) error {
			return patch(ctx, as("node-a"), node, `{"spec":{"unschedulable":true}}`)
		}, "may change no other taint"),
		Entry("label its Node", func(ctx context.Context) error {
			return patch(ctx, as("node-a"), node, `{"metadata":{"labels":{"more":"labels"}}}`)
		}, "may not change a Node's metadata"),
		Entry("publish a key", func(ctx context.Context) error {
			return patch(ctx, as("node-a"), node, `{"metadata":{"annotations":{"projectcalico.org/WireguardPublicKey":"other"}}}`)
		}, "may not change a Node's metadata"),
		Entry("publish a key through the status", func(ctx context.Context) error {
			return patchStatus(ctx, as("node-a"), node, `{"metadata":{"annotations":{"projectcalico.org/WireguardPublicKey":"other"}}}`)
		}, "may not change a Node's metadata"),
		Entry("write another condition", func(ctx context.Context) error {
			return patchStatus(ctx, as("node-a"), node, `{"status":{"conditions":[{"type":"Ready","status":"False"}]}}`)
		}, "may change no other condition"),
		Entry("write another part of the status", func(ctx context.Context) error {
			return patchStatus(ctx, as("node-a"), node, `{"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.66"}]}}`)
		}, "may change no other condition"),
		Entry("make a Node", func(ctx context.Context) error {
			return as("node-c").Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-c"}}, client.DryRunAll)
		}, "cannot create resource"),
		Entry("delete its Node", func(ctx context.Context) error { return as("node-a").Delete(ctx, node.DeepCopy(), client.DryRunAll) }, "cannot delete resource"),
		Entry("read Secrets", func(ctx context.Context) error { return as("node-a").List(ctx, &corev1.SecretList{}) }, "cannot list resource"),
	)

	It("does not stand in the way of others", func(ctx context.Context) {
		Expect(patch(ctx, server.Client, node, `{"metadata":{"labels":{"more":"labels"}}}`)).To(Succeed())
		Expect(patchStatus(ctx, server.Client, other, condition)).To(Succeed())
	})
})
