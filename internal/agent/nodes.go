// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// Nodes are the cluster's Nodes, watched, with no more of each than the verdict needs.
type Nodes struct {
	client   rest.Interface
	store    cache.Store
	informer cache.Controller
	changed  chan struct{}
}

// NewClient makes a client for core/v1 only: the clients of all groups together would take most of the agent's memory.
func NewClient(config *rest.Config) (rest.Interface, error) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	config = rest.CopyConfig(config)
	config.APIPath = "/api"
	config.GroupVersion = &corev1.SchemeGroupVersion
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for the cluster: %w", err)
	}
	return client, nil
}

// NewNodes watches the Nodes that client reads, for the agent of one of them.
func NewNodes(client rest.Interface, own string) *Nodes {
	n := &Nodes{client: client, changed: make(chan struct{}, 1)}
	notify := func() {
		select {
		case n.changed <- struct{}{}:
		default: // One is waiting to be read.
		}
	}
	n.store, n.informer = cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.NewListWatchFromClient(client, "nodes", metav1.NamespaceAll, fields.Everything()),
		ObjectType:    &corev1.Node{},
		Transform:     func(item any) (any, error) { return trimNode(item, own), nil },
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { notify() },
			DeleteFunc: func(any) { notify() },
			UpdateFunc: func(before, after any) {
				if !sameNode(before, after) {
					notify()
				}
			},
		},
	})
	return n
}

// Run watches until ctx is done.
func (n *Nodes) Run(ctx context.Context) { n.informer.RunWithContext(ctx) }

// Changed receives when a Node has changed in what the verdict needs.
func (n *Nodes) Changed() <-chan struct{} { return n.changed }

// list returns all Nodes by name; false until they were listed once. They must not be changed.
func (n *Nodes) list() ([]*corev1.Node, bool) {
	if !n.informer.HasSynced() {
		return nil, false
	}
	var nodes []*corev1.Node
	for _, item := range n.store.List() {
		if node, ok := item.(*corev1.Node); ok {
			nodes = append(nodes, node)
		}
	}
	return nodes, true
}

// trimNode keeps of a Node what the verdict needs, and of the agent's own what its report needs. What other agents report is left out: it
// decides nothing here, and if each agent looked whenever another one reports, a change would make all look at all.
func trimNode(item any, own string) any {
	node, ok := item.(*corev1.Node)
	if !ok {
		return item
	}
	trimmed := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: node.Name, UID: node.UID, ResourceVersion: node.ResourceVersion, DeletionTimestamp: node.DeletionTimestamp,
		Annotations: map[string]string{},
	}}
	for _, key := range []string{encryption.PublicKeyAnnotation, encryption.AddressAnnotation} {
		if value, found := node.Annotations[key]; found {
			trimmed.Annotations[key] = value
		}
	}
	trimmed.Spec.Unschedulable = node.Spec.Unschedulable
	for _, address := range node.Status.Addresses {
		if address.Type == corev1.NodeInternalIP {
			trimmed.Status.Addresses = append(trimmed.Status.Addresses, address)
		}
	}
	if ready := condition(node, corev1.NodeReady); ready != nil {
		trimmed.Status.Conditions = append(trimmed.Status.Conditions, corev1.NodeCondition{
			Type: ready.Type, Status: ready.Status, LastTransitionTime: ready.LastTransitionTime,
		})
	}
	if node.Name != own {
		return trimmed
	}
	for _, taint := range node.Spec.Taints {
		if taint.Key == encryption.NotReadyTaint {
			trimmed.Spec.Taints = append(trimmed.Spec.Taints, taint)
		}
	}
	if reported := condition(node, encryption.NodeCondition); reported != nil {
		trimmed.Status.Conditions = append(trimmed.Status.Conditions, *reported)
	}
	return trimmed
}

// sameNode tells whether nothing has changed but versions and heartbeats.
func sameNode(before, after any) bool {
	a, okA := before.(*corev1.Node)
	b, okB := after.(*corev1.Node)
	if !okA || !okB {
		return false
	}
	a, b = a.DeepCopy(), b.DeepCopy()
	for _, node := range []*corev1.Node{a, b} {
		node.ResourceVersion = ""
		for i := range node.Status.Conditions {
			node.Status.Conditions[i].LastHeartbeatTime = metav1.Time{}
		}
	}
	return equality.Semantic.DeepEqual(a, b)
}

// nodeAddress is the IPv4 address that Calico uses for a Node, else its first internal one.
func nodeAddress(node *corev1.Node) netip.Addr {
	if prefix, err := netip.ParsePrefix(node.Annotations[encryption.AddressAnnotation]); err == nil {
		return prefix.Addr()
	}
	for _, address := range node.Status.Addresses {
		if parsed, err := netip.ParseAddr(address.Address); err == nil && parsed.Is4() && address.Type == corev1.NodeInternalIP {
			return parsed
		}
	}
	return netip.Addr{}
}

// condition finds one of a Node's, nil when it has none of the type.
func condition(node *corev1.Node, conditionType corev1.NodeConditionType) *corev1.NodeCondition {
	i := slices.IndexFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool { return c.Type == conditionType })
	if i < 0 {
		return nil
	}
	return &node.Status.Conditions[i]
}
