// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"context"
	"fmt"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// bundlesOf returns where an object keeps the authorities' certificates of its webhooks.
type bundlesOf[T client.Object] func(T) []*[]byte

func addInjectors(mgr ctrl.Manager, authority []byte) error {
	if err := addInjector(mgr, "validating", &admissionregistrationv1.ValidatingWebhookConfiguration{}, authority, validating); err != nil {
		return err
	}
	if err := addInjector(mgr, "mutating", &admissionregistrationv1.MutatingWebhookConfiguration{}, authority, mutating); err != nil {
		return err
	}
	return addInjector(mgr, "conversion", &apiextensionsv1.CustomResourceDefinition{}, authority, conversion)
}

func addInjector[T client.Object](mgr ctrl.Manager, name string, kind T, authority []byte, bundles bundlesOf[T]) error {
	asks := predicate.NewPredicateFuncs(func(o client.Object) bool {
		return o.GetAnnotations()[certmanagerv1.WantInjectAnnotation] != ""
	})
	err := ctrl.NewControllerManagedBy(mgr).
		Named("inject-" + name).
		For(kind).
		WithEventFilter(asks).
		WithOptions(options()).
		Complete(reconcile.AsReconciler[T](mgr.GetClient(), &injector[T]{mgr.GetClient(), authority, bundles}))
	if err != nil {
		return fmt.Errorf("set up the injection into %s webhooks: %w", name, err)
	}
	return nil
}

type injector[T client.Object] struct {
	client    client.Client
	authority []byte
	bundles   bundlesOf[T]
}

// Reconcile puts the authority's certificate into an object that asks for it and does not have it.
// Every certificate comes from the one authority, so the one that the annotation names need not be read.
func (i *injector[T]) Reconcile(ctx context.Context, object T) (ctrl.Result, error) {
	changed := false
	for _, bundle := range i.bundles(object) {
		if !bytes.Equal(*bundle, i.authority) {
			*bundle, changed = i.authority, true
		}
	}
	if !changed {
		return ctrl.Result{}, nil
	}
	if err := i.client.Update(ctx, object); err != nil {
		return ctrl.Result{}, fmt.Errorf("inject the authority into %s: %w", object.GetName(), err)
	}
	return ctrl.Result{}, nil
}

func validating(o *admissionregistrationv1.ValidatingWebhookConfiguration) []*[]byte {
	var bundles []*[]byte
	for i := range o.Webhooks {
		bundles = append(bundles, &o.Webhooks[i].ClientConfig.CABundle)
	}
	return bundles
}

func mutating(o *admissionregistrationv1.MutatingWebhookConfiguration) []*[]byte {
	var bundles []*[]byte
	for i := range o.Webhooks {
		bundles = append(bundles, &o.Webhooks[i].ClientConfig.CABundle)
	}
	return bundles
}

func conversion(o *apiextensionsv1.CustomResourceDefinition) []*[]byte {
	c := o.Spec.Conversion
	if c == nil || c.Webhook == nil || c.Webhook.ClientConfig == nil {
		return nil
	}
	return []*[]byte{&c.Webhook.ClientConfig.CABundle}
}
