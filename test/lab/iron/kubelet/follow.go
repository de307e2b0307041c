// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corev1listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

// mountRetry is how long a pod waits for a ConfigMap, Secret or ServiceAccount that is not there yet.
const mountRetry = 500 * time.Millisecond

// followPods runs the pods that the API binds to this node, until the context ends.
func (k *instance) followPods(ctx context.Context) {
	clients, err := kubernetes.NewForConfig(k.config)
	if err != nil {
		k.Logf("kubelet: making the client that watches pods: %v", err)
		return
	}
	factory := informers.NewSharedInformerFactoryWithOptions(clients, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", k.settings.NodeName).String()
	}))
	pods := factory.Core().V1().Pods()
	changed := make(chan struct{}, 1)
	notify := func() {
		select {
		case changed <- struct{}{}:
		default: // it is noted already
		}
	}
	_, err = pods.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { notify() }, UpdateFunc: func(_, _ any) { notify() }, DeleteFunc: func(any) { notify() },
	})
	if err != nil {
		k.Logf("kubelet: watching pods: %v", err)
		return
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	defer k.pods.awaitEnd()
	if !cache.WaitForCacheSync(ctx.Done(), pods.Informer().HasSynced) {
		return
	}
	for {
		if err := k.syncPods(ctx, pods.Lister()); err != nil && ctx.Err() == nil {
			k.Logf("kubelet: pods: %v", err)
			time.AfterFunc(retry, notify)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// syncPods starts what is new, and stops what is to go or has gone.
func (k *instance) syncPods(ctx context.Context, lister corev1listers.PodLister) error {
	wanted, err := lister.List(labels.Everything())
	if err != nil {
		return err
	}
	present := map[string]bool{}
	for _, pod := range wanted {
		if _, isMirror := pod.Annotations[annotationMirror]; isMirror {
			continue
		}
		key := string(pod.UID)
		switch {
		case pod.DeletionTimestamp != nil:
			// Stopping takes time; other pods do not wait for it.
			k.pods.stopping(key, func() { k.removePod(ctx, pod) })
		case pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed:
		default:
			present[key] = true
			k.startPod(ctx, key, pod)
		}
	}
	for key, running := range k.pods.snapshot() {
		if running.hash == "" && !present[key] {
			k.pods.stopping(key, func() {})
		}
	}
	return nil
}

// startPod runs a pod of the API, unless it runs already.
func (k *instance) startPod(ctx context.Context, key string, pod *corev1.Pod) {
	if k.pods.snapshot()[key] != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	files := &podFiles{}
	running := newRunningPod(k, pod.DeepCopy(), files, pod.Status.PodIP, cancel)
	k.pods.add(key, running)
	k.Logf("kubelet: started pod %s/%s", pod.Namespace, pod.Name)
	running.done.Go(func() {
		if !k.preparePod(ctx, running, files) {
			return
		}
		running.done.Go(func() { k.renewToken(ctx, running.pod, files) })
		running.run(ctx)
	})
}

// preparePod gives the pod its volumes and its address; false when the context has ended before.
func (k *instance) preparePod(ctx context.Context, running *runningPod, files *podFiles) bool {
	last := ""
	for {
		mounted, err := k.mount(ctx, running.pod)
		var address string
		if err == nil {
			address, err = k.podAddress(ctx, running.pod)
		}
		if err == nil {
			*files = *mounted
			running.setAddress(address)
			return true
		}
		if text := err.Error(); text != last && ctx.Err() == nil {
			last = text
			k.Logf("kubelet: pod %s: %s", running.pod.Name, text)
			for _, c := range running.containers {
				c.waiting("ContainerCreating", text)
			}
		}
		select {
		case <-time.After(mountRetry):
		case <-ctx.Done():
			return false
		}
	}
}

// removePod takes a pod that has stopped out of the API.
func (k *instance) removePod(ctx context.Context, pod *corev1.Pod) {
	real, err := k.Disk.Real(podsDir + "/" + string(pod.UID))
	if err == nil {
		err = os.RemoveAll(real)
	}
	if err != nil {
		k.Logf("kubelet: pod %s: %v", pod.Name, err)
	}
	k.everyUntil(ctx, retry, "deleting pod "+pod.Name, func(ctx context.Context) error {
		err := k.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
			GracePeriodSeconds: new(int64(0)), Preconditions: metav1.NewUIDPreconditions(string(pod.UID)),
		})
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return nil
		}
		return err
	})
	k.Logf("kubelet: removed pod %s/%s", pod.Namespace, pod.Name)
}

// freeAddress is the first address of the range that no pod of this node has. The first one of all is left
// to the bridge.
func (m *podManager) freeAddress(podCIDR string) (string, error) {
	prefix, err := netip.ParsePrefix(podCIDR)
	if err != nil {
		return "", errors.New("failed to set up network for pod: the Node has no podCIDR yet")
	}
	taken := map[string]bool{}
	for _, pod := range m.list() {
		taken[pod.ip()] = true
	}
	for address := prefix.Masked().Addr().Next().Next(); prefix.Contains(address); address = address.Next() {
		if !taken[address.String()] {
			return address.String(), nil
		}
	}
	return "", fmt.Errorf("failed to set up network for pod: no IP addresses available in range %s", podCIDR)
}
