// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package calico_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/calico"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/support"
)

// object finds an object of a plan.
func object(t testing.TB, plan calico.Plan, kind, name string) *unstructured.Unstructured {
	t.Helper()
	for _, step := range plan.Steps {
		for _, object := range step.Objects {
			if object.GetKind() == kind && object.GetName() == name {
				return object
			}
		}
	}
	t.Fatalf("the plan has no %s %s", kind, name)
	return nil
}

// position of an object in the whole plan; -1 when it is not there.
func position(plan calico.Plan, kind, name string) int {
	n := 0
	for _, step := range plan.Steps {
		for _, object := range step.Objects {
			if object.GetKind() == kind && object.GetName() == name {
				return n
			}
			n++
		}
	}
	return -1
}

func TestRenderIsDeterministic(t *testing.T) {
	for _, tc := range renderCases() {
		first := documents(t, render(t, tc.input))
		for range 5 {
			if diff := cmp.Diff(string(first), string(documents(t, render(t, tc.input)))); diff != "" {
				t.Fatalf("%s: rendered again the plan differs:\n%s", tc.name, diff)
			}
		}
	}
}

func TestRenderLeavesItsInputAlone(t *testing.T) {
	for _, tc := range renderCases() {
		before := tc.input
		before.Dataplane = *tc.input.Dataplane.DeepCopy()
		render(t, tc.input)
		if diff := cmp.Diff(before, tc.input); diff != "" {
			t.Errorf("%s: Render changed its input:\n%s", tc.name, diff)
		}
	}
}

func TestEveryObjectIsLabelledAndNamedOnce(t *testing.T) {
	for _, tc := range renderCases() {
		seen := map[string]bool{}
		for _, step := range render(t, tc.input).Steps {
			for _, object := range step.Objects {
				id := fmt.Sprintf("%s %s %s/%s", object.GetAPIVersion(), object.GetKind(), object.GetNamespace(), object.GetName())
				if labels := object.GetLabels(); labels[calico.ManagedByLabel] != calico.ManagedBy || labels[calico.StepLabel] != step.Name {
					t.Errorf("%s: %s has labels %v", tc.name, id, labels)
				}
				if seen[id] {
					t.Errorf("%s: %s is there twice", tc.name, id)
				}
				seen[id] = true
				if _, found := object.Object["status"]; found {
					t.Errorf("%s: %s has a status", tc.name, id)
				}
			}
		}
	}
}

// TestOrder: what Felix and the BGP speakers read is there before whatever starts them, and filters before their peers.
func TestOrder(t *testing.T) {
	for _, tc := range renderCases() {
		plan := render(t, tc.input)
		if len(plan.Steps) == 0 {
			continue
		}
		steps := make([]string, len(plan.Steps))
		for i, step := range plan.Steps {
			steps[i] = step.Name
		}
		all := []string{calico.StepCRDs, calico.StepConfiguration, calico.StepPeers, calico.StepAgent, calico.StepOperator, calico.StepInstallation, calico.StepVPP, calico.StepLoadBalancers}
		if inOrder := slices.DeleteFunc(slices.Clone(all), func(s string) bool { return !slices.Contains(steps, s) }); !slices.Equal(steps, inOrder) {
			t.Errorf("%s: steps are %v", tc.name, steps)
		}
		installation := position(plan, "Installation", "default")
		for _, first := range []string{"FelixConfiguration", "BGPConfiguration"} {
			if i := position(plan, first, "default"); i > installation {
				t.Errorf("%s: %s comes after the Installation", tc.name, first)
			}
		}
		if filter, peer := position(plan, "BGPFilter", "edgemetal-tor-2"), position(plan, "BGPPeer", "edgemetal-tor-1"); filter > peer {
			t.Errorf("%s: a peer comes before a filter", tc.name)
		}
	}
}

// TestNothingIsAwaitedThatComesLater: what a step waits for is made by it, by an earlier one, or by the operator for it.
func TestNothingIsAwaitedThatComesLater(t *testing.T) {
	for _, tc := range renderCases() {
		made := map[string]bool{}
		for _, step := range render(t, tc.input).Steps {
			for _, object := range step.Objects {
				made[object.GetKind()+" "+object.GetName()] = true
			}
			if step.Name == calico.StepInstallation {
				made["DaemonSet calico-node"], made["TigeraStatus calico"], made["TigeraStatus apiserver"], made["TigeraStatus ippools"] = true, true, true, true
			}
			for _, ready := range step.Ready {
				if ready.Kind == calico.Established || ready.Kind == calico.Available {
					continue // By a chart.
				}
				if !made[ready.ObjectKind+" "+ready.Name] {
					t.Errorf("%s: step %s waits for %s %s, which is not there yet", tc.name, step.Name, ready.ObjectKind, ready.Name)
				}
			}
		}
	}
}

// TestNoKeyMaterial: no object can hold what the plan has copied, nor anything that looks like a key.
func TestNoKeyMaterial(t *testing.T) {
	for _, tc := range renderCases() {
		for _, step := range render(t, tc.input).Steps {
			for _, object := range step.Objects {
				if object.GetKind() == "Secret" {
					t.Errorf("%s: %s is rendered", tc.name, object.GetName())
				}
			}
			for _, secret := range step.Secrets {
				if secret.From.Name == "" && !secret.From.IPsecPSK || secret.From.Field == "" || len(secret.Keys) == 0 {
					t.Errorf("%s: copy of %s/%s says not what it copies: %+v", tc.name, secret.Namespace, secret.Name, secret)
				}
			}
		}
		text := string(documents(t, render(t, tc.input)))
		for _, forbidden := range []string{"private-key", "privateKey", "api-trace", "full-coredump", "corePattern", "wireguardHostEncryptionEnabled"} {
			if strings.Contains(text, forbidden) {
				t.Errorf("%s: the plan contains %s", tc.name, forbidden)
			}
		}
		// A WireGuard key is 32 bytes, which are 43 characters of base64 and a sign. Nothing else here is base64.
		for line := range strings.Lines(text) {
			for _, word := range strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \n\"':,=", r) && r != '=' }) {
				if len(word) == 44 && strings.HasSuffix(word, "=") {
					t.Errorf("%s: %q looks like a key", tc.name, word)
				}
			}
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*calico.Input)
		want   string
	}{
		{"no uplink with VPP", func(in *calico.Input) { in.Uplink = "" }, "input has no Uplink"},
		{"no links with eBPF", func(in *calico.Input) { in.Dataplane.Type, in.Links = infrav1.DataplaneCalicoEBPF, nil }, "input has no Links"},
		{"no version for the agent's image", func(in *calico.Input) { in.AgentVersion = "" }, "input has no AgentVersion"},
		{"a pod range that is none", func(in *calico.Input) { in.PodCIDRs = []string{"10.244.0.0"} }, `"10.244.0.0" is not an address range`},
		{"a peer that is no address", func(in *calico.Input) {
			in.Dataplane.BGP = &infrav1.BGP{Peers: []infrav1.BGPPeer{{Name: "tor", Address: "router"}}}
		}, `spec.dataplane.bgp.peers: "router" is not an IP address`},
		{"an unknown type", func(in *calico.Input) { in.Dataplane.Type = "Cilium" }, `spec.dataplane.type "Cilium": not a dataplane of Calico`},
		{"what leaks", func(in *calico.Input) {
			in.Dataplane.IPPools = []infrav1.IPPool{{Name: "clear", CIDR: "10.244.0.0/16", Encapsulation: infrav1.EncapsulationNone}}
		}, "spec.dataplane.ipPools: clear: VPP encrypts what it would encapsulate"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			in := input(nil)
			tc.change(&in)
			plan, err := calico.Render(in)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
			if len(plan.Steps) > 0 {
				t.Error("there is a plan beside the error")
			}
		})
	}
	in := input(nil)
	in.PodCIDRs = nil
	_, err := calico.Render(in)
	if refused, ok := errors.AsType[*support.Error](err); !ok || refused.Problems[0].Field != "Cluster spec.clusterNetwork.pods.cidrBlocks" {
		t.Errorf("got %v, want a *support.Error that names the field", err)
	}
}

func TestConfigurationChangesRestartPods(t *testing.T) {
	hash := func(in calico.Input, name string) string {
		annotations, _, _ := unstructured.NestedStringMap(object(t, render(t, in), "DaemonSet", name).Object, "spec", "template", "metadata", "annotations")
		return annotations["edgemetal.infrastructure.cluster.x-k8s.io/config-hash"]
	}
	changed := input(func(d *infrav1.Dataplane) { d.VPP = &infrav1.VPP{MaxPodsPerNode: 200} })
	if a, b := hash(input(nil), "calico-vpp-node"), hash(changed, "calico-vpp-node"); a == b || a == "" {
		t.Errorf("VPP's pods have hash %q with one configuration and %q with another", a, b)
	}
	if a, b := hash(input(nil), "edge-agent"), hash(changed, "edge-agent"); a != b {
		t.Errorf("the node agent's pods have hashes %q and %q although nothing of theirs has changed", a, b)
	}
}

func TestBuffers(t *testing.T) {
	tests := []struct{ pods, ring, want int32 }{
		{110, 256, 65536},
		{1, 64, 8192},
		{250, 256, 139264},
		{500, 4096, 4104192},
	}
	for _, tc := range tests {
		if got := calico.Buffers(tc.pods, tc.ring); got != tc.want {
			t.Errorf("%d pods with rings of %d: got %d buffers, want %d", tc.pods, tc.ring, got, tc.want)
		}
		if needed := tc.pods * 2 * tc.ring; calico.Buffers(tc.pods, tc.ring) < needed+2*1024 {
			t.Errorf("%d pods with rings of %d need %d buffers", tc.pods, tc.ring, needed)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	in := input(withBGP)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := calico.Render(in); err != nil {
			b.Fatal(err)
		}
	}
}
