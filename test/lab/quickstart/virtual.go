// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package quickstart

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/resid"
	"sigs.k8s.io/yaml"

	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab/tools"
)

const (
	manifestFile = "cluster.yaml"
	// podTimeout is for pods whose images are on the host.
	podTimeout = 5 * time.Minute
	// answerTimeout is for an API server that has just started and has a fraction of a core.
	answerTimeout = 5 * time.Minute
	tryAgain      = 10 * time.Second
	// workersName is the MachineDeployment of the template.
	workersName = Cluster + "-workers"
	// testPod is the pod of names.yaml that asks.
	testPod = "client"
	// virtualWorkers are added to the control plane.
	virtualWorkers = 1
)

// virtualScenario has no spare host: each takes a core and gigabytes. Its workers come when the control plane is at rest. Together with
// a host that boots beside it, an emulated control plane starts so slowly that its parts give up on each other.
func virtualScenario() scenario {
	return scenario{
		inventory: inventoryFile("edge-1-virtual.yaml"), hosts: 1 + virtualWorkers, limit: 40 * time.Minute,
		patches: []patch{
			{file: "emulation.yaml", kind: "KubeadmControlPlane"},
			{file: "control-plane-host.yaml", kind: "EdgeMachineTemplate", name: Cluster + "-control-plane"},
		},
	}
}

// withoutDataplane is for a network plugin that EdgeMetal does not install.
func withoutDataplane() scenario {
	s := virtualScenario()
	s.patches = append(s.patches, patch{file: "no-dataplane.yaml", kind: "EdgeCluster"})
	return s
}

// patch changes what the template makes, as a user would with kustomize.
type patch struct {
	// file in the inventory's folder for virtual hosts.
	file string
	kind string
	// name of the object; any of the kind when empty.
	name string
}

// runVirtual brings up a cluster without a dataplane of ours, as for somebody who installs a network plugin by himself.
func runVirtual(ctx context.Context, access lab.Access, out io.Writer) error {
	q, err := newQuickstart(access, out, withoutDataplane())
	if err != nil {
		return err
	}
	err = q.take(ctx, q.installProviders, q.addHosts, q.createPatchedCluster, q.awaitControlPlane, q.installFlannel, q.awaitAvailable,
		q.addWorkers, q.awaitAvailable, q.showCluster, q.showNames)
	if err != nil {
		return err
	}
	fmt.Fprintf(q.out, "\nCluster %s is ready, %s after the lab was.\n", Cluster, time.Since(q.begin).Round(time.Second))
	q.explainHosts()
	return nil
}

// explainHosts tells how to look around in a cluster on virtual hosts.
func (q *quickstart) explainHosts() {
	fmt.Fprintf(q.out, `To look around with this lab's clusterctl and kubectl:

%s
  kubectl get bmh,edgemachines,machines
  clusterctl describe cluster %s
  kubectl --kubeconfig %s get nodes

Inside a host:       go -C test run ./lab/cmd/lab exec host-1 -- journalctl --unit kubelet --lines 20
What runs:           go -C test run ./lab/cmd/lab status
Logs:                %s
Consoles:            %s
To stop:             make quickstart-down
`, indent(q.access.Environment()), Cluster, q.kubeconfig(), q.access.LogDir, q.access.ConsoleGlob())
}

// createPatchedCluster is clusterctl generate cluster and kubectl apply with patches between them.
func (q *quickstart) createPatchedCluster(ctx context.Context) error {
	dir := filepath.Join(q.access.Dir, Cluster)
	if err := q.keepWorkers(ctx); err != nil {
		return err
	}
	args := q.generate()
	var shown []string
	for _, name := range slices.Sorted(maps.Keys(q.scenario.variables)) {
		shown = append(shown, name+"="+q.scenario.variables[name])
	}
	shown = append(append(shown, "clusterctl"), args...)
	q.echo(strings.Join(shown, " ") + " > " + filepath.Join(dir, manifestFile))
	manifest, err := q.access.RunClusterctl(ctx, lab.Command{Args: args, Variables: q.scenario.variables})
	if err != nil {
		return err
	}
	if err := q.scenario.writeKustomization(dir, manifest); err != nil {
		return err
	}
	q.echo("kubectl apply -k " + dir)
	printed, err := q.access.RunApply(ctx, lab.Command{Args: []string{"apply", "-k", dir}})
	fmt.Fprint(q.out, printed)
	return err
}

// writeKustomization makes a folder of the manifest and its patches.
func (s scenario) writeKustomization(dir, manifest string) error {
	root, err := tools.Root()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("create the folder of the cluster: %w", err)
	}
	files := map[string][]byte{manifestFile: []byte(manifest)}
	k := types.Kustomization{
		TypeMeta:  types.TypeMeta{APIVersion: types.KustomizationVersion, Kind: types.KustomizationKind},
		Resources: []string{manifestFile},
	}
	for _, p := range s.patches {
		if files[p.file], err = os.ReadFile(filepath.Join(root, virtualFile(p.file))); err != nil {
			return fmt.Errorf("read a patch: %w", err)
		}
		k.Patches = append(k.Patches, types.Patch{Path: p.file, Target: &types.Selector{ResId: resid.ResId{Gvk: resid.Gvk{Kind: p.kind}, Name: p.name}}})
	}
	if files["kustomization.yaml"], err = yaml.Marshal(k); err != nil {
		return fmt.Errorf("encode the patches of the cluster: %w", err)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return fmt.Errorf("write the cluster and its patches: %w", err)
		}
	}
	return nil
}

func virtualFile(name string) string { return inventoryFile(filepath.Join("virtual", name)) }

// awaitControlPlane waits until kubeadm has done its work on the first host, and gets the kubeconfig.
func (q *quickstart) awaitControlPlane(ctx context.Context) error {
	err := q.follow(ctx, "the API server of cluster "+Cluster+" answers", func(w world) bool {
		return slices.ContainsFunc(w.clusters, func(c clusterv1.Cluster) bool {
			return c.Status.Initialization.ControlPlaneInitialized != nil && *c.Status.Initialization.ControlPlaneInitialized
		})
	})
	if err != nil {
		return err
	}
	q.echo("clusterctl get kubeconfig " + Cluster + " > " + q.kubeconfig())
	return q.writeKubeconfig(ctx)
}

// installFlannel connects the pods: without EdgeMetal's dataplane that is the user's to do.
func (q *quickstart) installFlannel(ctx context.Context) error {
	return q.applyVirtual(ctx, "flannel.yaml")
}

// applyVirtual applies a file for virtual hosts to the cluster on them.
func (q *quickstart) applyVirtual(ctx context.Context, name string) error {
	root, err := tools.Root()
	if err != nil {
		return err
	}
	file := virtualFile(name)
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	for {
		q.echo("kubectl --kubeconfig " + q.kubeconfig() + " apply -f " + file)
		printed, err := q.access.RunKubectl(ctx, lab.Command{Kubeconfig: q.kubeconfig(), Args: []string{"apply", "-f", filepath.Join(root, file)}})
		fmt.Fprint(q.out, printed)
		if err == nil {
			return nil
		}
		q.say("again in a moment: " + shorten(err.Error()))
		select {
		case <-ctx.Done():
			return err
		case <-time.After(tryAgain):
		}
	}
}

// keepWorkers has a manifest that is applied again not take away the workers that were added.
func (q *quickstart) keepWorkers(ctx context.Context) error {
	deployment := &clusterv1.MachineDeployment{}
	err := q.api.Get(ctx, client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: workersName}, deployment)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("look for the cluster's workers: %w", err)
	}
	if err == nil && deployment.Spec.Replicas != nil {
		q.scenario.workers = int(*deployment.Spec.Replicas)
	}
	return nil
}

func (q *quickstart) addWorkers(ctx context.Context) error {
	q.scenario.workers = virtualWorkers
	args := []string{"scale", "machinedeployment", workersName, "--replicas", strconv.Itoa(virtualWorkers)}
	q.echo("kubectl " + strings.Join(args, " "))
	printed, err := q.access.Kubectl(ctx, args...)
	fmt.Fprint(q.out, printed)
	return err
}

func (q *quickstart) awaitAvailable(ctx context.Context) error {
	return q.follow(ctx, fmt.Sprintf("cluster %s is available and its %d machines are ready", Cluster, q.scenario.machines()), q.clusterReady)
}

// showNames asks the cluster's DNS from a pod on the worker, and fetches a page from a pod on the control plane by the
// name of its Service.
func (q *quickstart) showNames(ctx context.Context) error {
	if err := q.applyVirtual(ctx, "names.yaml"); err != nil {
		return err
	}
	steps := [][]string{
		{"--namespace", "kube-system", "rollout", "status", "deployment/coredns", "--timeout", podTimeout.String()},
		{"wait", "pods", "--all", "--for", "condition=Ready", "--timeout", podTimeout.String()},
		{"get", "pods", "--all-namespaces", "-o", "wide"},
		{"exec", testPod, "--", "nslookup", "-type=a", "kubernetes.default.svc.cluster.local"},
		{"exec", testPod, "--", "nslookup", "-type=a", "server.default.svc.cluster.local"},
		{"exec", testPod, "--", "wget", "-q", "-O", "-", "http://server"},
	}
	for _, args := range steps {
		if err := q.workload(ctx, args...); err != nil {
			return err
		}
	}
	q.say("a pod on the worker finds Services by their names, and a pod on the control plane through one")
	return nil
}
