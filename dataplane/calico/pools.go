// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"fmt"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// poolPolicyName is the name of the policy on pools.
const poolPolicyName = "edgemetal-ip-pools"

// poolPolicy refuses pools whose traffic would leave in clear, whoever makes them: the node agents guard the pods' range only, and VPP
// encrypts only what it would encapsulate. It sees pools where they are stored (crd.projectcalico.org), and where Calico's API server
// or CRDs of its own take them (projectcalico.org). Pools of load balancers hold no pods.
func poolPolicy(in Input, d infrav1.Dataplane) []any {
	pools := admissionv1.Rule{
		APIGroups: []string{"crd.projectcalico.org", "projectcalico.org"}, APIVersions: []string{"*"}, Resources: []string{"ippools"}, Scope: new(admissionv1.ClusterScope),
	}
	return admissionPolicy(poolPolicyName, pools, poolConditions(), poolValidations(in, d))
}

// poolConditions leave pools aside that hold no pods, and other changes of a pool that was there before the policy: it can still be
// disabled and deleted.
func poolConditions() []admissionv1.MatchCondition {
	return []admissionv1.MatchCondition{
		{Name: "holds-pods", Expression: "!object.spec.?allowedUses.hasValue() || object.spec.allowedUses.size() == 0 || object.spec.allowedUses.exists(u, u != 'LoadBalancer')"},
		{Name: "is-changed", Expression: "request.operation == 'CREATE' || ['cidr', 'ipipMode', 'vxlanMode', 'allowedUses'].exists(f, dyn(object.spec)[?f] != dyn(oldObject.spec)[?f])"},
	}
}

func poolValidations(in Input, d infrav1.Dataplane) []admissionv1.Validation {
	refuse := func(message, expression string) admissionv1.Validation {
		return admissionv1.Validation{Expression: expression, Message: message, Reason: new(metav1.StatusReasonInvalid)}
	}
	validations := []admissionv1.Validation{refuse(
		fmt.Sprintf("spec.cidr is not inside the pods' range of the cluster (%s): traffic of its pods would be neither encrypted for certain nor guarded; use a part of that range, or allowedUses [LoadBalancer]", strings.Join(in.PodCIDRs, ", ")),
		fmt.Sprintf("isCIDR(object.spec.cidr) && ['%s'].exists(pods, cidr(pods).containsCIDR(object.spec.cidr))", strings.Join(in.PodCIDRs, "', '")),
	)}
	if d.Type != infrav1.DataplaneCalicoVPP {
		return validations
	}
	const ipip, vxlan = "object.spec.?ipipMode.orValue('Never') == 'Always'", "object.spec.?vxlanMode.orValue('Never') == 'Always'"
	if protocol(d) == encryption.IPsec {
		return append(validations, refuse("VPP's IPsec encrypts only what IPIP would carry: set spec.ipipMode Always", ipip))
	}
	return append(validations, refuse("VPP encrypts only what it would encapsulate: set spec.ipipMode or spec.vxlanMode to Always", ipip+" || "+vxlan))
}
