// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package certs plays cert-manager: it issues the certificates that providers ask for and puts the
// authority's certificate where webhooks and CRD conversion need it. It serves cert-manager's own API,
// so that clusterctl finds cert-manager installed and providers ship unchanged.
package certs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/yaml"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/pki"
)

// CRDs reads cert-manager's CRDs from the unpacked source of its module.
func CRDs(source string) ([]*apiextensionsv1.CustomResourceDefinition, error) {
	files, err := filepath.Glob(filepath.Join(source, "deploy", "crds", "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("list cert-manager's CRDs: %w", err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no CRD of cert-manager in %s", source)
	}
	var crds []*apiextensionsv1.CustomResourceDefinition
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read a CRD of cert-manager: %w", err)
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.Unmarshal(data, crd); err != nil {
			return nil, fmt.Errorf("decode %s: %w", file, err)
		}
		crds = append(crds, crd)
	}
	return crds, nil
}

// Add adds the issuer and the injectors to a manager whose scheme holds cert-manager, core,
// admissionregistration and apiextensions.
func Add(mgr ctrl.Manager, authority *pki.Authority) error {
	issuer := &issuer{client: mgr.GetClient(), authority: authority}
	err := ctrl.NewControllerManagedBy(mgr).
		Named("certificates").
		For(&certmanagerv1.Certificate{}).
		WithOptions(options()).
		Complete(issuer)
	if err != nil {
		return fmt.Errorf("set up the issuer of certificates: %w", err)
	}
	return addInjectors(mgr, authority.Pair().Cert)
}

// options lets several labs live in one process, each with controllers of the same names.
func options() controller.Options { return controller.Options{SkipNameValidation: new(true)} }

type issuer struct {
	client    client.Client
	authority *pki.Authority
}

// Reconcile makes the Secret that a Certificate names, once: certificates are valid for a year, and a
// Secret that is deleted is made again when the Certificate changes or the lab starts.
func (i *issuer) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	certificate := &certmanagerv1.Certificate{}
	if err := i.client.Get(ctx, request.NamespacedName, certificate); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !certificate.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	if err := i.ensureSecret(ctx, certificate); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{}, i.markReady(ctx, certificate)
}

func (i *issuer) ensureSecret(ctx context.Context, certificate *certmanagerv1.Certificate) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: certificate.Namespace, Name: certificate.Spec.SecretName,
	}}
	_, err := controllerutil.CreateOrUpdate(ctx, i.client, secret, func() error {
		if len(secret.Data[corev1.TLSCertKey]) > 0 {
			return nil
		}
		pair, err := i.authority.Issue(pki.Request{
			CommonName: certificate.Name, DNSNames: certificate.Spec.DNSNames,
		})
		if err != nil {
			return err
		}
		secret.Type = corev1.SecretTypeTLS
		secret.Annotations = map[string]string{
			certmanagerv1.CertificateNameKey:      certificate.Name,
			certmanagerv1.IssuerNameAnnotationKey: certificate.Spec.IssuerRef.Name,
		}
		secret.Data = map[string][]byte{
			corev1.TLSCertKey:       pair.Cert,
			corev1.TLSPrivateKeyKey: pair.Key,
			cmmeta.TLSCAKey:         i.authority.Pair().Cert,
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("store the certificate in Secret %s: %w", client.ObjectKeyFromObject(secret), err)
	}
	return nil
}

func (i *issuer) markReady(ctx context.Context, certificate *certmanagerv1.Certificate) error {
	for _, condition := range certificate.Status.Conditions {
		if condition.Type == certmanagerv1.CertificateConditionReady && condition.Status == cmmeta.ConditionTrue {
			return nil
		}
	}
	certificate.Status.Conditions = []certmanagerv1.CertificateCondition{{
		Type:               certmanagerv1.CertificateConditionReady,
		Status:             cmmeta.ConditionTrue,
		Reason:             "Ready",
		Message:            "Certificate is up to date and has not expired",
		LastTransitionTime: new(metav1.Now()),
		ObservedGeneration: certificate.Generation,
	}}
	if err := i.client.Status().Update(ctx, certificate); err != nil {
		return fmt.Errorf("mark Certificate %s ready: %w", client.ObjectKeyFromObject(certificate), err)
	}
	return nil
}
