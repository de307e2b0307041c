// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab"
)

const (
	// StartTimeout bounds the start of a lab, for which tools may have to be built, and the installation of the providers.
	StartTimeout = 25 * time.Minute
	// Limit of one spec.
	Limit = 8 * time.Minute

	// WaitTimeout of whatever is awaited, unless something else is said.
	WaitTimeout = 4 * time.Minute

	pollInterval = 500 * time.Millisecond
	stopTimeout  = 2 * time.Minute
)

// Run runs the specs of a package.
func Run(t *testing.T, name string) {
	t.Helper()
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(WaitTimeout)
	SetDefaultEventuallyPollingInterval(pollInterval)
	EnforceDefaultTimeoutsWhenUsingContexts()
	RunSpecs(t, name)
}

// Stage is a lab in which clusterctl has installed the providers.
type Stage struct {
	*lab.Lab

	sites  uint8
	failed bool
}

// Open starts a lab and installs the providers, for a BeforeSuite. The lab stops with the suite; its state and logs are kept
// when a spec has failed. The options may be changed before the start.
func Open(ctx context.Context, changes ...func(*lab.Options)) *Stage {
	GinkgoHelper()
	components, err := lab.FindRelease()
	Expect(err).NotTo(HaveOccurred())
	dir, err := os.MkdirTemp("", "edgemetal-e2e-")
	Expect(err).NotTo(HaveOccurred())
	options := lab.Options{Dir: dir, EdgeMetal: components, Out: GinkgoWriter}
	for _, change := range changes {
		change(&options)
	}
	s := &Stage{}
	log, err := os.Create(filepath.Join(dir, "lab.log"))
	Expect(err).NotTo(HaveOccurred())
	options.Log = zap.New(zap.WriteTo(log))
	// The libraries' own loggers would otherwise write between the lines of the report.
	ctrl.SetLogger(options.Log)
	klog.SetLogger(options.Log)
	DeferCleanup(func() {
		Expect(log.Close()).To(Succeed())
		if s.failed || CurrentSpecReport().Failed() {
			fmt.Fprintf(GinkgoWriter, "state and logs of the lab: %s\n", dir)
			return
		}
		Expect(os.RemoveAll(dir)).To(Succeed())
	})
	begin := time.Now()
	s.Lab, err = lab.Start(ctx, options)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(s.Stop)
	started := time.Now()
	_, err = s.Clusterctl(ctx, "init", "--infrastructure", "edgemetal", "--ipam", "in-cluster", "--wait-providers")
	Expect(err).NotTo(HaveOccurred())
	GinkgoWriter.Printf("lab started in %s, providers installed in %s\n", round(started.Sub(begin)), round(time.Since(started)))
	return s
}

// ManagerLog is the file that this repository's manager logs to, over all its restarts.
func (s *Stage) ManagerLog() string { return filepath.Join(s.LogDir, ManagerProvider+".log") }

// ManagerProvider names this repository's provider to the lab, for example to kill its manager.
const ManagerProvider = "infrastructure-edgemetal"

// ManagerRestarts counts how often this repository's manager was started again.
func (s *Stage) ManagerRestarts(ctx context.Context) (int32, error) {
	status, err := s.ManagerStatus(ctx)
	return status.RestartCount, err
}

// ManagerStatus is how this repository's manager is doing. An error says that there is none.
func (s *Stage) ManagerStatus(ctx context.Context) (corev1.ContainerStatus, error) {
	pods := &corev1.PodList{}
	if err := s.Client().List(ctx, pods, client.MatchingLabels{clusterv1.ProviderNameLabel: ManagerProvider}); err != nil {
		return corev1.ContainerStatus{}, err
	}
	if len(pods.Items) != 1 || len(pods.Items[0].Status.ContainerStatuses) != 1 {
		return corev1.ContainerStatus{}, fmt.Errorf("%d pods of the manager, want one that was started", len(pods.Items))
	}
	return pods.Items[0].Status.ContainerStatuses[0], nil
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }
