// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"errors"
	"slices"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/support"
)

// Render composes the plan. It is empty for type None.
//
// It returns a *support.Error when Check finds problems, and a plain error when the input is incomplete.
func Render(in Input) (Plan, error) {
	d := Defaults(in)
	if problems := Check(in); len(problems) > 0 {
		return Plan{}, &support.Error{Problems: problems}
	}
	if d.Type == infrav1.DataplaneNone {
		return Plan{}, nil
	}
	if d.Type == infrav1.DataplaneCalicoVPP && in.Uplink == "" {
		return Plan{}, errors.New("input has no Uplink")
	}
	if d.Type == infrav1.DataplaneCalicoEBPF && len(in.Links) == 0 {
		return Plan{}, errors.New("input has no Links")
	}
	if in.AgentVersion == "" && in.Dataplane.AgentImage == "" {
		return Plan{}, errors.New("input has no AgentVersion")
	}
	var plan Plan
	for _, build := range []func(Input, infrav1.Dataplane) (draft, error){crdsStep, configurationStep, peersStep, agentStep, operatorStep, installationStep, vppStep, loadBalancersStep} {
		draft, err := build(in, d)
		if err != nil {
			return Plan{}, err
		}
		if draft.empty() {
			continue
		}
		draft.Objects, err = manifests(draft.Name, draft.typed)
		if err != nil {
			return Plan{}, err
		}
		plan.Steps = append(plan.Steps, draft.Step)
	}
	plan.finish(d)
	return plan, nil
}

// draft is a step whose objects are still typed.
type draft struct {
	Step

	typed []any
}

func (d draft) empty() bool { return len(d.typed) == 0 && d.Chart == nil && len(d.Secrets) == 0 }

func crdsStep(_ Input, d infrav1.Dataplane) (draft, error) {
	step := draft{Step: Step{
		Name: StepCRDs, Title: "Calico's custom resource definitions",
		Chart: &Chart{Name: CRDsChart, Version: d.Calico.Version, Namespace: operatorNamespace, Digest: d.Calico.Charts.CRDsDigest, Values: map[string]any{}},
	}}
	for _, name := range awaitedCRDs() {
		step.Ready = append(step.Ready, Readiness{Kind: Established, APIVersion: "apiextensions.k8s.io/v1", ObjectKind: "CustomResourceDefinition", Name: name})
	}
	return step, nil
}

// configurationStep makes the namespace of the BGP speaker early, because passwords have to be there before it starts.
func configurationStep(in Input, d infrav1.Dataplane) (draft, error) {
	step := draft{Step: Step{Name: StepConfiguration, Title: "Calico's configuration"}}
	step.typed = []any{felixConfiguration(in, d)}
	if d.Type == infrav1.DataplaneCalicoVPP {
		step.typed = append(step.typed, namespace(vppNamespace))
	} else {
		step.typed = append(step.typed, namespace(calicoNamespace))
	}
	if d.BGP == nil {
		return step, nil
	}
	step.typed = append(step.typed, bgpConfiguration(d.BGP))
	for _, peer := range d.BGP.Peers {
		// Pools lie inside these ranges.
		step.typed = append(step.typed, bgpFilter(peer, in.PodCIDRs))
	}
	step.Secrets = passwords(d)
	step.typed = append(step.typed, passwordAccess(d, step.Secrets)...)
	return step, nil
}

func peersStep(_ Input, d infrav1.Dataplane) (draft, error) {
	step := draft{Step: Step{Name: StepPeers, Title: "BGP peers"}}
	if d.BGP == nil {
		return step, nil
	}
	for _, peer := range d.BGP.Peers {
		step.typed = append(step.typed, bgpPeer(peer))
	}
	return step, nil
}

func operatorStep(in Input, d infrav1.Dataplane) (draft, error) {
	return draft{
		Step: Step{
			Name: StepOperator, Title: "Tigera operator",
			Secrets: pullSecrets(d, operatorNamespace),
			Chart:   &Chart{Name: OperatorChart, Version: d.Calico.Version, Namespace: operatorNamespace, Digest: d.Calico.Charts.OperatorDigest, Values: operatorValues(d)},
			Ready:   []Readiness{{Kind: Available, APIVersion: "apps/v1", ObjectKind: "Deployment", Namespace: operatorNamespace, Name: OperatorChart, Hint: "can the nodes pull its image?"}},
		},
		typed: operatorObjects(in, d),
	}, nil
}

// installationStep waits for nothing: with VPP Calico's own pods crash until the next step has brought VPP's agent.
func installationStep(_ Input, d infrav1.Dataplane) (draft, error) {
	installation, err := installation(d)
	if err != nil {
		return draft{}, err
	}
	return draft{Step: Step{Name: StepInstallation, Title: "Calico"}, typed: []any{installation, apiServer()}}, nil
}

func vppStep(in Input, d infrav1.Dataplane) (draft, error) {
	if d.Type != infrav1.DataplaneCalicoVPP {
		return draft{}, nil
	}
	objects, err := vppObjects(in, d)
	if err != nil {
		return draft{}, err
	}
	step := draft{Step: Step{Name: StepVPP, Title: "VPP", Secrets: pullSecrets(d, vppNamespace)}, typed: objects}
	if protocol(d) == encryption.IPsec {
		step.Secrets = append(step.Secrets, SecretCopy{
			From: SecretSource{IPsecPSK: true, Field: "spec.dataplane.encryption"}, Namespace: vppNamespace, Name: pskObject, Keys: map[string]string{pskEntry: pskEntry},
		})
	}
	return step, nil
}

// agentStep comes before what carries pods' traffic: its guard is then in force first, and a node says what it lacks from the
// beginning. It waits for nothing: until the later steps are done there is nothing to prove.
func agentStep(in Input, d infrav1.Dataplane) (draft, error) {
	if protocol(d) == "" {
		return draft{}, nil
	}
	return draft{Step: Step{Name: StepAgent, Title: "Node agent", Secrets: pullSecrets(d, encryption.AgentNamespace)}, typed: agentObjects(in, d)}, nil
}

// loadBalancersStep comes last: while it has no pool of its own, the operator would take these for all that is wanted.
func loadBalancersStep(_ Input, d infrav1.Dataplane) (draft, error) {
	step := draft{Step: Step{Name: StepLoadBalancers, Title: "Ranges of load balancers"}}
	if d.BGP == nil {
		return step, nil
	}
	for _, cidr := range d.BGP.Advertise.LoadBalancerIPs {
		step.typed = append(step.typed, loadBalancerPool(cidr))
	}
	return step, nil
}

// finish puts what the running dataplane is told by at the end of the step after which all its parts are there. Calico's own
// deployments wait for nodes whose taint the node agent takes away, so they are not awaited any earlier.
func (p *Plan) finish(d infrav1.Dataplane) {
	const daemonSet, apps = "DaemonSet", "apps/v1"
	ready := []Readiness{{Kind: RolledOut, APIVersion: apps, ObjectKind: daemonSet, Namespace: calicoNamespace, Name: "calico-node", Hint: "with VPP its pods restart for some minutes until VPP's agent is there"}}
	last := StepInstallation
	if d.Type == infrav1.DataplaneCalicoVPP {
		ready = append([]Readiness{{Kind: RolledOut, APIVersion: apps, ObjectKind: daemonSet, Namespace: vppNamespace, Name: vppDaemonSet, Hint: "see the logs of its containers vpp and agent"}}, ready...)
		last = StepVPP
	}
	if protocol(d) != "" {
		ready = append(ready, Readiness{Kind: RolledOut, APIVersion: apps, ObjectKind: daemonSet, Namespace: encryption.AgentNamespace, Name: encryption.AgentName, Hint: "see its log"})
	}
	for _, status := range []string{"ippools", "calico", "apiserver"} {
		ready = append(ready, Readiness{Kind: TigeraAvailable, APIVersion: operatorAPI, ObjectKind: "TigeraStatus", Name: status, Hint: "pods of Calico wait for nodes that are proved to encrypt"})
	}
	i := slices.IndexFunc(p.Steps, func(s Step) bool { return s.Name == last })
	p.Steps[i].Ready = ready
}
