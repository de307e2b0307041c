// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ipamv1 "sigs.k8s.io/cluster-api/api/ipam/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/cluster-api/util/secret"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab"
)

// AwaitCluster waits until the cluster is available and has exactly so many machines, all of them ready and up to date, and as
// many Nodes, all ready.
func (s *Site) AwaitCluster(ctx context.Context, name string, machines int) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		cluster := &clusterv1.Cluster{}
		g.Expect(s.Client().Get(ctx, s.Key(name), cluster)).To(Succeed())
		g.Expect(falseOf(cluster, clusterv1.ClusterAvailableCondition)).To(BeEmpty())
		found := s.machines(ctx, g, name)
		g.Expect(found).To(HaveLen(machines), "machines")
		for i := range found {
			g.Expect(falseOf(&found[i], clusterv1.MachineReadyCondition, clusterv1.MachineUpToDateCondition)).To(BeEmpty())
		}
		edgeMachines := &infrav1.EdgeMachineList{}
		g.Expect(s.Client().List(ctx, edgeMachines, client.InNamespace(s.Namespace), client.MatchingLabels{clusterv1.ClusterNameLabel: name})).To(Succeed())
		g.Expect(edgeMachines.Items).To(HaveLen(machines), "EdgeMachines")
		for i := range edgeMachines.Items {
			g.Expect(falseOf(&edgeMachines.Items[i], infrav1.ReadyCondition)).To(BeEmpty())
		}
	}).Should(Succeed())
	workload := s.Workload(ctx, name)
	Eventually(ctx, func(g Gomega) {
		nodes := &corev1.NodeList{}
		g.Expect(workload.List(ctx, nodes)).To(Succeed())
		g.Expect(nodes.Items).To(HaveLen(machines), "Nodes")
		for _, node := range nodes.Items {
			g.Expect(IsNodeReady(node)).To(BeTrue(), "Node %s is ready", node.Name)
		}
	}).Should(Succeed())
}

// falseOf says which of the conditions are not true, and why.
func falseOf(object interface {
	client.Object
	conditions.Getter
}, types ...string) []string {
	var found []string
	for _, kind := range types {
		c := conditions.Get(object, kind)
		switch {
		case c == nil:
			found = append(found, fmt.Sprintf("%s has no condition %s", object.GetName(), kind))
		case c.Status != metav1.ConditionTrue:
			found = append(found, fmt.Sprintf("%s is not %s: %s: %s", object.GetName(), kind, c.Reason, c.Message))
		}
	}
	return found
}

// IsNodeReady tells whether a Node's kubelet says so and the control plane believes it.
func IsNodeReady(node corev1.Node) bool {
	return slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// Machines of a cluster.
func (s *Site) Machines(ctx context.Context, cluster string) []clusterv1.Machine {
	GinkgoHelper()
	return s.machines(ctx, Default, cluster)
}

func (s *Site) machines(ctx context.Context, g Gomega, cluster string) []clusterv1.Machine {
	list := &clusterv1.MachineList{}
	g.Expect(s.Client().List(ctx, list, client.InNamespace(s.Namespace), client.MatchingLabels{clusterv1.ClusterNameLabel: cluster})).To(Succeed())
	return list.Items
}

// EdgeMachines of the site.
func (s *Site) EdgeMachines(ctx context.Context) []infrav1.EdgeMachine {
	GinkgoHelper()
	list := &infrav1.EdgeMachineList{}
	Expect(s.Client().List(ctx, list, client.InNamespace(s.Namespace))).To(Succeed())
	return list.Items
}

// Workload is a client of a cluster, with what `clusterctl get kubeconfig` gives.
func (s *Site) Workload(ctx context.Context, cluster string) client.Client {
	GinkgoHelper()
	workload, err := client.New(s.WorkloadConfig(ctx, cluster), client.Options{})
	Expect(err).NotTo(HaveOccurred())
	return workload
}

// WorkloadConfig is a client's configuration for a cluster, with what `clusterctl get kubeconfig` gives.
func (s *Site) WorkloadConfig(ctx context.Context, cluster string) *rest.Config {
	GinkgoHelper()
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(s.kubeconfig(ctx, cluster)))
	Expect(err).NotTo(HaveOccurred())
	return config
}

func (s *Site) kubeconfig(ctx context.Context, cluster string) string {
	GinkgoHelper()
	kubeconfig, err := s.Clusterctl(ctx, "get", "kubeconfig", cluster, "--namespace", s.Namespace)
	Expect(err).NotTo(HaveOccurred())
	return kubeconfig
}

// WorkloadKubectl runs kubectl on a cluster. An error of kubectl is returned with what it printed.
func (s *Site) WorkloadKubectl(ctx context.Context, cluster string, args ...string) (string, error) {
	GinkgoHelper()
	file := filepath.Join(s.Dir, s.Namespace+"-"+cluster+".kubeconfig")
	Expect(os.WriteFile(file, []byte(s.kubeconfig(ctx, cluster)), 0o600)).To(Succeed())
	return s.RunKubectl(ctx, lab.Command{Kubeconfig: file, Args: args})
}

// AwaitTidy waits until nothing is left of machines that are gone: each Secret and each address belongs to a cluster or a
// machine that there is.
func (s *Site) AwaitTidy(ctx context.Context) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) { s.expectTidy(ctx, g) }).Should(Succeed())
}

func (s *Site) expectTidy(ctx context.Context, g Gomega) {
	owners := map[string]bool{}
	machines := &clusterv1.MachineList{}
	edgeMachines := &infrav1.EdgeMachineList{}
	clusters := &clusterv1.ClusterList{}
	for _, list := range []client.ObjectList{machines, edgeMachines, clusters} {
		g.Expect(s.Client().List(ctx, list, client.InNamespace(s.Namespace))).To(Succeed())
		g.Expect(meta.EachListItem(list, func(object runtime.Object) error {
			accessor, err := meta.Accessor(object)
			if err == nil {
				owners[accessor.GetName()] = true
			}
			return err
		})).To(Succeed())
	}
	secrets := &corev1.SecretList{}
	claims := &ipamv1.IPAddressClaimList{}
	given := &ipamv1.IPAddressList{}
	g.Expect(s.Client().List(ctx, secrets, client.InNamespace(s.Namespace))).To(Succeed())
	g.Expect(s.Client().List(ctx, claims, client.InNamespace(s.Namespace))).To(Succeed())
	g.Expect(s.Client().List(ctx, given, client.InNamespace(s.Namespace))).To(Succeed())
	for _, object := range secrets.Items {
		g.Expect(ownerOfSecret(object.Name, owners)).NotTo(BeEmpty(), "Secret %s belongs to nothing", object.Name)
	}
	for _, claim := range claims.Items {
		owner := metav1.GetControllerOf(&claim)
		g.Expect(owner).NotTo(BeNil(), "IPAddressClaim %s has no owner", claim.Name)
		g.Expect(owners).To(HaveKey(owner.Name), "IPAddressClaim %s belongs to nothing", claim.Name)
	}
	g.Expect(given.Items).To(HaveLen(len(claims.Items)), "IPAddresses")
}

// ownerOfSecret finds whose a Secret is by its name: a host's, a machine's or a cluster's.
func ownerOfSecret(name string, owners map[string]bool) string {
	if host, found := strings.CutSuffix(name, "-bmc"); found {
		return host
	}
	if owners[name] { // a machine's bootstrap data
		return name
	}
	for _, suffix := range []secret.Purpose{
		"host-config", "wireguard", "ipsec-psk", secret.ClusterCA, secret.EtcdCA, secret.FrontProxyCA, secret.ServiceAccount, secret.Kubeconfig,
	} {
		if owner, found := strings.CutSuffix(name, "-"+string(suffix)); found && owners[owner] {
			return owner
		}
	}
	return ""
}

// AwaitNothing waits until the site has no machine and no trace of one, and as many free hosts as there are.
func (s *Site) AwaitNothing(ctx context.Context) {
	GinkgoHelper()
	for _, list := range []client.ObjectList{
		&clusterv1.ClusterList{}, &clusterv1.MachineList{}, &infrav1.EdgeClusterList{}, &infrav1.EdgeMachineList{},
		&infrav1.EdgeMachineTemplateList{}, &ipamv1.IPAddressClaimList{}, &ipamv1.IPAddressList{},
	} {
		Eventually(ctx, func(g Gomega) {
			g.Expect(s.Client().List(ctx, list, client.InNamespace(s.Namespace))).To(Succeed())
			g.Expect(meta.LenList(list)).To(BeZero(), "%T still holds objects", list)
		}).Should(Succeed())
	}
	s.AwaitTidy(ctx)
	s.AwaitFree(ctx, len(s.free))
}
