// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package encryption

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/e2e/stage"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/fakevpp"
)

const lookInterval = 300 * time.Millisecond

// sent is what became of the packets of a prober.
type sent struct {
	outcomes map[fakevpp.Outcome]int
	inClear  []string
}

// prober sends packets between the pods of all nodes all the time.
type prober struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	sent   sent
}

// startProber sends until stop, over the following specs: a cleanup would end it with the first one.
func startProber(ctx context.Context, s *stage.Site) *prober {
	GinkgoHelper()
	workload := s.Workload(ctx, cluster)
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p := &prober{cancel: cancel, sent: sent{outcomes: map[fakevpp.Outcome]int{}}}
	p.done.Go(func() {
		every(ctx, func() {
			nodes := &corev1.NodeList{}
			if err := workload.List(ctx, nodes); err != nil {
				return
			}
			// One pair at a time: a host whose VPP does not run must not hide the others.
			for _, from := range nodes.Items {
				for _, to := range nodes.Items {
					p.send(ctx, s, from, to)
				}
			}
		})
	})
	return p
}

func (p *prober) send(ctx context.Context, s *stage.Site, from, to corev1.Node) {
	flows, err := s.SendBetweenPods(ctx, s.Namespace, []corev1.Node{from, to})
	if err != nil {
		return // VPP does not run: nothing is sent
	}
	for _, flow := range flows {
		p.sent.outcomes[flow.Outcome]++
		if flow.Outcome == fakevpp.Plain {
			p.sent.inClear = append(p.sent.inClear, fmt.Sprintf("%s from %s to %s by %s", time.Now().Format(time.TimeOnly), flow.From, flow.To, flow.Link))
		}
	}
}

// stop ends the prober and tells what it saw.
func (p *prober) stop() sent {
	p.cancel()
	p.done.Wait()
	return p.sent
}

// rolledOut is what was seen of a rollout.
type rolledOut struct {
	mostDown int
	reasons  []string
}

// watchRollout looks at the pods of VPP until the returned function is called.
func watchRollout(ctx context.Context, s *stage.Site) func() rolledOut {
	GinkgoHelper()
	workload := s.Workload(ctx, cluster)
	ctx, cancel := context.WithCancel(ctx)
	var seen rolledOut
	var done sync.WaitGroup
	done.Go(func() {
		every(ctx, func() {
			pods := &corev1.PodList{}
			if workload.List(ctx, pods, client.InNamespace(vppNamespace)) == nil {
				seen.mostDown = max(seen.mostDown, nodesDown(pods.Items))
			}
			site := &infrav1.EdgeCluster{}
			if s.Client().Get(ctx, s.Key(cluster), site) == nil {
				c := meta.FindStatusCondition(site.Status.Conditions, infrav1.DataplaneInstalledCondition)
				if c != nil && !slices.Contains(seen.reasons, c.Reason) {
					seen.reasons = append(seen.reasons, c.Reason)
				}
			}
		})
	})
	return func() rolledOut {
		cancel()
		done.Wait()
		return seen
	}
}

// nodesDown counts the nodes whose pod is going or not ready, of three.
func nodesDown(pods []corev1.Pod) int {
	up := map[string]bool{}
	for _, pod := range pods {
		ready := slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
		up[pod.Spec.NodeName] = ready && pod.DeletionTimestamp.IsZero()
	}
	down := 3 - len(up)
	for _, isUp := range up {
		if !isUp {
			down++
		}
	}
	return down
}

func every(ctx context.Context, look func()) {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			look()
		}
	}
}
