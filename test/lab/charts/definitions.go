// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package charts

import (
	"encoding/json"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

type (
	props  = apiextensionsv1.JSONSchemaProps
	fields = map[string]props
)

func text() props           { return props{Type: "string"} }
func flag() props           { return props{Type: "boolean"} }
func number() props         { return props{Type: "integer"} }
func object(f fields) props { return props{Type: "object", Properties: f} }
func list(item props) props {
	return props{Type: "array", Items: &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &item}}
}
func anything() props                 { return props{Type: "object", XPreserveUnknownFields: new(true)} }
func need(p props, f ...string) props { p.Required = f; return p }

// oneOf is a text with few values.
func oneOf(values ...string) props {
	p := text()
	for _, value := range values {
		data, err := json.Marshal(value)
		if err != nil {
			panic(err) // Strings can be marshalled.
		}
		p.Enum = append(p.Enum, apiextensionsv1.JSON{Raw: data})
	}
	return p
}

func preset(p props, value string) props {
	p.Default = &apiextensionsv1.JSON{Raw: []byte(value)}
	return p
}

// set is a list that server-side apply merges item by item.
func set(item props) props {
	p := list(item)
	p.XListType = new("set")
	return p
}

func atomic(p props) props {
	p.XMapType = new("atomic")
	return p
}

// kind of Calico or its operator.
type kind struct {
	group, kind, plural string
	namespaced          bool
	// spec of the kind; any when it is zero.
	spec props
	// status is nil for kinds without the subresource.
	status *props
}

const (
	operatorGroup = "operator.tigera.io"
	calicoGroup   = "crd.projectcalico.org"
)

// kinds that an installation or the parts played in the lab use. Fields, lists and enumerations are those of Calico v3.32.1.
func kinds() []kind {
	conditions := object(fields{"conditions": list(need(object(fields{
		"type": text(), "status": text(), "reason": text(), "message": text(), "observedGeneration": number(),
		"lastTransitionTime": {Type: "string", Format: "date-time"},
	}), "type", "status", "lastTransitionTime"))})
	tigeraStatus := need(conditions, "conditions")
	network := anything()
	return []kind{
		{group: operatorGroup, kind: "Installation", plural: "installations", spec: installation(), status: new(object(fields{
			"conditions": conditions.Properties["conditions"], "variant": text(), "mtu": number(), "calicoVersion": text(), "computed": anything(), "imageSet": text(),
		}))},
		{group: operatorGroup, kind: "APIServer", plural: "apiservers", spec: object(fields{"apiServerDeployment": anything()}), status: new(object(fields{"state": text(), "conditions": conditions.Properties["conditions"]}))},
		{group: operatorGroup, kind: "TigeraStatus", plural: "tigerastatuses", spec: object(nil), status: &tigeraStatus},
		{group: calicoGroup, kind: "FelixConfiguration", plural: "felixconfigurations", spec: felix()},
		{group: calicoGroup, kind: "BGPConfiguration", plural: "bgpconfigurations", spec: bgpConfiguration()},
		{group: calicoGroup, kind: "BGPPeer", plural: "bgppeers", spec: bgpPeer()},
		{group: calicoGroup, kind: "BGPFilter", plural: "bgpfilters", spec: bgpFilter()},
		{group: calicoGroup, kind: "IPPool", plural: "ippools", spec: ipPool()},
		{group: calicoGroup, kind: "IPAMBlock", plural: "ipamblocks"},
		{group: calicoGroup, kind: "IPAMHandle", plural: "ipamhandles"},
		{group: calicoGroup, kind: "IPAMConfig", plural: "ipamconfigs"},
		{group: calicoGroup, kind: "BlockAffinity", plural: "blockaffinities"},
		{group: calicoGroup, kind: "ClusterInformation", plural: "clusterinformations"},
		{group: calicoGroup, kind: "HostEndpoint", plural: "hostendpoints"},
		{group: calicoGroup, kind: "GlobalNetworkPolicy", plural: "globalnetworkpolicies"},
		{group: calicoGroup, kind: "GlobalNetworkSet", plural: "globalnetworksets"},
		{group: calicoGroup, kind: "NetworkPolicy", plural: "networkpolicies", namespaced: true, spec: network},
		{group: calicoGroup, kind: "NetworkSet", plural: "networksets", namespaced: true, spec: network},
		{group: calicoGroup, kind: "Tier", plural: "tiers"},
	}
}

func installation() props {
	autodetection := object(fields{
		"firstFound": flag(), "kubernetes": oneOf("NodeInternalIP"), "interface": text(), "skipInterface": text(), "canReach": text(), "cidrs": list(text()),
	})
	pool := need(object(fields{
		"name": text(), "cidr": text(), "encapsulation": oneOf("IPIPCrossSubnet", "IPIP", "VXLAN", "VXLANCrossSubnet", "None"),
		"natOutgoing": oneOf("Enabled", "Disabled"), "nodeSelector": text(), "blockSize": {Type: "integer", Format: "int32"},
		"disableBGPExport": preset(flag(), "false"), "allowedUses": list(text()), "assignmentMode": text(), "disableNewAllocations": flag(),
	}), "cidr")
	pools := list(pool)
	pools.MaxItems = new(int64(25))
	return object(fields{
		"variant": oneOf("Calico", "TigeraSecureEnterprise"), "registry": text(), "imagePath": text(), "imagePrefix": text(),
		"imagePullSecrets":        list(atomic(object(fields{"name": preset(text(), `""`)}))),
		"kubeletVolumePluginPath": text(), "flexVolumePath": text(), "kubernetesProvider": text(), "controlPlaneReplicas": number(),
		"nonPrivileged": text(), "cni": anything(), "nodeUpdateStrategy": anything(), "serviceCIDRs": list(text()),
		"controlPlaneTolerations": list(anything()), "controlPlaneNodeSelector": anything(), "calicoNodeDaemonSet": anything(), "typhaDeployment": anything(),
		"calicoNetwork": object(fields{
			"linuxDataplane": oneOf("Iptables", "BPF", "VPP", "Nftables"), "bgp": oneOf("Enabled", "Disabled"),
			"mtu": {Type: "integer", Format: "int32"}, "ipPools": pools, "hostPorts": oneOf("Enabled", "Disabled"),
			"nodeAddressAutodetectionV4": autodetection, "nodeAddressAutodetectionV6": autodetection, "multiInterfaceMode": text(),
			"kubeProxyManagement": oneOf("Enabled", "Disabled"), "bpfNetworkBootstrap": oneOf("Enabled", "Disabled"),
			"linuxPolicySetupTimeoutSeconds": number(), "containerIPForwarding": oneOf("Enabled", "Disabled"), "windowsDataplane": text(),
		}),
	})
}

func felix() props {
	port := need(object(fields{"port": number(), "protocol": text(), "net": text()}), "port")
	return object(fields{
		"wireguardEnabled": flag(), "wireguardEnabledV6": flag(), "wireguardListeningPort": number(), "wireguardListeningPortV6": number(),
		"wireguardInterfaceName": text(), "wireguardInterfaceNameV6": text(), "wireguardMTU": number(), "wireguardHostEncryptionEnabled": flag(),
		"wireguardKeepAlive": text(), "failsafeInboundHostPorts": list(port), "failsafeOutboundHostPorts": list(port), "mtuIfacePattern": text(),
		"bpfEnabled": flag(), "bpfKubeProxyIptablesCleanupEnabled": flag(), "bpfDataIfacePattern": text(), "bpfExternalServiceMode": text(),
		"bpfConnectTimeLoadBalancing": text(), "bpfHostNetworkedNATWithoutCTLB": text(), "nftablesMode": oneOf("Disabled", "Enabled", "Auto"),
		"logSeverityScreen": text(), "reportingInterval": text(), "healthPort": number(), "vxlanVNI": number(), "vxlanPort": number(),
		"defaultEndpointToHostAction": text(), "ipipEnabled": flag(), "vxlanEnabled": flag(), "natPortRange": {XIntOrString: true}, "floatingIPs": text(),
	})
}

func bgpConfiguration() props {
	ranges := list(object(fields{"cidr": text()}))
	return object(fields{
		"asNumber": {Type: "integer", Format: "int64"}, "nodeToNodeMeshEnabled": flag(), "listenPort": number(), "logSeverityScreen": text(),
		"serviceClusterIPs": ranges, "serviceExternalIPs": ranges, "serviceLoadBalancerIPs": ranges, "bindMode": oneOf("None", "NodeIP"),
	})
}

func bgpPeer() props {
	return object(fields{
		"peerIP": text(), "asNumber": {Type: "integer", Format: "int64"}, "node": text(), "nodeSelector": text(), "peerSelector": text(), "filters": list(text()),
		"sourceAddress": text(), "keepOriginalNextHop": flag(), "nextHopMode": oneOf("Auto", "Self", "Keep"), "maxRestartTime": text(),
		"password": object(fields{"secretKeyRef": atomic(need(object(fields{"name": preset(text(), `""`), "key": text(), "optional": flag()}), "key"))}),
	})
}

func bgpFilter() props {
	rule := need(object(fields{
		"action": oneOf("Accept", "Reject"), "cidr": text(), "matchOperator": oneOf("Equal", "NotEqual", "In", "NotIn"),
		"interface": text(), "source": text(), "prefixLength": anything(),
	}), "action")
	return object(fields{"importV4": list(rule), "exportV4": list(rule), "importV6": list(rule), "exportV6": list(rule)})
}

func ipPool() props {
	return need(object(fields{
		"cidr": text(), "ipipMode": oneOf("Never", "Always", "CrossSubnet"), "vxlanMode": oneOf("Never", "Always", "CrossSubnet"),
		"natOutgoing": flag(), "nodeSelector": text(), "blockSize": number(), "disabled": flag(), "disableBGPExport": flag(),
		"allowedUses": set(oneOf("Workload", "Tunnel", "LoadBalancer")), "assignmentMode": preset(oneOf("Automatic", "Manual"), `"Automatic"`),
	}), "cidr")
}

// definition of a kind as it is found in the chart.
func (k kind) definition() *apiextensionsv1.CustomResourceDefinition {
	spec := k.spec
	if spec.Type == "" {
		spec = anything()
	}
	schema := object(fields{"apiVersion": text(), "kind": text(), "metadata": {Type: "object"}, "spec": spec})
	version := apiextensionsv1.CustomResourceDefinitionVersion{Name: "v1", Served: true, Storage: true, Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &schema}}
	if k.status != nil {
		schema.Properties["status"] = *k.status
		version.Subresources = &apiextensionsv1.CustomResourceSubresources{Status: &apiextensionsv1.CustomResourceSubresourceStatus{}}
	}
	scope := apiextensionsv1.ClusterScoped
	if k.namespaced {
		scope = apiextensionsv1.NamespaceScoped
	}
	return &apiextensionsv1.CustomResourceDefinition{
		TypeMeta:   metav1.TypeMeta{APIVersion: apiextensionsv1.SchemeGroupVersion.String(), Kind: "CustomResourceDefinition"},
		ObjectMeta: metav1.ObjectMeta{Name: k.plural + "." + k.group},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: k.group, Scope: scope, Versions: []apiextensionsv1.CustomResourceDefinitionVersion{version},
			Names: apiextensionsv1.CustomResourceDefinitionNames{Kind: k.kind, ListKind: k.kind + "List", Plural: k.plural, Singular: strings.ToLower(k.kind)},
		},
	}
}
