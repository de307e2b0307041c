// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/plane"
)

const (
	volumeRetry   = 300 * time.Millisecond
	workers       = 8
	pendingEvents = 64
)

// Config of a Node.
type Config struct {
	// Programs maps a provider's label, such as "bootstrap-kubeadm", to its executable.
	Programs map[string]string
	// Dir keeps the pods' volumes and kubeconfigs.
	Dir string
	// LogDir receives one log per provider, named by its label.
	LogDir string
	// Env is added to the environment of every provider, as "KEY=value": what the node's own network needs, such as a proxy.
	Env []string
	// Log for what the node itself does.
	Log logr.Logger
}

// Node runs providers' pods as local processes.
type Node struct {
	config  Config
	client  client.Client
	rest    *rest.Config
	changes chan event.TypedGenericEvent[*corev1.Pod]
	stopped chan struct{} // closed by Stop: nobody reads changes any more

	mu         sync.Mutex
	containers map[types.NamespacedName]*container
	nextIP     int
}

// Add adds a node to a manager. Stop must be called after the manager has ended.
func Add(mgr ctrl.Manager, c Config) (*Node, error) {
	n := &Node{
		config:     c,
		client:     mgr.GetClient(),
		rest:       mgr.GetConfig(),
		changes:    make(chan event.TypedGenericEvent[*corev1.Pod], pendingEvents),
		stopped:    make(chan struct{}),
		containers: map[types.NamespacedName]*container{},
	}
	ofProvider := predicate.NewPredicateFuncs(func(o client.Object) bool {
		return o.GetLabels()[clusterv1.ProviderNameLabel] != ""
	})
	err := ctrl.NewControllerManagedBy(mgr).
		Named("providers").
		For(&corev1.Pod{}).
		WithEventFilter(ofProvider).
		WatchesRawSource(source.Channel(n.changes, &handler.TypedEnqueueRequestForObject[*corev1.Pod]{})).
		WithOptions(controller.Options{SkipNameValidation: new(true), MaxConcurrentReconciles: workers}).
		Complete(n)
	if err != nil {
		return nil, fmt.Errorf("set up the node of the providers: %w", err)
	}
	return n, nil
}

// Reconcile makes the process of a pod run while the pod exists, and its status tell the truth.
func (n *Node) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	pod := &corev1.Pod{}
	err := n.client.Get(ctx, request.NamespacedName, pod)
	if client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, fmt.Errorf("read pod %s: %w", request, err)
	}
	if err != nil || !pod.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, n.remove(request.NamespacedName)
	}
	running, err := n.ensure(ctx, pod)
	if err != nil {
		waiting := n.setStatus(ctx, pod, waitingStatus(pod, err))
		if apierrors.IsNotFound(err) { // a Secret or the ServiceAccount; it will come
			return ctrl.Result{RequeueAfter: volumeRetry}, waiting
		}
		return ctrl.Result{}, errors.Join(err, waiting)
	}
	return ctrl.Result{}, n.setStatus(ctx, pod, runningStatus(pod, running.snapshot(), n.address(pod)))
}

// ensure starts the pod's process unless it was started before.
func (n *Node) ensure(ctx context.Context, pod *corev1.Pod) (*container, error) {
	key := client.ObjectKeyFromObject(pod)
	if c := n.find(key); c != nil {
		if c.pod == pod.UID {
			return c, nil
		}
		if err := n.remove(key); err != nil { // an older pod of the same name
			return nil, err
		}
	}
	provider := pod.Labels[clusterv1.ProviderNameLabel]
	program, known := n.config.Programs[provider]
	if !known {
		return nil, fmt.Errorf("the lab has no program for provider %q", provider)
	}
	dir := n.dirOf(key)
	if err := writeVolumes(ctx, n.client, pod, dir); err != nil {
		return nil, err
	}
	if err := writeToken(ctx, n.client, pod, dir); err != nil {
		return nil, err
	}
	if err := writeKubeconfig(n.rest, pod.Namespace, dir); err != nil {
		return nil, err
	}
	planned, err := plan(pod, provider, dir)
	if err != nil {
		return nil, err
	}
	// The pod's own variables come last, and win.
	planned.env = append(slices.Clone(n.config.Env), planned.env...)
	c := &container{
		pod:     pod.UID,
		probe:   planned.probe,
		ports:   planned.ports,
		renew:   func(ctx context.Context) error { return writeToken(ctx, n.client, pod, dir) },
		changed: func() { n.enqueue(pod) },
		process: plane.Process{
			Name: provider, Path: program, Args: planned.args, Env: planned.env,
			Dir: dir, LogFile: filepath.Join(n.config.LogDir, provider+".log"),
		},
	}
	n.mu.Lock()
	n.containers[key] = c
	n.mu.Unlock()
	n.config.Log.Info("Starting a provider", "provider", provider, "pod", key.String())
	c.start(ctx)
	return c, nil
}

func (n *Node) enqueue(pod *corev1.Pod) {
	select {
	case n.changes <- event.TypedGenericEvent[*corev1.Pod]{Object: pod}:
	case <-n.stopped:
	}
}

func (n *Node) remove(key types.NamespacedName) error {
	n.mu.Lock()
	c := n.containers[key]
	delete(n.containers, key)
	n.mu.Unlock()
	if c == nil {
		return nil
	}
	n.config.Log.Info("Stopping a provider", "provider", c.process.Name, "pod", key.String())
	c.stop()
	if err := os.RemoveAll(n.dirOf(key)); err != nil {
		return fmt.Errorf("remove the volumes of pod %s: %w", key, err)
	}
	return nil
}

// Stop ends all processes and returns when they are gone. It is called once. The pods stay, and a new
// Node runs them again.
func (n *Node) Stop() {
	close(n.stopped)
	n.mu.Lock()
	defer n.mu.Unlock()
	var stopping sync.WaitGroup
	for _, c := range n.containers {
		stopping.Go(c.stop)
	}
	stopping.Wait()
	clear(n.containers)
}

// Kill ends the process of a provider as a crash would; it is started again, and the pod shows the
// restart. An error says that none runs.
func (n *Node) Kill(provider string) error {
	for _, c := range n.running() {
		if c.process.Name == provider {
			c.kill()
			return nil
		}
	}
	return fmt.Errorf("no pod of provider %q runs", provider)
}

// Diagnostics is where a provider's metrics are: "127.0.0.1:<port>", HTTPS with authentication unless its flags
// say otherwise. An error says that none runs.
func (n *Node) Diagnostics(provider string) (string, error) {
	for _, c := range n.running() {
		if c.process.Name != provider {
			continue
		}
		for _, arg := range slices.Backward(c.process.Args) { // the last one counts
			if address, ok := strings.CutPrefix(arg, diagnosticsFlag+"="); ok {
				return address, nil
			}
		}
	}
	return "", fmt.Errorf("no pod of provider %q runs", provider)
}

func (n *Node) running() map[types.NamespacedName]*container {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.containers)
}

func (n *Node) find(key types.NamespacedName) *container {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.containers[key]
}

func (n *Node) dirOf(key types.NamespacedName) string {
	return filepath.Join(n.config.Dir, key.Namespace, key.Name)
}

func (n *Node) setStatus(ctx context.Context, pod *corev1.Pod, status corev1.PodStatus) error {
	if sameStatus(pod.Status, status) {
		return nil
	}
	updated := pod.DeepCopy()
	updated.Status = status
	if err := n.client.Status().Update(ctx, updated); err != nil {
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) { // seen again with the next event
			return nil
		}
		return fmt.Errorf("report the status of pod %s: %w", client.ObjectKeyFromObject(pod), err)
	}
	return nil
}

// address keeps the pod's address or gives it a new one. Nothing listens there: it is what other
// controllers see.
func (n *Node) address(pod *corev1.Pod) string {
	if pod.Status.PodIP != "" {
		return pod.Status.PodIP
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nextIP++
	const perByte = 250
	return fmt.Sprintf("10.244.%d.%d", n.nextIP/perByte, n.nextIP%perByte+1)
}

func timeOf(t time.Time) metav1.Time { return metav1.NewTime(t.Truncate(time.Second)) }
