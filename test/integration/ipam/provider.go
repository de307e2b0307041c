// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package ipam plays the part of an IPAM provider by Cluster API's contract: it gives every IPAddressClaim of a known pool an
// IPAddress, takes it back when the claim is deleted, and says on the claim why a pool gives nothing.
package ipam

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ipamv1 "sigs.k8s.io/cluster-api/api/ipam/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/integration/loop"
)

const finalizer = "ipam.cluster.x-k8s.io/ReleaseAddress"

// Provider of the pools of one namespace.
type Provider struct {
	client    client.WithWatch
	namespace string
	nudge     chan struct{}

	mu    sync.Mutex
	pools map[string]*pool
}

type pool struct {
	first, last netip.Addr
	taken       map[netip.Addr]string
}

// NewProvider makes a provider without pools; Run starts it.
func NewProvider(c client.WithWatch, namespace string) *Provider {
	return &Provider{client: c, namespace: namespace, nudge: make(chan struct{}, 1), pools: map[string]*pool{}}
}

// SetPool defines a pool by its first and last address. Claims of a pool that is not defined are not answered.
func (p *Provider) SetPool(name, first, last string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defined := &pool{first: netip.MustParseAddr(first), last: netip.MustParseAddr(last), taken: map[netip.Addr]string{}}
	if before := p.pools[name]; before != nil {
		defined.taken = before.taken
	}
	p.pools[name] = defined
	select {
	case p.nudge <- struct{}{}:
	default:
	}
}

// Taken counts the addresses of a pool that are in use.
func (p *Provider) Taken(name string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pools[name] == nil {
		return 0
	}
	return len(p.pools[name].taken)
}

// Run until the context ends.
func (p *Provider) Run(ctx context.Context) {
	loop.Loop{
		Client:    p.client,
		Namespace: p.namespace,
		List:      func() client.ObjectList { return &ipamv1.IPAddressClaimList{} },
		Handle: func(ctx context.Context, object client.Object) error {
			claim, isClaim := object.(*ipamv1.IPAddressClaim)
			if !isClaim {
				return nil
			}
			return p.handle(ctx, claim)
		},
		Nudge: p.nudge,
	}.Run(ctx)
}

func (p *Provider) handle(ctx context.Context, claim *ipamv1.IPAddressClaim) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	from := p.pools[claim.Spec.PoolRef.Name]
	switch {
	case !claim.DeletionTimestamp.IsZero():
		return p.release(ctx, claim, from)
	case from == nil || claim.Status.AddressRef.Name != "":
		return nil
	case controllerutil.AddFinalizer(claim, finalizer):
		return p.client.Update(ctx, claim)
	}
	address, free := from.take(claim.Name)
	if !free {
		return p.answer(ctx, claim, metav1.Condition{
			Type: clusterv1.ReadyCondition, Status: metav1.ConditionFalse, Reason: ipamv1.IPAddressClaimReadyPoolExhaustedReason, Message: "pool is full",
		})
	}
	object := &ipamv1.IPAddress{Spec: ipamv1.IPAddressSpec{
		ClaimRef: ipamv1.IPAddressClaimReference{Name: claim.Name}, PoolRef: claim.Spec.PoolRef, Address: address.String(), Prefix: new(int32(24)),
	}}
	object.Name, object.Namespace = claim.Name, claim.Namespace
	if err := p.client.Create(ctx, object); client.IgnoreAlreadyExists(err) != nil {
		return fmt.Errorf("creating IPAddress %s: %w", object.Name, err)
	}
	claim.Status.AddressRef.Name = object.Name
	return p.answer(ctx, claim, metav1.Condition{Type: clusterv1.ReadyCondition, Status: metav1.ConditionTrue, Reason: clusterv1.ReadyReason})
}

func (p *Provider) answer(ctx context.Context, claim *ipamv1.IPAddressClaim, ready metav1.Condition) error {
	conditions.Set(claim, ready)
	return p.client.Status().Update(ctx, claim)
}

func (p *Provider) release(ctx context.Context, claim *ipamv1.IPAddressClaim, from *pool) error {
	object := &ipamv1.IPAddress{}
	object.Name, object.Namespace = claim.Name, claim.Namespace
	if err := p.client.Delete(ctx, object); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting IPAddress %s: %w", object.Name, err)
	}
	if from != nil {
		for address, holder := range from.taken {
			if holder == claim.Name {
				delete(from.taken, address)
			}
		}
	}
	if controllerutil.RemoveFinalizer(claim, finalizer) {
		return client.IgnoreNotFound(p.client.Update(ctx, claim))
	}
	return nil
}

// take the first free address for a claim, or the one it has already.
func (p *pool) take(claim string) (netip.Addr, bool) {
	for address, holder := range p.taken {
		if holder == claim {
			return address, true
		}
	}
	for address := p.first; address.Compare(p.last) <= 0; address = address.Next() {
		if p.taken[address] == "" {
			p.taken[address] = claim
			return address, true
		}
	}
	return netip.Addr{}, false
}
