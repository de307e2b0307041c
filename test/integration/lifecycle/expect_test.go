// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"context"
	"fmt"
	"maps"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ipamv1 "sigs.k8s.io/cluster-api/api/ipam/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// conditioned objects have conditions.
type conditioned interface {
	client.Object
	conditions.Getter
}

// conditionOf a condition of an object, for Eventually; empty while the object has none of that type.
func conditionOf(ctx context.Context, s *site, object conditioned, name, condition string) func(Gomega) metav1.Condition {
	return func(g Gomega) metav1.Condition {
		g.Expect(server.Client.Get(ctx, s.key(name), object)).To(Succeed())
		if found := conditions.Get(object, condition); found != nil {
			return *found
		}
		return metav1.Condition{}
	}
}

// condition of an EdgeMachine, for Eventually.
func (s *site) condition(ctx context.Context, machine, condition string) func(Gomega) metav1.Condition {
	return conditionOf(ctx, s, &infrav1.EdgeMachine{}, machine, condition)
}

// clusterCondition of the EdgeCluster, for Eventually.
func (s *site) clusterCondition(ctx context.Context, condition string) func(Gomega) metav1.Condition {
	return conditionOf(ctx, s, &infrav1.EdgeCluster{}, clusterName, condition)
}

// beTrue is satisfied by a condition that is true.
func beTrue() gomegatypes.GomegaMatcher {
	return HaveField("Status", metav1.ConditionTrue)
}

// waitFor is satisfied by a condition that is false for the reason, with a message that holds the texts.
func waitFor(reason string, texts ...string) gomegatypes.GomegaMatcher {
	all := []gomegatypes.GomegaMatcher{HaveField("Status", metav1.ConditionFalse), HaveField("Reason", reason)}
	for _, text := range texts {
		all = append(all, HaveField("Message", ContainSubstring(text)))
	}
	return And(all...)
}

// expectWaiting waits until a condition of a machine is false for the reason, and checks that Ready says so too.
func (s *site) expectWaiting(ctx context.Context, machine, condition, reason string, texts ...string) {
	GinkgoHelper()
	Eventually(s.condition(ctx, machine, condition)).Should(waitFor(reason, texts...))
	Eventually(s.condition(ctx, machine, infrav1.ReadyCondition)).Should(waitFor(reason, append(texts, condition)...))
}

// expectProvisioned waits until a machine's host runs the image.
func (s *site) expectProvisioned(ctx context.Context, machine string) {
	GinkgoHelper()
	Eventually(s.condition(ctx, machine, infrav1.HostProvisionedCondition)).Should(beTrue())
	Eventually(func(g Gomega) {
		edge := &infrav1.EdgeMachine{}
		g.Expect(server.Client.Get(ctx, s.key(machine), edge)).To(Succeed())
		g.Expect(edge.Spec.ProviderID).NotTo(BeEmpty())
		g.Expect(edge.Status.Initialization.Provisioned).To(HaveValue(BeTrue()))
	}).Should(Succeed())
}

// expectLinked waits until a machine has its Node and is ready.
func (s *site) expectLinked(ctx context.Context, machine string) {
	GinkgoHelper()
	Eventually(s.condition(ctx, machine, infrav1.NodeLinkedCondition)).Should(beTrue())
	Eventually(s.condition(ctx, machine, infrav1.ReadyCondition)).Should(beTrue())
}

// before remembers a host, to see later that it was given back as it was.
type before struct {
	spec        bmov1.BareMetalHostSpec
	annotations map[string]string
	labels      map[string]string
}

func (s *site) remember(ctx context.Context, host string) before {
	GinkgoHelper()
	was := s.host(ctx, host)
	return before{spec: was.Spec, annotations: maps.Clone(was.Annotations), labels: maps.Clone(was.Labels)}
}

// expectFree waits until a host is available and as it was.
func (s *site) expectFree(ctx context.Context, host string, was before) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		found := &bmov1.BareMetalHost{}
		g.Expect(server.Client.Get(ctx, s.key(s.hostName(host)), found)).To(Succeed())
		g.Expect(found.Spec).To(Equal(was.spec))
		g.Expect(found.Annotations).To(Equal(was.annotations))
		g.Expect(found.Labels).To(Equal(was.labels))
		g.Expect(found.Status.Provisioning.State).To(Equal(bmov1.StateAvailable))
	}).Should(Succeed())
}

// deleteMachine deletes an EdgeMachine, as Cluster API does, without waiting.
func (s *site) deleteMachine(ctx context.Context, machine string) {
	GinkgoHelper()
	Expect(server.Client.Delete(ctx, s.edgeMachine(ctx, machine))).To(Succeed())
}

// expectGone waits until nothing is left of a machine: no EdgeMachine, no address claim, no Secret of ours.
func (s *site) expectGone(ctx context.Context, machine string) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		err := server.Client.Get(ctx, s.key(machine), &infrav1.EdgeMachine{})
		g.Expect(apierrors.IsNotFound(err)).To(BeTrue(), "EdgeMachine %s: %v", machine, err)
	}).Should(Succeed())
	claims := &ipamv1.IPAddressClaimList{}
	Expect(server.Client.List(ctx, claims, client.InNamespace(s.namespace))).To(Succeed())
	for _, claim := range claims.Items {
		Expect(owners(&claim)).NotTo(ContainElement("EdgeMachine/"+machine), "IPAddressClaim %s is left", claim.Name)
	}
	secrets := &corev1.SecretList{}
	Expect(server.Client.List(ctx, secrets, client.InNamespace(s.namespace))).To(Succeed())
	for _, secret := range secrets.Items {
		Expect(owners(&secret)).NotTo(ContainElement("EdgeMachine/"+machine), "Secret %s is left", secret.Name)
	}
}

func owners(object client.Object) []string {
	var names []string
	for _, reference := range object.GetOwnerReferences() {
		names = append(names, reference.Kind+"/"+reference.Name)
	}
	return names
}

// claimants counts the hosts of the site by the machine that holds them, for Eventually.
func (s *site) claimants(ctx context.Context) func(Gomega) map[string]int {
	return func(g Gomega) map[string]int {
		list := &bmov1.BareMetalHostList{}
		g.Expect(server.Client.List(ctx, list, client.InNamespace(s.namespace))).To(Succeed())
		held := map[string]int{}
		for _, host := range list.Items {
			if ref := host.Spec.ConsumerRef; ref != nil {
				held[ref.Name]++
			}
		}
		return held
	}
}

// eventsOf lists the events on EdgeMachine m as "<reason>: <note>", for Eventually.
func (s *site) eventsOf(ctx context.Context) func(Gomega) []string {
	return func(g Gomega) []string {
		list := &eventsv1.EventList{}
		g.Expect(server.Client.List(ctx, list, client.InNamespace(s.namespace))).To(Succeed())
		var found []string
		for _, event := range list.Items {
			if event.Regarding.Kind == "EdgeMachine" && event.Regarding.Name == "m" {
				found = append(found, fmt.Sprintf("%s: %s", event.Reason, event.Note))
			}
		}
		return found
	}
}

// internalIP of a machine; empty when it has none.
func internalIP(machine *infrav1.EdgeMachine) string {
	for _, found := range machine.Status.Addresses {
		if found.Type == clusterv1.MachineInternalIP {
			return found.Address
		}
	}
	return ""
}
