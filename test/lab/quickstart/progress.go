// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package quickstart

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	controlplanev1 "sigs.k8s.io/cluster-api/api/controlplane/kubeadm/v1beta2"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab"
)

// world is what the quick start watches.
type world struct {
	hosts         []bmov1.BareMetalHost
	clusters      []clusterv1.Cluster
	controlPlanes []controlplanev1.KubeadmControlPlane
	machines      []clusterv1.Machine
	edgeClusters  []infrav1.EdgeCluster
	edgeMachines  []infrav1.EdgeMachine
}

// line is what one object is doing now.
type line struct {
	object string
	doing  string
	done   bool
}

// goal tells whether a wait is over.
type goal func(world) bool

// follow prints a line for each change of what an object is doing until the goal is reached. When ctx
// ends before, the error says what each unfinished object is doing.
func (q *quickstart) follow(ctx context.Context, what string, reached goal) error {
	told := map[string]string{}
	var current []line
	for {
		w, err := q.look(ctx)
		if err == nil {
			current = describe(w)
			for _, l := range current {
				if told[l.object] != l.doing {
					told[l.object] = l.doing
					q.say(fmt.Sprintf("%-44s %s", l.object, shorten(l.doing)))
				}
			}
			if reached(w) {
				q.say(what)
				return nil
			}
		}
		if q.access.Hosts == lab.VirtualHosts {
			if err := checkConsoles(q.access); err != nil {
				return fmt.Errorf("%w; while waiting until %s", err, what)
			}
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%w while waiting until %s; not ready:\n%s", context.Cause(ctx), what, unfinished(current)), err)
		case <-time.After(pollInterval):
		}
	}
}

func (q *quickstart) look(ctx context.Context) (world, error) {
	var (
		hosts         bmov1.BareMetalHostList
		clusters      clusterv1.ClusterList
		controlPlanes controlplanev1.KubeadmControlPlaneList
		machines      clusterv1.MachineList
		edgeClusters  infrav1.EdgeClusterList
		edgeMachines  infrav1.EdgeMachineList
	)
	for _, list := range []client.ObjectList{&hosts, &clusters, &controlPlanes, &machines, &edgeClusters, &edgeMachines} {
		if err := q.api.List(ctx, list, client.InNamespace(metav1.NamespaceDefault)); err != nil {
			return world{}, fmt.Errorf("look at the lab: %w", err)
		}
	}
	return world{
		hosts: hosts.Items, clusters: clusters.Items, controlPlanes: controlPlanes.Items,
		machines: machines.Items, edgeClusters: edgeClusters.Items, edgeMachines: edgeMachines.Items,
	}, nil
}

func (q *quickstart) hostsUsable(w world) bool {
	usable := 0
	for _, h := range w.hosts {
		switch h.Status.Provisioning.State {
		case bmov1.StateAvailable, bmov1.StateProvisioning, bmov1.StateProvisioned:
			usable++
		}
	}
	return usable >= q.scenario.hosts
}

func (q *quickstart) encryptedClusterReady(w world) bool {
	return q.clusterReady(w) && encrypted(w)
}

// clusterReady tells whether the cluster is available, and every machine and the site are ready.
func (q *quickstart) clusterReady(w world) bool {
	if len(w.clusters) == 0 || len(w.edgeClusters) == 0 || len(w.machines) < q.scenario.machines() {
		return false
	}
	for _, c := range w.clusters {
		if !meta.IsStatusConditionTrue(c.Status.Conditions, clusterv1.ClusterAvailableCondition) {
			return false
		}
	}
	sitesReady := !slices.ContainsFunc(w.edgeClusters, func(c infrav1.EdgeCluster) bool {
		return !meta.IsStatusConditionTrue(c.Status.Conditions, infrav1.ReadyCondition)
	})
	return sitesReady && !slices.ContainsFunc(w.machines, func(m clusterv1.Machine) bool {
		return !meta.IsStatusConditionTrue(m.Status.Conditions, clusterv1.MachineReadyCondition)
	})
}

// encrypted tells whether every site says so of its nodes.
func encrypted(w world) bool {
	return len(w.edgeClusters) > 0 && !slices.ContainsFunc(w.edgeClusters, func(c infrav1.EdgeCluster) bool {
		return !meta.IsStatusConditionTrue(c.Status.Conditions, infrav1.EncryptionReadyCondition)
	})
}

// describe says what each object is doing, hosts first.
func describe(w world) []line {
	var lines []line
	for i := range w.hosts {
		lines = append(lines, describeHost(&w.hosts[i]))
	}
	for i := range w.edgeClusters {
		lines = append(lines, describeByReady("EdgeCluster/"+w.edgeClusters[i].Name, w.edgeClusters[i].Status.Conditions))
	}
	for i := range w.edgeMachines {
		lines = append(lines, describeEdgeMachine(&w.edgeMachines[i]))
	}
	for i := range w.machines {
		m := &w.machines[i]
		doing := m.Status.Phase
		if meta.IsStatusConditionTrue(m.Status.Conditions, clusterv1.MachineReadyCondition) {
			doing = "Ready"
		}
		lines = append(lines, line{object: "Machine/" + m.Name, doing: doing, done: doing == "Ready"})
	}
	for i := range w.controlPlanes {
		kcp := &w.controlPlanes[i]
		lines = append(lines, describeCondition("KubeadmControlPlane/"+kcp.Name, kcp.Status.Conditions, controlplanev1.KubeadmControlPlaneAvailableCondition))
	}
	for i := range w.clusters {
		lines = append(lines, describeCondition("Cluster/"+w.clusters[i].Name, w.clusters[i].Status.Conditions, clusterv1.ClusterAvailableCondition))
	}
	return lines
}

func describeHost(h *bmov1.BareMetalHost) line {
	l := line{object: "BareMetalHost/" + h.Name, doing: string(h.Status.Provisioning.State)}
	switch h.Status.Provisioning.State {
	case bmov1.StateNone:
		l.doing = "new"
	case bmov1.StateAvailable, bmov1.StateProvisioned:
		l.done = true
	}
	if h.Status.ErrorMessage != "" {
		l.doing += fmt.Sprintf(", error %d: %s", h.Status.ErrorCount, h.Status.ErrorMessage)
		l.done = false
	}
	return l
}

// describeEdgeMachine names the first condition on the way to a Node that is not true yet.
func describeEdgeMachine(m *infrav1.EdgeMachine) line {
	object := "EdgeMachine/" + m.Name
	on := ""
	if m.Status.Host != "" {
		on = " [" + m.Status.Host + "]"
	}
	for _, name := range []string{
		infrav1.HostClaimedCondition, infrav1.NetworkDataValidCondition, infrav1.ReleasedCondition,
		infrav1.BootstrapDataReadyCondition, infrav1.HostProvisionedCondition, infrav1.NodeLinkedCondition,
	} {
		c := meta.FindStatusCondition(m.Status.Conditions, name)
		if c == nil {
			return line{object: object, doing: "new" + on}
		}
		if c.Status != metav1.ConditionTrue {
			return line{object: object, doing: name + on + ": " + oneLine(c)}
		}
	}
	l := describeByReady(object, m.Status.Conditions)
	l.doing += on
	return l
}

func describeByReady(object string, conditions []metav1.Condition) line {
	return describeCondition(object, conditions, infrav1.ReadyCondition)
}

func describeCondition(object string, conditions []metav1.Condition, name string) line {
	c := meta.FindStatusCondition(conditions, name)
	switch {
	case c == nil:
		return line{object: object, doing: "new"}
	case c.Status == metav1.ConditionTrue:
		return line{object: object, doing: name, done: true}
	default:
		return line{object: object, doing: "not " + name + ": " + oneLine(c)}
	}
}

// oneLine is a condition's message, or its reason when there is none.
func oneLine(c *metav1.Condition) string {
	message := strings.Join(strings.Fields(c.Message), " ")
	if message == "" {
		return c.Reason
	}
	return message
}

// shorten keeps a line readable; clusterctl describe shows the whole message.
func shorten(s string) string {
	const most = 160
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "..."
	}
	return s
}

func unfinished(lines []line) string {
	var b strings.Builder
	for _, l := range lines {
		if !l.done {
			fmt.Fprintf(&b, "  %-44s %s\n", l.object, l.doing)
		}
	}
	return b.String()
}
