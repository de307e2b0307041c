// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	tokenLifetime = 24 * time.Hour
	// tokenRenewal leaves half of a token's life to try again.
	tokenRenewal = tokenLifetime / 2
)

// writeVolumes stores the Secrets that the pod mounts. The projected token volume is not needed: the
// process has a kubeconfig.
func writeVolumes(ctx context.Context, reader client.Reader, pod *corev1.Pod, dir string) error {
	for _, volume := range pod.Spec.Volumes {
		if volume.Secret == nil {
			continue
		}
		secret := &corev1.Secret{}
		key := client.ObjectKey{Namespace: pod.Namespace, Name: volume.Secret.SecretName}
		if err := reader.Get(ctx, key, secret); err != nil {
			return fmt.Errorf("mount volume %s: %w", volume.Name, err)
		}
		target := volumePath(dir, volume.Name)
		if err := os.MkdirAll(target, 0o700); err != nil {
			return fmt.Errorf("mount volume %s: %w", volume.Name, err)
		}
		for name, data := range secret.Data {
			if err := os.WriteFile(filepath.Join(target, filepath.Base(name)), data, 0o600); err != nil {
				return fmt.Errorf("mount volume %s: %w", volume.Name, err)
			}
		}
	}
	return nil
}

// writeToken asks for a token of the pod's ServiceAccount, bound to the pod, and stores it where the
// pod's kubeconfig points. Running clients read it again by themselves.
func writeToken(ctx context.Context, c client.Client, pod *corev1.Pod, dir string) error {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
		Namespace: pod.Namespace, Name: pod.Spec.ServiceAccountName,
	}}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: new(int64(tokenLifetime.Seconds())),
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	if err := c.SubResource("token").Create(ctx, account, request); err != nil {
		return fmt.Errorf("request a token of ServiceAccount %s: %w", client.ObjectKeyFromObject(account), err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("store the token: %w", err)
	}
	fresh := tokenPath(dir) + ".new"
	if err := os.WriteFile(fresh, []byte(request.Status.Token), 0o600); err != nil {
		return fmt.Errorf("store the token: %w", err)
	}
	if err := os.Rename(fresh, tokenPath(dir)); err != nil {
		return fmt.Errorf("store the token: %w", err)
	}
	return nil
}

// writeKubeconfig lets a process reach the API server with the token and nothing else.
func writeKubeconfig(config *rest.Config, namespace, dir string) error {
	const name = "lab"
	kubeconfig := clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{
			name: {Server: config.Host, CertificateAuthorityData: config.CAData},
		},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{name: {TokenFile: tokenPath(dir)}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name, Namespace: namespace}},
		CurrentContext: name,
	}
	if err := clientcmd.WriteToFile(kubeconfig, kubeconfigPath(dir)); err != nil {
		return fmt.Errorf("write the kubeconfig of the pod: %w", err)
	}
	return nil
}

func tokenPath(dir string) string { return filepath.Join(dir, "token") }
