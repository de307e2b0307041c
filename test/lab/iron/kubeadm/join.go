// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	kubeadmv1 "sigs.k8s.io/cluster-api/bootstrap/kubeadm/pkg/types/upstreamv1beta4"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/kubelet"
)

const (
	kubeletConf   = kubernetesDir + "/kubelet.conf"
	bootstrapConf = kubernetesDir + "/bootstrap-kubelet.conf"

	// defaultTLSBootstrap is how long kubeadm waits for the kubelet's certificate.
	defaultTLSBootstrap = 5 * time.Minute
)

// join makes this host part of a cluster.
func (r *runner) join(ctx context.Context, docs *documents) error {
	join := docs.join
	if join == nil {
		return errors.New("the configuration has no JoinConfiguration")
	}
	join.CACertPath = cmp.Or(join.CACertPath, defaultPKI+"/ca.crt")
	if err := r.runChecks(join.NodeRegistration, r.joinChecks(join)); err != nil {
		return err
	}
	found, err := r.discover(ctx, join)
	if err != nil {
		return err
	}
	found.BearerToken = bootstrapToken(join)
	cluster, kubeletConfig, err := r.fetchConfig(ctx, found, r.nodeName(join.NodeRegistration))
	if err != nil {
		return err
	}
	if join.ControlPlane == nil {
		return r.joinWorker(ctx, join, found, kubeletConfig)
	}
	return r.joinControlPlane(ctx, join, found, cluster, kubeletConfig)
}

// bootstrapToken is the token for TLS bootstrap, which is that of discovery unless there is a separate one.
func bootstrapToken(join *kubeadmv1.JoinConfiguration) string {
	if join.Discovery.TLSBootstrapToken != "" || join.Discovery.BootstrapToken == nil {
		return join.Discovery.TLSBootstrapToken
	}
	return join.Discovery.BootstrapToken.Token
}

// fetchConfig reads the configuration that init stored, and makes sure that no other node has our name.
func (r *runner) fetchConfig(ctx context.Context, config *rest.Config, nodeName string) (*kubeadmv1.ClusterConfiguration, []byte, error) {
	c, err := newClient(config)
	if err != nil {
		return nil, nil, err
	}
	r.say("preflight", "Reading configuration from the %q ConfigMap in namespace kube-system...", kubeadmConfigName)
	cluster := &kubeadmv1.ClusterConfiguration{}
	var kubeletConfig []byte
	err = poll(ctx, time.Minute, "fetching the cluster's configuration", func(ctx context.Context) error {
		content, err := readConfigMap(ctx, c, kubeadmConfigName, "ClusterConfiguration")
		if err != nil {
			return err
		}
		if err := yaml.Unmarshal(content, cluster); err != nil {
			return fmt.Errorf("config map %s: %w", kubeadmConfigName, err)
		}
		kubeletConfig, err = readConfigMap(ctx, c, kubeletConfigName, "kubelet")
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	defaultCluster(cluster, r.Version)
	if err := checkCluster(cluster); err != nil {
		return nil, nil, err
	}
	return cluster, kubeletConfig, checkNodeName(ctx, c, nodeName)
}

func checkNodeName(ctx context.Context, c client.Client, nodeName string) error {
	node := &corev1.Node{}
	err := c.Get(ctx, types.NamespacedName{Name: nodeName}, node)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("cannot get Node %q: %w", nodeName, err)
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
			return fmt.Errorf("a Node with name %q and status \"Ready\" already exists in the cluster. You must delete the existing Node or change the name of this new joining Node", nodeName)
		}
	}
	return nil
}

func (r *runner) joinWorker(ctx context.Context, join *kubeadmv1.JoinConfiguration, found *rest.Config, kubeletConfig []byte) error {
	if err := r.bootstrapKubelet(ctx, join, found, kubeletConfig, join.NodeRegistration.Taints); err != nil {
		return err
	}
	fmt.Fprintln(r.out, "\nThis node has joined the cluster")
	return nil
}

// bootstrapKubelet starts the kubelet with the bootstrap token and waits until it has its own credentials.
func (r *runner) bootstrapKubelet(ctx context.Context, join *kubeadmv1.JoinConfiguration, found *rest.Config, kubeletConfig []byte, taints []corev1.Taint) error {
	err := errors.Join(
		kubelet.WriteKubeconfig(r.Disk, bootstrapConf, found.Host, found.CAData, &clientcmdapi.AuthInfo{Token: found.BearerToken}),
		r.writeKubeletFiles(kubeletConfig, join.NodeRegistration, taints),
	)
	if err == nil && !r.Disk.Exists(join.CACertPath) {
		err = r.Disk.Write(join.CACertPath, found.CAData, 0o644)
	}
	if err != nil {
		return err
	}
	if err := r.startKubelet(ctx); err != nil {
		return err
	}
	limit := defaultTLSBootstrap
	if join.Timeouts != nil {
		limit = timeout(join.Timeouts.TLSBootstrap, limit)
	}
	r.say("kubelet-start", "Waiting for the kubelet to perform the TLS Bootstrap")
	err = poll(ctx, limit, "waiting for the kubelet's TLS bootstrap", func(context.Context) error {
		if !r.Disk.Exists(kubeletConf) {
			return fmt.Errorf("%s is not there yet", kubeletConf)
		}
		return nil
	})
	if err != nil {
		return err
	}
	real, err := r.Disk.Real(bootstrapConf)
	if err != nil {
		return err
	}
	return removeFile(real)
}

func (r *runner) joinControlPlane(ctx context.Context, join *kubeadmv1.JoinConfiguration, found *rest.Config, cluster *kubeadmv1.ClusterConfiguration, kubeletConfig []byte) error {
	local := &join.ControlPlane.LocalAPIEndpoint
	if err := r.defaultEndpoint(local); err != nil {
		return err
	}
	if err := r.runChecks(join.NodeRegistration, r.controlPlaneChecks(cluster, *local)); err != nil {
		return err
	}
	nodeName := r.nodeName(join.NodeRegistration)
	ca, err := r.writeCertificates(cluster, nodeName, *local, true)
	if err != nil {
		return err
	}
	endpoint, err := controlPlaneURL(cluster, *local)
	if err != nil {
		return err
	}
	if err := r.writeControlPlaneKubeconfigs(ca, endpoint, *local); err != nil {
		return err
	}
	taints := controlPlaneTaints(join.NodeRegistration)
	if err := r.bootstrapKubelet(ctx, join, found, kubeletConfig, taints); err != nil {
		return err
	}
	admin, err := r.waitForAPI(ctx, "admin.conf", join.Timeouts)
	if err != nil {
		return err
	}
	if err := r.joinEtcd(ctx, admin, cluster, nodeName, local.AdvertiseAddress); err != nil {
		return err
	}
	// After etcd, not before as kubeadm has it: an API server without etcd only crashes until etcd is there.
	if err := r.writeControlPlaneManifests(cluster, *local); err != nil {
		return err
	}
	if _, err := r.waitForAPI(ctx, "controller-manager.conf", join.Timeouts); err != nil {
		return err
	}
	if err := markControlPlane(ctx, admin, nodeName, taints); err != nil {
		return err
	}
	fmt.Fprintln(r.out, "\nThis node has joined the cluster and a new control plane instance was created")
	return nil
}

func removeFile(real string) error {
	if err := os.Remove(real); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing %s: %w", bootstrapConf, err)
	}
	return nil
}
