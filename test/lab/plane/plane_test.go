// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package plane_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/plane"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

func boot(t *testing.T, dir string) (*plane.Plane, kubernetes.Interface) {
	t.Helper()
	paths, err := tools.Ensure(t.Context(), tools.Etcd, tools.KubeAPIServer, tools.KubeControllerManager)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	p, err := plane.Boot(ctx, plane.Config{
		Dir:               dir,
		LogDir:            filepath.Join(dir, "logs"),
		Etcd:              paths[tools.Etcd],
		APIServer:         paths[tools.KubeAPIServer],
		ControllerManager: paths[tools.KubeControllerManager],
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	client, err := kubernetes.NewForConfig(p.RESTConfig())
	if err != nil {
		t.Fatal(err)
	}
	return p, client
}

// The controllers of a real cluster must work: garbage goes, namespaces end.
func TestPlaneCollectsGarbageAndEndsNamespaces(t *testing.T) {
	_, client := boot(t, t.TempDir())
	ctx := t.Context()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "site"}}
	if _, err := client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	secrets := client.CoreV1().Secrets("site")
	owner, err := secrets.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "owner"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	owned := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "owned", OwnerReferences: []metav1.OwnerReference{
		{APIVersion: "v1", Kind: "Secret", Name: owner.Name, UID: owner.UID},
	}}}
	if _, err := secrets.Create(ctx, owned, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := secrets.Delete(ctx, "owner", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventuallyGone(t, "the owned Secret", func() error {
		_, err := secrets.Get(ctx, "owned", metav1.GetOptions{})
		return err
	})
	if err := client.CoreV1().Namespaces().Delete(ctx, "site", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventuallyGone(t, "the namespace", func() error {
		_, err := client.CoreV1().Namespaces().Get(ctx, "site", metav1.GetOptions{})
		return err
	})
}

// A plane that is stopped and booted again in its folder still knows what was stored, and a
// kubeconfig handed out before still works.
func TestPlaneContinuesWhereItStopped(t *testing.T) {
	dir := t.TempDir()
	p, client := boot(t, dir)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kept"}}
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	p.Stop()
	boot(t, dir)
	if _, err := client.CoreV1().Namespaces().Get(t.Context(), "kept", metav1.GetOptions{}); err != nil {
		t.Errorf("the old client looks for the old namespace: %v", err)
	}
}

func eventuallyGone(t *testing.T, what string, get func() error) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		if apierrors.IsNotFound(get()) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("%s is still there after a minute", what)
}
