// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
	kubeadmv1 "sigs.k8s.io/cluster-api/bootstrap/kubeadm/pkg/types/upstreamv1beta4"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

const (
	tokenGroup        = "system:bootstrappers:kubeadm:default-node-token"
	kubeadmConfigName = "kubeadm-config"
	kubeletConfigName = "kubelet-config"
	kubeletConfigRole = "kubeadm:kubelet-config"
	kubeadmConfigRole = "kubeadm:nodes-kubeadm-config"
	clusterInfoRole   = "kubeadm:bootstrap-signer-clusterinfo"
	getNodesRole      = "kubeadm:get-nodes"
	clusterAdmins     = "kubeadm:cluster-admins"
)

func newClient(config *rest.Config) (client.Client, error) {
	c, err := client.New(config, client.Options{Scheme: scheme.Scheme})
	if err != nil {
		return nil, fmt.Errorf("making the API client: %w", err)
	}
	return c, nil
}

// put creates objects, or brings those that exist into the same form.
func put(ctx context.Context, c client.Client, objects ...client.Object) error {
	for _, object := range objects {
		err := c.Create(ctx, object)
		if apierrors.IsAlreadyExists(err) {
			existing := object.DeepCopyObject().(client.Object)
			if err := c.Get(ctx, client.ObjectKeyFromObject(object), existing); err != nil {
				return fmt.Errorf("reading %s: %w", object.GetName(), err)
			}
			object.SetResourceVersion(existing.GetResourceVersion())
			err = c.Update(ctx, object)
		}
		if err != nil {
			return fmt.Errorf("writing %T %s: %w", object, object.GetName(), err)
		}
	}
	return nil
}

// uploadConfigs stores what joining hosts read: the cluster's and the kubelets' configuration.
func uploadConfigs(ctx context.Context, c client.Client, cluster *kubeadmv1.ClusterConfiguration, kubeletConfig []byte) error {
	clusterYAML, err := yaml.Marshal(cluster)
	if err != nil {
		return fmt.Errorf("encoding the cluster configuration: %w", err)
	}
	readers := []rbacv1.Subject{group(tokenGroup), group("system:nodes")}
	objects := []client.Object{
		configMap(metav1.NamespaceSystem, kubeadmConfigName, "ClusterConfiguration", string(clusterYAML)),
		configMap(metav1.NamespaceSystem, kubeletConfigName, "kubelet", string(kubeletConfig)),
	}
	objects = append(objects, configMapReaders(metav1.NamespaceSystem, kubeadmConfigRole, kubeadmConfigName, readers...)...)
	objects = append(objects, configMapReaders(metav1.NamespaceSystem, kubeletConfigRole, kubeletConfigName, readers...)...)
	return put(ctx, c, objects...)
}

// allowBootstrap stores the bootstrap tokens and the rules that let their holders join, and publishes
// cluster-info; the controller manager signs it for each token.
func allowBootstrap(ctx context.Context, c client.Client, tokens []kubeadmv1.BootstrapToken, server string, caPEM []byte) error {
	var objects []client.Object
	for _, token := range tokens {
		secret, err := tokenSecret(token)
		if err != nil {
			return err
		}
		objects = append(objects, secret)
	}
	info := clientcmdapi.NewConfig()
	info.Clusters[""] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: caPEM}
	infoYAML, err := clientcmd.Write(*info)
	if err != nil {
		return fmt.Errorf("encoding cluster-info: %w", err)
	}
	objects = append(objects,
		configMap(metav1.NamespacePublic, bootstrapapi.ConfigMapClusterInfo, bootstrapapi.KubeConfigKey, string(infoYAML)),
		clusterRoleBinding("kubeadm:kubelet-bootstrap", "system:node-bootstrapper", group(tokenGroup)),
		clusterRoleBinding("kubeadm:node-autoapprove-bootstrap", "system:certificates.k8s.io:certificatesigningrequests:nodeclient", group(tokenGroup)),
		clusterRoleBinding("kubeadm:node-autoapprove-certificate-rotation", "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", group("system:nodes")),
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: getNodesRole}, Rules: []rbacv1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"nodes"}}}},
		clusterRoleBinding(getNodesRole, getNodesRole, group(tokenGroup)),
	)
	anonymous := rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "system:anonymous"}
	objects = append(objects, configMapReaders(metav1.NamespacePublic, clusterInfoRole, bootstrapapi.ConfigMapClusterInfo, anonymous)...)
	return put(ctx, c, objects...)
}

// allowAdmins gives the group of admin.conf its power; only system:masters can do that.
func allowAdmins(ctx context.Context, c client.Client) error {
	return put(ctx, c,
		clusterRoleBinding(clusterAdmins, "cluster-admin", group(clusterAdmins)),
		clusterRoleBinding("kubeadm:apiserver-kubelet-client", "system:kubelet-api-admin",
			rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "kube-apiserver-kubelet-client"}),
	)
}

// markControlPlane waits for the Node and gives it the labels and taints of a control plane.
func markControlPlane(ctx context.Context, c client.Client, nodeName string, taints []corev1.Taint) error {
	return poll(ctx, 2*time.Minute, "marking node "+nodeName+" as control-plane", func(ctx context.Context) error {
		node := &corev1.Node{}
		if err := c.Get(ctx, types.NamespacedName{Name: nodeName}, node); err != nil {
			return err
		}
		before := node.DeepCopy()
		if node.Labels == nil {
			node.Labels = map[string]string{}
		}
		node.Labels[controlPlaneRole] = ""
		node.Labels[corev1.LabelNodeExcludeBalancers] = ""
		for _, taint := range taints {
			if !hasTaint(node.Spec.Taints, taint) {
				node.Spec.Taints = append(node.Spec.Taints, taint)
			}
		}
		// Strategic merging joins taints by key; a JSON merge with the lock replaces the list we read.
		return c.Patch(ctx, node, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	})
}

func hasTaint(taints []corev1.Taint, wanted corev1.Taint) bool {
	for _, taint := range taints {
		if taint.MatchTaint(&wanted) {
			return true
		}
	}
	return false
}

func configMap(namespace, name, key, value string) client.Object {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string]string{key: value}}
}

// configMapReaders are a Role to get one ConfigMap and its binding to the subjects.
func configMapReaders(namespace, name, configMap string, subjects ...rbacv1.Subject) []client.Object {
	meta := metav1.ObjectMeta{Namespace: namespace, Name: name}
	return []client.Object{
		&rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{
			Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{configMap},
		}}},
		&rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name}, Subjects: subjects},
	}
}

func clusterRoleBinding(name, role string, subjects ...rbacv1.Subject) client.Object {
	return &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Subjects: subjects,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
	}
}

func group(name string) rbacv1.Subject {
	return rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: name}
}

// tokenSecret is a bootstrap token as the API server reads it.
func tokenSecret(token kubeadmv1.BootstrapToken) (*corev1.Secret, error) {
	if token.Token == nil {
		return nil, fmt.Errorf("bootstrapTokens: a token is missing")
	}
	usages, groups := token.Usages, token.Groups
	if len(usages) == 0 {
		usages = []string{"signing", "authentication"}
	}
	if len(groups) == 0 {
		groups = []string{tokenGroup}
	}
	data := map[string]string{
		bootstrapapi.BootstrapTokenIDKey: token.Token.ID, bootstrapapi.BootstrapTokenSecretKey: token.Token.Secret,
		bootstrapapi.BootstrapTokenExtraGroupsKey: strings.Join(groups, ","),
	}
	if token.Description != "" {
		data[bootstrapapi.BootstrapTokenDescriptionKey] = token.Description
	}
	if expires := expiry(token); !expires.IsZero() {
		data[bootstrapapi.BootstrapTokenExpirationKey] = expires.UTC().Format(time.RFC3339)
	}
	for _, usage := range usages {
		data[bootstrapapi.BootstrapTokenUsagePrefix+usage] = "true"
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: bootstrapapi.BootstrapTokenSecretPrefix + token.Token.ID},
		Type:       bootstrapapi.SecretTypeBootstrapToken, StringData: data,
	}, nil
}

// randomToken is the token that kubeadm makes when the configuration has none.
func randomToken() (kubeadmv1.BootstrapToken, error) {
	const letters = "0123456789abcdefghijklmnopqrstuvwxyz"
	random := make([]byte, 22)
	if _, err := rand.Read(random); err != nil {
		return kubeadmv1.BootstrapToken{}, fmt.Errorf("making a bootstrap token: %w", err)
	}
	for i := range random {
		random[i] = letters[int(random[i])%len(letters)]
	}
	encoded, err := json.Marshal(string(random[:6]) + "." + string(random[6:]))
	if err != nil {
		return kubeadmv1.BootstrapToken{}, fmt.Errorf("making a bootstrap token: %w", err)
	}
	token := &kubeadmv1.BootstrapTokenString{}
	if err := token.UnmarshalJSON(encoded); err != nil {
		return kubeadmv1.BootstrapToken{}, fmt.Errorf("making a bootstrap token: %w", err)
	}
	return kubeadmv1.BootstrapToken{Token: token}, nil
}
