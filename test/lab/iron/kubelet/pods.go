// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"
)

// manifestInterval is how often the manifest directory is read. The real kubelet is told of changes.
const manifestInterval = 250 * time.Millisecond

// Annotations that tie a mirror pod to its static pod.
const (
	annotationHash   = "kubernetes.io/config.hash"
	annotationMirror = "kubernetes.io/config.mirror"
	annotationSeen   = "kubernetes.io/config.seen"
	annotationSource = "kubernetes.io/config.source"
)

// podManager keeps pods: static ones as the manifest directory says, others as the API does.
type podManager struct {
	k *instance

	mu sync.Mutex
	// pods by manifest path, or by UID.
	pods map[string]*runningPod
	// ending are the keys of pods that are being stopped.
	ending map[string]bool
	ends   sync.WaitGroup
}

func newPodManager(k *instance) *podManager {
	return &podManager{k: k, pods: map[string]*runningPod{}, ending: map[string]bool{}}
}

// run follows the manifest directory until the context ends, and then stops every pod.
func (m *podManager) run(ctx context.Context) {
	m.k.every(ctx, manifestInterval, "static pods", m.sync)
	for _, pod := range m.list() {
		pod.cancel()
	}
	m.awaitEnd()
}

// awaitEnd returns when nothing runs any more; the context of the pods has ended.
func (m *podManager) awaitEnd() {
	for _, pod := range m.list() {
		pod.done.Wait()
	}
	m.ends.Wait()
}

func (m *podManager) add(key string, pod *runningPod) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pods[key] = pod
}

// stopping stops a pod, if it runs, and then does the rest. It returns at once; asking again changes nothing.
func (m *podManager) stopping(key string, then func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ending[key] {
		return
	}
	m.ending[key] = true
	pod := m.pods[key]
	m.ends.Go(func() {
		if pod != nil {
			pod.stop()
		}
		then()
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.pods, key)
		delete(m.ending, key)
	})
}

// list are the running pods, in the order of their names.
func (m *podManager) list() []*runningPod {
	m.mu.Lock()
	defer m.mu.Unlock()
	var pods []*runningPod
	for _, pod := range m.pods {
		pods = append(pods, pod)
	}
	slices.SortFunc(pods, func(a, b *runningPod) int { return strings.Compare(a.pod.Name, b.pod.Name) })
	return pods
}

// find is the running pod of that name, or nil.
func (m *podManager) find(namespace, name string) *runningPod {
	for _, pod := range m.list() {
		if pod.pod.Namespace == namespace && pod.pod.Name == name {
			return pod
		}
	}
	return nil
}

// sync starts pods of new manifests, restarts those that changed and stops those whose manifest is gone.
func (m *podManager) sync(ctx context.Context) error {
	dir := m.k.settings.ManifestDir
	if dir == "" {
		return nil
	}
	names, err := m.k.Disk.List(dir, "*")
	if err != nil {
		return err
	}
	var firstErr error
	wanted := map[string]*corev1.Pod{}
	for _, name := range names {
		file := path.Join(dir, name)
		pod, err := m.read(file)
		if err != nil {
			// A broken manifest leaves the pod that runs from it alone, as in the real kubelet.
			firstErr = fmt.Errorf("%s: %w", file, err)
			wanted[file] = nil
			continue
		}
		wanted[file] = pod
	}
	for file, running := range m.snapshot() {
		if running.hash == "" {
			continue
		}
		pod, ok := wanted[file]
		if ok && (pod == nil || pod.Annotations[annotationHash] == running.hash) {
			continue
		}
		m.stop(file, running)
	}
	for file, pod := range wanted {
		if pod != nil && m.snapshot()[file] == nil {
			m.start(ctx, file, pod)
		}
	}
	return firstErr
}

func (m *podManager) snapshot() map[string]*runningPod {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.pods)
}

func (m *podManager) start(ctx context.Context, file string, pod *corev1.Pod) {
	ctx, cancel := context.WithCancel(ctx)
	running := newRunningPod(m.k, pod, nil, m.k.nodeIP.String(), cancel)
	running.done.Go(func() { running.run(ctx) })
	m.add(file, running)
	m.k.Logf("kubelet: started static pod %s", pod.Name)
}

func (m *podManager) stop(file string, running *runningPod) {
	running.stop()
	m.mu.Lock()
	delete(m.pods, file)
	m.mu.Unlock()
	m.k.Logf("kubelet: stopped static pod %s", running.pod.Name)
}

// read is a manifest as the pod that the kubelet makes of it.
func (m *podManager) read(file string) (*corev1.Pod, error) {
	content, err := m.k.Disk.Read(file)
	if err != nil {
		return nil, err
	}
	pod := &corev1.Pod{}
	if err := yaml.Unmarshal(content, pod); err != nil {
		return nil, fmt.Errorf("invalid pod: %w", err)
	}
	if pod.Kind != "Pod" || pod.Name == "" || len(pod.Spec.Containers) == 0 {
		return nil, fmt.Errorf("invalid pod: want kind Pod, a name and at least one container")
	}
	sum := sha256.Sum256(append([]byte(m.k.settings.NodeName+"\x00"+file+"\x00"), content...))
	hash := hex.EncodeToString(sum[:16])
	if pod.Namespace == "" {
		pod.Namespace = "default"
	}
	pod.Name += "-" + m.k.settings.NodeName
	pod.UID = types.UID(hash)
	pod.Spec.NodeName = m.k.settings.NodeName
	// What the kubelet and the API's defaults add: a mirror pod with a priority class needs it resolved.
	pod.Spec.Tolerations = append(pod.Spec.Tolerations, corev1.Toleration{Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute})
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[annotationHash] = hash
	pod.Annotations[annotationSource] = "file"
	return pod, nil
}
