// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package site

import (
	"fmt"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/secret"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

const (
	siteLabel   = "site"
	networkName = "cluster"
	linkName    = "uplink0"
	imageURL    = "http://images.example.org/ubuntu-24.04-kubernetes.qcow2"
)

// HostObjects are the site's hosts with their BMC Secrets, as an inventory has them.
func (s Site) HostObjects() []client.Object {
	var secrets, hosts []client.Object
	network := s.network.Addr().As4()
	for i := range s.Hosts {
		name := fmt.Sprintf("%s-host-%04d", s.Name, i)
		credentials := &corev1.Secret{ObjectMeta: s.meta(name + "-bmc"), StringData: map[string]string{"username": "admin", "password": "bench"}}
		credentials.Labels = nil
		host := &bmov1.BareMetalHost{ObjectMeta: s.meta(name), Spec: bmov1.BareMetalHostSpec{
			Online:         true,
			BootMACAddress: fmt.Sprintf("52:54:%02x:%02x:%02x:%02x", network[1], network[2], i/256, i%256),
			BMC: bmov1.BMCDetails{
				Address:         fmt.Sprintf("redfish-virtualmedia://bmc.example.org/redfish/v1/Systems/%s-%d", s.Name, i),
				CredentialsName: credentials.Name,
			},
		}}
		host.Labels = map[string]string{siteLabel: s.Name}
		if s.plan.FromHost {
			host.Annotations = map[string]string{infrav1.AddressesAnnotation: networkName + "=" + s.address(firstNode+i).String()}
		}
		secrets, hosts = append(secrets, credentials), append(hosts, host)
	}
	return append(secrets, hosts...)
}

// ClusterObjects are what a person applies for the site, in an order in which they can be created. kubeconfig leads to
// its API server.
func (s Site) ClusterObjects(kubeconfig []byte, authorities secret.Certificates) ([]client.Object, error) {
	payload, err := newPayloads(s.Name, s.Endpoint(), s.plan.KubernetesVersion, authorities)
	if err != nil {
		return nil, fmt.Errorf("make the bootstrap data of %s: %w", s.Name, err)
	}
	objects := []client.Object{
		s.secret(secret.Name(s.Name, secret.Kubeconfig), map[string][]byte{"value": kubeconfig}),
		s.secret(s.Name+"-bootstrap-control-plane", map[string][]byte{"value": payload.controlPlane, "format": []byte("cloud-config")}),
		s.secret(s.Name+"-bootstrap-worker", map[string][]byte{"value": payload.worker, "format": []byte("cloud-config")}),
		s.edgeCluster(), s.cluster(), s.edgeMachine(), s.controlPlane(),
	}
	if !s.plan.FromHost {
		objects = append(objects, s.pool())
	}
	if s.Machines > 1 {
		objects = append(objects, s.template(), s.workers())
	}
	return objects, nil
}

// PayloadSizes are the sizes in bytes of the bootstrap data.
func (s Site) PayloadSizes(authorities secret.Certificates) (controlPlane, worker int, err error) {
	payload, err := newPayloads(s.Name, s.Endpoint(), s.plan.KubernetesVersion, authorities)
	return len(payload.controlPlane), len(payload.worker), err
}

func (s Site) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: s.plan.Namespace, Name: name, Labels: map[string]string{clusterv1.ClusterNameLabel: s.Name},
	}
}

func (s Site) secret(name string, data map[string][]byte) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: s.meta(name), Type: clusterv1.ClusterSecretType, Data: data}
}

func (s Site) edgeCluster() *infrav1.EdgeCluster {
	source := infrav1.AddressSource{FromHost: &infrav1.FromHost{}}
	if !s.plan.FromHost {
		source = infrav1.AddressSource{FromPool: &infrav1.PoolReference{APIGroup: poolKind().Group, Kind: poolKind().Kind, Name: s.Name}}
	}
	return &infrav1.EdgeCluster{ObjectMeta: s.meta(s.Name), Spec: infrav1.EdgeClusterSpec{
		Dataplane:            infrav1.Dataplane{Type: infrav1.DataplaneNone, Encryption: infrav1.Encryption{Mode: infrav1.EncryptionDisabled}},
		ControlPlaneEndpoint: infrav1.APIEndpoint{Host: s.endpoint().String(), Port: endpointPort},
		ControlPlaneVIP:      infrav1.ControlPlaneVIP{Mode: infrav1.VIPModeARP},
		Networks: []infrav1.Network{{
			Name:        networkName,
			Subnets:     []infrav1.Subnet{{CIDR: s.network.String(), Gateway: s.gateway().String()}},
			Nameservers: []string{s.nameserver().String()},
			Addresses:   source,
		}},
	}}
}

func (s Site) cluster() *clusterv1.Cluster {
	return &clusterv1.Cluster{ObjectMeta: s.meta(s.Name), Spec: clusterv1.ClusterSpec{
		ClusterNetwork: clusterv1.ClusterNetwork{
			Pods:     clusterv1.NetworkRanges{CIDRBlocks: []string{podCIDR}},
			Services: clusterv1.NetworkRanges{CIDRBlocks: []string{serviceCIDR}},
		},
		InfrastructureRef: reference("EdgeCluster", s.Name),
	}}
}

func (s Site) machineSpec() infrav1.EdgeMachineSpec {
	return infrav1.EdgeMachineSpec{
		Image: infrav1.Image{
			URL: imageURL, Checksum: imageURL + ".sha256sum", ChecksumType: "sha256", Format: "qcow2",
		},
		HostSelector: infrav1.HostSelector{
			MatchLabels: map[string]string{siteLabel: s.Name}, Hardware: infrav1.HardwareRequirements{MinCPUs: 4},
		},
		Links:             []infrav1.Link{{Name: linkName, Match: &infrav1.NICMatch{BootNIC: new(true)}}},
		Interfaces:        []infrav1.Interface{{Network: networkName, Link: linkName}},
		AutomatedCleaning: infrav1.CleaningMetadata,
	}
}

func (s Site) edgeMachine() *infrav1.EdgeMachine {
	return &infrav1.EdgeMachine{ObjectMeta: s.meta(s.controlPlaneName()), Spec: s.machineSpec()}
}

func (s Site) controlPlane() *clusterv1.Machine {
	machine := &clusterv1.Machine{
		ObjectMeta: s.meta(s.controlPlaneName()),
		Spec:       s.specOfMachine("control-plane", reference("EdgeMachine", s.controlPlaneName())),
	}
	machine.Labels[clusterv1.MachineControlPlaneLabel] = ""
	return machine
}

func (s Site) template() *infrav1.EdgeMachineTemplate {
	return &infrav1.EdgeMachineTemplate{
		ObjectMeta: s.meta(s.workersName()),
		Spec:       infrav1.EdgeMachineTemplateSpec{Template: infrav1.EdgeMachineTemplateResource{Spec: s.machineSpec()}},
	}
}

func (s Site) workers() *clusterv1.MachineDeployment {
	return &clusterv1.MachineDeployment{ObjectMeta: s.meta(s.workersName()), Spec: clusterv1.MachineDeploymentSpec{
		ClusterName: s.Name,
		Replicas:    new(int32(s.Machines - 1)),
		Template:    clusterv1.MachineTemplateSpec{Spec: s.specOfMachine("worker", reference("EdgeMachineTemplate", s.workersName()))},
	}}
}

func (s Site) specOfMachine(role string, infrastructure clusterv1.ContractVersionedObjectReference) clusterv1.MachineSpec {
	return clusterv1.MachineSpec{
		ClusterName:       s.Name,
		Version:           s.plan.KubernetesVersion,
		Bootstrap:         clusterv1.Bootstrap{DataSecretName: new(s.Name + "-bootstrap-" + role)},
		InfrastructureRef: infrastructure,
	}
}

// pool is of the in-cluster IPAM provider, whose types are in no module of ours.
func (s Site) pool() *unstructured.Unstructured {
	pool := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"addresses": []any{fmt.Sprintf("%s-%s", s.address(firstNode), s.address(firstNode+maxPerSite))},
		"prefix":    int64(s.network.Bits()),
		"gateway":   s.gateway().String(),
	}}}
	pool.SetGroupVersionKind(poolKind())
	pool.SetNamespace(s.plan.Namespace)
	pool.SetName(s.Name)
	pool.SetLabels(map[string]string{clusterv1.ClusterNameLabel: s.Name})
	return pool
}

func poolKind() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "ipam.cluster.x-k8s.io", Version: "v1alpha2", Kind: "InClusterIPPool"}
}

func reference(kind, name string) clusterv1.ContractVersionedObjectReference {
	return clusterv1.ContractVersionedObjectReference{APIGroup: infrav1.GroupVersion.Group, Kind: kind, Name: name}
}

func (s Site) controlPlaneName() string { return s.Name + "-control-plane" }
func (s Site) workersName() string      { return s.Name + "-workers" }
