// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
	"github.com/edgemetal/cluster-api-provider-edgemetal/dataplane/encryption"
)

// bgpConfigurationSpec holds the fields of a BGPConfiguration that VPP's speaker honours as well as Calico's own.
type bgpConfigurationSpec struct {
	NodeToNodeMeshEnabled  bool        `json:"nodeToNodeMeshEnabled"`
	ASNumber               int64       `json:"asNumber"`
	ServiceClusterIPs      []cidrBlock `json:"serviceClusterIPs,omitempty"`
	ServiceExternalIPs     []cidrBlock `json:"serviceExternalIPs,omitempty"`
	ServiceLoadBalancerIPs []cidrBlock `json:"serviceLoadBalancerIPs,omitempty"`
}

type cidrBlock struct {
	CIDR string `json:"cidr"`
}

type bgpFilterSpec struct {
	ImportV4 []bgpFilterRule `json:"importV4,omitempty"`
	ExportV4 []bgpFilterRule `json:"exportV4,omitempty"`
	ImportV6 []bgpFilterRule `json:"importV6,omitempty"`
	ExportV6 []bgpFilterRule `json:"exportV6,omitempty"`
}

type bgpFilterRule struct {
	CIDR          string              `json:"cidr"`
	MatchOperator infrav1.RouteMatch  `json:"matchOperator"`
	Action        infrav1.RouteAction `json:"action"`
}

type bgpPeerSpec struct {
	PeerIP       string       `json:"peerIP"`
	ASNumber     int64        `json:"asNumber"`
	NodeSelector string       `json:"nodeSelector"`
	Filters      []string     `json:"filters"`
	Password     *bgpPassword `json:"password,omitempty"`
}

type bgpPassword struct {
	SecretKeyRef corev1.SecretKeySelector `json:"secretKeyRef"`
}

// passwordKey is the key of Secrets with passwords of BGP sessions.
const passwordKey = "password"

// bgpName is the name of a peer's objects, apart from those of users.
func bgpName(peer string) string { return "edgemetal-" + peer }

func bgpConfiguration(bgp *infrav1.BGP) any {
	return newObject(calicoAPI, "BGPConfiguration", "default", bgpConfigurationSpec{
		NodeToNodeMeshEnabled:  *bgp.NodeMesh,
		ASNumber:               bgp.ASNumber,
		ServiceClusterIPs:      blocks(bgp.Advertise.ClusterIPs),
		ServiceExternalIPs:     blocks(bgp.Advertise.ExternalIPs),
		ServiceLoadBalancerIPs: blocks(bgp.Advertise.LoadBalancerIPs),
	})
}

func blocks(cidrs []string) []cidrBlock {
	var converted []cidrBlock
	for _, cidr := range cidrs {
		converted = append(converted, cidrBlock{cidr})
	}
	return converted
}

// bgpFilter refuses routes to pods first: those that a router sends would lead pods' traffic past encryption, and Calico-VPP's agent
// fails on one whose next hop is no node (calico-vpp-agent/connectivity/wireguard.go, Enabled). At the end it refuses what no
// rule let pass, with a range that holds all: VPP's speaker cannot read a rule without one.
func bgpFilter(peer infrav1.BGPPeer, pods []string) any {
	var spec bgpFilterSpec
	var refused4, refused6 []bgpFilterRule
	for _, cidr := range pods {
		rule := bgpFilterRule{cidr, infrav1.RouteMatchIn, infrav1.RouteReject}
		if isIPv6(cidr) {
			refused6 = append(refused6, rule)
		} else {
			refused4 = append(refused4, rule)
		}
	}
	import4, import6 := rules(peer.Import)
	export4, export6 := rules(peer.Export)
	if isIPv6(peer.Address) {
		spec.ImportV6, spec.ExportV6 = closed(slices.Concat(refused6, import6), "::/0"), closed(export6, "::/0")
	} else {
		spec.ImportV4, spec.ExportV4 = closed(slices.Concat(refused4, import4), "0.0.0.0/0"), closed(export4, "0.0.0.0/0")
	}
	return newObject(calicoAPI, "BGPFilter", bgpName(peer.Name), spec)
}

func closed(rules []bgpFilterRule, everything string) []bgpFilterRule {
	return append(rules, bgpFilterRule{everything, infrav1.RouteMatchIn, infrav1.RouteReject})
}

func rules(filters []infrav1.RouteFilter) (four, six []bgpFilterRule) {
	for _, filter := range filters {
		rule := bgpFilterRule{filter.CIDR, filter.Match, filter.Action}
		if isIPv6(filter.CIDR) {
			six = append(six, rule)
		} else {
			four = append(four, rule)
		}
	}
	return four, six
}

func bgpPeer(peer infrav1.BGPPeer) any {
	spec := bgpPeerSpec{
		PeerIP: peer.Address, ASNumber: peer.ASNumber, NodeSelector: nodeSelector(peer.FailureDomains), Filters: []string{bgpName(peer.Name)},
	}
	if peer.Password != nil {
		spec.Password = &bgpPassword{corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: bgpName(peer.Name)}, Key: passwordKey}}
	}
	return newObject(calicoAPI, "BGPPeer", bgpName(peer.Name), spec)
}

// nodeSelector in Calico's own language.
func nodeSelector(failureDomains []string) string {
	if len(failureDomains) == 0 {
		return "all()"
	}
	quoted := make([]string, len(failureDomains))
	for i, domain := range failureDomains {
		quoted[i] = fmt.Sprintf("'%s'", domain)
	}
	slices.Sort(quoted)
	return fmt.Sprintf("%s in { %s }", encryption.FailureDomainLabel, strings.Join(quoted, ", "))
}

// speaker is where the BGP speaker runs, which reads passwords from its own namespace.
func speaker(d infrav1.Dataplane) (namespace, serviceAccount string) {
	if d.Type == infrav1.DataplaneCalicoVPP {
		return vppNamespace, vppServiceAccount
	}
	return calicoNamespace, "calico-node"
}

// passwords are copies of the Secrets with the peers' passwords.
func passwords(d infrav1.Dataplane) []SecretCopy {
	namespace, _ := speaker(d)
	var copies []SecretCopy
	for i, peer := range d.BGP.Peers {
		if peer.Password == nil {
			continue
		}
		copies = append(copies, SecretCopy{
			From:      SecretSource{Name: peer.Password.Name, Field: fmt.Sprintf("spec.dataplane.bgp.peers[%d].password", i)},
			Namespace: namespace, Name: bgpName(peer.Name), Keys: map[string]string{passwordKey: passwordKey},
		})
	}
	return copies
}

// passwordAccess lets the BGP speaker read these Secrets and no others.
func passwordAccess(d infrav1.Dataplane, copies []SecretCopy) []any {
	if len(copies) == 0 {
		return nil
	}
	const name = "edgemetal-bgp-passwords"
	namespace, serviceAccount := speaker(d)
	names := make([]string, len(copies))
	for i, secret := range copies {
		names[i] = secret.Name
	}
	return []any{
		&rbacv1.Role{
			TypeMeta: typeMeta(rbacv1.SchemeGroupVersion.String(), "Role"), ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
			Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: names, Verbs: []string{"get", "list", "watch"}}},
		},
		&rbacv1.RoleBinding{
			TypeMeta: typeMeta(rbacv1.SchemeGroupVersion.String(), "RoleBinding"), ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: serviceAccount, Namespace: namespace}},
		},
	}
}
