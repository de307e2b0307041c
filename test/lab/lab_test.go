// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab"
)

const (
	startTimeout   = 30 * time.Minute // tools may have to be built
	commandTimeout = 3 * time.Minute
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard()) // libraries complain when there is none; the lab has its own
	os.Exit(m.Run())
}

func start(t *testing.T) *lab.Lab {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	l, err := lab.Start(ctx, lab.Options{Dir: t.TempDir(), Out: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Stop)
	return l
}

func clusterctl(t *testing.T, l *lab.Lab, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandTimeout)
	defer cancel()
	out, err := l.Clusterctl(ctx, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What a person does first: install the providers with clusterctl, meet the webhooks, remove it all.
func TestClusterctlInstallsAndRemovesProviders(t *testing.T) {
	l := start(t)
	clusterctl(t, l, "init", "--infrastructure", "-", "--ipam", "in-cluster", "--wait-providers")

	deployments := &appsv1.DeploymentList{}
	if err := l.Client().List(t.Context(), deployments, client.HasLabels{clusterv1.ProviderNameLabel}); err != nil {
		t.Fatal(err)
	}
	for _, d := range deployments.Items {
		if d.Status.AvailableReplicas != 1 {
			t.Errorf("Deployment %s has %d available replicas after --wait-providers", d.Name, d.Status.AvailableReplicas)
		}
	}
	if len(deployments.Items) != 4 {
		t.Errorf("%d Deployments of providers, want 4", len(deployments.Items))
	}
	t.Run("webhooks refuse", func(t *testing.T) { refuseBadCluster(t, l) })
	t.Run("a Cluster is reconciled and described", func(t *testing.T) { describeCluster(t, l) })
	t.Run("a killed provider comes back", func(t *testing.T) { killProvider(t, l) })

	clusterctl(t, l, "delete", "--all")
	eventually(t, "all providers' pods gone", func() bool {
		pods := &corev1.PodList{}
		err := l.Client().List(t.Context(), pods, client.HasLabels{clusterv1.ProviderNameLabel})
		return err == nil && len(pods.Items) == 0
	})
	if err := l.Err(); err != nil {
		t.Error(err)
	}
}

func refuseBadCluster(t *testing.T, l *lab.Lab) {
	t.Helper()
	cluster := newCluster("site-1")
	cluster.Spec = clusterv1.ClusterSpec{ControlPlaneEndpoint: clusterv1.APIEndpoint{Host: "192.0.2.10", Port: 6443}}
	// That one of the references must be set is known to nobody but Cluster API's webhook.
	var err error
	eventually(t, "the API server trusts the webhooks' authority", func() bool {
		err = l.Client().Create(t.Context(), cluster)
		return err == nil || !strings.Contains(err.Error(), "certificate signed by unknown authority")
	})
	if !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err) {
		t.Fatalf("creating a Cluster without references: %v, want it refused", err)
	}
	if !strings.Contains(err.Error(), "validation.cluster.cluster.x-k8s.io") {
		t.Errorf("refused by someone else than the webhook: %v", err)
	}
}

func describeCluster(t *testing.T, l *lab.Lab) {
	t.Helper()
	cluster := newCluster("site-1")
	if err := l.Client().Create(t.Context(), cluster); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the core provider's finalizer on the Cluster", func() bool {
		err := l.Client().Get(t.Context(), client.ObjectKeyFromObject(cluster), cluster)
		return err == nil && len(cluster.Finalizers) > 0
	})
	out := clusterctl(t, l, "describe", "cluster", "site-1")
	if !strings.Contains(out, "Cluster default/site-1") {
		t.Errorf("clusterctl describe printed %q", out)
	}
	if err := l.Client().Delete(t.Context(), cluster); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Cluster site-1 gone", func() bool {
		return apierrors.IsNotFound(l.Client().Get(t.Context(), client.ObjectKeyFromObject(cluster), cluster))
	})
}

func killProvider(t *testing.T, l *lab.Lab) {
	t.Helper()
	status := func() *corev1.ContainerStatus {
		pods := &corev1.PodList{}
		err := l.Client().List(t.Context(), pods, client.MatchingLabels{clusterv1.ProviderNameLabel: "bootstrap-kubeadm"})
		if err != nil || len(pods.Items) != 1 || len(pods.Items[0].Status.ContainerStatuses) != 1 {
			return nil
		}
		return &pods.Items[0].Status.ContainerStatuses[0]
	}
	before := status()
	if before == nil {
		t.Fatal("the bootstrap provider has no pod with one container")
	}
	if err := l.Node().Kill("bootstrap-kubeadm"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the bootstrap provider restarted and ready", func() bool {
		now := status()
		return now != nil && now.RestartCount == before.RestartCount+1 && now.Ready
	})
}

func newCluster(name string) *clusterv1.Cluster {
	return &clusterv1.Cluster{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: name},
		Spec: clusterv1.ClusterSpec{ControlPlaneRef: clusterv1.ContractVersionedObjectReference{
			APIGroup: "controlplane.cluster.x-k8s.io", Kind: "KubeadmControlPlane", Name: name,
		}},
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("after a minute not yet: %s", what)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
