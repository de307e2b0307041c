// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logzap "sigs.k8s.io/controller-runtime/pkg/log/zap"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/calico"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/integration/apiserver"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/integration/inprocess"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/integration/wire"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/integration/workload"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/charts"
)

// clusterName of every spec; each has a namespace of its own.
const clusterName = "edge"

// site is a namespace with one cluster, and the workload cluster with all who work there.
type site struct {
	namespace string
	// workload is the API server of the workload cluster.
	workload *apiserver.Server
	world    *world
	gate     *workload.Gate
	registry *charts.Server
	// archives that the registry serves.
	archives map[string][]byte
	manager  *inprocess.Manager
	// recorder of what the running manager writes, to both clusters.
	recorder *wire.Recorder

	current atomic.Pointer[wire.Recorder]
}

type throughRecorder struct {
	site *site
	next http.RoundTripper
}

func (t throughRecorder) RoundTrip(request *http.Request) (*http.Response, error) {
	return t.site.current.Load().Wrap(t.next).RoundTrip(request)
}

// newSite makes a site with a running manager and a workload cluster with three nodes.
func newSite(ctx context.Context) *site {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "site-"}}
	Expect(server.Client.Create(ctx, namespace)).To(Succeed())
	s := &site{namespace: namespace.Name}
	s.record()
	var err error
	s.workload, err = apiserver.StartBare(ctx)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(s.workload.Stop()).To(Succeed()) })
	s.archives, err = charts.Pack(calico.DefaultVersion, os.Getenv(charts.DirVariable))
	Expect(err).NotTo(HaveOccurred())
	s.registry, err = charts.Serve(ctx, s.archives)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(s.registry.Close()).To(Succeed()) })
	s.gate, err = workload.Open(s.workload.Config, func(next http.RoundTripper) http.RoundTripper { return throughRecorder{site: s, next: next} })
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(s.gate.Close()).To(Succeed()) })
	s.world = newWorld(s.workload.Client)
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	var players sync.WaitGroup
	players.Go(func() { s.world.run(running) })
	DeferCleanup(func() {
		stop()
		players.Wait()
	})
	s.startManager(ctx)
	return s
}

func (s *site) record() {
	s.recorder = &wire.Recorder{}
	s.current.Store(s.recorder)
}

func (s *site) startManager(ctx context.Context) {
	GinkgoHelper()
	s.record()
	manager, err := inprocess.Start(ctx, inprocess.Options{
		Config: server.Config, Scheme: server.Scheme, Namespace: s.namespace, Recorder: s.recorder,
		Log: logzap.New(logzap.WriteTo(GinkgoWriter), logzap.UseDevMode(true)),
	})
	Expect(err).NotTo(HaveOccurred())
	s.manager = manager
	DeferCleanup(func() { Expect(manager.Stop()).To(Succeed()) })
}

func (s *site) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: s.namespace, Name: name}
}

func (s *site) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: s.namespace, Name: name}
}

// addCluster makes Cluster, EdgeCluster, kubeconfig and machine template. change may be nil.
func (s *site) addCluster(ctx context.Context, change func(*infrav1.EdgeCluster)) {
	GinkgoHelper()
	// First of all: who looks for it in vain looks again after 30 seconds.
	kubeconfig, err := s.gate.Kubeconfig()
	Expect(err).NotTo(HaveOccurred())
	s.addSecret(ctx, clusterName+"-kubeconfig", map[string]string{"value": string(kubeconfig)})
	cluster := &clusterv1.Cluster{ObjectMeta: s.meta(clusterName)}
	cluster.Spec.InfrastructureRef = clusterv1.ContractVersionedObjectReference{APIGroup: infrav1.GroupVersion.Group, Kind: "EdgeCluster", Name: clusterName}
	cluster.Spec.ClusterNetwork.Pods.CIDRBlocks = []string{"10.244.0.0/16"}
	cluster.Spec.ClusterNetwork.Services.CIDRBlocks = []string{"10.96.0.0/12"}
	Expect(server.Client.Create(ctx, cluster)).To(Succeed())
	owned := []metav1.OwnerReference{{APIVersion: clusterv1.GroupVersion.String(), Kind: "Cluster", Name: cluster.Name, UID: cluster.UID}}
	template := &infrav1.EdgeMachineTemplate{ObjectMeta: s.meta("machines")}
	template.OwnerReferences = owned
	template.Spec.Template.Spec = infrav1.EdgeMachineSpec{
		Image:      infrav1.Image{URL: "https://images.example/node.qcow2", Checksum: "0123", ChecksumType: "sha256", Format: "qcow2"},
		Links:      []infrav1.Link{{Name: "uplink0", Match: &infrav1.NICMatch{BootNIC: new(true)}}},
		Interfaces: []infrav1.Interface{{Network: "cluster", Link: "uplink0"}},
	}
	Expect(server.Client.Create(ctx, template)).To(Succeed())
	edge := &infrav1.EdgeCluster{ObjectMeta: s.meta(clusterName)}
	edge.Labels = map[string]string{clusterv1.ClusterNameLabel: cluster.Name}
	edge.OwnerReferences = owned
	edge.Spec = infrav1.EdgeClusterSpec{
		ControlPlaneEndpoint: infrav1.APIEndpoint{Host: "192.0.2.10", Port: 6443},
		Networks: []infrav1.Network{{
			Name:      "cluster",
			Subnets:   []infrav1.Subnet{{CIDR: "192.0.2.0/24", Gateway: "192.0.2.1"}},
			Addresses: infrav1.AddressSource{FromHost: &infrav1.FromHost{}},
		}},
	}
	edge.Spec.Dataplane.Calico.Charts.Repository = s.registry.URL
	if change != nil {
		change(edge)
	}
	Expect(server.Client.Create(ctx, edge)).To(Succeed())
}

// addReadyCluster makes a cluster whose control plane is initialized.
func (s *site) addReadyCluster(ctx context.Context, change func(*infrav1.EdgeCluster)) {
	GinkgoHelper()
	s.addCluster(ctx, change)
	s.initialize(ctx)
}

// initialize the control plane, as Cluster API reports it.
func (s *site) initialize(ctx context.Context) {
	GinkgoHelper()
	cluster := &clusterv1.Cluster{}
	Eventually(func(g Gomega) {
		g.Expect(server.Client.Get(ctx, s.key(clusterName), cluster)).To(Succeed())
		cluster.Status.Initialization = clusterv1.ClusterInitializationStatus{InfrastructureProvisioned: new(true), ControlPlaneInitialized: new(true)}
		g.Expect(server.Client.Status().Update(ctx, cluster)).To(Succeed())
	}).Should(Succeed())
}

// addSecret makes a Secret of the cluster in the management cluster.
func (s *site) addSecret(ctx context.Context, name string, data map[string]string) {
	GinkgoHelper()
	secret := &corev1.Secret{ObjectMeta: s.meta(name), StringData: data}
	secret.Labels = map[string]string{clusterv1.ClusterNameLabel: clusterName}
	Expect(server.Client.Create(ctx, secret)).To(Succeed())
}

// change the EdgeCluster as a user does.
func (s *site) change(ctx context.Context, change func(*infrav1.EdgeCluster)) {
	GinkgoHelper()
	edge := &infrav1.EdgeCluster{}
	Eventually(func(g Gomega) {
		g.Expect(server.Client.Get(ctx, s.key(clusterName), edge)).To(Succeed())
		change(edge)
		g.Expect(server.Client.Update(ctx, edge)).To(Succeed())
	}).Should(Succeed())
}

// installed is the condition DataplaneInstalled, for Eventually.
func (s *site) installed(ctx context.Context) func(Gomega) metav1.Condition {
	return func(g Gomega) metav1.Condition {
		edge := &infrav1.EdgeCluster{}
		g.Expect(server.Client.Get(ctx, s.key(clusterName), edge)).To(Succeed())
		if found := conditions.Get(edge, infrav1.DataplaneInstalledCondition); found != nil {
			return *found
		}
		return metav1.Condition{}
	}
}

// beInstalled is satisfied when the dataplane is installed. A failure shows the message too.
func beInstalled() gomegatypes.GomegaMatcher {
	return WithTransform(func(c metav1.Condition) string { return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message) },
		HavePrefix("True "+infrav1.DataplaneInstalledReason+":"))
}

// waitFor is satisfied while it is not, for the reason, with a message that holds the texts.
func waitFor(reason string, texts ...string) gomegatypes.GomegaMatcher {
	all := []gomegatypes.GomegaMatcher{HaveField("Status", Not(Equal(metav1.ConditionTrue))), HaveField("Reason", reason)}
	for _, text := range texts {
		all = append(all, HaveField("Message", ContainSubstring(text)))
	}
	return And(all...)
}

// expectQuiet waits until the manager writes nothing any more, and stays so.
func (s *site) expectQuiet() {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		before := len(s.recorder.Writes())
		g.Consistently(func() []wire.Write { return s.recorder.Writes()[before:] }).WithTimeout(2 * time.Second).Should(BeEmpty())
	}).Should(Succeed())
}

// object of the workload cluster of a kind without Go type.
func object(apiVersion, kind, name string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(schema.FromAPIVersionAndKind(apiVersion, kind))
	o.SetName(name)
	return o
}

const (
	calicoAPI   = "crd.projectcalico.org/v1"
	operatorAPI = "operator.tigera.io/v1"
)

// field of an object of the workload cluster, for Eventually.
func (s *site) field(ctx context.Context, o *unstructured.Unstructured, path ...string) func(Gomega) any {
	return func(g Gomega) any {
		found := o.DeepCopy()
		g.Expect(s.workload.Client.Get(ctx, client.ObjectKeyFromObject(o), found)).To(Succeed())
		value, _, err := unstructured.NestedFieldNoCopy(found.Object, path...)
		g.Expect(err).NotTo(HaveOccurred())
		return value
	}
}

// exists tells whether an object is in the workload cluster, for Eventually.
func (s *site) exists(ctx context.Context, o client.Object) func(Gomega) bool {
	return func(g Gomega) bool {
		found, ok := o.DeepCopyObject().(client.Object)
		g.Expect(ok).To(BeTrue())
		err := s.workload.Client.Get(ctx, client.ObjectKeyFromObject(o), found)
		g.Expect(client.IgnoreNotFound(err)).To(Succeed())
		return err == nil
	}
}

// edit an object of the workload cluster as somebody else.
func (s *site) edit(ctx context.Context, o *unstructured.Unstructured, owner string, value any, path ...string) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		found := o.DeepCopy()
		g.Expect(s.workload.Client.Get(ctx, client.ObjectKeyFromObject(o), found)).To(Succeed())
		if value == nil {
			unstructured.RemoveNestedField(found.Object, path...)
		} else {
			g.Expect(unstructured.SetNestedField(found.Object, value, path...)).To(Succeed())
		}
		g.Expect(s.workload.Client.Update(ctx, found, client.FieldOwner(owner))).To(Succeed())
	}).Should(Succeed())
}

// managers of an object's fields, for Eventually.
func (s *site) managers(ctx context.Context, o *unstructured.Unstructured) func(Gomega) []string {
	return func(g Gomega) []string {
		found := o.DeepCopy()
		g.Expect(s.workload.Client.Get(ctx, client.ObjectKeyFromObject(o), found)).To(Succeed())
		var names []string
		for _, entry := range found.GetManagedFields() {
			names = append(names, entry.Manager)
		}
		slices.Sort(names)
		return slices.Compact(names)
	}
}
