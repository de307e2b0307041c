// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// runningPod is a pod that the kubelet runs.
type runningPod struct {
	// pod is what the API shows; of a static pod the manifest with the names and annotations of its mirror pod.
	pod *corev1.Pod
	// hash is that of a static pod's manifest; empty for a pod of the API.
	hash       string
	containers []*container
	// init run one after the other before the containers.
	init    []*container
	cancel  context.CancelFunc
	done    sync.WaitGroup
	started metav1.Time

	mu      sync.Mutex
	address string
}

// container is the pod's container of that name, or nil.
func (p *runningPod) container(name string) *container {
	for _, c := range slices.Concat(p.containers, p.init) {
		if c.spec.Name == name {
			return c
		}
	}
	return nil
}

// ip is the pod's address; empty until it has one.
func (p *runningPod) ip() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.address
}

func (p *runningPod) setAddress(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.address = address
}

func (p *runningPod) stop() {
	p.cancel()
	p.done.Wait()
}

// newRunningPod has nothing running yet.
func newRunningPod(k *instance, pod *corev1.Pod, files *podFiles, address string, cancel context.CancelFunc) *runningPod {
	p := &runningPod{pod: pod, hash: pod.Annotations[annotationHash], cancel: cancel, address: address, started: metav1.Now()}
	if pod.Status.StartTime != nil {
		p.started = *pod.Status.StartTime
	}
	for i := range pod.Spec.InitContainers {
		p.init = append(p.init, newContainer(k, pod, &pod.Spec.InitContainers[i], files))
	}
	for i := range pod.Spec.Containers {
		p.containers = append(p.containers, newContainer(k, pod, &pod.Spec.Containers[i], files))
	}
	return p
}

// run starts the containers and returns when they have ended.
func (p *runningPod) run(ctx context.Context) {
	for _, c := range p.init {
		c.runOnce(ctx)
	}
	var group sync.WaitGroup
	for _, c := range p.containers {
		group.Go(func() { c.run(ctx) })
	}
	group.Wait()
}

// status is the pod's status as the kubelet would report it. Conditions keep the transition times of the
// status before while they stay the same.
func (p *runningPod) status(hostIP string, before corev1.PodStatus) corev1.PodStatus {
	ready, up, initialized, address := true, false, true, p.ip()
	var inits, statuses []corev1.ContainerStatus
	for _, c := range p.init {
		status := c.current()
		inits = append(inits, status)
		initialized = initialized && status.State.Terminated != nil
	}
	for _, c := range p.containers {
		status := c.current()
		statuses = append(statuses, status)
		ready = ready && status.Ready
		up = up || status.State.Running != nil || status.RestartCount > 0
	}
	phase := corev1.PodPending
	if up {
		phase = corev1.PodRunning
	}
	status := corev1.PodStatus{
		Phase: phase, HostIP: hostIP, PodIP: address, StartTime: p.started.DeepCopy(),
		HostIPs: []corev1.HostIP{{IP: hostIP}}, InitContainerStatuses: inits, ContainerStatuses: statuses,
	}
	if address != "" {
		status.PodIPs = []corev1.PodIP{{IP: address}}
	}
	for kind, is := range map[corev1.PodConditionType]bool{
		corev1.PodScheduled: true, corev1.PodInitialized: initialized, corev1.PodReadyToStartContainers: address != "",
		corev1.ContainersReady: ready, corev1.PodReady: ready,
	} {
		status.Conditions = append(status.Conditions, podCondition(kind, is, before.Conditions))
	}
	slices.SortFunc(status.Conditions, func(a, b corev1.PodCondition) int { return cmp.Compare(a.Type, b.Type) })
	return status
}

func podCondition(kind corev1.PodConditionType, is bool, before []corev1.PodCondition) corev1.PodCondition {
	condition := corev1.PodCondition{Type: kind, Status: corev1.ConditionFalse, LastTransitionTime: metav1.NewTime(time.Now().Truncate(time.Second))}
	if is {
		condition.Status = corev1.ConditionTrue
	}
	for _, old := range before {
		if old.Type == kind && old.Status == condition.Status {
			condition.LastTransitionTime = old.LastTransitionTime
		}
	}
	return condition
}
