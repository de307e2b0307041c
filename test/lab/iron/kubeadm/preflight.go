// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	kubeadmv1 "sigs.k8s.io/cluster-api/bootstrap/kubeadm/pkg/types/upstreamv1beta4"
)

// What kubeadm wants of a control-plane host.
const (
	minCPUs      = 2
	minMemoryMiB = 1700
)

// check is one preflight check; ignorePreflightErrors refers to it by name.
type check struct {
	name string
	test func() error
}

// runChecks runs all checks and tells of all that fail.
func (r *runner) runChecks(registration kubeadmv1.NodeRegistrationOptions, checks []check) error {
	r.say("preflight", "Running pre-flight checks")
	var failed []error
	for _, c := range checks {
		err := c.test()
		if err == nil {
			continue
		}
		ignored := slices.ContainsFunc(registration.IgnorePreflightErrors, func(name string) bool {
			return strings.EqualFold(name, c.name) || name == "all"
		})
		if ignored {
			r.say("WARNING "+c.name, "%v", err)
			continue
		}
		failed = append(failed, fmt.Errorf("\t[ERROR %s]: %w", c.name, err))
	}
	if len(failed) > 0 {
		return fmt.Errorf("[preflight] Some fatal errors occurred:\n%w", errors.Join(failed...))
	}
	return nil
}

func (r *runner) fileAvailable(name string) check {
	return check{name: "FileAvailable-" + strings.ReplaceAll(name, "/", "-"), test: func() error {
		if r.Disk.Exists(name) {
			return fmt.Errorf("%s already exists", name)
		}
		return nil
	}}
}

func (r *runner) dirAvailable(name string) check {
	return check{name: "DirAvailable-" + strings.ReplaceAll(name, "/", "-"), test: func() error {
		entries, err := r.Disk.List(name, "*")
		if err != nil {
			return fmt.Errorf("unable to check if %s is empty: %w", name, err)
		}
		if len(entries) > 0 {
			return fmt.Errorf("%s is not empty", name)
		}
		return nil
	}}
}

// portOpen wants to find the port free on the host's address.
func portOpen(address string, port int) check {
	return check{name: fmt.Sprintf("Port-%d", port), test: func() error {
		listener, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
		if err != nil {
			return fmt.Errorf("port %d is in use: %w", port, err)
		}
		return listener.Close()
	}}
}

// controlPlaneChecks are those of a host that gets a control plane.
func (r *runner) controlPlaneChecks(cluster *kubeadmv1.ClusterConfiguration, endpoint kubeadmv1.APIEndpoint) []check {
	checks := []check{
		{name: "NumCPU", test: func() error {
			if r.CPUs < minCPUs {
				return fmt.Errorf("the number of available CPUs %d is less than the required %d", r.CPUs, minCPUs)
			}
			return nil
		}},
		{name: "Mem", test: func() error {
			if r.MemoryMiB < minMemoryMiB {
				return fmt.Errorf("the system RAM (%d MB) is less than the minimum %d MB", r.MemoryMiB, minMemoryMiB)
			}
			return nil
		}},
		portOpen(endpoint.AdvertiseAddress, int(endpoint.BindPort)),
		portOpen(endpoint.AdvertiseAddress, 2379),
		portOpen(endpoint.AdvertiseAddress, 2380),
		r.dirAvailable(cluster.Etcd.Local.DataDir),
	}
	for _, component := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"} {
		checks = append(checks, r.fileAvailable(manifestDir+"/"+component+".yaml"))
	}
	return checks
}

// joinChecks are those of every host that joins.
func (r *runner) joinChecks(join *kubeadmv1.JoinConfiguration) []check {
	checks := []check{r.fileAvailable(kubernetesDir + "/kubelet.conf"), r.fileAvailable(kubernetesDir + "/bootstrap-kubelet.conf")}
	if join.ControlPlane == nil {
		checks = append(checks, r.fileAvailable(join.CACertPath))
	}
	return checks
}
