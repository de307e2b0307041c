// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/pki"
)

// Plane is a running control plane.
type Plane struct {
	kubeconfig string
	config     *rest.Config
	authority  *pki.Authority
	processes  []*Running // in the order of their start
}

// Boot starts etcd, kube-apiserver and kube-controller-manager and returns when the API is ready and
// namespace default has its ServiceAccount. On an error nothing is left running.
func Boot(ctx context.Context, c Config) (*Plane, error) {
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("create the folder of the control plane: %w", err)
	}
	chosen, err := choosePorts(ctx, c.Dir)
	if err != nil {
		return nil, err
	}
	creds, err := newCredentials(filepath.Join(c.Dir, "pki"), "https://"+hostPort(chosen.APIServer))
	if err != nil {
		return nil, err
	}
	p := &Plane{authority: creds.authority}
	if err := p.boot(ctx, c, chosen, creds); err != nil {
		p.Stop()
		return nil, fmt.Errorf("boot the control plane: %w", err)
	}
	return p, nil
}

func (p *Plane) boot(ctx context.Context, c Config, chosen ports, creds *credentials) error {
	if err := p.connect(creds); err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(p.config)
	if err != nil {
		return fmt.Errorf("make a client of the control plane: %w", err)
	}
	controllers, err := creds.kubeconfig("kube-controller-manager", "system:kube-controller-manager")
	if err != nil {
		return err
	}
	egress, err := writeEgress(c, creds)
	if err != nil {
		return err
	}
	for _, process := range []Process{
		etcdProcess(c, chosen, creds),
		apiServerProcess(c, chosen, creds, egress, client),
		controllerManagerProcess(c, creds, controllers, client),
	} {
		running, err := Start(ctx, process)
		if err != nil {
			return err
		}
		p.processes = append(p.processes, running)
	}
	return nil
}

func (p *Plane) connect(creds *credentials) error {
	path, err := creds.kubeconfig("admin", "lab-admin", "system:masters")
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return fmt.Errorf("read the admin's kubeconfig: %w", err)
	}
	// The lab plays several controllers with this configuration; flow control is the API server's task.
	config.QPS = -1
	p.kubeconfig, p.config = path, config
	return nil
}

// Kubeconfig is the path of the administrator's kubeconfig.
func (p *Plane) Kubeconfig() string { return p.kubeconfig }

// RESTConfig is a copy of the administrator's client configuration, without client-side rate limit.
func (p *Plane) RESTConfig() *rest.Config { return rest.CopyConfig(p.config) }

// Authority signs what the control plane trusts.
func (p *Plane) Authority() *pki.Authority { return p.authority }

// Wait returns when ctx ends, or earlier with an error when a process has ended by itself.
func (p *Plane) Wait(ctx context.Context) error {
	ended := make(chan error, len(p.processes))
	for _, process := range p.processes {
		go func() {
			select {
			case <-process.Done():
				ended <- fmt.Errorf("%s ended: %w", process.Name(), process.Err())
			case <-ctx.Done():
			}
		}()
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return nil
	}
}

// Stop ends the processes, last started first, and returns when they are gone.
func (p *Plane) Stop() {
	for _, process := range slices.Backward(p.processes) {
		process.Stop()
	}
}

// hasServiceAccount tells whether the controllers work: they have made namespace default usable.
func hasServiceAccount(ctx context.Context, client kubernetes.Interface) error {
	_, err := client.CoreV1().ServiceAccounts(corev1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("look for the ServiceAccount of namespace default: %w", err)
	}
	return nil
}
