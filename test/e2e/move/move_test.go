// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package move

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ipamv1 "sigs.k8s.io/cluster-api/api/ipam/v1beta2"
	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/e2e/stage"
)

const (
	cluster = "edge-1"
	workers = "machinedeployment/" + cluster + "-workers"
)

var _ = Describe("clusterctl move", Ordered, func() {
	var (
		from, to *stage.Site
		before   picture
	)

	BeforeAll(func(ctx SpecContext) {
		from = source.NewSite(ctx, "moved")
		from.AddHosts(ctx, 1, 3)
		from.Create(ctx, stage.Order{Name: cluster, ControlPlane: 1, Workers: 1})
		from.AwaitCluster(ctx, cluster, 2)
		before = take(ctx, from)
		Expect(before.machines).To(HaveLen(2))
		Expect(before.nodes).To(HaveLen(2))
	}, NodeTimeout(stage.Limit))

	It("takes everything along and leaves nothing", func(ctx SpecContext) {
		to = move(ctx, from, target)
	}, SpecTimeout(stage.Limit))

	It("changes nothing on the hosts", func(ctx SpecContext) {
		to.AwaitCluster(ctx, cluster, 2)
		to.AwaitFree(ctx, 1)
		awaitHandedOver(ctx, to)
		expectSame(take(ctx, to), before)
	}, SpecTimeout(stage.Limit))

	It("is followed by a manager that starts anew", func(ctx SpecContext) {
		Expect(target.Node().Kill(stage.ManagerProvider)).To(Succeed())
		Eventually(ctx, target.ManagerStatus).Should(And(HaveField("RestartCount", BeEquivalentTo(1)), HaveField("Ready", BeTrue())))
		to.AwaitCluster(ctx, cluster, 2)
		expectSame(take(ctx, to), before)
	}, SpecTimeout(stage.Limit))

	It("leaves a cluster that can grow", func(ctx SpecContext) {
		to.Scale(ctx, workers, 2)
		to.AwaitCluster(ctx, cluster, 3)
		to.AwaitFree(ctx, 0)
		after := take(ctx, to)
		for node, uid := range before.nodes {
			Expect(after.nodes).To(HaveKeyWithValue(node, uid), "the Nodes from before the move stay")
		}
	}, SpecTimeout(stage.Limit))

	It("goes back the same way", func(ctx SpecContext) {
		before = take(ctx, to)
		from = move(ctx, to, source)
		from.AwaitCluster(ctx, cluster, 3)
		awaitHandedOver(ctx, from)
		expectSame(take(ctx, from), before)
	}, SpecTimeout(stage.Limit))

	It("leaves a cluster that can be deleted", func(ctx SpecContext) {
		from.Delete(ctx, "cluster/"+cluster)
		from.AwaitNothing(ctx)
	}, SpecTimeout(stage.Limit))
})

// move moves a site to another management cluster, and checks that all kinds of objects of it are there and only there.
func move(ctx context.Context, from *stage.Site, target *stage.Stage) *stage.Site {
	GinkgoHelper()
	_, err := from.Clusterctl(ctx, "move", "--namespace", from.Namespace, "--to-kubeconfig", target.Kubeconfig)
	Expect(err).NotTo(HaveOccurred())
	for _, list := range []client.ObjectList{
		&clusterv1.ClusterList{}, &clusterv1.MachineList{}, &infrav1.EdgeClusterList{}, &infrav1.EdgeMachineList{},
		&infrav1.EdgeMachineTemplateList{}, &ipamv1.IPAddressClaimList{}, &ipamv1.IPAddressList{}, &corev1.SecretList{},
		&bmov1.BareMetalHostList{}, &bmov1.HardwareDataList{},
	} {
		Expect(from.Client().List(ctx, list, client.InNamespace(from.Namespace))).To(Succeed())
		Expect(meta.LenList(list)).To(BeZero(), "%T where the site was", list)
		Expect(target.Client().List(ctx, list, client.InNamespace(from.Namespace))).To(Succeed())
		Expect(meta.LenList(list)).NotTo(BeZero(), "%T where the site is", list)
	}
	return target.Continue(from)
}

// awaitHandedOver waits until the operator has the claimed hosts back, and the next move would wait for them, too.
func awaitHandedOver(ctx context.Context, s *stage.Site) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		for _, host := range s.Hosts(ctx) {
			if host.Spec.ConsumerRef != nil {
				g.Expect(host.Annotations).NotTo(HaveKey(bmov1.PausedAnnotation), host.Name)
				g.Expect(host.Annotations).NotTo(HaveKey(bmov1.StatusAnnotation), host.Name)
				g.Expect(host.Annotations).To(HaveKey(clusterctlv1.BlockMoveAnnotation), host.Name)
			}
		}
	}).Should(Succeed())
}

// picture is what a move must not change.
type picture struct {
	// machines are the provider IDs of EdgeMachines by their names.
	machines map[string]string
	// nodes are the UIDs of the Nodes of the cluster.
	nodes map[string]types.UID
	hosts map[string]hostPicture
	// drives are the config drives of the machines that have one.
	drives map[string]fs.FileInfo
}

type hostPicture struct {
	consumer string
	// id is the host's name in what provisions it.
	id          string
	image       bmov1.Image
	provisioned bmov1.OperationMetric
}

func take(ctx context.Context, s *stage.Site) picture {
	GinkgoHelper()
	p := picture{
		machines: map[string]string{}, nodes: map[string]types.UID{}, hosts: map[string]hostPicture{}, drives: map[string]fs.FileInfo{},
	}
	for _, machine := range s.EdgeMachines(ctx) {
		p.machines[machine.Name] = machine.Spec.ProviderID
	}
	nodes := &corev1.NodeList{}
	Expect(s.Workload(ctx, cluster).List(ctx, nodes)).To(Succeed())
	for _, node := range nodes.Items {
		p.nodes[node.Name] = node.UID
	}
	for _, host := range s.Hosts(ctx) {
		if host.Spec.ConsumerRef == nil {
			continue
		}
		p.hosts[host.Name] = hostPicture{
			consumer: host.Spec.ConsumerRef.Name, id: host.Status.Provisioning.ID,
			image: host.Status.Provisioning.Image, provisioned: host.Status.OperationHistory.Provision,
		}
		drive, err := os.Stat(filepath.Join(machineRoom, s.Namespace, host.Name, "drive", "user_data"))
		Expect(err).NotTo(HaveOccurred())
		p.drives[host.Name] = drive
	}
	return p
}

func expectSame(after, before picture) {
	GinkgoHelper()
	Expect(after.machines).To(Equal(before.machines))
	Expect(after.nodes).To(Equal(before.nodes))
	Expect(after.hosts).To(HaveLen(len(before.hosts)))
	for name, host := range before.hosts {
		now := after.hosts[name]
		Expect(now.provisioned.Start.Equal(&host.provisioned.Start)).To(BeTrue(), "%s was provisioned again", name)
		Expect(now.provisioned.End.Equal(&host.provisioned.End)).To(BeTrue(), "%s was provisioned again", name)
		now.provisioned = host.provisioned // times lose their zone on the way
		Expect(now).To(Equal(host), name)
		Expect(os.SameFile(after.drives[name], before.drives[name])).To(BeTrue(), "%s has another config drive", name)
	}
}
