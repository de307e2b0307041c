// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// installationSpec holds the fields of an Installation (api/v1/installation_types.go of the operator) that are ours.
type installationSpec struct {
	Variant                 string                        `json:"variant"`
	Registry                string                        `json:"registry,omitempty"`
	ImagePullSecrets        []corev1.LocalObjectReference `json:"imagePullSecrets,omitempty"`
	KubeletVolumePluginPath string                        `json:"kubeletVolumePluginPath"`
	FlexVolumePath          string                        `json:"flexVolumePath"`
	CalicoNetwork           calicoNetwork                 `json:"calicoNetwork"`
}

type calicoNetwork struct {
	LinuxDataplane             string           `json:"linuxDataplane"`
	BGP                        string           `json:"bgp"`
	MTU                        int32            `json:"mtu"`
	IPPools                    []operatorPool   `json:"ipPools"`
	NodeAddressAutodetectionV4 *autodetection   `json:"nodeAddressAutodetectionV4,omitempty"`
	NodeAddressAutodetectionV6 *autodetection   `json:"nodeAddressAutodetectionV6,omitempty"`
	KubeProxyManagement        enabledOrNothing `json:"kubeProxyManagement,omitempty"`
}

// operatorPool is a pool as the operator takes it.
type operatorPool struct {
	Name          string                `json:"name"`
	CIDR          string                `json:"cidr"`
	Encapsulation infrav1.Encapsulation `json:"encapsulation"`
	NATOutgoing   string                `json:"natOutgoing"`
	NodeSelector  string                `json:"nodeSelector"`
	BlockSize     int32                 `json:"blockSize"`
}

type autodetection struct {
	Kubernetes string `json:"kubernetes"`
}

// enabledOrNothing is Enabled, or left out.
type enabledOrNothing string

const (
	enabled  = "Enabled"
	disabled = "Disabled"
	// none switches off what an edge host does not need: Calico's CSI and FlexVolume drivers serve application-layer policy.
	none = "None"
)

// installation asks the operator for Calico.
func installation(d infrav1.Dataplane) (any, error) {
	dataplane, err := linuxDataplane(d.Type)
	if err != nil {
		return nil, err
	}
	network := calicoNetwork{LinuxDataplane: dataplane, BGP: onOff(d.BGP != nil), MTU: d.MTU}
	for _, pool := range d.IPPools {
		network.IPPools = append(network.IPPools, operatorPool{
			Name: pool.Name, CIDR: pool.CIDR, Encapsulation: pool.Encapsulation, NATOutgoing: onOff(*pool.NATOutgoing), NodeSelector: "all()", BlockSize: pool.BlockSize,
		})
		// The kubelet's node address is the one in the network that carries pods.
		detect := &autodetection{Kubernetes: "NodeInternalIP"}
		if isIPv6(pool.CIDR) {
			network.NodeAddressAutodetectionV6 = detect
		} else {
			network.NodeAddressAutodetectionV4 = detect
		}
	}
	if d.KubeProxy == infrav1.KubeProxyReplace {
		network.KubeProxyManagement = enabled
	}
	spec := installationSpec{
		Variant: "Calico", ImagePullSecrets: pullSecretNames(d), KubeletVolumePluginPath: none, FlexVolumePath: none, CalicoNetwork: network,
	}
	if d.Calico.Registry != "" {
		// The operator wants a slash at the end.
		spec.Registry = d.Calico.Registry + "/"
	}
	return newObject(operatorAPI, "Installation", "default", spec), nil
}

// apiServer asks the operator for Calico's API server. Without it the operator changes no pool once there are some.
func apiServer() any {
	return newObject(operatorAPI, "APIServer", "default", struct{}{})
}

func linuxDataplane(dataplane infrav1.DataplaneType) (string, error) {
	switch dataplane {
	case infrav1.DataplaneCalicoVPP:
		return "VPP", nil
	case infrav1.DataplaneCalicoEBPF:
		return "BPF", nil
	case infrav1.DataplaneCalicoNftables:
		return "Nftables", nil
	case infrav1.DataplaneCalicoIptables:
		return "Iptables", nil
	default:
		return "", fmt.Errorf("spec.dataplane.type %q: not a dataplane of Calico; use CalicoVPP, CalicoEBPF, CalicoNftables, CalicoIptables or None", dataplane)
	}
}

func onOff(on bool) string {
	if on {
		return enabled
	}
	return disabled
}

func pullSecretNames(d infrav1.Dataplane) []corev1.LocalObjectReference {
	var names []corev1.LocalObjectReference
	for _, secret := range d.Calico.ImagePullSecrets {
		names = append(names, corev1.LocalObjectReference{Name: secret.Name})
	}
	return names
}

// pullSecrets are copies of the image pull Secrets in a namespace. The operator copies its own to Calico's namespaces.
func pullSecrets(d infrav1.Dataplane, namespace string) []SecretCopy {
	var copies []SecretCopy
	for i, secret := range d.Calico.ImagePullSecrets {
		copies = append(copies, SecretCopy{
			From:      SecretSource{Name: secret.Name, Field: fmt.Sprintf("spec.dataplane.calico.imagePullSecrets[%d]", i)},
			Namespace: namespace, Name: secret.Name, Type: string(corev1.SecretTypeDockerConfigJson),
			Keys: map[string]string{corev1.DockerConfigJsonKey: corev1.DockerConfigJsonKey},
		})
	}
	return copies
}

// loadBalancerPool is a range from which Calico's kube-controllers assign addresses to services of type LoadBalancer. It cannot be
// among the Installation's pools: on a cluster of kubeadm the operator refuses those outside the pods' range. The range of a pool never
// changes, so it is in the name.
func loadBalancerPool(cidr string) any {
	name := "edgemetal-load-balancer-" + strings.NewReplacer(".", "-", ":", "-", "/", "-").Replace(cidr)
	return newObject(calicoAPI, "IPPool", name, loadBalancerPoolSpec{
		CIDR: cidr, AllowedUses: []string{"LoadBalancer"}, AssignmentMode: "Automatic", BlockSize: defaultBlockSize(cidr), IPIPMode: "Never", VXLANMode: "Never", NodeSelector: "all()",
	})
}

type loadBalancerPoolSpec struct {
	CIDR           string   `json:"cidr"`
	AllowedUses    []string `json:"allowedUses"`
	AssignmentMode string   `json:"assignmentMode"`
	BlockSize      int32    `json:"blockSize"`
	IPIPMode       string   `json:"ipipMode"`
	VXLANMode      string   `json:"vxlanMode"`
	NodeSelector   string   `json:"nodeSelector"`
}
