// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

// Package quickstart brings up a cluster in a running lab the way a person would: with clusterctl,
// kubectl and nothing else, while it shows what each host and machine is doing.
package quickstart

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

const (
	// Cluster is the name of the quick start's cluster, in namespace default.
	Cluster = "edge-1"

	initTimeout  = 5 * time.Minute
	pollInterval = time.Second
)

// scenario is what is brought up, and on what.
type scenario struct {
	// inventory is the file of the hosts, in the repository.
	inventory string
	// hosts are in the inventory; 1 machine is the control plane.
	hosts, workers int
	// limit of all steps together.
	limit time.Duration
	// variables of the template beside those of the site, and patches of what it makes.
	variables map[string]string
	patches   []patch
}

// machines of the cluster.
func (s scenario) machines() int { return 1 + s.workers }

func simulatedScenario() scenario {
	return scenario{inventory: inventoryFile("edge-1.yaml"), hosts: 5, workers: 2, limit: 15 * time.Minute}
}

func inventoryFile(name string) string { return filepath.Join("test", "lab", "inventory", name) }

// Run takes a lab that has just started, or one in which Run was interrupted or has ended, to a ready
// cluster. On simulated hosts its nodes have proved that they encrypt; on virtual hosts, for which Calico's images
// cannot be had, its pods are connected by flannel in clear, and find Services by their names. The error says what is
// not ready and where to look.
func Run(ctx context.Context, access lab.Access, out io.Writer) error {
	if access.Hosts == lab.VirtualHosts {
		return runVirtual(ctx, access, out)
	}
	q, err := newQuickstart(access, out, simulatedScenario())
	if err != nil {
		return err
	}
	if err := q.take(ctx, q.installProviders, q.addHosts, q.createCluster, q.awaitCluster, q.showCluster, q.showEncryption); err != nil {
		return err
	}
	q.explain()
	return nil
}

// RunWithLeak is Run with a fault: the WireGuard key of one worker never reaches the other nodes, whose Calico
// then sends its pods' traffic in clear. It ends when the cluster says so, which is not ready.
func RunWithLeak(ctx context.Context, access lab.Access, out io.Writer) error {
	if access.Hosts != lab.SimulatedHosts {
		return errors.New("a key can be withheld on simulated hosts only: use a lab that was started with --hosts " + lab.SimulatedHosts)
	}
	q, err := newQuickstart(access, out, simulatedScenario())
	if err != nil {
		return err
	}
	if err := q.take(ctx, q.installProviders, q.addHosts, q.createCluster, q.withholdKey, q.awaitLeak, q.showCluster, q.showEncryption); err != nil {
		return err
	}
	q.explainLeak()
	return nil
}

// take takes the steps.
func (q *quickstart) take(ctx context.Context, steps ...func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, q.scenario.limit)
	defer cancel()
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return errors.Join(err, whatConsolesShow(q.access),
				fmt.Errorf("logs: %s, consoles of the hosts: %s", q.access.LogDir, q.access.ConsoleGlob()))
		}
	}
	return nil
}

type quickstart struct {
	access   lab.Access
	scenario scenario
	out      io.Writer
	api      client.Client
	begin    time.Time
	// victim is the host whose key is withheld.
	victim string
}

func newQuickstart(access lab.Access, out io.Writer, s scenario) (*quickstart, error) {
	config, err := access.RESTConfig()
	if err != nil {
		return nil, err
	}
	scheme, err := lab.Scheme()
	if err != nil {
		return nil, err
	}
	api, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("make a client of the lab: %w", err)
	}
	return &quickstart{access: access, scenario: s, out: out, api: api, begin: time.Now()}, nil
}

// installProviders runs clusterctl init unless that was done before.
func (q *quickstart) installProviders(ctx context.Context) error {
	installed := &clusterctlv1.ProviderList{}
	if err := q.api.List(ctx, installed); err == nil {
		for _, p := range installed.Items {
			if p.ProviderName == "edgemetal" {
				q.say("the providers are installed already")
				return nil
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, initTimeout)
	defer cancel()
	return q.clusterctl(ctx, "init", "--infrastructure", "edgemetal", "--ipam", "in-cluster", "--wait-providers")
}

func (q *quickstart) addHosts(ctx context.Context) error {
	root, err := tools.Root()
	if err != nil {
		return err
	}
	q.echo("kubectl apply -f " + q.scenario.inventory)
	if _, err := q.access.Kubectl(ctx, "apply", "-f", filepath.Join(root, q.scenario.inventory)); err != nil {
		return err
	}
	return q.follow(ctx, fmt.Sprintf("%d hosts are inspected and available", q.scenario.hosts), q.hostsUsable)
}

// generate are the arguments of clusterctl for the cluster's manifest.
func (q *quickstart) generate() []string {
	return []string{
		"generate", "cluster", Cluster, "--infrastructure", "edgemetal", "--kubernetes-version", lab.KubernetesVersion,
		"--control-plane-machine-count", "1", "--worker-machine-count", strconv.Itoa(q.scenario.workers),
	}
}

func (q *quickstart) createCluster(ctx context.Context) error {
	args := q.generate()
	q.echo("clusterctl " + strings.Join(args, " ") + " | kubectl apply -f -")
	manifest, err := q.access.Clusterctl(ctx, args...)
	if err != nil {
		return err
	}
	return q.access.Apply(ctx, manifest)
}

func (q *quickstart) awaitCluster(ctx context.Context) error {
	return q.follow(ctx, fmt.Sprintf("cluster %s is available and its %d machines are ready", Cluster, q.scenario.machines()), q.encryptedClusterReady)
}

func (q *quickstart) showCluster(ctx context.Context) error {
	if err := q.clusterctl(ctx, "describe", "cluster", Cluster, "--echo", "--show-conditions", "EdgeCluster,EdgeMachine"); err != nil {
		return err
	}
	if err := q.writeKubeconfig(ctx); err != nil {
		return err
	}
	return q.workload(ctx, "get", "nodes", "-o", "wide")
}

func (q *quickstart) writeKubeconfig(ctx context.Context) error {
	kubeconfig, err := q.access.Clusterctl(ctx, "get", "kubeconfig", Cluster)
	if err != nil {
		return err
	}
	if err := os.WriteFile(q.kubeconfig(), []byte(kubeconfig), 0o600); err != nil {
		return fmt.Errorf("write the kubeconfig of %s: %w", Cluster, err)
	}
	return nil
}

func (q *quickstart) kubeconfig() string { return filepath.Join(q.access.Dir, Cluster+".kubeconfig") }

func (q *quickstart) explain() {
	fmt.Fprintf(q.out, `
Cluster %s is ready, %s after the lab was. To look around with this lab's clusterctl and kubectl:

%s
  kubectl get bmh,edgemachines,machines
  clusterctl describe cluster %s
  kubectl --kubeconfig %s get nodes

To scale:            kubectl scale machinedeployment %s-workers --replicas 3
To break a host:     go -C test run ./lab/cmd/lab fault host-4 fail-provision=1    (see lab fault --help)
To see a leak:       make quickstart-down, rm -rf .lab, make quickstart QUICKSTART_FLAGS=--leak
What runs:           go -C test run ./lab/cmd/lab status
Logs:                %s
Consoles:            %s
To stop:             make quickstart-down
`, Cluster, time.Since(q.begin).Round(time.Second), indent(q.access.Environment()), Cluster, q.kubeconfig(),
		Cluster, q.access.LogDir, q.access.ConsoleGlob())
}

// clusterctl shows the command and what it prints.
func (q *quickstart) clusterctl(ctx context.Context, args ...string) error {
	q.echo("clusterctl " + strings.Join(args, " "))
	printed, err := q.access.RunClusterctl(ctx, lab.Command{Args: args, Progress: q.out})
	fmt.Fprint(q.out, printed)
	return err
}

func (q *quickstart) echo(command string) { fmt.Fprintf(q.out, "\n$ %s\n", command) }

// say prints a line with the time since the start.
func (q *quickstart) say(line string) {
	elapsed := time.Since(q.begin).Round(time.Second)
	fmt.Fprintf(q.out, "%4ds  %s\n", int(elapsed.Seconds()), line)
}

func indent(lines string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(lines), "\n", "\n  ")
}
