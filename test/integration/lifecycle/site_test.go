// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logzap "sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/integration/inprocess"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/integration/ipam"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/integration/metal3"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/integration/wire"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/integration/workload"
)

// clusterName is the cluster that specs with one cluster use.
const clusterName = "edge"

// site is a namespace with hosts and clusters, and everybody who works on it.
type site struct {
	namespace string
	operator  *metal3.Operator
	ipam      *ipam.Provider
	// recorder of what the running manager writes, to the management cluster and to workload clusters.
	recorder *wire.Recorder
	gate     *workload.Gate
	manager  *inprocess.Manager
	filter   string
	// reportTimeout of node agents; the usual one unless set.
	reportTimeout time.Duration

	current atomic.Pointer[wire.Recorder]
}

// throughRecorder leads the manager's requests to a workload cluster through the recorder of the moment.
type throughRecorder struct {
	site *site
	next http.RoundTripper
}

func (t throughRecorder) RoundTrip(request *http.Request) (*http.Response, error) {
	return t.site.current.Load().Wrap(t.next).RoundTrip(request)
}

// record what the next manager writes in a new recorder.
func (s *site) record() {
	s.recorder = &wire.Recorder{}
	s.current.Store(s.recorder)
}

// newSite makes a site whose manager is not running yet.
func newSite(ctx context.Context) *site {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "site-"}}
	Expect(server.Client.Create(ctx, namespace)).To(Succeed())
	s := &site{
		namespace: namespace.Name,
		operator:  metal3.NewOperator(server.Client, namespace.Name),
		ipam:      ipam.NewProvider(server.Client, namespace.Name),
	}
	s.record()
	var err error
	s.gate, err = workload.Open(server.Config, func(next http.RoundTripper) http.RoundTripper { return throughRecorder{site: s, next: next} })
	Expect(err).NotTo(HaveOccurred())
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	var players sync.WaitGroup
	players.Go(func() { s.operator.Run(running) })
	players.Go(func() { s.ipam.Run(running) })
	DeferCleanup(func() {
		stop()
		players.Wait()
		Expect(s.gate.Close()).To(Succeed())
	})
	return s
}

// newRunningSite makes a site with a manager.
func newRunningSite(ctx context.Context) *site {
	GinkgoHelper()
	s := newSite(ctx)
	s.startManager(ctx)
	return s
}

func (s *site) startManager(ctx context.Context) {
	GinkgoHelper()
	manager, err := inprocess.Start(ctx, inprocess.Options{
		Config: server.Config, Scheme: server.Scheme, Namespace: s.namespace, WatchFilter: s.filter, ReportTimeout: s.reportTimeout, Recorder: s.recorder,
		Log: logzap.New(logzap.WriteTo(GinkgoWriter), logzap.UseDevMode(true)),
	})
	if s.recorder.IsCut() {
		// Killed while it was starting, or right after.
		s.manager = manager
		return
	}
	Expect(err).NotTo(HaveOccurred())
	s.manager = manager
	panicked, recorder := panics(), s.recorder
	DeferCleanup(func() {
		if err := manager.Stop(); !recorder.IsCut() {
			Expect(err).NotTo(HaveOccurred())
		}
		Expect(panics()).To(Equal(panicked), "a reconciler has panicked; see the log")
	})
}

// panics counts those that controller-runtime has caught in this process.
func panics() float64 {
	GinkgoHelper()
	families, err := metrics.Registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	total := 0.0
	for _, family := range families {
		if family.GetName() == "controller_runtime_reconcile_panics_total" {
			for _, metric := range family.GetMetric() {
				total += metric.GetCounter().GetValue()
			}
		}
	}
	return total
}

// key of an object of the site.
func (s *site) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: s.namespace, Name: name}
}

func (s *site) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: s.namespace, Name: name}
}

// get fills an object with what the API server has.
func get[T client.Object](ctx context.Context, s *site, name string, object T) T {
	GinkgoHelper()
	Expect(server.Client.Get(ctx, s.key(name), object)).To(Succeed())
	return object
}

// update changes an object as somebody else than our manager, as often as it takes.
func update[T client.Object](ctx context.Context, s *site, name string, object T, change func(T)) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		g.Expect(server.Client.Get(ctx, s.key(name), object)).To(Succeed())
		change(object)
		g.Expect(server.Client.Update(ctx, object)).To(Succeed())
	}).Should(Succeed())
}

// updateStatus changes the status of an object as somebody else than our manager, as often as it takes.
func updateStatus[T client.Object](ctx context.Context, s *site, name string, object T, change func(T)) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		g.Expect(server.Client.Get(ctx, s.key(name), object)).To(Succeed())
		change(object)
		g.Expect(server.Client.Status().Update(ctx, object)).To(Succeed())
	}).Should(Succeed())
}

func (s *site) edgeMachine(ctx context.Context, name string) *infrav1.EdgeMachine {
	GinkgoHelper()
	return get(ctx, s, name, &infrav1.EdgeMachine{})
}

func (s *site) host(ctx context.Context, name string) *bmov1.BareMetalHost {
	GinkgoHelper()
	return get(ctx, s, s.hostName(name), &bmov1.BareMetalHost{})
}

// hostName makes the name of a host unique beyond its namespace, because its Node will have it.
func (s *site) hostName(short string) string { return short + "-" + s.namespace }

// providerID that the machine has on the host.
func (s *site) providerID(machine, host string) string {
	return fmt.Sprintf("edgemetal://%s/%s/%s", s.namespace, s.hostName(host), machine)
}

// owner makes an object depend on another, as Cluster API does.
func owner(object client.Object, kind string) metav1.OwnerReference {
	return metav1.OwnerReference{
		APIVersion: clusterv1.GroupVersion.String(), Kind: kind, Name: object.GetName(), UID: object.GetUID(),
		Controller: new(true), BlockOwnerDeletion: new(true),
	}
}
