// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package quickstart

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cluster-api/util"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/fakevpp"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/iron/faults"
)

const nodeColumns = "NAME:.metadata.name,ENCRYPTED:.status.conditions[?(@.type==\"" + encryption.NodeCondition + "\")].status," +
	"REASON:.status.conditions[?(@.type==\"" + encryption.NodeCondition + "\")].reason,TAINTS:.spec.taints[*].key"

// showEncryption shows what the nodes have proved, and what becomes of packets between their pods.
func (q *quickstart) showEncryption(ctx context.Context) error {
	if err := q.workload(ctx, "get", "nodes", "-o", "custom-columns="+nodeColumns); err != nil {
		return err
	}
	pod, err := q.agentPod(ctx)
	if err != nil {
		return err
	}
	err = q.workload(ctx, "--namespace", encryption.AgentNamespace, "exec", pod, "--", "edge-agent", "status")
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || q.victim == "" || exit.ExitCode() != notEncrypted) {
		return err
	}
	return q.showTraffic(ctx)
}

// notEncrypted is the exit status of edge-agent status on a node that is not proved to encrypt.
const notEncrypted = 2

// workload runs kubectl on the cluster and shows the command and what it prints.
func (q *quickstart) workload(ctx context.Context, args ...string) error {
	shown := make([]string, len(args))
	for i, arg := range args {
		if shown[i] = arg; strings.ContainsAny(arg, "()") {
			shown[i] = "'" + arg + "'"
		}
	}
	q.echo("kubectl --kubeconfig " + q.kubeconfig() + " " + strings.Join(shown, " "))
	printed, err := q.access.RunKubectl(ctx, lab.Command{Kubeconfig: q.kubeconfig(), Args: args})
	fmt.Fprint(q.out, printed)
	return err
}

func (q *quickstart) workloadClient() (client.Client, error) {
	restConfig, err := q.access.ClusterRESTConfig(q.kubeconfig())
	if err != nil {
		return nil, err
	}
	return client.New(restConfig, client.Options{})
}

// agentPod is the node agent on a node that is not the victim.
func (q *quickstart) agentPod(ctx context.Context) (string, error) {
	api, err := q.workloadClient()
	if err != nil {
		return "", err
	}
	pods := &corev1.PodList{}
	if err := api.List(ctx, pods, client.InNamespace(encryption.AgentNamespace)); err != nil {
		return "", fmt.Errorf("look for the node agents: %w", err)
	}
	for _, pod := range pods.Items {
		if pod.Spec.NodeName != q.victim {
			return pod.Name, nil
		}
	}
	return "", errors.New("no node agent runs")
}

// showTraffic sends a packet from a pod of each node to one of each other node.
func (q *quickstart) showTraffic(ctx context.Context) error {
	api, err := q.workloadClient()
	if err != nil {
		return err
	}
	nodes := &corev1.NodeList{}
	if err := api.List(ctx, nodes); err != nil {
		return fmt.Errorf("list the nodes: %w", err)
	}
	flows, err := q.access.SendBetweenPods(ctx, metav1.NamespaceDefault, nodes.Items)
	if err != nil {
		return err
	}
	fmt.Fprintln(q.out, "\nOne packet from a pod of each node to a pod of each other node:")
	inClear := 0
	for _, flow := range flows {
		by := ""
		if flow.Outcome == fakevpp.Dropped {
			by = " by " + flow.By
		}
		if flow.Outcome == fakevpp.Plain {
			inClear++
		}
		fmt.Fprintf(q.out, "  %s -> %s  %s%s\n", flow.From, flow.To, strings.ToLower(string(flow.Outcome)), by)
	}
	fmt.Fprintf(q.out, "%d of %d left a host in clear\n", inClear, len(flows))
	if inClear > 0 {
		return fmt.Errorf("%d packets left a host in clear", inClear)
	}
	return nil
}

// withholdKey gives a worker's host the fault, as soon as it is known which one that is.
func (q *quickstart) withholdKey(ctx context.Context) error {
	err := q.follow(ctx, "a worker has its host", func(w world) bool {
		q.victim = workerHost(w)
		return q.victim != ""
	})
	if err != nil {
		return err
	}
	args := []string{"annotate", "baremetalhost", q.victim, faults.Annotation + "=withhold-key"}
	q.echo("kubectl " + strings.Join(args, " "))
	printed, err := q.access.Kubectl(ctx, args...)
	fmt.Fprint(q.out, printed)
	return err
}

func workerHost(w world) string {
	workers := map[string]bool{}
	for i := range w.machines {
		if !util.IsControlPlaneMachine(&w.machines[i]) {
			workers[w.machines[i].Spec.InfrastructureRef.Name] = true
		}
	}
	for _, m := range w.edgeMachines {
		if workers[m.Name] && m.Status.Host != "" {
			return m.Status.Host
		}
	}
	return ""
}

// awaitLeak waits until the site says that the others would send to the victim in clear, and the victim gets no
// answer from them.
func (q *quickstart) awaitLeak(ctx context.Context) error {
	machines := q.scenario.machines()
	return q.follow(ctx, "the leak is found, and cluster "+Cluster+" is not ready", func(w world) bool {
		for _, site := range w.edgeClusters {
			c := meta.FindStatusCondition(site.Status.Conditions, infrav1.EncryptionReadyCondition)
			if c != nil && c.Status == metav1.ConditionFalse && len(w.machines) == machines &&
				strings.Count(c.Message, ": "+encryption.ReasonPlaintextTunnel+" since") == machines-1 &&
				strings.Contains(c.Message, q.victim+": "+encryption.ReasonPeerNotEstablished+" since") {
				return !meta.IsStatusConditionTrue(site.Status.Conditions, infrav1.ReadyCondition)
			}
		}
		return false
	})
}

func (q *quickstart) explainLeak() {
	fmt.Fprintf(q.out, `
The key of %s is withheld from the other nodes: Calico sends its pods' traffic in clear, and the guard drops it.
To heal it:          go -C test run ./lab/cmd/lab fault %s
To watch it heal:    kubectl get edgecluster %s --watch
To stop:             make quickstart-down
`, q.victim, q.victim, Cluster)
}
