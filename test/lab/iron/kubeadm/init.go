// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"context"
	"errors"
	"fmt"
	"time"

	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
	kubeadmv1 "sigs.k8s.io/cluster-api/bootstrap/kubeadm/pkg/types/upstreamv1beta4"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/kubelet"
)

// defaultAPITimeout is kubeadm's for control-plane components and API calls.
const defaultAPITimeout = 4 * time.Minute

// init makes this host the first of a cluster.
func (r *runner) init(ctx context.Context, docs *documents) error {
	config, cluster := docs.init, docs.cluster
	if docs.join != nil {
		return errors.New("the configuration has a JoinConfiguration, which init does not take")
	}
	if config == nil {
		config = &kubeadmv1.InitConfiguration{}
	}
	if cluster == nil {
		cluster = &kubeadmv1.ClusterConfiguration{}
	}
	defaultCluster(cluster, r.Version)
	if err := errors.Join(checkCluster(cluster), r.defaultEndpoint(&config.LocalAPIEndpoint)); err != nil {
		return err
	}
	r.say("init", "Using Kubernetes version: %s", cluster.KubernetesVersion)
	if err := r.runChecks(config.NodeRegistration, r.controlPlaneChecks(cluster, config.LocalAPIEndpoint)); err != nil {
		return err
	}
	kubeletConfig, err := r.prepareInit(cluster, config, docs.kubelet)
	if err != nil {
		return err
	}
	if err := r.startKubelet(ctx); err != nil {
		return err
	}
	super, err := r.waitForAPI(ctx, "super-admin.conf", config.Timeouts)
	if err != nil {
		return err
	}
	return r.finishInit(ctx, super, cluster, config, kubeletConfig)
}

// prepareInit writes everything that has to be on the disk before the kubelet starts. It returns the
// kubelets' configuration.
func (r *runner) prepareInit(cluster *kubeadmv1.ClusterConfiguration, config *kubeadmv1.InitConfiguration, kubeletDoc *kubeletv1beta1.KubeletConfiguration) ([]byte, error) {
	nodeName, local := r.nodeName(config.NodeRegistration), config.LocalAPIEndpoint
	ca, err := r.writeCertificates(cluster, nodeName, local, false)
	if err != nil {
		return nil, err
	}
	endpoint, err := controlPlaneURL(cluster, local)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		r.writeControlPlaneKubeconfigs(ca, endpoint, local),
		// As kubeadm does: this one talks to the host's own API server, whatever the endpoint's state.
		r.writeKubeconfig(ca, "super-admin.conf", localURL(local), leaf{commonName: "kubernetes-super-admin", organization: "system:masters"}),
		r.writeKubeconfig(ca, "kubelet.conf", localURL(local), leaf{commonName: "system:node:" + nodeName, organization: "system:nodes"}),
		r.writeEtcdManifest(cluster, nodeName, local.AdvertiseAddress, nil),
		r.writeControlPlaneManifests(cluster, local),
	)
	if err != nil {
		return nil, err
	}
	if kubeletDoc == nil {
		kubeletDoc = &kubeletv1beta1.KubeletConfiguration{}
	}
	defaultKubelet(kubeletDoc, cluster)
	kubeletConfig, err := encodeKubelet(kubeletDoc)
	if err != nil {
		return nil, err
	}
	return kubeletConfig, r.writeKubeletFiles(kubeletConfig, config.NodeRegistration, controlPlaneTaints(config.NodeRegistration))
}

// waitForAPI waits until the API server that the kubeconfig points to is up, and returns a client.
func (r *runner) waitForAPI(ctx context.Context, kubeconfig string, timeouts *kubeadmv1.Timeouts) (client.Client, error) {
	config, err := kubelet.LoadKubeconfig(r.Disk, kubernetesDir+"/"+kubeconfig)
	if err != nil {
		return nil, err
	}
	limit := defaultAPITimeout
	if timeouts != nil {
		limit = timeout(timeouts.ControlPlaneComponentHealthCheck, limit)
	}
	r.say("wait-control-plane", "Waiting for a healthy API server at %s. This can take up to %s", config.Host, limit)
	begin := time.Now()
	err = poll(ctx, limit, "waiting for the API server", func(ctx context.Context) error { return readyz(ctx, config) })
	if err != nil {
		return nil, fmt.Errorf("[wait-control-plane] the control plane did not come up: %w", err)
	}
	r.say("control-plane-check", "kube-apiserver is healthy after %s", time.Since(begin).Round(time.Millisecond))
	return newClient(config)
}

// finishInit stores in the cluster what administrators and joining hosts need.
func (r *runner) finishInit(ctx context.Context, super client.Client, cluster *kubeadmv1.ClusterConfiguration, config *kubeadmv1.InitConfiguration, kubeletConfig []byte) error {
	nodeName := r.nodeName(config.NodeRegistration)
	tokens := config.BootstrapTokens
	if len(tokens) == 0 {
		token, err := randomToken()
		if err != nil {
			return err
		}
		tokens = []kubeadmv1.BootstrapToken{token}
	}
	caPEM, err := r.Disk.Read(cluster.CertificatesDir + "/ca.crt")
	if err != nil {
		return err
	}
	endpoint, err := controlPlaneURL(cluster, config.LocalAPIEndpoint)
	if err != nil {
		return err
	}
	steps := []struct {
		phase string
		run   func(context.Context) error
	}{
		{"bootstrap-rbac", func(ctx context.Context) error { return allowAdmins(ctx, super) }},
		{"upload-config", func(ctx context.Context) error { return uploadConfigs(ctx, super, cluster, kubeletConfig) }},
		{"mark-control-plane", func(ctx context.Context) error {
			return markControlPlane(ctx, super, nodeName, controlPlaneTaints(config.NodeRegistration))
		}},
		{"bootstrap-token", func(ctx context.Context) error { return allowBootstrap(ctx, super, tokens, endpoint, caPEM) }},
	}
	for _, step := range steps {
		r.say(step.phase, "running")
		// A fresh API server can still refuse for a moment, e.g. while RBAC is being filled.
		if err := poll(ctx, time.Minute, step.phase, step.run); err != nil {
			return fmt.Errorf("error execution phase %w", err)
		}
	}
	fmt.Fprintln(r.out, "\nYour Kubernetes control-plane has initialized successfully!")
	return nil
}
