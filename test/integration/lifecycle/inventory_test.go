// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"context"
	"fmt"
	"maps"
	"slices"

	bmov1 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/edgemetal/cluster-api-provider-edgemetal/api/v1alpha1"
)

// cloudConfig is bootstrap data as kubeadm's provider makes it, in short.
const cloudConfig = "## template: jinja\n#cloud-config\nruncmd:\n- kubeadm join\n"

// hardware of a server with two NICs; number tells servers apart.
func hardware(number int) *bmov1.HardwareDetails {
	return &bmov1.HardwareDetails{
		SystemVendor: bmov1.HardwareSystemVendor{Manufacturer: "ACME"},
		CPU:          bmov1.CPU{Arch: "x86_64", Count: 8},
		RAMMebibytes: 32 << 10,
		NIC: []bmov1.NIC{
			{Name: "eno1", MAC: mac(number, 1), PCIAddress: "0000:3b:00.0", SpeedGbps: 10, PXE: true},
			{Name: "eno2", MAC: mac(number, 2), PCIAddress: "0000:3b:00.1", SpeedGbps: 25},
		},
		Storage: []bmov1.Storage{{Name: "/dev/sda", SizeBytes: 480 * bmov1.GigaByte}},
	}
}

func mac(number, nic int) string { return fmt.Sprintf("52:54:00:00:%02x:%02x", number, nic) }

// hostOption is an option of addHost.
type hostOption int

// notAwaited has addHost not wait until the host is available.
const notAwaited hostOption = iota

// addHost brings a host into the inventory, with the address 192.0.2.<20+number> in its annotation, and waits until it is
// available. change may be nil.
func (s *site) addHost(ctx context.Context, name string, number int, change func(*bmov1.BareMetalHost), options ...hostOption) {
	GinkgoHelper()
	s.operator.Install(s.hostName(name), hardware(number))
	s.createHost(ctx, name, number, change)
	if !slices.Contains(options, notAwaited) {
		Eventually(s.stateOf(ctx, name)).Should(Equal(bmov1.StateAvailable))
	}
}

func (s *site) createHost(ctx context.Context, name string, number int, change func(*bmov1.BareMetalHost)) {
	GinkgoHelper()
	host := &bmov1.BareMetalHost{ObjectMeta: s.meta(s.hostName(name))}
	host.Annotations = map[string]string{
		infrav1.AddressesAnnotation: fmt.Sprintf("cluster=192.0.2.%d", 20+number),
		"inventory.example.org/row": "7",
	}
	host.Spec.BootMACAddress = mac(number, 1)
	host.Spec.AutomatedCleaningMode = bmov1.CleaningModeDisabled
	if change != nil {
		change(host)
	}
	Expect(server.Client.Create(ctx, host)).To(Succeed())
}

// stateOf a host, for Eventually.
func (s *site) stateOf(ctx context.Context, name string) func(Gomega) bmov1.ProvisioningState {
	return func(g Gomega) bmov1.ProvisioningState {
		host := &bmov1.BareMetalHost{}
		g.Expect(server.Client.Get(ctx, s.key(s.hostName(name)), host)).To(Succeed())
		return host.Status.Provisioning.State
	}
}

// addCluster makes a Cluster with its EdgeCluster and its kubeconfig, as far as Cluster API has got when it asks for machines.
// change may be nil.
func (s *site) addCluster(ctx context.Context, name string, change func(*infrav1.EdgeCluster)) *clusterv1.Cluster {
	GinkgoHelper()
	s.createKubeconfig(ctx, name) // First of all: who looks for it in vain looks again after 30 seconds.
	cluster := s.createCluster(ctx, name, nil)
	s.createEdgeCluster(ctx, cluster, change)
	updateStatus(ctx, s, name, cluster, func(c *clusterv1.Cluster) {
		c.Status.Initialization.InfrastructureProvisioned = new(true)
	})
	return cluster
}

func (s *site) createCluster(ctx context.Context, name string, change func(*clusterv1.Cluster)) *clusterv1.Cluster {
	GinkgoHelper()
	cluster := &clusterv1.Cluster{ObjectMeta: s.meta(name)}
	cluster.Spec.InfrastructureRef = clusterv1.ContractVersionedObjectReference{APIGroup: infrav1.GroupVersion.Group, Kind: "EdgeCluster", Name: name}
	cluster.Spec.ClusterNetwork.Pods.CIDRBlocks = []string{"10.244.0.0/16"}
	cluster.Spec.ClusterNetwork.Services.CIDRBlocks = []string{"10.96.0.0/12"}
	if change != nil {
		change(cluster)
	}
	Expect(server.Client.Create(ctx, cluster)).To(Succeed())
	return cluster
}

func (s *site) createEdgeCluster(ctx context.Context, cluster *clusterv1.Cluster, change func(*infrav1.EdgeCluster)) *infrav1.EdgeCluster {
	GinkgoHelper()
	edge := &infrav1.EdgeCluster{ObjectMeta: s.meta(cluster.Name)}
	edge.Labels = map[string]string{clusterv1.ClusterNameLabel: cluster.Name}
	edge.OwnerReferences = []metav1.OwnerReference{owner(cluster, "Cluster")}
	edge.Spec = infrav1.EdgeClusterSpec{
		Dataplane:            infrav1.Dataplane{Type: infrav1.DataplaneNone, Encryption: infrav1.Encryption{Mode: infrav1.EncryptionDisabled}},
		ControlPlaneEndpoint: infrav1.APIEndpoint{Host: "192.0.2.10", Port: 6443},
		ControlPlaneVIP:      infrav1.ControlPlaneVIP{Mode: infrav1.VIPModeARP},
		Networks: []infrav1.Network{{
			Name:        "cluster",
			Subnets:     []infrav1.Subnet{{CIDR: "192.0.2.0/24", Gateway: "192.0.2.1"}},
			Nameservers: []string{"192.0.2.53"},
			Addresses:   infrav1.AddressSource{FromHost: &infrav1.FromHost{}},
		}},
	}
	if change != nil {
		change(edge)
	}
	Expect(server.Client.Create(ctx, edge)).To(Succeed())
	return edge
}

func (s *site) createKubeconfig(ctx context.Context, cluster string) {
	GinkgoHelper()
	kubeconfig, err := s.gate.Kubeconfig()
	Expect(err).NotTo(HaveOccurred())
	secret := &corev1.Secret{ObjectMeta: s.meta(cluster + "-kubeconfig"), Type: clusterv1.ClusterSecretType, Data: map[string][]byte{"value": kubeconfig}}
	secret.Labels = map[string]string{clusterv1.ClusterNameLabel: cluster}
	Expect(server.Client.Create(ctx, secret)).To(Succeed())
}

// addMachine makes a Machine with its EdgeMachine and its bootstrap data. change may be nil.
func (s *site) addMachine(ctx context.Context, cluster, name string, change func(*clusterv1.Machine, *infrav1.EdgeMachine)) {
	GinkgoHelper()
	s.createBootstrapData(ctx, cluster, name, "cloud-config", cloudConfig)
	s.createMachine(ctx, cluster, name, func(machine *clusterv1.Machine, edge *infrav1.EdgeMachine) {
		machine.Spec.Bootstrap.DataSecretName = new(name + "-bootstrap")
		if change != nil {
			change(machine, edge)
		}
	})
}

// createMachine makes a Machine without bootstrap data, and its EdgeMachine. change may be nil.
func (s *site) createMachine(ctx context.Context, cluster, name string, change func(*clusterv1.Machine, *infrav1.EdgeMachine)) {
	GinkgoHelper()
	machine := &clusterv1.Machine{ObjectMeta: s.meta(name)}
	machine.Labels = map[string]string{clusterv1.ClusterNameLabel: cluster}
	machine.Spec.ClusterName = cluster
	machine.Spec.InfrastructureRef = clusterv1.ContractVersionedObjectReference{APIGroup: infrav1.GroupVersion.Group, Kind: "EdgeMachine", Name: name}
	machine.Spec.Bootstrap.ConfigRef = clusterv1.ContractVersionedObjectReference{APIGroup: "bootstrap.cluster.x-k8s.io", Kind: "KubeadmConfig", Name: name}
	edge := &infrav1.EdgeMachine{ObjectMeta: s.meta(name)}
	edge.Labels = map[string]string{clusterv1.ClusterNameLabel: cluster}
	edge.Spec = infrav1.EdgeMachineSpec{
		Image:      infrav1.Image{URL: "https://images.example/node.qcow2", Checksum: "0123", ChecksumType: "sha256", Format: "qcow2"},
		Links:      []infrav1.Link{{Name: "uplink0", Match: &infrav1.NICMatch{BootNIC: new(true)}}},
		Interfaces: []infrav1.Interface{{Network: "cluster", Link: "uplink0"}},
	}
	if change != nil {
		change(machine, edge)
	}
	maps.Copy(edge.Labels, machine.Labels)
	Expect(server.Client.Create(ctx, machine)).To(Succeed())
	edge.OwnerReferences = []metav1.OwnerReference{owner(machine, "Machine")}
	Expect(server.Client.Create(ctx, edge)).To(Succeed())
}

// createBootstrapData makes the Secret <machine>-bootstrap.
func (s *site) createBootstrapData(ctx context.Context, cluster, machine, format, value string) {
	GinkgoHelper()
	secret := &corev1.Secret{ObjectMeta: s.meta(machine + "-bootstrap"), Type: clusterv1.ClusterSecretType}
	secret.Labels = map[string]string{clusterv1.ClusterNameLabel: cluster}
	secret.Data = map[string][]byte{"value": []byte(value), "format": []byte(format)}
	Expect(server.Client.Create(ctx, secret)).To(Succeed())
}

// publishBootstrapData names the Secret m-bootstrap in Machine m.
func (s *site) publishBootstrapData(ctx context.Context) {
	GinkgoHelper()
	update(ctx, s, "m", &clusterv1.Machine{}, func(m *clusterv1.Machine) { m.Spec.Bootstrap.DataSecretName = new("m-bootstrap") })
}

// registerNode makes the Node of a host, as its kubelet does; it is removed after the spec.
func (s *site) registerNode(ctx context.Context, host, providerID string, addresses ...corev1.NodeAddress) {
	GinkgoHelper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: s.hostName(host)}}
	node.Spec.ProviderID = providerID
	Expect(server.Client.Create(ctx, node)).To(Succeed())
	DeferCleanup(func(ctx context.Context) {
		Expect(client.IgnoreNotFound(server.Client.Delete(ctx, node))).To(Succeed())
	})
	if len(addresses) > 0 {
		node.Status.Addresses = addresses
		Expect(server.Client.Status().Update(ctx, node)).To(Succeed())
	}
}
