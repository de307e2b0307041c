// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package lifecycle runs our controllers against a real API server, and plays everybody else: Cluster API and the user write
// Clusters and Machines, package metal3 plays baremetal-operator, package ipam the IPAM provider. Every spec has a namespace
// and a manager of its own.
package lifecycle

import (
	"context"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/klog/v2"
	"sigs.k8s.io/cluster-api/feature"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/integration/apiserver"
)

const (
	eventually   = 60 * time.Second
	consistently = 400 * time.Millisecond
	polling      = 20 * time.Millisecond
)

var server *apiserver.Server

func TestLifecycle(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(eventually)
	SetDefaultEventuallyPollingInterval(polling)
	SetDefaultConsistentlyDuration(consistently)
	SetDefaultConsistentlyPollingInterval(polling)
	// What the controllers log goes to the spec that runs them; the libraries' own loggers would mix up all specs.
	klog.SetLogger(logr.Discard())
	ctrl.SetLogger(logr.Discard())
	// Cluster API's controllers look at an object once a second at most. Here they look at every change, which takes less time
	// and gives more races a chance.
	if err := feature.MutableGates.SetFromMap(map[string]bool{string(feature.ReconcilerRateLimiting): false}); err != nil {
		t.Fatal(err)
	}
	RunSpecs(t, "Lifecycle")
}

var _ = BeforeSuite(func(ctx context.Context) {
	var err error
	server, err = apiserver.Start(ctx)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(server.Stop()).To(Succeed()) })
})
