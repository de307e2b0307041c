// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package vpp

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/calicoagent/vppapi"
)

const (
	serviceRange = "10.96.0.0/12"
	// bgpDelay until routes come: shorter than measured, so that it is not what specs wait for.
	bgpDelay = time.Second
)

// cluster is two hosts with their Nodes.
type cluster struct {
	a, b *host
}

// newCluster makes the hosts with WireGuard; nothing runs on them yet. It skips the specs where the implementation cannot run.
func newCluster(ctx context.Context, impl implementation, name string) *cluster {
	GinkgoHelper()
	return newClusterOf(ctx, impl, name, encryption.WireGuard)
}

func newClusterOf(ctx context.Context, impl implementation, name string, protocol encryption.Protocol) *cluster {
	GinkgoHelper()
	if reason := impl.missing(); reason != "" {
		Skip(reason)
	}
	c := &cluster{a: &host{place: newPlace(name, 1)}, b: &host{place: newPlace(name, 2)}}
	c.a.other, c.b.other = c.b, c.a
	var err error
	c.a.node, c.b.node, err = impl.nodes(ctx, c.a.place, c.b.place)
	Expect(err).NotTo(HaveOccurred())
	for _, h := range c.hosts() {
		h.block, h.protocol, h.psk = blockOf(h), protocol, clusterPSK
		h.install(testKey(h.number, 1))
	}
	DeferCleanup(func(ctx context.Context) {
		for _, h := range c.hosts() {
			h.shutdown()
			c.keepsSecrets(ctx, h)
			Expect(client.CoreV1().Nodes().Delete(ctx, h.name, metav1.DeleteOptions{})).To(Or(Succeed(), MatchError(apierrors.IsNotFound, "IsNotFound")))
		}
	})
	return c
}

// keepsSecrets expects that what the agent has printed, and what it has written to the API, holds no private key and no pre-shared key.
func (c *cluster) keepsSecrets(ctx context.Context, h *host) {
	GinkgoHelper()
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	Expect(err).NotTo(HaveOccurred())
	events, err := client.CoreV1().Events(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	Expect(err).NotTo(HaveOccurred())
	written, err := json.Marshal([]any{nodes, events})
	Expect(err).NotTo(HaveOccurred())
	for generation := range 3 {
		key := testKey(h.number, generation)
		for _, text := range []string{h.agentLog.String(), string(written)} {
			Expect(strings.Contains(text, key.String()) || strings.Contains(text, hex.EncodeToString(key[:]))).To(BeFalse(), "a private key of %s was told", h.name)
			Expect(strings.Contains(text, clusterPSK)).To(BeFalse(), "the pre-shared key was told on %s", h.name)
		}
	}
}

func (c *cluster) hosts() []*host { return []*host{c.a, c.b} }

// register adds the Nodes as the product does: with the key of WireGuard published and the taint set.
func (c *cluster) register(ctx context.Context) {
	GinkgoHelper()
	for _, h := range c.hosts() {
		annotations := map[string]string{encryption.AddressAnnotation: h.address.String()}
		if h.protocol == encryption.WireGuard {
			annotations[encryption.PublicKeyAnnotation] = h.private.PublicKey().String()
		}
		created, err := client.CoreV1().Nodes().Create(ctx, &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: h.name, Annotations: annotations},
			Spec: corev1.NodeSpec{
				PodCIDR: h.block.String(),
				Taints:  []corev1.Taint{{Key: encryption.NotReadyTaint, Effect: corev1.TaintEffectNoSchedule}},
			},
		}, metav1.CreateOptions{})
		Expect(err).NotTo(HaveOccurred())
		created.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: h.address.Addr().String()}}
		// They joined some time ago: no session is waited for on account of their youth.
		created.Status.Conditions = []corev1.NodeCondition{{
			Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(time.Now().Add(-time.Hour)),
		}}
		_, err = client.CoreV1().Nodes().UpdateStatus(ctx, created, metav1.UpdateOptions{})
		Expect(err).NotTo(HaveOccurred())
	}
}

// publish changes the key that a Node publishes.
func (c *cluster) publish(ctx context.Context, h *host, key string) {
	GinkgoHelper()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{encryption.PublicKeyAnnotation: key}}})
	Expect(err).NotTo(HaveOccurred())
	_, err = client.CoreV1().Nodes().Patch(ctx, h.name, types.MergePatchType, patch, metav1.PatchOptions{})
	Expect(err).NotTo(HaveOccurred())
}

// verdict of a Node: its condition and whether it has the taint.
type verdict struct {
	status  corev1.ConditionStatus
	reason  string
	message string
	tainted bool
}

func (v verdict) String() string {
	return fmt.Sprintf("%s=%s, reason %s, tainted %t: %s", encryption.NodeCondition, v.status, v.reason, v.tainted, v.message)
}

func (h *host) verdict(ctx context.Context) verdict {
	GinkgoHelper()
	object, err := client.CoreV1().Nodes().Get(ctx, h.name, metav1.GetOptions{})
	Expect(err).NotTo(HaveOccurred())
	v := verdict{status: corev1.ConditionUnknown}
	for _, condition := range object.Status.Conditions {
		if condition.Type == encryption.NodeCondition {
			v.status, v.reason, v.message = condition.Status, condition.Reason, condition.Message
		}
	}
	for _, taint := range object.Spec.Taints {
		v.tainted = v.tainted || taint.Key == encryption.NotReadyTaint
	}
	return v
}

// proved waits until both Nodes are reported to be encrypted, without the taint.
func (c *cluster) proved(ctx context.Context) {
	GinkgoHelper()
	for _, h := range c.hosts() {
		Eventually(func(g Gomega) {
			v := h.verdict(ctx)
			g.Expect(v.status).To(Equal(corev1.ConditionTrue), v.String)
			g.Expect(v.tainted).To(BeFalse(), v.String)
		}).Should(Succeed())
	}
}

// refused waits until a Node is reported not to be encrypted for the reason, and has the taint.
func (h *host) refused(ctx context.Context, reason string) verdict {
	GinkgoHelper()
	var v verdict
	Eventually(func(g Gomega) {
		v = h.verdict(ctx)
		g.Expect(v.status).To(Equal(corev1.ConditionFalse), v.String)
		g.Expect(v.reason).To(Equal(reason), v.String)
		g.Expect(v.tainted).To(BeTrue(), v.String)
	}).Should(Succeed())
	AddReportEntry(h.name, v.String())
	return v
}

// pings both ways, and returns how many of the packets each way were answered.
func (c *cluster) ping(ctx context.Context, count int) (fromA, fromB int) {
	GinkgoHelper()
	fromA, err := c.a.ping(ctx, c.b.podAddr, count)
	Expect(err).NotTo(HaveOccurred())
	fromB, err = c.b.ping(ctx, c.a.podAddr, count)
	Expect(err).NotTo(HaveOccurred())
	return fromA, fromB
}

// inInterruptMode expects of the first host that no queue is polled, and that VPP has taken no hugepages beside those that were reserved.
func (c *cluster) inInterruptMode(ctx context.Context, reserved int) {
	GinkgoHelper()
	status, err := agentStatus(ctx, c.a.runDir())
	Expect(err).NotTo(HaveOccurred())
	Expect(status.RxQueues).NotTo(BeEmpty())
	for _, queue := range status.RxQueues {
		Expect(queue.Mode).To(Equal("interrupt"), queue.Interface)
	}
	Expect(status.Hugepages.VPPPageSize).To(Equal(int64(4096)))
	Expect(status.Hugepages.Before).To(HaveValue(Equal(reserved)))
	Expect(status.Hugepages.Now).To(Equal(reserved))
}

// flows waits until pods reach each other both ways.
func (c *cluster) flows(ctx context.Context) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		fromA, fromB := c.ping(ctx, 3)
		g.Expect(fromA).To(Equal(3))
		g.Expect(fromB).To(Equal(3))
	}).Should(Succeed())
}

// traffic has the pods send to each other all the while that something is done, and expects that none of it is on the wire in clear.
func (c *cluster) traffic(ctx context.Context, do func()) {
	GinkgoHelper()
	c.forget()
	background, stop := context.WithCancel(ctx)
	defer stop()
	var senders sync.WaitGroup
	for _, h := range c.hosts() {
		senders.Go(func() {
			for background.Err() == nil {
				// What VPP cannot take while it is down is lost.
				_, _ = h.ping(background, h.other.podAddr, 5)
				pause(background, 20*time.Millisecond)
			}
		})
	}
	do()
	stop()
	senders.Wait()
	c.nothingInClear()
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// forget starts both captures anew.
func (c *cluster) forget() {
	for _, h := range c.hosts() {
		h.forget()
	}
}

// nothingInClear reports the captures of both hosts, and expects that nobody on the wire could read a pod's packet.
func (c *cluster) nothingInClear() {
	GinkgoHelper()
	for _, h := range c.hosts() {
		seen := h.received()
		AddReportEntry("captured at "+h.name, seen.String())
		Expect(seen.clear()).To(BeZero(), "%s: %s", h.name, seen)
	}
}

// guarded expects that nothing of what a host's pods send to those of the other arrives, or is on the wire in clear, and that the guard
// has counted it.
func (c *cluster) guarded(ctx context.Context, h *host) {
	GinkgoHelper()
	before, err := agentStatus(ctx, h.runDir())
	Expect(err).NotTo(HaveOccurred())
	c.forget()
	answered, err := h.ping(ctx, h.other.podAddr, pings)
	Expect(err).NotTo(HaveOccurred())
	Expect(answered).To(BeZero())
	c.nothingInClear()
	Eventually(func(g Gomega) {
		status, err := agentStatus(ctx, h.runDir())
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(status.Guard.InForce).To(BeTrue())
		g.Expect(status.dropped()).To(BeNumerically(">=", before.dropped()+pings))
	}).Should(Succeed())
}

// leaksUnguarded takes the guard away, shows that the host's pods are heard in clear then, and has the agent put it back.
func (c *cluster) leaksUnguarded(ctx context.Context, h *host) {
	GinkgoHelper()
	send := func() {
		GinkgoHelper()
		_, err := h.ping(ctx, h.other.podAddr, pings)
		Expect(err).NotTo(HaveOccurred())
	}
	h.killAgent()
	c.forget()
	send()
	c.nothingInClear()
	h.vpp(func(vpp *vppapi.VPP) { unguard(ctx, vpp) })
	send()
	Eventually(func() int { return h.other.received().IPIP }).Should(BeNumerically(">=", pings))
	seen := h.other.received()
	AddReportEntry("captured at "+h.other.name+" without a guard", seen.String())
	h.runAgent()
	Eventually(func() int { return h.guards(ctx) }).Should(Equal(1))
	c.forget()
	send()
	c.nothingInClear()
}
