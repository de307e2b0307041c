// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kill

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/e2e/stage"
)

const (
	cluster = "edge-1"
	hosts   = 22
	workers = 19

	kills = 50
	// perPhase is how many kills there are at most while the machines come up, and while they go.
	perPhase = kills / 2
	// longestLife of a manager. It needs seconds to start on a busy machine, so that kills meet it at its start, too.
	longestLife = 4 * time.Second
	// killingTimeout of what is awaited while managers are killed.
	killingTimeout = 10 * time.Minute
	limit          = 22 * time.Minute
)

var _ = Describe("A manager that is killed", func() {
	It("loses no host and claims none twice", func(ctx SpecContext) {
		s := management.NewSite(ctx, "kill")
		s.AddHosts(ctx, 1, hosts)
		books := &ledger{accounts: map[string]*account{}}
		ended := make(chan error, 1)
		watching, stop := context.WithCancel(ctx)
		defer stop()
		Expect(books.follow(watching, s, ended)).To(Succeed())

		done := 0
		for round := 1; done < kills; round++ {
			s.Create(ctx, stage.Order{Name: cluster, ControlPlane: 1, Workers: workers})
			killed := whileKilling(ctx, min(perPhase, kills-done), func() { s.AwaitCluster(ctx, cluster, 1+workers) })
			done += killed
			s.AwaitFree(ctx, hosts-1-workers)
			GinkgoWriter.Printf("round %d: %d machines are up after %d kills\n", round, 1+workers, killed)
			s.Do(ctx, "delete", "cluster", cluster, "--wait=false")
			killed = whileKilling(ctx, min(perPhase, kills-done), func() { s.AwaitNothing(ctx) })
			done += killed
			GinkgoWriter.Printf("round %d: they are gone after %d kills\n", round, killed)
			Eventually(ctx, books.claimed).Should(BeEmpty())
			expectInOrder(books)
		}
		Expect(management.ManagerRestarts(ctx)).To(BeEquivalentTo(kills))
		changes, claims, provisions, _ := books.totals()
		AddReportEntry("books", fmt.Sprintf("%d kills; %d changes of %d hosts: %d claims, provisioned %d times", done, changes, hosts, claims, provisions))
		stop()
		Expect(<-ended).To(Succeed())
		expectInOrder(books)
	}, SpecTimeout(limit))
})

func expectInOrder(books *ledger) {
	GinkgoHelper()
	_, claims, provisions, problems := books.totals()
	Expect(problems).To(BeEmpty())
	Expect(claims).To(BeNumerically(">=", 1+workers))
	Expect(provisions).To(BeNumerically(">=", 1+workers))
}

// whileKilling kills the manager at random moments, at most so many times, until a wait is over. It tells how many times.
func whileKilling(ctx context.Context, most int, wait func()) int {
	GinkgoHelper()
	// Managers that die before they are ready are started later and later: on a slow machine kills alone take minutes.
	SetDefaultEventuallyTimeout(killingTimeout)
	defer SetDefaultEventuallyTimeout(stage.WaitTimeout)
	over, stop := context.WithCancel(ctx)
	defer stop()
	killed := make(chan int, 1)
	failed := make(chan error, 1)
	go func() {
		n, err := killAtRandom(over, most)
		failed <- err
		killed <- n
	}()
	wait()
	stop()
	Expect(<-failed).To(Succeed())
	return <-killed
}

func killAtRandom(ctx context.Context, most int) (int, error) {
	for n := range most {
		select {
		case <-ctx.Done():
			return n, nil
		case <-time.After(rand.N(longestLife)):
		}
		// A kill that has begun is counted, so that the numbers agree.
		if err := killOnce(context.WithoutCancel(ctx)); err != nil {
			return n, err
		}
	}
	return most, nil
}

// killOnce kills the manager and returns when it has been started again.
func killOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	before, err := management.ManagerRestarts(ctx)
	if err != nil {
		return err
	}
	if err := management.Node().Kill(stage.ManagerProvider); err != nil {
		return err
	}
	for {
		status, err := management.ManagerStatus(ctx)
		if err == nil && status.RestartCount > before && status.State.Running != nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the manager was not started again: %w", context.Cause(ctx))
		case <-time.After(100 * time.Millisecond):
		}
	}
}
