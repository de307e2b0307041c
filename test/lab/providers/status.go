// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package providers

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// waitingStatus is a pod whose process cannot start yet.
func waitingStatus(pod *corev1.Pod, reason error) corev1.PodStatus {
	status := *pod.Status.DeepCopy()
	status.Phase = corev1.PodPending
	setPodConditions(&status, corev1.ConditionFalse, reason.Error())
	status.ContainerStatuses = []corev1.ContainerStatus{{
		Name:  managerContainer,
		Image: imageOf(pod),
		State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating", Message: reason.Error()}},
	}}
	return status
}

// runningStatus is a pod whose process was started, whether or not it runs right now.
func runningStatus(pod *corev1.Pod, s state, address string) corev1.PodStatus {
	status := *pod.Status.DeepCopy()
	status.Phase = corev1.PodRunning
	status.PodIP, status.PodIPs = address, []corev1.PodIP{{IP: address}}
	ready := corev1.ConditionFalse
	if s.ready {
		ready = corev1.ConditionTrue
	}
	setPodConditions(&status, ready, s.reason)
	manager := corev1.ContainerStatus{
		Name:         managerContainer,
		Image:        imageOf(pod),
		ImageID:      imageOf(pod),
		Ready:        s.ready,
		Started:      new(s.running),
		RestartCount: s.restarts,
	}
	if s.running {
		manager.State.Running = &corev1.ContainerStateRunning{StartedAt: timeOf(s.startedAt)}
	} else {
		manager.State.Waiting = &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: s.reason}
	}
	status.ContainerStatuses = []corev1.ContainerStatus{manager}
	return status
}

func setPodConditions(status *corev1.PodStatus, ready corev1.ConditionStatus, message string) {
	if ready == corev1.ConditionTrue {
		message = ""
	}
	set := func(kind corev1.PodConditionType, value corev1.ConditionStatus, message string) {
		for i := range status.Conditions {
			c := &status.Conditions[i]
			if c.Type != kind {
				continue
			}
			if c.Status != value {
				c.LastTransitionTime = metav1.Now()
			}
			c.Status, c.Message = value, message
			return
		}
		status.Conditions = append(status.Conditions, corev1.PodCondition{
			Type: kind, Status: value, Message: message, LastTransitionTime: metav1.Now(),
		})
	}
	set(corev1.PodScheduled, corev1.ConditionTrue, "")
	set(corev1.PodInitialized, corev1.ConditionTrue, "")
	set(corev1.ContainersReady, ready, message)
	set(corev1.PodReady, ready, message)
}

func sameStatus(a, b corev1.PodStatus) bool { return equality.Semantic.DeepEqual(a, b) }

func imageOf(pod *corev1.Pod) string {
	container, err := managerOf(pod)
	if err != nil {
		return ""
	}
	return container.Image
}
