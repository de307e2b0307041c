// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// tick of the world.
const tick = 50 * time.Millisecond

// world plays the workload cluster: its Deployment and DaemonSet controllers, kubelets, the Tigera operator and the node agents.
type world struct {
	client client.Client

	mu sync.Mutex
	// nodes of the cluster.
	nodes []string
	// broken nodes run no pod that becomes ready; unproved ones report that they are not encrypted.
	broken, unproved map[string]bool
	// idle: Deployments do not come up.
	idle bool
	// proofs counts, per node, how often its agent has reported an encrypted network.
	proofs map[string]int
}

func newWorld(c client.Client) *world {
	return &world{client: c, nodes: []string{"a", "b", "c"}, broken: map[string]bool{}, unproved: map[string]bool{}, proofs: map[string]int{}}
}

// set changes the world.
func (w *world) set(change func(*world)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w)
}

// run until the context ends. Somebody else may write at the same time, so an error only means to try again.
func (w *world) run(ctx context.Context) {
	for ctx.Err() == nil {
		w.mu.Lock()
		for _, play := range []func(context.Context) error{w.playNodes, w.playDeployments, w.playDaemonSets, w.playAgents, w.playOperator} {
			if err := play(ctx); err != nil && ctx.Err() == nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
				fmt.Fprintln(GinkgoWriter, "world:", err)
			}
		}
		w.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(tick):
		}
	}
}

func (w *world) playNodes(ctx context.Context) error {
	for _, name := range w.nodes {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelOSStable: "linux"}}}
		if err := w.client.Create(ctx, node); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return nil
}

func (w *world) playDeployments(ctx context.Context) error {
	list := &appsv1.DeploymentList{}
	if err := w.client.List(ctx, list); err != nil {
		return err
	}
	for i := range list.Items {
		d := &list.Items[i]
		want := appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: 1, UpdatedReplicas: 1, AvailableReplicas: 1, ReadyReplicas: 1}
		if w.idle {
			want = appsv1.DeploymentStatus{ObservedGeneration: d.Generation}
		}
		if d.Status.ObservedGeneration == want.ObservedGeneration && d.Status.AvailableReplicas == want.AvailableReplicas {
			continue
		}
		d.Status = want
		if err := w.client.Status().Update(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) playDaemonSets(ctx context.Context) error {
	list := &appsv1.DaemonSetList{}
	if err := w.client.List(ctx, list); err != nil {
		return err
	}
	for i := range list.Items {
		if err := w.playDaemonSet(ctx, &list.Items[i]); err != nil {
			return err
		}
	}
	return nil
}

// playDaemonSet gives every node a pod. A pod is of the template that it was made from.
func (w *world) playDaemonSet(ctx context.Context, d *appsv1.DaemonSet) error {
	status := appsv1.DaemonSetStatus{ObservedGeneration: d.Generation, DesiredNumberScheduled: int32(len(w.nodes))}
	for _, node := range w.nodes {
		pod := &corev1.Pod{}
		// A new generation has pods of new names, as if they were random.
		var pods corev1.PodList
		if err := w.client.List(ctx, &pods, client.InNamespace(d.Namespace), client.MatchingLabels(d.Spec.Selector.MatchLabels)); err != nil {
			return err
		}
		found := false
		for i := range pods.Items {
			if pods.Items[i].Spec.NodeName == node {
				pod, found = &pods.Items[i], true
			}
		}
		switch {
		case !found:
			if err := w.client.Create(ctx, podOf(d, node)); err != nil {
				return err
			}
			continue
		case !pod.DeletionTimestamp.IsZero():
			if err := w.client.Delete(ctx, pod, client.GracePeriodSeconds(0)); err != nil {
				return err
			}
			continue
		}
		status.CurrentNumberScheduled++
		if sameTemplate(pod, d) {
			status.UpdatedNumberScheduled++
		} else if d.Spec.UpdateStrategy.Type == appsv1.RollingUpdateDaemonSetStrategyType {
			if err := w.client.Delete(ctx, pod); err != nil {
				return err
			}
		}
		ready, err := w.playKubelet(ctx, pod)
		if err != nil {
			return err
		}
		if ready {
			status.NumberReady++
			status.NumberAvailable++
		}
	}
	if equalStatus(d.Status, status) {
		return nil
	}
	d.Status = status
	return w.client.Status().Update(ctx, d)
}

func equalStatus(a, b appsv1.DaemonSetStatus) bool {
	return a.ObservedGeneration == b.ObservedGeneration && a.DesiredNumberScheduled == b.DesiredNumberScheduled && a.CurrentNumberScheduled == b.CurrentNumberScheduled &&
		a.UpdatedNumberScheduled == b.UpdatedNumberScheduled && a.NumberReady == b.NumberReady
}

func podOf(d *appsv1.DaemonSet, node string) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: *d.Spec.Template.ObjectMeta.DeepCopy(),
		Spec:       *d.Spec.Template.Spec.DeepCopy(),
	}
	pod.Namespace, pod.GenerateName = d.Namespace, d.Name+"-"
	pod.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(d, appsv1.SchemeGroupVersion.WithKind("DaemonSet"))}
	pod.Spec.NodeName = node
	return pod
}

func sameTemplate(pod *corev1.Pod, d *appsv1.DaemonSet) bool {
	return maps.Equal(pod.Annotations, d.Spec.Template.Annotations) && pod.Spec.Containers[0].Image == d.Spec.Template.Spec.Containers[0].Image
}

// playKubelet starts a pod, unless its node is broken.
func (w *world) playKubelet(ctx context.Context, pod *corev1.Pod) (ready bool, err error) {
	if len(pod.Status.ContainerStatuses) == 0 {
		for _, container := range pod.Spec.Containers {
			pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{
				Name: container.Name, Image: container.Image, ImageID: container.Image, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}},
			})
		}
		pod.Status.Phase = corev1.PodRunning
	}
	wanted := corev1.ConditionTrue
	if w.broken[pod.Spec.NodeName] {
		wanted = corev1.ConditionFalse
	}
	if len(pod.Status.Conditions) == 1 && pod.Status.Conditions[0].Status == wanted {
		return wanted == corev1.ConditionTrue, nil
	}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: wanted}}
	return false, w.client.Status().Update(ctx, pod)
}

// playAgents report what each node's VPP does. Times of the API have whole seconds, so a report after a restart has to be later than it
// by that much to be told from one before.
func (w *world) playAgents(ctx context.Context) error {
	begun, err := w.begun(ctx, "calico-vpp-dataplane", encryption.AgentNamespace)
	if err != nil {
		return err
	}
	for name, started := range begun {
		node := &corev1.Node{}
		if err := w.client.Get(ctx, client.ObjectKey{Name: name}, node); err != nil {
			return err
		}
		report := corev1.NodeCondition{Type: encryption.NodeCondition, Status: corev1.ConditionTrue, Reason: encryption.ReasonEncrypted, LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now()}
		if w.unproved[node.Name] || w.broken[node.Name] {
			report.Status, report.Reason, report.Message = corev1.ConditionFalse, encryption.ReasonTunnelMissing, "no tunnel"
		}
		if n := len(node.Status.Conditions); n == 1 && node.Status.Conditions[0].Status == report.Status && node.Status.Conditions[0].LastHeartbeatTime.After(started) {
			continue
		}
		if report.Status == corev1.ConditionTrue {
			w.proofs[node.Name]++
		}
		node.Status.Conditions = []corev1.NodeCondition{report}
		if err := w.client.Status().Update(ctx, node); err != nil {
			return err
		}
	}
	return nil
}

// begun is when the newest pod of each node in the namespaces was started.
func (w *world) begun(ctx context.Context, namespaces ...string) (map[string]time.Time, error) {
	newest := map[string]time.Time{}
	for _, namespace := range namespaces {
		pods := &corev1.PodList{}
		if err := w.client.List(ctx, pods, client.InNamespace(namespace)); err != nil {
			return nil, err
		}
		for i := range pods.Items {
			pod := &pods.Items[i]
			if len(pod.Status.ContainerStatuses) == 0 {
				continue
			}
			if started := pod.Status.ContainerStatuses[0].State.Running.StartedAt.Time; started.After(newest[pod.Spec.NodeName]) {
				newest[pod.Spec.NodeName] = started
			}
		}
	}
	return newest, nil
}

// playOperator makes what the Tigera operator makes once it runs: calico-node, and its reports. It fills in defaults in the
// Installation, in a list that nobody else may then own.
func (w *world) playOperator(ctx context.Context) error {
	running := &appsv1.Deployment{}
	if err := w.client.Get(ctx, client.ObjectKey{Namespace: "tigera-operator", Name: "tigera-operator"}, running); err != nil || running.Status.AvailableReplicas == 0 {
		return err
	}
	installation := object(operatorAPI, "Installation", "default")
	if err := w.client.Get(ctx, client.ObjectKeyFromObject(installation), installation); err != nil {
		return err
	}
	pools, _, err := unstructured.NestedSlice(installation.Object, "spec", "calicoNetwork", "ipPools")
	if err != nil {
		return err
	}
	changed := false
	for _, pool := range pools {
		if p, ok := pool.(map[string]any); ok && p["assignmentMode"] == nil {
			p["assignmentMode"], p["allowedUses"], changed = "Automatic", []any{"Workload", "Tunnel"}, true
		}
	}
	if changed {
		if err := unstructured.SetNestedSlice(installation.Object, pools, "spec", "calicoNetwork", "ipPools"); err != nil {
			return err
		}
		if err := w.client.Update(ctx, installation, client.FieldOwner("operator")); err != nil {
			return err
		}
	}
	if err := w.makeCalicoNode(ctx); err != nil {
		return err
	}
	for _, name := range []string{"ippools", "calico", "apiserver"} {
		if err := w.report(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) makeCalicoNode(ctx context.Context) error {
	labels := map[string]string{"k8s-app": "calico-node"}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "calico-system"}}
	if err := w.client.Create(ctx, namespace); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	err := w.client.Create(ctx, &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace.Name, Name: "calico-node"},
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "calico-node", Image: "quay.io/calico/node:v3.32.1"}}}},
		},
	}, client.FieldOwner("operator"))
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (w *world) report(ctx context.Context, name string) error {
	status := object(operatorAPI, "TigeraStatus", name)
	if err := w.client.Create(ctx, status.DeepCopy()); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	if err := w.client.Get(ctx, client.ObjectKeyFromObject(status), status); err != nil {
		return err
	}
	if status.Object["status"] != nil {
		return nil
	}
	condition, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&metav1.Condition{Type: "Available", Status: metav1.ConditionTrue, Reason: "AllObjectsAvailable", LastTransitionTime: metav1.Now()})
	if err != nil {
		return err
	}
	status.Object["status"] = map[string]any{"conditions": []any{condition}}
	return w.client.Status().Update(ctx, status)
}
