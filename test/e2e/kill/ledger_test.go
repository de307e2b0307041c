// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/e2e/stage"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab"
)

// ledger follows every change of every host, and notes what must never happen.
type ledger struct {
	mu       sync.Mutex
	accounts map[string]*account
	problems []string
	changes  int
}

// account is one host's.
type account struct {
	consumer           string
	state              bmov1.ProvisioningState
	claims, provisions int
}

// follow reads the site's hosts and then every change of them until ctx ends.
func (l *ledger) follow(ctx context.Context, s *stage.Site, ended chan<- error) error {
	config, err := s.RESTConfig()
	if err != nil {
		return err
	}
	scheme, err := lab.Scheme()
	if err != nil {
		return err
	}
	api, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		return fmt.Errorf("make a client that watches: %w", err)
	}
	list := &bmov1.BareMetalHostList{}
	if err := api.List(ctx, list, client.InNamespace(s.Namespace)); err != nil {
		return fmt.Errorf("list the hosts: %w", err)
	}
	for i := range list.Items {
		l.see(&list.Items[i])
	}
	events, err := api.Watch(ctx, &bmov1.BareMetalHostList{}, client.InNamespace(s.Namespace), &client.ListOptions{
		Raw: &metav1.ListOptions{ResourceVersion: list.ResourceVersion},
	})
	if err != nil {
		return fmt.Errorf("watch the hosts: %w", err)
	}
	go func() {
		for event := range events.ResultChan() {
			if ctx.Err() == nil { // afterwards it reports its own end
				l.enter(event)
			}
		}
		if ctx.Err() == nil {
			ended <- errors.New("the watch of the hosts ended by itself, so changes may have been missed")
		}
		close(ended)
	}()
	return nil
}

func (l *ledger) enter(event watch.Event) {
	host, ok := event.Object.(*bmov1.BareMetalHost)
	switch {
	case !ok:
		l.complain("the watch of the hosts reported %T %v", event.Object, event.Object)
	case event.Type == watch.Deleted:
		l.complain("host %s was deleted", host.Name)
	default:
		l.see(host)
	}
}

func (l *ledger) complain(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.problems = append(l.problems, fmt.Sprintf(format, args...))
}

func (l *ledger) see(host *bmov1.BareMetalHost) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changes++
	a, known := l.accounts[host.Name]
	if !known {
		a = &account{state: host.Status.Provisioning.State}
		l.accounts[host.Name] = a
	}
	consumer := ""
	if host.Spec.ConsumerRef != nil {
		consumer = host.Spec.ConsumerRef.Name
	}
	if consumer != a.consumer {
		l.problems = append(l.problems, l.judge(host, a.consumer, consumer)...)
		if consumer != "" {
			a.claims++
		}
		a.consumer = consumer
	}
	if state := host.Status.Provisioning.State; state != a.state {
		if state == bmov1.StateProvisioning {
			a.provisions++
		}
		a.state = state
	}
	if a.provisions > a.claims {
		l.problems = append(l.problems, fmt.Sprintf("host %s was provisioned %d times for %d claims", host.Name, a.provisions, a.claims))
	}
}

// judge says what is wrong about a host that changes hands.
func (l *ledger) judge(host *bmov1.BareMetalHost, before, after string) []string {
	var wrong []string
	if before != "" && after != "" {
		wrong = append(wrong, fmt.Sprintf("host %s went from %s to %s without being freed", host.Name, before, after))
	}
	// From then on somebody else may take it.
	dirty := []bmov1.ProvisioningState{bmov1.StateProvisioning, bmov1.StateProvisioned, bmov1.StateDeprovisioning}
	if after == "" && (host.Spec.Image != nil || slices.Contains(dirty, host.Status.Provisioning.State)) {
		wrong = append(wrong, fmt.Sprintf("host %s was given back by %s while %s", host.Name, before, host.Status.Provisioning.State))
	}
	for name, other := range l.accounts {
		if after != "" && name != host.Name && other.consumer == after {
			wrong = append(wrong, fmt.Sprintf("%s claimed host %s while it had host %s", after, host.Name, name))
		}
	}
	return wrong
}

// claimed are the hosts that have a consumer now.
func (l *ledger) claimed() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var names []string
	for name, a := range l.accounts {
		if a.consumer != "" {
			names = append(names, name)
		}
	}
	return names
}

// totals are sums over all hosts, and what went wrong.
func (l *ledger) totals() (changes, claims, provisions int, problems []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.accounts {
		claims += a.claims
		provisions += a.provisions
	}
	return l.changes, claims, provisions, slices.Clone(l.problems)
}
