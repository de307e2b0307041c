// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"fmt"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// agentClusterName is the name of the node agent's objects outside its namespace.
const agentClusterName = "edgemetal-" + encryption.AgentName

// nodeNameExtra is what the API server says about a pod's token beside its user: the node that the pod runs on (Kubernetes 1.30 and
// later, ServiceAccountTokenPodNodeInfo).
const nodeNameExtra = "authentication.kubernetes.io/node-name"

// agentPolicy limits what RBAC cannot: a node agent changes the Node that it runs on, there only its condition and its taint. An agent
// on one host can then neither call another one encrypted nor give it a key.
func agentPolicy() []any {
	nodes := admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"nodes", "nodes/status"}, Scope: new(admissionv1.ClusterScope)}
	byAgents := []admissionv1.MatchCondition{{
		Name:       "node-agent",
		Expression: fmt.Sprintf("request.userInfo.username == 'system:serviceaccount:%s:%s'", encryption.AgentNamespace, encryption.AgentName),
	}}
	return admissionPolicy(agentClusterName, nodes, byAgents, agentValidations())
}

// admissionPolicy denies what is made or changed against the validations, and what cannot be judged. Fields with defaults are set, so
// that what is stored is what was applied.
func admissionPolicy(name string, what admissionv1.Rule, when []admissionv1.MatchCondition, validations []admissionv1.Validation) []any {
	api := admissionv1.SchemeGroupVersion.String()
	return []any{
		&admissionv1.ValidatingAdmissionPolicy{
			TypeMeta: typeMeta(api, "ValidatingAdmissionPolicy"), ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: admissionv1.ValidatingAdmissionPolicySpec{
				FailurePolicy: new(admissionv1.Fail),
				MatchConstraints: &admissionv1.MatchResources{
					MatchPolicy:       new(admissionv1.Equivalent),
					NamespaceSelector: &metav1.LabelSelector{},
					ObjectSelector:    &metav1.LabelSelector{},
					ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
						Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update}, Rule: what,
					}}},
				},
				MatchConditions: when,
				Validations:     validations,
			},
		},
		&admissionv1.ValidatingAdmissionPolicyBinding{
			TypeMeta: typeMeta(api, "ValidatingAdmissionPolicyBinding"), ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny}},
		},
	}
}

func agentValidations() []admissionv1.Validation {
	refuse := func(message string, expressions ...string) admissionv1.Validation {
		return admissionv1.Validation{Expression: strings.Join(expressions, " && "), Message: "the node agent " + message, Reason: new(metav1.StatusReasonForbidden)}
	}
	return []admissionv1.Validation{
		refuse("makes no Nodes", "request.operation == 'UPDATE'"),
		refuse("may change only the Node that it runs on",
			fmt.Sprintf("request.userInfo.?extra[?'%s'].orValue([]) == [object.metadata.name]", nodeNameExtra)),
		refuse("may not change a Node's metadata", same("metadata", "resourceVersion", "managedFields", "generation")),
		refuse("may change no other taint than "+encryption.NotReadyTaint,
			same("spec", "taints"),
			others("spec.?taints", "key", encryption.NotReadyTaint),
			fmt.Sprintf("object.?spec.?taints.orValue([]).filter(t, t.key == '%s').all(t, t.effect == 'NoSchedule')", encryption.NotReadyTaint)),
		refuse("may change no other condition than "+encryption.NodeCondition,
			same("status", "conditions"),
			others("status.?conditions", "type", encryption.NodeCondition)),
	}
}

// same: a part of the object has the fields it had before, with the same values, whatever fields there are. Those in except may differ.
func same(part string, except ...string) string {
	skipped := "'" + strings.Join(except, "', '") + "'"
	// dyn keeps the type checker from asking for the names of fields.
	before, after := fmt.Sprintf("dyn(oldObject.?%s.orValue({}))", part), fmt.Sprintf("dyn(object.?%s.orValue({}))", part)
	return fmt.Sprintf("%[1]s.all(k, k in [%[3]s] || k in %[2]s) && %[2]s.all(k, k in [%[3]s] || (k in %[1]s && %[1]s[k] == %[2]s[k]))", before, after, skipped)
}

// others: a list has the items it had before, except those named.
func others(list, key, name string) string {
	items := func(object string) string {
		return fmt.Sprintf("%s.?%s.orValue([]).filter(i, i.%s != '%s')", object, list, key, name)
	}
	return fmt.Sprintf("%s == %s", items("object"), items("oldObject"))
}
