// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	certutil "k8s.io/client-go/util/cert"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
	"k8s.io/cluster-bootstrap/token/jws"
	bootstraputil "k8s.io/cluster-bootstrap/token/util"
	kubeadmv1 "sigs.k8s.io/cluster-api/bootstrap/kubeadm/pkg/types/upstreamv1beta4"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/kubelet"
)

// defaultDiscovery is how long kubeadm tries to find the cluster.
const defaultDiscovery = 5 * time.Minute

// discover finds the cluster to join: its endpoint and its CA, verified. The result has no credentials.
func (r *runner) discover(ctx context.Context, join *kubeadmv1.JoinConfiguration) (*rest.Config, error) {
	switch discovery := join.Discovery; {
	case discovery.File != nil:
		return kubelet.LoadKubeconfig(r.Disk, discovery.File.KubeConfigPath)
	case discovery.BootstrapToken == nil:
		return nil, errors.New("discovery: neither bootstrapToken nor file is set")
	case len(discovery.BootstrapToken.CACertHashes) == 0 && !discovery.BootstrapToken.UnsafeSkipCAVerification:
		return nil, errors.New("discovery.bootstrapToken.caCertHashes: using token-based discovery without caCertHashes can be unsafe. Set unsafeSkipCAVerification to continue")
	}
	limit := defaultDiscovery
	if join.Timeouts != nil {
		limit = timeout(join.Timeouts.Discovery, limit)
	}
	token := join.Discovery.BootstrapToken
	r.say("discovery", "Reading cluster-info from %s", token.APIServerEndpoint)
	var found *rest.Config
	told := ""
	err := poll(ctx, limit, "couldn't validate the identity of the API Server", func(ctx context.Context) error {
		var err error
		found, err = clusterInfo(ctx, token)
		if err != nil && err.Error() != told {
			told = err.Error()
			r.say("discovery", "%s; will try again", told)
		}
		return err
	})
	return found, err
}

// clusterInfo reads cluster-info without trust, checks its signature with the token and its CA against the
// pinned hashes, and reads it again through the CA.
func clusterInfo(ctx context.Context, token *kubeadmv1.BootstrapTokenDiscovery) (*rest.Config, error) {
	insecure := &rest.Config{
		Host: "https://" + token.APIServerEndpoint, Timeout: 10 * time.Second, TLSClientConfig: rest.TLSClientConfig{Insecure: true},
	}
	untrusted, err := readClusterInfo(ctx, insecure, token.Token)
	if err != nil {
		return nil, err
	}
	ca := untrusted.CAData
	if err := checkPins(ca, token.CACertHashes); err != nil {
		return nil, err
	}
	secure := &rest.Config{Host: insecure.Host, Timeout: insecure.Timeout, TLSClientConfig: rest.TLSClientConfig{CAData: ca}}
	trusted, err := readClusterInfo(ctx, secure, token.Token)
	if err != nil {
		return nil, fmt.Errorf("with the cluster's CA: %w", err)
	}
	if !bytes.Equal(trusted.CAData, ca) {
		return nil, errors.New("the CA in cluster-info changed between two reads")
	}
	return trusted, nil
}

func readClusterInfo(ctx context.Context, config *rest.Config, token string) (*rest.Config, error) {
	id, secret, ok := strings.Cut(token, ".")
	if !ok || !bootstraputil.IsValidBootstrapToken(token) {
		return nil, errors.New("discovery.bootstrapToken.token: want the form abcdef.0123456789abcdef")
	}
	// No client with a REST mapper: an anonymous user may read this one object and nothing else.
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making the API client: %w", err)
	}
	info, err := clients.CoreV1().ConfigMaps(metav1.NamespacePublic).Get(ctx, bootstrapapi.ConfigMapClusterInfo, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("failed to request the cluster-info ConfigMap: %w", err)
	}
	content := info.Data[bootstrapapi.KubeConfigKey]
	signature, ok := info.Data[bootstrapapi.JWSSignatureKeyPrefix+id]
	if !ok {
		return nil, fmt.Errorf("there is no JWS signed token in the cluster-info ConfigMap: token id %q is invalid for this cluster or it has expired", id)
	}
	if !jws.DetachedTokenIsValid(signature, content, id, secret) {
		return nil, errors.New("failed to verify JWS signature of received cluster info object, can't trust this API Server")
	}
	parsed, err := clientcmd.Load([]byte(content))
	if err != nil {
		return nil, fmt.Errorf("cluster-info: %w", err)
	}
	for _, cluster := range parsed.Clusters {
		return &rest.Config{Host: cluster.Server, Timeout: config.Timeout, TLSClientConfig: rest.TLSClientConfig{CAData: cluster.CertificateAuthorityData}}, nil
	}
	return nil, errors.New("cluster-info names no cluster")
}

// checkPins wants the public key of one of the CA's certificates among the pins ("sha256:<hex>"); no pins, no check.
func checkPins(caPEM []byte, pins []string) error {
	if len(pins) == 0 {
		return nil
	}
	certificates, err := certutil.ParseCertsPEM(caPEM)
	if err != nil {
		return fmt.Errorf("cluster-info: reading the CA: %w", err)
	}
	for _, certificate := range certificates {
		sum := sha256.Sum256(certificate.RawSubjectPublicKeyInfo)
		if slices.Contains(pins, "sha256:"+hex.EncodeToString(sum[:])) {
			return nil
		}
	}
	return errors.New("cluster CA found in cluster-info ConfigMap is invalid: none of the public keys are pinned by caCertHashes")
}

// readyz asks the API server whether it is ready.
func readyz(ctx context.Context, config *rest.Config) error {
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making the API client: %w", err)
	}
	// An API server that starts takes connections before it answers them: better to try again soon.
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return clients.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
}

// readConfigMap is one value of a ConfigMap in kube-system.
func readConfigMap(ctx context.Context, c client.Client, name, key string) ([]byte, error) {
	object := &corev1.ConfigMap{}
	if err := c.Get(ctx, types.NamespacedName{Namespace: "kube-system", Name: name}, object); err != nil {
		return nil, fmt.Errorf("failed to get config map %s: %w", name, err)
	}
	value, ok := object.Data[key]
	if !ok {
		return nil, fmt.Errorf("config map %s has no key %s", name, key)
	}
	return []byte(value), nil
}
