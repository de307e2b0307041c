// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package images

import (
	"context"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/kubelet"
)

const operatorInterval = time.Second

// operator plays the Tigera operator: it makes of Installation and APIServer what runs, and says in
// TigeraStatus how that is doing. It works with the rights of the pod's ServiceAccount.
type operator struct{}

// Run implements kubelet.Program.
func (operator) Run(ctx context.Context, c *kubelet.Container) error {
	config, err := c.RESTConfig()
	if err != nil {
		return err
	}
	api, err := client.New(config, client.Options{Scheme: scheme.Scheme})
	if err != nil {
		return err
	}
	c.SetReady(true)
	o := &reconciler{api: api}
	last := ""
	for {
		if err := o.reconcile(ctx); err != nil && ctx.Err() == nil && err.Error() != last {
			last = err.Error()
			c.Logf("%s", last)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(operatorInterval):
		}
	}
}

type reconciler struct {
	api client.Client
}

func operatorObject(kind, name string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(schema.GroupVersionKind{Group: "operator.tigera.io", Version: "v1", Kind: kind})
	object.SetName(name)
	return object
}

// reconcile does one round.
func (o *reconciler) reconcile(ctx context.Context) error {
	installation := operatorObject("Installation", "default")
	if err := o.api.Get(ctx, client.ObjectKeyFromObject(installation), installation); err != nil {
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("reading the Installation: %w", err)
	}
	if err := o.pools(ctx, installation); err != nil {
		return err
	}
	if err := o.calico(ctx, installation); err != nil {
		return err
	}
	server := operatorObject("APIServer", "default")
	if err := o.api.Get(ctx, client.ObjectKeyFromObject(server), server); err != nil {
		return client.IgnoreNotFound(err)
	}
	apiServer := o.deployment("calico-apiserver", image(installation, "calico/apiserver"))
	if err := o.ensure(ctx, apiServer); err != nil {
		return err
	}
	return o.setStatus(ctx, "apiserver", unavailable(apiServer))
}

// calico makes calico-node and what belongs to it.
func (o *reconciler) calico(ctx context.Context, installation *unstructured.Unstructured) error {
	node := calicoNode(installation)
	controllers := o.deployment("calico-kube-controllers", image(installation, "calico/kube-controllers"))
	for _, object := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: calicoNamespace}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: calicoNamespace, Name: "calico-node"}},
		node, controllers,
	} {
		if err := o.ensure(ctx, object); err != nil {
			return err
		}
	}
	status := node.Status
	problem := unavailable(controllers)
	if status.ObservedGeneration != node.Generation || status.DesiredNumberScheduled == 0 || status.NumberAvailable < status.DesiredNumberScheduled ||
		status.UpdatedNumberScheduled < status.DesiredNumberScheduled {
		problem = fmt.Sprintf("DaemonSet %q is not available (awaiting %d nodes)", calicoNamespace+"/calico-node", status.DesiredNumberScheduled-status.NumberAvailable)
	}
	return o.setStatus(ctx, "calico", problem)
}

// unavailable says why a Deployment is not available; empty when it is.
func unavailable(deployment *appsv1.Deployment) string {
	if deployment.Status.ObservedGeneration == deployment.Generation && deployment.Status.AvailableReplicas > 0 {
		return ""
	}
	return fmt.Sprintf("Deployment %q is not available (awaiting 1 replicas)", deployment.Namespace+"/"+deployment.Name)
}

// ensure makes the object, or brings back what was changed of its spec.
func (o *reconciler) ensure(ctx context.Context, object client.Object) error {
	wanted := object.DeepCopyObject()
	_, err := controllerutil.CreateOrUpdate(ctx, o.api, object, func() error {
		switch wanted := wanted.(type) {
		case *appsv1.DaemonSet:
			existing := object.(*appsv1.DaemonSet)
			existing.Spec.Template.Spec.Containers[0].Image = wanted.Spec.Template.Spec.Containers[0].Image
		case *appsv1.Deployment:
			existing := object.(*appsv1.Deployment)
			existing.Spec.Template.Spec.Containers[0].Image = wanted.Spec.Template.Spec.Containers[0].Image
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("ensuring %T %s: %w", object, object.GetName(), err)
	}
	return nil
}

// setStatus writes a TigeraStatus: available without a problem.
func (o *reconciler) setStatus(ctx context.Context, name, problem string) error {
	status := operatorObject("TigeraStatus", name)
	if err := o.api.Get(ctx, client.ObjectKeyFromObject(status), status); apierrors.IsNotFound(err) {
		if err := o.api.Create(ctx, status); err != nil {
			return fmt.Errorf("creating TigeraStatus %s: %w", name, err)
		}
	} else if err != nil {
		return fmt.Errorf("reading TigeraStatus %s: %w", name, err)
	}
	before := status.DeepCopy()
	condition := func(kind string, is bool, message string) map[string]any {
		value := "False"
		if is {
			value = "True"
		}
		c := map[string]any{"type": kind, "status": value, "reason": "AllObjectsAvailable", "message": message, "lastTransitionTime": time.Now().UTC().Format(time.RFC3339)}
		if problem != "" {
			c["reason"] = "ResourceNotReady"
		}
		return keepTime(c, before)
	}
	conditions := []any{
		condition("Available", problem == "", problem), condition("Progressing", problem != "", problem), condition("Degraded", false, ""),
	}
	if err := unstructured.SetNestedSlice(status.Object, conditions, "status", "conditions"); err != nil {
		return err
	}
	// Without a subresource the status is part of the object; the patch fits both.
	err := o.api.Status().Patch(ctx, status, client.MergeFrom(before))
	if apierrors.IsNotFound(err) {
		err = o.api.Patch(ctx, status, client.MergeFrom(before))
	}
	if err != nil {
		return fmt.Errorf("writing TigeraStatus %s: %w", name, err)
	}
	return nil
}

// keepTime keeps the transition time of a condition whose status stays.
func keepTime(condition map[string]any, before *unstructured.Unstructured) map[string]any {
	old, _, _ := unstructured.NestedSlice(before.Object, "status", "conditions")
	i := slices.IndexFunc(old, func(o any) bool {
		c, ok := o.(map[string]any)
		return ok && c["type"] == condition["type"] && c["status"] == condition["status"]
	})
	if i >= 0 {
		condition["lastTransitionTime"] = old[i].(map[string]any)["lastTransitionTime"]
	}
	return condition
}
