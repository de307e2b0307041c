// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// The real kubelet's rhythm: it renews the Lease every 10 s and reports an unchanged status every 5 minutes.
const (
	leaseInterval  = 10 * time.Second
	leaseDuration  = 40 * time.Second
	statusInterval = 5 * time.Minute
	registerRetry  = 300 * time.Millisecond
)

// keepNode registers the Node and then keeps its status and Lease fresh.
func (k *instance) keepNode(ctx context.Context) {
	for registered := false; !registered; {
		step, cancel := context.WithCancel(ctx)
		k.every(step, registerRetry, "registering the node", func(ctx context.Context) error {
			// An API server that starts takes connections before it answers them: better to try again soon.
			attempt, done := context.WithTimeout(ctx, 2*time.Second)
			defer done()
			err := k.register(attempt)
			if err == nil {
				registered = true
				cancel()
			}
			return err
		})
		cancel()
		if ctx.Err() != nil {
			return
		}
	}
	k.Logf("kubelet: registered node %s", k.settings.NodeName)
	close(k.registered)
	var lastStatus time.Time
	k.every(ctx, leaseInterval, "keeping the node", func(ctx context.Context) error {
		if err := k.renewLease(ctx); err != nil {
			return fmt.Errorf("renewing the lease: %w", err)
		}
		if time.Since(lastStatus) < statusInterval {
			return nil
		}
		if err := k.reportStatus(ctx); err != nil {
			return fmt.Errorf("reporting the status: %w", err)
		}
		lastStatus = time.Now()
		return nil
	})
}

// register makes the Node and its first status. A Node that is there already stays as it is but for the status.
func (k *instance) register(ctx context.Context) error {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: k.settings.NodeName, Labels: k.labels()},
		Spec:       corev1.NodeSpec{ProviderID: k.settings.ProviderID, Taints: k.settings.Taints},
	}
	if k.settings.ExternalCloud {
		node.Spec.Taints = append(node.Spec.Taints, corev1.Taint{
			Key: "node.cloudprovider.kubernetes.io/uninitialized", Value: "true", Effect: corev1.TaintEffectNoSchedule,
		})
	}
	node.Status = k.status()
	_, err := k.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (k *instance) labels() map[string]string {
	arch := k.arch()
	labels := map[string]string{
		corev1.LabelHostname: k.settings.NodeName, corev1.LabelOSStable: "linux", corev1.LabelArchStable: arch,
		"beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": arch,
	}
	maps.Copy(labels, k.settings.Labels)
	return labels
}

// arch is the machine's architecture in Go's words.
func (k *instance) arch() string {
	if k.Hardware.CPU.Arch == "aarch64" {
		return "arm64"
	}
	return "amd64"
}

func (k *instance) status() corev1.NodeStatus {
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:              *resource.NewQuantity(int64(k.Hardware.CPU.Count), resource.DecimalSI),
		corev1.ResourceMemory:           *resource.NewQuantity(int64(k.Hardware.RAMMebibytes)<<20, resource.BinarySI),
		corev1.ResourcePods:             *resource.NewQuantity(int64(k.settings.MaxPods), resource.DecimalSI),
		corev1.ResourceEphemeralStorage: *resource.NewQuantity(k.diskBytes(), resource.BinarySI),
	}
	return corev1.NodeStatus{
		Capacity: capacity, Allocatable: capacity,
		Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: k.nodeIP.String()},
			{Type: corev1.NodeHostName, Address: k.settings.NodeName},
		},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: Port}},
		NodeInfo: corev1.NodeSystemInfo{
			MachineID: k.MachineID, SystemUUID: k.MachineID, BootID: k.MachineID,
			KernelVersion: "6.1.0-lab", OSImage: "EdgeMetal lab image (simulated)", ContainerRuntimeVersion: "containerd://2.1.0",
			KubeletVersion: k.Version, OperatingSystem: "linux", Architecture: k.arch(),
		},
		Conditions: k.conditions(),
	}
}

func (k *instance) diskBytes() int64 {
	if len(k.Hardware.Storage) == 0 {
		return 0
	}
	return int64(k.Hardware.Storage[0].SizeBytes)
}

func (k *instance) conditions() []corev1.NodeCondition {
	now := metav1.Now()
	condition := func(kind corev1.NodeConditionType, status corev1.ConditionStatus, reason, message string) corev1.NodeCondition {
		return corev1.NodeCondition{Type: kind, Status: status, Reason: reason, Message: message, LastHeartbeatTime: now, LastTransitionTime: now}
	}
	return []corev1.NodeCondition{
		condition(corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
		condition(corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
		condition(corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
		condition(corev1.NodeReady, corev1.ConditionTrue, "KubeletReady", "kubelet is posting ready status"),
	}
}

// reportStatus writes the status; conditions keep their transition time while they stay the same.
func (k *instance) reportStatus(ctx context.Context) error {
	nodes := k.client.CoreV1().Nodes()
	node, err := nodes.Get(ctx, k.settings.NodeName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	status := k.status()
	for i := range status.Conditions {
		for _, old := range node.Status.Conditions {
			if old.Type == status.Conditions[i].Type && old.Status == status.Conditions[i].Status {
				status.Conditions[i].LastTransitionTime = old.LastTransitionTime
			}
		}
	}
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return fmt.Errorf("encoding the status: %w", err)
	}
	_, err = nodes.Patch(ctx, k.settings.NodeName, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

func (k *instance) renewLease(ctx context.Context) error {
	leases := k.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	now := metav1.NewMicroTime(time.Now())
	spec := coordinationv1.LeaseSpec{
		HolderIdentity: &k.settings.NodeName, LeaseDurationSeconds: new(int32(leaseDuration.Seconds())), RenewTime: &now,
	}
	lease, err := leases.Get(ctx, k.settings.NodeName, metav1.GetOptions{})
	if err == nil {
		lease.Spec = spec
		_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
		return err
	}
	if !apierrors.IsNotFound(err) {
		return err
	}
	node, err := k.client.CoreV1().Nodes().Get(ctx, k.settings.NodeName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	_, err = leases.Create(ctx, &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Name: k.settings.NodeName, Namespace: corev1.NamespaceNodeLease, OwnerReferences: []metav1.OwnerReference{nodeOwner(node)},
		},
		Spec: spec,
	}, metav1.CreateOptions{})
	return err
}

func nodeOwner(node *corev1.Node) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID}
}
