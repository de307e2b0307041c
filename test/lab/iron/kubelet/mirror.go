// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
)

const mirrorInterval = 500 * time.Millisecond

// mirrorRefresh is how often mirror pods are compared with the API, to bring back what somebody deleted.
const mirrorRefresh = 20 * time.Second

// keepPodStatus shows static pods in the API and keeps the status of all pods up to date.
func (k *instance) keepPodStatus(ctx context.Context) {
	select {
	case <-k.registered:
	case <-ctx.Done():
		return
	}
	reported := map[string]corev1.PodStatus{}
	var refreshed time.Time
	k.every(ctx, mirrorInterval, "mirror pods", func(ctx context.Context) error {
		if time.Since(refreshed) > mirrorRefresh {
			if err := k.refreshMirrors(ctx, reported); err != nil {
				return err
			}
			refreshed = time.Now()
		}
		var errs []error
		for _, pod := range k.pods.list() {
			key := pod.pod.Name + "/" + pod.hash
			if pod.hash == "" {
				key = string(pod.pod.UID)
			}
			old, ok := reported[key]
			status := pod.status(k.nodeIP.String(), old)
			if ok && equality.Semantic.DeepEqual(old, status) {
				continue
			}
			if err := k.report(ctx, pod, status); err != nil {
				errs = append(errs, fmt.Errorf("pod %s: %w", pod.pod.Name, err))
				continue
			}
			reported[key] = status
		}
		return errors.Join(errs...)
	})
}

// refreshMirrors deletes mirror pods of this node whose static pod is gone or changed, and forgets what was
// reported of pods that are not in the API any more. Of other pods the API tells by itself.
func (k *instance) refreshMirrors(ctx context.Context, reported map[string]corev1.PodStatus) error {
	list, err := k.client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("spec.nodeName", k.settings.NodeName).String(),
	})
	if err != nil {
		return err
	}
	present := map[string]bool{}
	for i := range list.Items {
		pod := &list.Items[i]
		hash, isMirror := pod.Annotations[annotationMirror]
		if !isMirror {
			present[string(pod.UID)] = true
			continue
		}
		if running := k.pods.find(pod.Namespace, pod.Name); running != nil && running.hash == hash && pod.DeletionTimestamp == nil {
			present[pod.Name+"/"+hash] = true
			continue
		}
		if err := k.deleteMirror(ctx, pod.Namespace, pod.Name); err != nil {
			return err
		}
	}
	for key := range reported {
		if !present[key] {
			delete(reported, key)
		}
	}
	return nil
}

func (k *instance) deleteMirror(ctx context.Context, namespace, name string) error {
	err := k.client.CoreV1().Pods(namespace).Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// report writes a pod's status, after making the mirror pod of a static one if it is not there.
func (k *instance) report(ctx context.Context, pod *runningPod, status corev1.PodStatus) error {
	if pod.hash != "" {
		if err := k.mirror(ctx, pod); err != nil {
			return err
		}
	}
	metadata := map[string]any{}
	if pod.hash == "" {
		metadata["uid"] = pod.pod.UID // a pod of the same name may have come after it
	}
	patch, err := json.Marshal(map[string]any{"metadata": metadata, "status": status})
	if err != nil {
		return fmt.Errorf("encoding the status: %w", err)
	}
	_, err = k.client.CoreV1().Pods(pod.pod.Namespace).Patch(ctx, pod.pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if pod.hash == "" && (apierrors.IsNotFound(err) || apierrors.IsConflict(err)) {
		return nil // it is going
	}
	return err
}

// mirror makes the mirror pod if it is not there.
func (k *instance) mirror(ctx context.Context, pod *runningPod) error {
	pods := k.client.CoreV1().Pods(pod.pod.Namespace)
	// Creating comes first: the API lets a kubelet read only those pods that are bound to its node already.
	err := k.createMirror(ctx, pod)
	if apierrors.IsAlreadyExists(err) {
		existing, getErr := pods.Get(ctx, pod.pod.Name, metav1.GetOptions{})
		if getErr != nil {
			return getErr
		}
		err = nil
		if existing.Annotations[annotationMirror] != pod.hash {
			if err := k.deleteMirror(ctx, pod.pod.Namespace, pod.pod.Name); err != nil {
				return err
			}
			err = k.createMirror(ctx, pod)
		}
	}
	return err
}

func (k *instance) createMirror(ctx context.Context, pod *runningPod) error {
	node, err := k.client.CoreV1().Nodes().Get(ctx, k.settings.NodeName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	mirror := pod.pod.DeepCopy()
	mirror.UID = ""
	owner := nodeOwner(node)
	owner.Controller = new(true)
	mirror.OwnerReferences = []metav1.OwnerReference{owner}
	mirror.Annotations[annotationMirror] = pod.hash
	mirror.Annotations[annotationSeen] = time.Now().Format(time.RFC3339Nano)
	_, err = k.client.CoreV1().Pods(mirror.Namespace).Create(ctx, mirror, metav1.CreateOptions{})
	return err
}
