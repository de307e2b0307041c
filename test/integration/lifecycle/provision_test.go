// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"context"
	"math/rand/v2"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// noise is text that does not get much shorter when it is compressed; the same every time.
func noise(length int) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/"
	source := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, length)
	for i := range text {
		text[i] = letters[source.IntN(len(letters))]
	}
	return string(text)
}

var _ = Describe("Provisioning", func() {
	It("reports the state of the host, its error in baremetal-operator's words, and its recovery", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, nil)
		s.operator.HoldIn(s.hostName("a"), bmov1.StateProvisioning)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectWaiting(ctx, "m", infrav1.HostProvisionedCondition, infrav1.HostProvisioningReason, s.hostName("a"), "is provisioning")
		s.operator.Break(s.hostName("a"), bmov1.ProvisioningError, "Image could not be fetched: 404")
		s.expectWaiting(ctx, "m", infrav1.HostProvisionedCondition, infrav1.HostErrorReason,
			s.hostName("a"), "provisioning error", "Image could not be fetched: 404", "1 errors", "tries again")
		Expect(s.edgeMachine(ctx, "m").Spec.ProviderID).To(BeEmpty())
		s.operator.Repair(s.hostName("a"))
		s.expectWaiting(ctx, "m", infrav1.HostProvisionedCondition, infrav1.HostProvisioningReason)
		s.operator.LetGo(s.hostName("a"))
		s.expectProvisioned(ctx, "m")
		Expect(s.operator.Boots(s.hostName("a"))).To(HaveLen(1))
	})

	It("says that a paused host waits for its pause to end", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, nil)
		s.operator.HoldIn(s.hostName("a"), bmov1.StateProvisioning)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectWaiting(ctx, "m", infrav1.HostProvisionedCondition, infrav1.HostProvisioningReason)
		update(ctx, s, s.hostName("a"), &bmov1.BareMetalHost{}, annotated(bmov1.PausedAnnotation))
		s.expectWaiting(ctx, "m", infrav1.HostProvisionedCondition, infrav1.HostProvisioningReason, "paused by the annotation "+bmov1.PausedAnnotation)
		s.operator.LetGo(s.hostName("a"))
		update(ctx, s, s.hostName("a"), &bmov1.BareMetalHost{}, func(h *bmov1.BareMetalHost) { delete(h.Annotations, bmov1.PausedAnnotation) })
		s.expectProvisioned(ctx, "m")
	})

	It("reports an error of a provisioned host and keeps the machine provisioned", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, nil)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectProvisioned(ctx, "m")
		s.registerNode(ctx, "a", s.providerID("m", "a"))
		s.expectLinked(ctx, "m")
		s.operator.Break(s.hostName("a"), bmov1.PowerManagementError, "BMC does not answer")
		s.expectWaiting(ctx, "m", infrav1.HostProvisionedCondition, infrav1.HostErrorReason, "BMC does not answer")
		machine := s.edgeMachine(ctx, "m")
		Expect(machine.Status.Initialization.Provisioned).To(HaveValue(BeTrue()))
		Expect(s.condition(ctx, "m", infrav1.NodeLinkedCondition)(Default)).To(beTrue())
		s.operator.Repair(s.hostName("a"))
		s.expectLinked(ctx, "m")
		Expect(s.operator.Boots(s.hostName("a"))).To(HaveLen(1))
	})

	It("heals a Secret that was deleted before the host was provisioned, and after", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, nil)
		s.operator.HoldIn(s.hostName("a"), bmov1.StateProvisioning)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectWaiting(ctx, "m", infrav1.HostProvisionedCondition, infrav1.HostProvisioningReason, "is provisioning")
		first := get(ctx, s, "m-host-config", &corev1.Secret{})
		Expect(server.Client.Delete(ctx, first)).To(Succeed())
		again := func() *corev1.Secret {
			found := &corev1.Secret{}
			if err := server.Client.Get(ctx, s.key("m-host-config"), found); err != nil {
				return nil
			}
			return found
		}
		Eventually(again).Should(And(Not(BeNil()), HaveField("Data", Equal(first.Data))))
		s.operator.LetGo(s.hostName("a"))
		s.expectProvisioned(ctx, "m")

		Expect(server.Client.Delete(ctx, get(ctx, s, "m-host-config", &corev1.Secret{}))).To(Succeed())
		Eventually(again).Should(And(Not(BeNil()), HaveField("Data", Equal(first.Data))))
		Expect(metav1.IsControlledBy(again(), s.edgeMachine(ctx, "m"))).To(BeTrue())
		Consistently(func() int { return len(s.operator.Boots(s.hostName("a"))) }).Should(Equal(1))
	})

	It("does not take over a Secret of somebody else", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, nil)
		foreign := &corev1.Secret{ObjectMeta: s.meta("m-host-config"), Data: map[string][]byte{"mine": []byte("x")}}
		foreign.Labels = map[string]string{clusterv1.ClusterNameLabel: clusterName}
		Expect(server.Client.Create(ctx, foreign)).To(Succeed())
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectWaiting(ctx, "m", infrav1.BootstrapDataReadyCondition, infrav1.BootstrapDataInvalidReason, "Secret m-host-config exists and is not ours", "rename or delete it")
		s.deleteMachine(ctx, "m")
		s.expectGone(ctx, "m")
		Expect(get(ctx, s, "m-host-config", &corev1.Secret{}).Data).To(HaveKey("mine"))
	})

	It("does not take over a Secret of somebody else that has no label of ours", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, nil)
		foreign := &corev1.Secret{ObjectMeta: s.meta("m-host-config"), Data: map[string][]byte{"mine": []byte("x")}}
		Expect(server.Client.Create(ctx, foreign)).To(Succeed())
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectWaiting(ctx, "m", infrav1.BootstrapDataReadyCondition, infrav1.BootstrapDataInvalidReason, "Secret m-host-config exists and is not ours")
		Expect(get(ctx, s, "m-host-config", &corev1.Secret{}).Data).To(HaveLen(1))
	})

	It("leaves alone what others own on the host", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, nil)
		s.operator.HoldIn(s.hostName("a"), bmov1.StateProvisioning)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectWaiting(ctx, "m", infrav1.HostProvisionedCondition, infrav1.HostProvisioningReason)
		update(ctx, s, s.hostName("a"), &bmov1.BareMetalHost{}, func(h *bmov1.BareMetalHost) {
			h.Annotations["inventory.example.org/row"] = "8"
			h.Labels = map[string]string{"rack": "9"}
			h.Spec.Description = "by hand"
		})
		s.operator.LetGo(s.hostName("a"))
		s.expectProvisioned(ctx, "m")
		s.deleteMachine(ctx, "m")
		s.expectGone(ctx, "m")
		host := s.host(ctx, "a")
		Expect(host.Annotations).To(HaveKeyWithValue("inventory.example.org/row", "8"))
		Expect(host.Labels).To(Equal(map[string]string{"rack": "9"}))
		Expect(host.Spec.Description).To(Equal("by hand"))
	})

	It("gives a control-plane machine the virtual IP, and a worker none", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		for i, name := range []string{"cp", "worker"} {
			s.addHost(ctx, "host-"+name, i, labelled("role", name))
			s.addMachine(ctx, clusterName, name, func(machine *clusterv1.Machine, m *infrav1.EdgeMachine) {
				if name == "cp" {
					machine.Labels[clusterv1.MachineControlPlaneLabel] = ""
				}
				m.Spec.HostSelector.MatchLabels = map[string]string{"role": name}
			})
			s.expectProvisioned(ctx, name)
		}
		Expect(s.operator.Boots(s.hostName("host-cp"))[0].UserData).To(And(ContainSubstring("kube-vip"), ContainSubstring("192.0.2.10")))
		Expect(s.operator.Boots(s.hostName("host-worker"))[0].UserData).NotTo(ContainSubstring("kube-vip"))
	})
})

var _ = Describe("The Node of a machine", func() {
	It("is adopted when it has no provider ID", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, nil)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectProvisioned(ctx, "m")
		s.registerNode(ctx, "a", "")
		s.expectLinked(ctx, "m")
		node := &corev1.Node{}
		Expect(server.Client.Get(ctx, client.ObjectKey{Name: s.hostName("a")}, node)).To(Succeed())
		Expect(node.Spec.ProviderID).To(Equal(s.providerID("m", "a")))
	})

	It("is reported when it has another provider ID", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, nil)
		s.registerNode(ctx, "a", "metal3://earlier")
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectWaiting(ctx, "m", infrav1.NodeLinkedCondition, infrav1.NodeProviderIDConflictReason,
			"Node "+s.hostName("a"), "metal3://earlier instead of "+s.providerID("m", "a"), "delete the Node or remove the argument")

		By("linking the one that comes in its place")
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: s.hostName("a")}}
		Expect(server.Client.Delete(ctx, node)).To(Succeed())
		s.registerNode(ctx, "a", s.providerID("m", "a"))
		s.expectLinked(ctx, "m")
	})

	It("is awaited while the workload cluster does not answer, and missed when it no longer does", func(ctx context.Context) {
		s := newSite(ctx)
		s.gate.Shut(true)
		s.startManager(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, nil)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectProvisioned(ctx, "m")
		s.registerNode(ctx, "a", s.providerID("m", "a"))
		s.expectWaiting(ctx, "m", infrav1.NodeLinkedCondition, infrav1.WaitingForNodeReason, "Waiting for the API server of the workload cluster to answer")

		By("connecting, with another manager, because a connection is tried again after half a minute only")
		Expect(s.manager.Stop()).To(Succeed())
		s.gate.Shut(false)
		s.startManager(ctx)
		s.expectLinked(ctx, "m")

		By("losing the connection")
		Expect(s.manager.Stop()).To(Succeed())
		s.gate.Shut(true)
		s.startManager(ctx)
		s.expectWaiting(ctx, "m", infrav1.NodeLinkedCondition, infrav1.WorkloadClusterUnreachableReason, "does not answer")
		Expect(s.edgeMachine(ctx, "m").Status.Initialization.Provisioned).To(HaveValue(BeTrue()))
	})

	It("that goes away is awaited again", func(ctx context.Context) {
		s := newRunningSite(ctx)
		s.addCluster(ctx, clusterName, nil)
		s.addHost(ctx, "a", 1, nil)
		s.addMachine(ctx, clusterName, "m", nil)
		s.expectProvisioned(ctx, "m")
		s.registerNode(ctx, "a", s.providerID("m", "a"))
		s.expectLinked(ctx, "m")
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: s.hostName("a")}}
		Expect(server.Client.Delete(ctx, node)).To(Succeed())
		s.expectWaiting(ctx, "m", infrav1.NodeLinkedCondition, infrav1.WaitingForNodeReason)
	})
})
