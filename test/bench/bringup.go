// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-logr/logr"
	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/bench/boot"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/bench/result"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/bench/workload"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron"
)

const (
	pollInterval = 200 * time.Millisecond
	tellInterval = 10 * time.Second
	// appliers create objects at the same time, as many people or a GitOps tool would.
	appliers = 16
	// hostWorkers are the hosts that baremetal-operator's part works on at the same time.
	hostWorkers = 20
)

// startParts starts the workload clusters' API servers, the hosts and the cache that the trial watches with.
func (t *trial) startParts(_ context.Context, _ *result.Run) error {
	running, cancel := context.WithCancel(context.Background())
	t.cancel, t.failed = cancel, make(chan error, 2)
	scheme := runtime.NewScheme()
	add := runtime.NewSchemeBuilder(clientgoscheme.AddToScheme, clusterv1.AddToScheme, bmov1.AddToScheme, infrav1.AddToScheme)
	if err := add.AddToScheme(scheme); err != nil {
		return fmt.Errorf("build the scheme: %w", err)
	}
	config, err := t.lab.RESTConfig()
	if err != nil {
		return err
	}
	if t.api, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("make a client of the management cluster: %w", err)
	}
	if t.cache, err = cache.New(config, cache.Options{Scheme: scheme, DefaultTransform: cache.TransformStripManagedFields()}); err != nil {
		return fmt.Errorf("make a cache of the management cluster: %w", err)
	}
	if t.servers, err = workload.Start(running, t.authorities); err != nil {
		return err
	}
	booter := boot.Booter{Client: t.api, Join: t.joiner()}
	hosts, err := iron.New(iron.Config{REST: config, Instant: true, OnPower: booter.OnPower, Concurrency: hostWorkers, Log: logr.Discard()})
	if err != nil {
		return err
	}
	t.part(running, "the cache", t.cache.Start)
	t.part(running, "the hosts", hosts.Run)
	return nil
}

// joiner finds the cluster of a control plane's endpoint.
func (t *trial) joiner() func(context.Context, string, *corev1.Node) error {
	clusters := map[string]string{}
	for _, s := range t.sites {
		clusters[s.Endpoint()] = s.Name
	}
	return func(ctx context.Context, endpoint string, node *corev1.Node) error {
		cluster, known := clusters[endpoint]
		if !known {
			return fmt.Errorf("no cluster has endpoint %s", endpoint)
		}
		return t.servers.Join(ctx, cluster, node)
	}
}

func (t *trial) part(ctx context.Context, name string, run func(context.Context) error) {
	t.parts.Go(func() {
		if err := run(ctx); err != nil && ctx.Err() == nil {
			t.failed <- fmt.Errorf("%s ended: %w", name, err)
		}
	})
}

// stockHosts creates the inventory and waits until all hosts are available.
func (t *trial) stockHosts(ctx context.Context, measured *result.Run) error {
	progress("stocking %d hosts", measured.Hosts)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: t.plan.Namespace}}
	if err := t.api.Create(ctx, namespace); err != nil {
		return fmt.Errorf("create the namespace: %w", err)
	}
	var objects []client.Object
	for _, s := range t.sites {
		objects = append(objects, s.HostObjects()...)
	}
	if err := t.create(ctx, objects, appliers); err != nil {
		return err
	}
	if err := t.until(ctx, "available", measured.Hosts, t.availableHosts); err != nil {
		return err
	}
	return t.untilQuiet(ctx, func() bool { return true })
}

func (t *trial) availableHosts(ctx context.Context) (int, error) {
	list := &bmov1.BareMetalHostList{}
	if err := t.cache.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return 0, fmt.Errorf("list the hosts: %w", err)
	}
	return count(list.Items, func(h bmov1.BareMetalHost) bool {
		return h.Status.Provisioning.State == bmov1.StateAvailable && h.Status.PoweredOn == h.Spec.Online
	}), nil
}

// bringUp applies all clusters at once and waits until every machine is linked.
func (t *trial) bringUp(ctx context.Context, measured *result.Run) error {
	objects, err := t.clusterObjects()
	if err != nil {
		return err
	}
	before, err := t.usage()
	if err != nil {
		return err
	}
	measured.StartCPU = before.cpu
	progress("applying %d clusters", len(t.sites))
	start := time.Now()
	t.profiler.start(t.profiles, t.plan.Machines)
	half := 0.0
	linked := func(ctx context.Context) (int, error) {
		n, err := t.linkedMachines(ctx)
		if half == 0 && 2*n >= t.plan.Machines {
			half = time.Since(start).Seconds()
		}
		return n, err
	}
	done := func(ctx context.Context) (int, error) {
		l, err := linked(ctx)
		if err != nil {
			return 0, err
		}
		n, err := t.machinesWithNode(ctx)
		return min(l, n), err
	}
	if err := t.apply(ctx, objects, done); err != nil {
		return errors.Join(err, t.whyNot(ctx))
	}
	if err := t.until(ctx, "linked", t.plan.Machines, linked); err != nil {
		return errors.Join(err, t.whyNot(ctx))
	}
	measured.MedianLinked, measured.AllLinked = half, time.Since(start).Seconds()
	if err := t.until(ctx, "with nodeRef", t.plan.Machines, t.machinesWithNode); err != nil {
		return err
	}
	measured.AllNodeRefs = time.Since(start).Seconds()
	// What Cluster API writes to its machines after that costs the manager something too.
	if err := t.untilQuiet(ctx, func() bool { return true }); err != nil {
		return err
	}
	after, err := t.usage()
	if err != nil {
		return err
	}
	measured.BringUpCPU = after.cpu - before.cpu
	t.profiler.heap(ctx, t.profiles, t.plan.Machines)
	measured.BringUp, err = t.requestsSince(start)
	return err
}

// apply creates the clusters. A cluster waits until no more than atOnce are on their way, their Machines' nodeRefs included: on
// few cores the API server's watches would fall behind, Cluster API's patches of what its cache has stale would conflict
// over and over (72 % of the API server's CPU time were measured to be that), and its MachineSets time out after a minute
// and lose machines.
func (t *trial) apply(ctx context.Context, objects [][]client.Object, done func(context.Context) (int, error)) error {
	applied := 0
	for i, ofSite := range objects {
		ready := max(0, applied-(t.atOnce-1)*t.plan.PerCluster)
		if err := t.until(ctx, "done", ready, done); err != nil {
			return err
		}
		if err := t.create(ctx, ofSite, 1); err != nil {
			return err
		}
		applied += t.sites[i].Machines
	}
	return nil
}

// clusterObjects are the objects of every site, with a running API server behind the kubeconfig.
func (t *trial) clusterObjects() ([][]client.Object, error) {
	var all [][]client.Object
	for _, s := range t.sites {
		kubeconfig, err := t.servers.Add(s.Name)
		if err != nil {
			return nil, err
		}
		objects, err := s.ClusterObjects(kubeconfig, t.authorities)
		if err != nil {
			return nil, err
		}
		all = append(all, objects)
	}
	return all, nil
}

// create creates objects in their order, so many at the same time.
func (t *trial) create(ctx context.Context, objects []client.Object, atOnce int) error {
	group, creating := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, object := range objects {
		group.Go(func() error {
			if err := t.api.Create(creating, object); err != nil {
				return fmt.Errorf("create %T %s: %w", object, object.GetName(), err)
			}
			return nil
		})
	}
	return group.Wait()
}

func (t *trial) linkedMachines(ctx context.Context) (int, error) {
	list := &infrav1.EdgeMachineList{}
	if err := t.cache.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return 0, fmt.Errorf("list the EdgeMachines: %w", err)
	}
	return count(list.Items, func(m infrav1.EdgeMachine) bool { return conditions.IsTrue(&m, infrav1.NodeLinkedCondition) }), nil
}

func (t *trial) machinesWithNode(ctx context.Context) (int, error) {
	list := &clusterv1.MachineList{}
	if err := t.cache.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return 0, fmt.Errorf("list the Machines: %w", err)
	}
	return count(list.Items, func(m clusterv1.Machine) bool { return m.Status.NodeRef.IsDefined() }), nil
}

// whyNot says of a few machines that are not linked what they wait for.
func (t *trial) whyNot(ctx context.Context) error {
	list := &infrav1.EdgeMachineList{}
	if err := t.cache.List(context.WithoutCancel(ctx), list); err != nil {
		return fmt.Errorf("list the EdgeMachines: %w", err)
	}
	list.Items = slices.DeleteFunc(list.Items, func(m infrav1.EdgeMachine) bool { return conditions.IsTrue(&m, infrav1.NodeLinkedCondition) })
	var reasons []error
	if len(list.Items) == 0 {
		reasons = append(reasons, errors.New("all EdgeMachines are linked; look in Cluster API's log for Machines without one"))
	}
	for _, machine := range list.Items[:min(3, len(list.Items))] {
		reasons = append(reasons, fmt.Errorf("EdgeMachine %s: %s", machine.Name, conditions.GetMessage(&machine, infrav1.ReadyCondition)))
	}
	return errors.Join(reasons...)
}

// until waits until a number is reached, and tells how far it is.
func (t *trial) until(ctx context.Context, what string, wanted int, current func(context.Context) (int, error)) error {
	told := time.Now()
	for {
		n, err := current(ctx)
		if err != nil {
			return err
		}
		if n >= wanted {
			return nil
		}
		if time.Since(told) >= tellInterval {
			progress("%d of %d %s", n, wanted, what)
			told = time.Now()
		}
		if err := pause(ctx, pollInterval); err != nil {
			return fmt.Errorf("%d of %d %s: %w", n, wanted, what, err)
		}
		if err := t.early(); err != nil {
			return err
		}
	}
}

func count[T any](items []T, is func(T) bool) int {
	n := 0
	for _, item := range items {
		if is(item) {
			n++
		}
	}
	return n
}
