// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package boot plays what a host does once it is switched on with an image on its disk: it reads its config drive's
// documents, from which the kubelet's arguments and the cluster's endpoint follow, and registers a Node there. No shell
// and no kubeadm run: that the documents work on a host is what the lab's simulated and virtual hosts show.
package boot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/cloudinit"
)

const (
	dropInDir    = "/etc/systemd/system/kubelet.service.d/"
	initConfig   = "/run/kubeadm/kubeadm.yaml"
	joinConfig   = "/run/kubeadm/kubeadm-join-config.yaml"
	providerFlag = "--provider-id="
	addressFlag  = "--node-ip="
)

// Booter boots hosts.
type Booter struct {
	// Client reads hosts and Secrets of the management cluster.
	Client client.Reader
	// Join registers a Node with the cluster whose control plane has the endpoint, a "host:port".
	Join func(ctx context.Context, endpoint string, node *corev1.Node) error
}

// OnPower is called when a host with an image is switched on or off. Off does nothing: a Node stays when its host stops.
func (b Booter) OnPower(ctx context.Context, key types.NamespacedName, on bool) error {
	if !on {
		return nil
	}
	host := &bmov1.BareMetalHost{}
	if err := b.Client.Get(ctx, key, host); err != nil {
		return fmt.Errorf("boot host %s: %w", key, err)
	}
	if host.Spec.UserData == nil || host.Spec.MetaData == nil {
		return fmt.Errorf("boot host %s: it has no user data or no metadata", key)
	}
	userData, err := b.document(ctx, host.Namespace, host.Spec.UserData.Name, "userData")
	if err != nil {
		return fmt.Errorf("boot host %s: %w", key, err)
	}
	metaData, err := b.document(ctx, host.Namespace, host.Spec.MetaData.Name, "metaData")
	if err != nil {
		return fmt.Errorf("boot host %s: %w", key, err)
	}
	endpoint, node, err := Read(userData, metaData)
	if err != nil {
		return fmt.Errorf("boot host %s: %w", key, err)
	}
	return b.Join(ctx, endpoint, node)
}

func (b Booter) document(ctx context.Context, namespace, name, key string) ([]byte, error) {
	secret := &corev1.Secret{}
	if err := b.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, secret); err != nil {
		return nil, fmt.Errorf("read Secret %s: %w", name, err)
	}
	if len(secret.Data[key]) == 0 {
		return nil, fmt.Errorf("key %s of Secret %s is empty", key, name)
	}
	return secret.Data[key], nil
}

// Read finds the endpoint of the cluster that a host joins, and the Node that its kubelet registers.
func Read(userData, metaData []byte) (endpoint string, node *corev1.Node, err error) {
	var meta map[string]any
	if err := json.Unmarshal(metaData, &meta); err != nil {
		return "", nil, fmt.Errorf("decode the metadata: %w", err)
	}
	name, _ := meta["local-hostname"].(string)
	if name == "" {
		return "", nil, errors.New("the metadata have no local-hostname")
	}
	parsed, err := cloudinit.Parse(userData, cloudinit.InstanceData(meta))
	if err != nil {
		return "", nil, fmt.Errorf("read the user data: %w", err)
	}
	files := map[string][]byte{}
	for _, file := range parsed.Files(false) {
		files[file.Path] = file.Content
	}
	if endpoint, err = endpointOf(files); err != nil {
		return "", nil, err
	}
	providerID := kubeletArgument(files, providerFlag)
	if providerID == "" {
		return "", nil, fmt.Errorf("no drop-in in %s gives the kubelet %s", dropInDir, providerFlag)
	}
	return endpoint, newNode(name, providerID, kubeletArgument(files, addressFlag)), nil
}

// endpointOf reads what kubeadm is told of the control plane.
func endpointOf(files map[string][]byte) (string, error) {
	for _, path := range []string{initConfig, joinConfig} {
		for document := range bytes.SplitSeq(files[path], []byte("\n---\n")) {
			var config struct {
				ControlPlaneEndpoint string `json:"controlPlaneEndpoint"`
				Discovery            struct {
					BootstrapToken struct {
						APIServerEndpoint string `json:"apiServerEndpoint"`
					} `json:"bootstrapToken"`
				} `json:"discovery"`
			}
			if err := yaml.Unmarshal(document, &config); err != nil {
				return "", fmt.Errorf("decode %s: %w", path, err)
			}
			for _, endpoint := range []string{config.ControlPlaneEndpoint, config.Discovery.BootstrapToken.APIServerEndpoint} {
				if endpoint != "" {
					return endpoint, nil
				}
			}
		}
	}
	return "", fmt.Errorf("neither %s nor %s names the control plane's endpoint", initConfig, joinConfig)
}

// kubeletArgument finds the value of a flag in the kubelet's drop-ins; the last one counts.
func kubeletArgument(files map[string][]byte, flag string) string {
	found := ""
	for path, content := range files {
		if !strings.HasPrefix(path, dropInDir) {
			continue
		}
		for word := range strings.FieldsSeq(string(content)) {
			if _, value, ok := strings.Cut(word, flag); ok {
				found = strings.Trim(value, `"'`)
			}
		}
	}
	return found
}

func newNode(name, providerID, address string) *corev1.Node {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}},
		Spec:       corev1.NodeSpec{ProviderID: providerID},
		Status: corev1.NodeStatus{
			Addresses: []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: name}},
			Conditions: []corev1.NodeCondition{{
				Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", LastTransitionTime: metav1.Now(),
			}},
			NodeInfo: corev1.NodeSystemInfo{OperatingSystem: "linux", Architecture: "amd64"},
		},
	}
	for ip := range strings.SplitSeq(address, ",") {
		if ip != "" {
			node.Status.Addresses = append(node.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: ip})
		}
	}
	return node
}
