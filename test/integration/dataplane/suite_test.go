// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package dataplane runs our controllers against two real API servers: a management cluster, and for every spec a new workload
// cluster in which the dataplane is installed. Charts come from a registry. The test plays the controllers and kubelets of the
// workload cluster, the Tigera operator, the node agents, and the user.
package dataplane

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
	eventually = 90 * time.Second
	polling    = 50 * time.Millisecond
	// quiet is how long nothing has to happen.
	quiet = time.Second
)

var server *apiserver.Server

func TestDataplane(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(eventually)
	SetDefaultEventuallyPollingInterval(polling)
	SetDefaultConsistentlyDuration(time.Second)
	SetDefaultConsistentlyPollingInterval(polling)
	klog.SetLogger(logr.Discard())
	ctrl.SetLogger(logr.Discard())
	// Cluster API's controllers look at an object once a second at most. Here they look at every change.
	if err := feature.MutableGates.SetFromMap(map[string]bool{string(feature.ReconcilerRateLimiting): false}); err != nil {
		t.Fatal(err)
	}
	RunSpecs(t, "Dataplane")
}

var _ = BeforeSuite(func(ctx context.Context) {
	var err error
	server, err = apiserver.Start(ctx)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(server.Stop()).To(Succeed()) })
})
