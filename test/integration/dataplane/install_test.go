// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/calico"
	"github.com/edgemetal/cluster-api-provider-edgemetal/internal/apply"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/integration/wire"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/charts"
)

var _ = Describe("Installation", func() {
	It("goes step by step and tells where it is, then writes nothing any more", func(ctx context.Context) {
		s := newSite(ctx)
		s.world.set(func(w *world) { w.idle = true })
		s.addCluster(ctx, nil)
		Eventually(s.installed(ctx)).Should(waitFor(infrav1.WaitingForControlPlaneReason, "Cluster edge"))

		By("waiting for the operator before it asks it for anything")
		s.initialize(ctx)
		Eventually(s.installed(ctx)).Should(waitFor(infrav1.InstallingReason, "(Tigera operator)", "Deployment tigera-operator/tigera-operator: 0 of 1 pods"))
		Expect(s.field(ctx, object(calicoAPI, "FelixConfiguration", "default"), "spec", "wireguardEnabled")(Default)).To(BeTrue())
		Expect(s.exists(ctx, object(operatorAPI, "Installation", "default"))(Default)).To(BeFalse())

		By("going on when the operator runs")
		s.world.set(func(w *world) { w.idle = false })
		Eventually(s.installed(ctx)).Should(beInstalled())
		AddReportEntry("Writes until installed", strings.Join(wire.Counts(s.recorder.Writes()), "\n"), ReportEntryVisibilityAlways)

		By("not fighting with the operator over defaults")
		s.expectQuiet()
		Expect(s.managers(ctx, object(operatorAPI, "Installation", "default"))(Default)).To(ContainElement("operator"))

		By("writing nothing after a restart")
		Expect(s.manager.Stop()).To(Succeed())
		s.startManager(ctx)
		Consistently(s.recorder.Writes).WithTimeout(4 * quiet).Should(BeEmpty())
		Expect(s.installed(ctx)(Default)).To(beInstalled())
	})

	It("tells a combination that cannot work before there is a control plane", func(ctx context.Context) {
		s := newSite(ctx)
		s.addCluster(ctx, func(c *infrav1.EdgeCluster) {
			c.Spec.Dataplane.IPPools = []infrav1.IPPool{{Name: "pods", CIDR: "10.99.0.0/16"}}
		})
		Eventually(s.installed(ctx)).Should(waitFor(infrav1.DataplaneInvalidReason, "spec.dataplane.ipPools: pods: ", "clusterNetwork.pods.cidrBlocks"))
	})

	It("tells machines whose uplinks have different names", func(ctx context.Context) {
		s := newSite(ctx)
		s.addCluster(ctx, nil)
		Eventually(s.installed(ctx)).Should(waitFor(infrav1.WaitingForControlPlaneReason))
		cluster := &clusterv1.Cluster{}
		Expect(server.Client.Get(ctx, s.key(clusterName), cluster)).To(Succeed())
		template := &infrav1.EdgeMachineTemplate{}
		Expect(server.Client.Get(ctx, s.key("machines"), template)).To(Succeed())
		other := &infrav1.EdgeMachineTemplate{ObjectMeta: s.meta("others"), Spec: *template.Spec.DeepCopy()}
		other.OwnerReferences = template.OwnerReferences
		other.Spec.Template.Spec.Links[0].Name, other.Spec.Template.Spec.Interfaces[0].Link = "lan0", "lan0"
		Expect(server.Client.Create(ctx, other)).To(Succeed())
		Eventually(s.installed(ctx)).Should(waitFor(infrav1.DataplaneInvalidReason, `"uplink0"`, `"lan0"`, "EdgeMachineTemplate others"))
	})

	It("waits for a Secret, and copies it", func(ctx context.Context) {
		s := newSite(ctx)
		s.addReadyCluster(ctx, func(c *infrav1.EdgeCluster) {
			c.Spec.Dataplane.BGP = &infrav1.BGP{Peers: []infrav1.BGPPeer{{Name: "tor", Address: "192.0.2.1", ASNumber: 65000, Password: &infrav1.SecretReference{Name: "tor-password"}}}}
		})
		Eventually(s.installed(ctx)).Should(waitFor(infrav1.SecretMissingReason, "spec.dataplane.bgp.peers[0].password", "tor-password does not exist"))
		s.addSecret(ctx, "tor-password", map[string]string{"wrong": "x"})
		Eventually(s.installed(ctx)).Should(waitFor(infrav1.SecretMissingReason, "has no key password"))
		secret := &corev1.Secret{}
		Expect(server.Client.Get(ctx, s.key("tor-password"), secret)).To(Succeed())
		secret.Data["password"] = []byte("a test password")
		Expect(server.Client.Update(ctx, secret)).To(Succeed())
		Eventually(s.installed(ctx)).Should(beInstalled())
		copied := &corev1.SecretList{}
		Expect(s.workload.Client.List(ctx, copied, client.HasLabels{apply.Label})).To(Succeed())
		Expect(copied.Items).To(ConsistOf(HaveField("Data", map[string][]byte{"password": []byte("a test password")})))
		inventory := &corev1.ConfigMap{}
		Expect(s.workload.Client.Get(ctx, client.ObjectKey{Namespace: "edgemetal-system", Name: "edgemetal-dataplane"}, inventory)).To(Succeed())
		Expect(inventory.Data["objects.json"]).NotTo(ContainSubstring("password\""))

		By("taking up another password")
		Expect(server.Client.Get(ctx, s.key("tor-password"), secret)).To(Succeed())
		secret.Data["password"] = []byte("another test password")
		Expect(server.Client.Update(ctx, secret)).To(Succeed())
		Eventually(func(g Gomega) {
			g.Expect(s.workload.Client.List(ctx, copied, client.HasLabels{apply.Label})).To(Succeed())
			g.Expect(copied.Items).To(ConsistOf(HaveField("Data", map[string][]byte{"password": []byte("another test password")})))
		}).Should(Succeed())
	})

	It("refuses a chart with another digest or without the version, and takes charts from a Secret", func(ctx context.Context) {
		s := newSite(ctx)
		wrong := "sha256:" + strings.Repeat("0", 64)
		s.addReadyCluster(ctx, func(c *infrav1.EdgeCluster) { c.Spec.Dataplane.Calico.Charts.OperatorDigest = wrong })
		Eventually(s.installed(ctx)).Should(waitFor(infrav1.ChartUnavailableReason, wrong, "tigera-operator v3.32.1", "has digest sha256:"))
		Expect(s.exists(ctx, object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "installations.operator.tigera.io"))(Default)).To(BeFalse())
		s.change(ctx, func(c *infrav1.EdgeCluster) {
			c.Spec.Dataplane.Calico.Charts.OperatorDigest, c.Spec.Dataplane.Calico.Version = "", "v3.32.99"
		})
		Eventually(s.installed(ctx)).Should(waitFor(infrav1.ChartUnavailableReason, "v3.32.99", "it has the versions v3.32.1"))
		s.change(ctx, func(c *infrav1.EdgeCluster) {
			c.Spec.Dataplane.Calico.Version = ""
			c.Spec.Dataplane.Calico.Charts = infrav1.Charts{Secret: &infrav1.SecretReference{Name: "charts"}}
		})
		Eventually(s.installed(ctx)).Should(waitFor(infrav1.SecretMissingReason, "spec.dataplane.calico.charts.secret", "Secret charts does not exist"))
		s.addSecret(ctx, "charts", map[string]string{})
		Eventually(s.installed(ctx)).Should(waitFor(infrav1.ChartUnavailableReason, "Secret charts", charts.Key(charts.Definitions, calico.DefaultVersion)))
		secret := &corev1.Secret{}
		Expect(server.Client.Get(ctx, s.key("charts"), secret)).To(Succeed())
		secret.Data = s.archives
		Expect(server.Client.Update(ctx, secret)).To(Succeed())
		Eventually(s.installed(ctx)).Should(beInstalled())
	})

	It("goes on where it was when the API server is back", func(ctx context.Context) {
		s := newSite(ctx)
		s.world.set(func(w *world) { w.idle = true })
		s.addReadyCluster(ctx, nil)
		Eventually(s.installed(ctx)).Should(waitFor(infrav1.InstallingReason, "(Tigera operator)"))
		s.gate.Shut(true)
		s.world.set(func(w *world) { w.idle = false })
		// The watches still tell of the operator; the next write fails.
		Eventually(s.installed(ctx)).Should(waitFor(infrav1.WorkloadClusterUnreachableReason, "API server of Cluster edge"))
		s.gate.Shut(false)
		Eventually(s.installed(ctx)).Should(beInstalled())
	})

	It("stops when the cluster is being deleted, and uninstalls nothing", func(ctx context.Context) {
		s := newSite(ctx)
		s.addReadyCluster(ctx, func(c *infrav1.EdgeCluster) { c.Finalizers = []string{"test.example/keep"} })
		Eventually(s.installed(ctx)).Should(beInstalled())
		s.expectQuiet()
		edge := &infrav1.EdgeCluster{}
		Expect(server.Client.Get(ctx, s.key(clusterName), edge)).To(Succeed())
		Expect(server.Client.Delete(ctx, edge)).To(Succeed())
		DeferCleanup(func(ctx context.Context) {
			s.change(ctx, func(c *infrav1.EdgeCluster) { c.Finalizers = nil })
		})
		felix := object(calicoAPI, "FelixConfiguration", "default")
		Eventually(func(g Gomega) { // The manager may hear of the edit before it hears of the deletion: once.
			s.edit(ctx, felix, "user", false, "spec", "wireguardEnabled")
			g.Consistently(s.field(ctx, felix, "spec", "wireguardEnabled")).WithTimeout(2 * quiet).Should(BeFalse())
		}).WithTimeout(20 * time.Second).Should(Succeed())
		Expect(s.exists(ctx, object(operatorAPI, "Installation", "default"))(Default)).To(BeTrue())
	})

	It("leaves a paused cluster alone", func(ctx context.Context) {
		s := newSite(ctx)
		s.addCluster(ctx, func(c *infrav1.EdgeCluster) { c.Annotations = map[string]string{clusterv1.PausedAnnotation: ""} })
		s.initialize(ctx)
		Consistently(s.installed(ctx)).WithTimeout(2 * quiet).Should(Equal(metav1.Condition{}))
		s.change(ctx, func(c *infrav1.EdgeCluster) { c.Annotations = nil })
		Eventually(s.installed(ctx)).Should(beInstalled())
	})
})
