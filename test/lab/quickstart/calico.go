// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package quickstart

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/test/lab"
)

// Dataplanes that RunWithCalico takes.
func Dataplanes() []string {
	return []string{
		string(infrav1.DataplaneCalicoVPP), string(infrav1.DataplaneCalicoEBPF),
		string(infrav1.DataplaneCalicoNftables), string(infrav1.DataplaneCalicoIptables),
	}
}

// dataplaneVariable of the cluster templates.
const dataplaneVariable = "EDGEMETAL_DATAPLANE_TYPE"

// operatorDeployment is where the installation of Calico stops on a site that cannot have its images.
const operatorDeployment = "tigera-operator/tigera-operator"

// RunWithCalico takes a lab with virtual hosts as far as a dataplane comes whose images cannot be had: its objects are
// installed up to the operator, the conditions tell what waits, and the control plane's node agent runs and reports. It ends there,
// with a cluster that is not ready, and to which a worker would add nothing but time.
func RunWithCalico(ctx context.Context, access lab.Access, dataplane string, out io.Writer) error {
	if access.Hosts != lab.VirtualHosts {
		return errors.New("the dataplane can be chosen on virtual hosts only: use a lab that was started with --hosts " + lab.VirtualHosts)
	}
	if !slices.Contains(Dataplanes(), dataplane) {
		return fmt.Errorf("unknown dataplane %q: there are %s", dataplane, strings.Join(Dataplanes(), ", "))
	}
	s := virtualScenario()
	s.variables = map[string]string{dataplaneVariable: dataplane}
	q, err := newQuickstart(access, out, s)
	if err != nil {
		return err
	}
	err = q.take(ctx, q.installProviders, q.addHosts, q.createPatchedCluster, q.awaitControlPlane, q.awaitAgent, q.showCluster, q.showAgent)
	if err != nil {
		return err
	}
	fmt.Fprintf(q.out, `
This cluster cannot become ready here: the images of Calico cannot be had without internet, and so nothing carries its
pods' traffic. What can be seen: the objects of %s are installed up to Calico's operator, whose pod waits for
its image; the host has its key; and the node agent, whose image is on the host, says what is missing. On a site
with images the same steps go on to a ready cluster.
`, dataplane)
	q.explainHosts()
	return nil
}

// awaitAgent waits until the installation stands still for want of an image, and the node agent has reported.
func (q *quickstart) awaitAgent(ctx context.Context) error {
	return q.follow(ctx, "the installation waits for an image, and the node agent reports", func(w world) bool {
		if len(w.edgeMachines) < q.scenario.machines() {
			return false
		}
		stopped := slices.ContainsFunc(w.edgeClusters, func(c infrav1.EdgeCluster) bool {
			installed := meta.FindStatusCondition(c.Status.Conditions, infrav1.DataplaneInstalledCondition)
			return installed != nil && installed.Status == metav1.ConditionFalse && strings.Contains(installed.Message, operatorDeployment)
		})
		dataplane := infrav1.DataplaneType(q.scenario.variables[dataplaneVariable])
		return stopped && !slices.ContainsFunc(w.edgeMachines, func(m infrav1.EdgeMachine) bool { return !reported(&m, dataplane) })
	})
}

// reported tells whether a machine's node agent has said what it sees. In the host's kernel there is something to see; VPP itself is
// in an image that is not there.
func reported(m *infrav1.EdgeMachine, dataplane infrav1.DataplaneType) bool {
	c := meta.FindStatusCondition(m.Status.Conditions, infrav1.EncryptionReadyCondition)
	if c == nil || c.Status != metav1.ConditionFalse || c.Reason == infrav1.WaitingForAgentReason {
		return false
	}
	return (c.Reason == encryption.ReasonDataplaneUnreachable) == (dataplane == infrav1.DataplaneCalicoVPP)
}

// showAgent shows what waits, and what the agent says.
func (q *quickstart) showAgent(ctx context.Context) error {
	for _, args := range [][]string{
		{"get", "pods", "--all-namespaces", "-o", "wide"},
		{"get", "nodes", "-o", "custom-columns=" + nodeColumns},
	} {
		if err := q.workload(ctx, args...); err != nil {
			return err
		}
	}
	pod, err := q.agentPod(ctx)
	if err != nil {
		return err
	}
	err = q.workload(ctx, "--namespace", encryption.AgentNamespace, "exec", pod, "--", "edge-agent", "status")
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == notEncrypted {
		return nil // which is what it has to say
	}
	return err
}
