// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cluster-api/util/conditions"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/support"
)

// hasDataplane tells whether this provider installs the cluster's dataplane.
func hasDataplane(c *infrav1.EdgeCluster) bool {
	return c != nil && dataplaneType(c) != infrav1.DataplaneNone
}

// dataplaneType of a cluster, with the default filled in.
func dataplaneType(c *infrav1.EdgeCluster) infrav1.DataplaneType {
	return cmp.Or(c.Spec.Dataplane.Type, infrav1.DataplaneCalicoVPP)
}

// dataplaneRunsOn tells on which CPU architectures the cluster's dataplane runs.
func dataplaneRunsOn(c *infrav1.EdgeCluster) func(architecture string) bool {
	return func(architecture string) bool { return support.RunsOn(dataplaneType(c), architecture) }
}

// encryptionMode of a cluster; Disabled without a dataplane.
func encryptionMode(c *infrav1.EdgeCluster) infrav1.EncryptionMode {
	if !hasDataplane(c) {
		return infrav1.EncryptionDisabled
	}
	return cmp.Or(c.Spec.Dataplane.Encryption.Mode, infrav1.EncryptionRequired)
}

// encryptionProtocol of a cluster; empty without encryption.
func encryptionProtocol(c *infrav1.EdgeCluster) infrav1.EncryptionProtocol {
	if encryptionMode(c) == infrav1.EncryptionDisabled {
		return ""
	}
	return cmp.Or(c.Spec.Dataplane.Encryption.Protocol, infrav1.ProtocolWireGuard)
}

// dataplaneNetwork is the name of the network that carries the dataplane; empty when it cannot be told.
func dataplaneNetwork(c *infrav1.EdgeCluster) string {
	if c.Spec.Dataplane.Network == "" && len(c.Spec.Networks) == 1 {
		return c.Spec.Networks[0].Name
	}
	return c.Spec.Dataplane.Network
}

func (s *machineScope) isEncrypted() bool { return encryptionProtocol(s.edgeCluster) != "" }

func (s *machineScope) usesWireGuard() bool {
	return encryptionProtocol(s.edgeCluster) == infrav1.ProtocolWireGuard
}

func (s *machineScope) requiresEncryption() bool {
	return encryptionMode(s.edgeCluster) == infrav1.EncryptionRequired
}

// nodeEncryption is what the node agent reports on the Node; the zero value when it has not.
func nodeEncryption(node *corev1.Node) corev1.NodeCondition {
	i := slices.IndexFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool { return c.Type == encryption.NodeCondition })
	if i < 0 {
		return corev1.NodeCondition{}
	}
	return node.Status.Conditions[i]
}

// judgeEncryption mirrors what the node agent reports, as long as that counts.
func (r *EdgeMachineReconciler) judgeEncryption(_ context.Context, s *machineScope) (proceed, error) {
	if s.node == nil || !s.isEncrypted() {
		return true, nil
	}
	reported := nodeEncryption(s.node)
	if s.givenUp != nil && !isGivenUp(s.node) {
		// It does not count, whether or not that could be written on the Node.
		reported = *s.givenUp
		reported.LastTransitionTime = metav1.Time{}
	}
	judged := mirrorEncryption(s.node.Name, reported)
	if found := s.node.Annotations[encryption.PublicKeyAnnotation]; s.disputed && found != s.edgeMachine.Status.WireGuardPublicKey {
		judged = metav1.Condition{Status: metav1.ConditionFalse, Reason: infrav1.KeyNotPublishedReason, Message: fmt.Sprintf(
			"The annotation %s of Node %s was changed from %s to %q after it had been published; find out what changes it, it is set again in %s",
			encryption.PublicKeyAnnotation, s.node.Name, s.edgeMachine.Status.WireGuardPublicKey, found, publishedTTL)}
	}
	s.setEncryption(judged)
	return true, nil
}

// setEncryption sets EncryptionReady. Unlike other conditions it may come with the time of its transition, which is then kept.
func (s *machineScope) setEncryption(judged metav1.Condition) {
	judged.Type = infrav1.EncryptionReadyCondition
	before := conditions.Get(s.edgeMachine, judged.Type)
	if before != nil && !judged.LastTransitionTime.IsZero() && !before.LastTransitionTime.Equal(&judged.LastTransitionTime) {
		conditions.Delete(s.edgeMachine, judged.Type)
	}
	s.judged = append(s.judged, judged.Type)
	conditions.Set(s.edgeMachine, judged)
}

// mirrorEncryption makes a condition of what is reported on a Node.
func mirrorEncryption(node string, reported corev1.NodeCondition) metav1.Condition {
	if reported.Type == "" {
		return metav1.Condition{Status: metav1.ConditionUnknown, Reason: infrav1.WaitingForAgentReason, Message: fmt.Sprintf(
			"The node agent has not reported on Node %s yet; see DataplaneInstalled of the EdgeCluster, and the pod %s on the node in namespace %s", node, encryption.AgentName, encryption.AgentNamespace)}
	}
	mirrored := metav1.Condition{
		Status: metav1.ConditionStatus(reported.Status), Reason: reported.Reason, Message: shorten(reported.Message, maxMessage), LastTransitionTime: reported.LastTransitionTime,
	}
	if !isReason(mirrored.Reason) {
		mirrored.Reason = infrav1.NodesNotEncryptedReason
		if mirrored.Status == metav1.ConditionTrue {
			mirrored.Reason = infrav1.EncryptionReadyReason
		}
	}
	return mirrored
}

// maxMessage is how long a condition's message may be (metav1.Condition), in bytes, with room for a prefix.
const maxMessage = 16 << 10

// isReason tells whether the API server takes a text as the reason of a condition (metav1.Condition).
func isReason(text string) bool {
	const longest = 1024
	return len(text) <= longest && regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$`).MatchString(text)
}

func shorten(text string, length int) string {
	if len(text) <= length {
		return text
	}
	cut := length
	for cut > 0 && text[cut]&0xC0 == 0x80 {
		// Not in the middle of a character of UTF-8.
		cut--
	}
	return text[:cut] + "..."
}

// timeOfDay writes a time for people, to the minute, in UTC.
func timeOfDay(t metav1.Time) string { return t.UTC().Format("2006-01-02T15:04Z") }
