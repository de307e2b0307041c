// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package site

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/e2e/stage"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

// Every spec adds the host it is about, which is then the only free one, asks for a worker, and gives both back.
var _ = Describe("A host", Ordered, func() {
	const workers = "machinedeployment/" + cluster + "-workers"
	var s *stage.Site

	BeforeAll(func(ctx SpecContext) {
		s = lab.NewSite(ctx, "faults")
		s.AddHosts(ctx, 1, 1)
		s.Create(ctx, stage.Order{Name: cluster, ControlPlane: 1, Workers: 0})
		s.AwaitCluster(ctx, cluster, 1)
	}, NodeTimeout(stage.Limit))

	// giveBack takes the worker away, and hosts out of the inventory.
	giveBack := func(ctx context.Context, hosts ...int) {
		GinkgoHelper()
		s.Scale(ctx, workers, 0)
		s.AwaitCluster(ctx, cluster, 1)
		s.AwaitFree(ctx, len(hosts))
		s.AwaitTidy(ctx)
		for _, n := range hosts {
			s.RemoveHost(ctx, n)
		}
	}

	It("that is slow is waited for", func(ctx SpecContext) {
		s.AddHost(ctx, 2, "slow=1h") // until everybody has seen it, however slow the machine is
		s.Scale(ctx, workers, 1)
		Eventually(ctx, worker(s, infrav1.HostClaimedCondition)).Should(beFalse(infrav1.NoHostMatchesReason, "2 seen", "1 in use", "1 not yet available"))
		s.Fault(ctx, 2, "slow=10s")
		Eventually(ctx, worker(s, infrav1.HostProvisionedCondition)).Should(beFalse(infrav1.HostProvisioningReason, "host-2 is provisioning"))
		s.Fault(ctx, 2, "")
		s.AwaitCluster(ctx, cluster, 2)
		giveBack(ctx, 2)
	}, SpecTimeout(stage.Limit))

	It("that fails to provision is tried again, and the operator's own words are on the machine", func(ctx SpecContext) {
		s.AddHosts(ctx, 3, 3)
		s.Fault(ctx, 3, "fail-provision=1000") // until everybody has seen it, however slow the machine is
		s.Scale(ctx, workers, 1)
		words := []string{"provisioning error", "Image provisioning failed: Failed to prepare to deploy", "errors; baremetal-operator tries again"}
		Eventually(ctx, worker(s, infrav1.HostProvisionedCondition)).Should(beFalse(infrav1.HostErrorReason, words...))
		Eventually(ctx, machineOfWorker(s, clusterv1.MachineInfrastructureReadyCondition)).Should(
			beFalse(infrav1.HostErrorReason, "Image provisioning failed: Failed to prepare to deploy"))
		s.Fault(ctx, 3, "fail-provision=1")
		s.AwaitCluster(ctx, cluster, 2)
		Expect(s.Host(ctx, 3).Status.OperationHistory.Provision.End.IsZero()).To(BeFalse())
		giveBack(ctx, 3)
	}, SpecTimeout(stage.Limit))

	It("whose NICs are others than inspected never comes up, and is replaced by a health check", func(ctx SpecContext) {
		s.AddHosts(ctx, 4, 4)
		s.Fault(ctx, 4, "wrong-mac")
		s.Scale(ctx, workers, 1)
		Eventually(ctx, worker(s, infrav1.NodeLinkedCondition)).Should(
			beFalse(infrav1.WaitingForNodeReason, "edgemetal://faults/host-4/", "look at the console of BareMetalHost host-4"))
		lost := workerOf(ctx, s).Name
		// What a person does who has read that: this host is out, another one is in, and the machine goes after a while.
		s.Do(ctx, "annotate", "baremetalhost", stage.HostName(4), infrav1.UnhealthyAnnotation+"=")
		s.AddHosts(ctx, 5, 5)
		Expect(s.Apply(ctx, healthCheck(s))).To(Succeed())
		Eventually(ctx, func(g Gomega) {
			replaced, err := findWorker(ctx, s)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(replaced.Status.Host).To(Equal(stage.HostName(5)))
			g.Expect(replaced.Name).NotTo(Equal(lost))
		}).Should(Succeed())
		// The impatient check may take the new machine for one more that does not come up.
		s.Delete(ctx, "machinehealthcheck/"+cluster+"-workers")
		s.AwaitCluster(ctx, cluster, 2)
		s.Do(ctx, "annotate", "baremetalhost", stage.HostName(4), infrav1.UnhealthyAnnotation+"-")
		giveBack(ctx, 4, 5)
	}, SpecTimeout(stage.Limit))

	It("that dies is reported, and its machine is the same when it is back", func(ctx SpecContext) {
		s.AddHosts(ctx, 6, 6)
		s.Scale(ctx, workers, 1)
		s.AwaitCluster(ctx, cluster, 2)
		was, provisioned := workerOf(ctx, s), s.Host(ctx, 6).Status.OperationHistory.Provision.End
		s.Fault(ctx, 6, "disappear")
		Eventually(ctx, worker(s, infrav1.HostProvisionedCondition)).Should(
			beFalse(infrav1.HostErrorReason, "power management error", "Failed to change power state to 'power on'"))
		Eventually(ctx, machineOfWorker(s, clusterv1.MachineNodeReadyCondition)).ShouldNot(HaveField("Status", metav1.ConditionTrue))
		s.Fault(ctx, 6, "")
		s.AwaitCluster(ctx, cluster, 2)
		Expect(workerOf(ctx, s).UID).To(Equal(was.UID))
		Expect(s.Host(ctx, 6).Status.OperationHistory.Provision.End).To(Equal(provisioned), "the image was not written again")
		giveBack(ctx, 6)
	}, SpecTimeout(stage.Limit))

	It("whose BMC does not answer is left out, and counted", func(ctx SpecContext) {
		s.AddHost(ctx, 7, "bmc-unreachable")
		Eventually(ctx, func() bmov1.ErrorType { return s.Host(ctx, 7).Status.ErrorType }).Should(Equal(bmov1.RegistrationError))
		s.Scale(ctx, workers, 1)
		Eventually(ctx, worker(s, infrav1.HostClaimedCondition)).Should(
			beFalse(infrav1.NoHostMatchesReason, "no host matches: 2 seen, 1 in use, 1 in error"))
		Consistently(ctx, func() *corev1.ObjectReference { return s.Host(ctx, 7).Spec.ConsumerRef }).WithTimeout(3 * time.Second).Should(BeNil())
		s.Fault(ctx, 7, "")
		s.AwaitCluster(ctx, cluster, 2)
		giveBack(ctx, 7)
	}, SpecTimeout(stage.Limit))

	It("is free of faults at the end", func(ctx SpecContext) {
		s.Delete(ctx, "cluster/"+cluster)
		s.AwaitNothing(ctx)
	}, SpecTimeout(stage.Limit))
})

// findWorker finds the EdgeMachine of the only worker.
func findWorker(ctx context.Context, s *stage.Site) (*infrav1.EdgeMachine, error) {
	list := &infrav1.EdgeMachineList{}
	err := s.Client().List(ctx, list, client.InNamespace(s.Namespace), client.HasLabels{clusterv1.MachineDeploymentNameLabel})
	if err != nil {
		return nil, err
	}
	if len(list.Items) != 1 {
		return nil, fmt.Errorf("%d EdgeMachines of workers, want 1", len(list.Items))
	}
	return &list.Items[0], nil
}

func workerOf(ctx context.Context, s *stage.Site) *infrav1.EdgeMachine {
	GinkgoHelper()
	found, err := findWorker(ctx, s)
	Expect(err).NotTo(HaveOccurred())
	return found
}

// worker is a condition of the only worker's EdgeMachine, for Eventually.
func worker(s *stage.Site, condition string) func(Gomega, context.Context) metav1.Condition {
	return func(g Gomega, ctx context.Context) metav1.Condition {
		machine, err := findWorker(ctx, s)
		g.Expect(err).NotTo(HaveOccurred())
		return conditionOf(machine, condition)
	}
}

// machineOfWorker is a condition of the only worker's Machine, for Eventually.
func machineOfWorker(s *stage.Site, condition string) func(Gomega, context.Context) metav1.Condition {
	return func(g Gomega, ctx context.Context) metav1.Condition {
		list := &clusterv1.MachineList{}
		g.Expect(s.Client().List(ctx, list, client.InNamespace(s.Namespace), client.HasLabels{clusterv1.MachineDeploymentNameLabel})).To(Succeed())
		g.Expect(list.Items).To(HaveLen(1))
		return conditionOf(&list.Items[0], condition)
	}
}

func conditionOf(object conditions.Getter, kind string) metav1.Condition {
	if found := conditions.Get(object, kind); found != nil {
		return *found
	}
	return metav1.Condition{}
}

// beFalse is satisfied by a condition that is false for the reason, with a message that holds the texts.
func beFalse(reason string, texts ...string) gomegatypes.GomegaMatcher {
	all := []gomegatypes.GomegaMatcher{HaveField("Status", metav1.ConditionFalse), HaveField("Reason", reason)}
	for _, text := range texts {
		all = append(all, HaveField("Message", ContainSubstring(text)))
	}
	return And(all...)
}

// healthCheck is the documentation's example for this site, impatient.
func healthCheck(s *stage.Site) string {
	GinkgoHelper()
	root, err := tools.Root()
	Expect(err).NotTo(HaveOccurred())
	example, err := os.ReadFile(filepath.Join(root, "docs", "examples", "machinehealthcheck.yaml"))
	Expect(err).NotTo(HaveOccurred())
	check := &clusterv1.MachineHealthCheck{}
	Expect(yaml.UnmarshalStrict(example, check)).To(Succeed())
	Expect(check.Spec.ClusterName).To(Equal(cluster))
	check.Namespace = s.Namespace
	check.Spec.Checks.NodeStartupTimeoutSeconds = new(int32(30))
	manifest, err := yaml.Marshal(check)
	Expect(err).NotTo(HaveOccurred())
	return strings.ReplaceAll(string(manifest), "status: {}\n", "")
}
